"""Columns made from columns, of the group and of others: their SQL's answers, words, versions, and what wrong ones say."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from tests.transforms.feature_group.given import column, compiled, group, problem
from transforms.derived import derive
from transforms.feature_group import CompiledGroup

GROUP = """\
name: g
record_identifier: customer_id
spine: customers
inputs:
  - source: bnpl_plans
    aggregates:
      - {name: plans, op: count, windows: [7d, 90d]}
      - {name: amount, op: sum, of: financed_amount}
      - {name: average, op: mean, of: financed_amount}
      - {name: provider, op: last, of: provider}
      - {name: ratio_of, op: mean, of: "ratio(refunded_amount, financed_amount)"}
derived:
"""
OTHER = """\
name: h
record_identifier: customer_id
spine: customers
inputs:
  - source: payments
    aggregates:
      - {name: failed, op: count, where: "outcome = 'failed'", windows: [7d]}
      - {name: amount, op: sum, of: amount}
derived:
  - {name: failed_share, expr: "ratio(failed_7d, payments)"}
  - {name: payments, expr: "failed_7d + 1", internal: true}
"""
SEGMENT = """\
  - name: segment
    segment:
      - {name: heavy, when: plans_90d > 10}
      - {name: "o'clock", when: amount >= 99.90}
      - {name: regular}
"""
SCORE = """\
  - name: score
    score:
      base: 500
      minimum: 0
      maximum: 600
      parts:
        - of: ratio_of
          bands: [{below: "0.1", points: 50}, {below: "0.7", points: -20}, {points: -600}]
          missing: 7
        - of: average
          bands: [{below: "100.50", points: 0}, {points: 100}]
"""


def answers(compiled: CompiledGroup, **columns: list[object]) -> dict[str, list[object]]:
    """The derived columns over columns that are given."""
    table = pa.table(columns)
    return {name: values for name, values in derive(table, compiled.derived).to_pydict().items() if name not in columns}


def money(*texts: str | None) -> pa.Array:
    return pa.array([None if text is None else Decimal(text) for text in texts], pa.decimal128(28, 2))


# ---- the forms


def test_a_segment_is_the_first_that_holds():
    made = group(GROUP + SEGMENT)
    told = answers(made, plans_90d=[11, 11, 0, 0, None], amount=money("0", "99.90", "99.90", "99.89", None))
    assert told["segment"] == ["heavy", "heavy", "o'clock", "regular", "regular"]
    found = column("segment", GROUP + SEGMENT)
    assert (found.type, found.null_when) == ("string", "")
    assert found.words == "segment: heavy where plans_90d > 10, o'clock where amount >= 99.90, regular otherwise"
    without = GROUP + SEGMENT.replace("      - {name: regular}\n", "")
    assert answers(group(without), plans_90d=[0, None], amount=money("0", None))["segment"] == [None, None]
    assert column("segment", without).null_when == "no segment holds"


def test_one_hot_is_a_column_for_each_value():
    made = group(GROUP + "  - {name: is, one_hot: provider, values: [atome, Grab Pay, other]}\n")
    told = answers(made, provider=["atome", "Grab Pay", "grab", None])
    assert told == {"is_atome": [1, 0, 0, 0], "is_grab_pay": [0, 1, 0, 0], "is_other": [0, 0, 1, 1]}
    assert [(c.name, c.type, c.null_when, c.by_value, c.words) for c in made.columns[-3:]] == [
        ("is_atome", "integer", "", "atome", "is: 1 where provider is atome, else 0"),
        ("is_grab_pay", "integer", "", "Grab Pay", "is: 1 where provider is Grab Pay, else 0"),
        ("is_other", "integer", "", "other", "is: 1 where provider is none of atome, Grab Pay, else 0"),
    ]


def test_one_hot_and_label_compare_what_is_no_text_as_text():
    made = group(
        GROUP + '  - {name: n, one_hot: plans_7d, values: ["1"]}\n  - {name: l, label: amount, values: ["1.00", "2.00"]}\n'
    )
    told = answers(made, plans_7d=[1, 10], amount=money("2", "1.5"))
    assert told == {"n_1": [1, 0], "l": [2, 0]}


def test_a_label_is_a_values_place_in_the_list():
    text = GROUP + "  - {name: label, label: provider, values: [atome, grab]}\n"
    assert answers(group(text), provider=["atome", "grab", "spay", None])["label"] == [1, 2, 0, None]
    found = column("label", text)
    assert (found.type, found.null_when) == ("integer", "provider is null")
    assert found.words == "label: the place of provider in 1 atome, 2 grab; 0 for others"


def test_a_score_adds_the_points_of_bands_within_its_limits():
    told = answers(
        group(GROUP + SCORE),
        #         below 0.1, at 0.1: the next, at 0.7: the last, null, the most
        ratio_of=[0.0999, 0.1, 0.7, None, 0.0],
        average=money("100.49", "100.50", None, "100.50", "100.50"),
    )
    assert told["score"] == [550, 580, 0, 600, 600]
    found = column("score", GROUP + SCORE)
    assert (found.type, found.null_when) == ("integer", "")
    assert found.words == (
        "score: 500 points; by ratio_of: +50 below 0.1, -20 below 0.7, -600 otherwise, +7 when null; by average: +0 below 100.50,"
        " +100 otherwise, +0 when null; from 0 to 600"
    )


def test_windows_fill_in_the_name_of_each():
    text = (
        GROUP
        + "  - {name: busy, windows: [7d, 90d], segment: [{name: yes, when: 'plans_{w} > 1'}, {name: no}], description: busy}\n"
    )
    told = answers(group(text), plans_7d=[1, 2], plans_90d=[2, 2])
    assert told == {"busy_7d": ["no", "yes"], "busy_90d": ["yes", "yes"]}
    assert column("busy_7d", text).words == "busy in the 7 local days to the cut-off: yes where plans_7d > 1, no otherwise"


def test_a_derived_column_may_stand_before_those_that_it_is_made_from():
    text = GROUP + "  - {name: a, expr: b * 2}\n  - {name: b, expr: plans_7d + 1}\n"
    assert [found.name for found in group(text).columns[-2:]] == ["a", "b"]
    assert answers(group(text), plans_7d=[1]) == {"b": [2], "a": [4]}


def test_the_row_itself_may_be_named():
    made = group(GROUP + '  - {name: d, expr: "if(has_history, cast(as_of as string), cast(cut_off as string))"}\n')
    assert made.derived[0].uses == ("as_of", "cut_off", "has_history")


@pytest.mark.parametrize(
    ("expr", "null_when"),
    [
        ("plans_7d > 1", ""),
        ("coalesce(average, 0)", ""),
        ("days_between(as_of, as_of) + plans_7d", ""),
        ("average - amount", "average is null"),
        ("ratio(plans_7d, plans_90d)", "a denominator is 0"),
        ("average / amount", "average is null or a denominator is 0"),
        ("if(provider = 'x', average, ratio_of)", "average or ratio_of is null"),
        ("coalesce(average / amount, 0)", ""),
        ("case when amount > 1 then 'x' end", "it has no answer"),
        ("ln(plans_7d)", "it has no answer"),
        ("failed_share * average", "average or h.failed_share is null"),
    ],
)  # fmt: skip
def test_what_a_null_means(expr, null_when):
    assert column("d", GROUP + f'  - {{name: d, expr: "{expr}"}}\n', OTHER).null_when == null_when


def test_the_definition_may_say_what_a_null_means():
    """In the place of words that would name what nobody sees; not of a column that is never null."""
    said = GROUP + "  - {name: d, null_when: nothing is known, expr: average - amount}\n"
    assert column("d", said, OTHER).null_when == "nothing is known"


# ---- columns of other groups


def test_a_column_of_another_group_comes_along_as_internal():
    made = compiled(GROUP + "  - {name: d, expr: failed_share * plans_7d}\n", OTHER)
    found, other = made.groups["g"], made.groups["h"]
    assert [c.name for c in found.columns] == ["plans_7d", "plans_90d", "amount", "average", "provider", "ratio_of", "d"]
    assert {d.column.name: (d.uses, d.column.internal) for d in found.derived} == {
        "d": (("h.failed_share", "plans_7d"), False),
        "h.failed_share": (("h.failed_7d", "h.payments"), True),
        "h.payments": (("h.failed_7d",), True),
    }
    brought = next(item for item in found.windows if item.column.name == "h.failed_7d")
    own = next(item for item in other.windows if item.column.name == "failed_7d")
    assert brought.column.internal
    assert (brought.stream, brought.clock, brought.value) == (own.stream, own.clock, own.value), "nothing is prepared twice"
    assert {place[0] for place in found.presence} == {stream for stream in found.streams if stream.startswith("bnpl_plans")}
    told = answers(found, **{"h.failed_7d": [1], "plans_7d": [4]})
    assert told == {"h.payments": [2], "h.failed_share": [0.5], "d": [2.0]}


def test_the_group_is_said_where_a_name_is_in_several():
    made = group(GROUP + "  - {name: d, expr: amount + h.amount}\n", OTHER)
    assert made.derived[0].uses == ("amount", "h.amount")


def test_a_changed_column_of_another_group_is_a_changed_meaning():
    def version(other: str) -> str:
        return group(GROUP + "  - {name: d, expr: failed_share}\n", other).version

    assert version(OTHER) == version(OTHER.replace("name: failed_share", "description: a share, name: failed_share"))
    assert version(OTHER) != version(OTHER.replace("failed_7d + 1", "failed_7d + 2"))
    assert version(OTHER) != version(OTHER.replace("'failed'", "'succeeded'"))


def test_consent_blanks_all_but_itself():
    text = GROUP.replace("spine: customers", "spine: customers\nblank_unless: h.consented") + "  - {name: d, expr: plans_7d}\n"
    other = OTHER + "  - {name: consented, expr: failed_7d = 0}\n"
    made = group(text, other)
    assert made.blank_unless == "h.consented"
    assert [item.column.name for item in made.derived] == ["d", "h.consented"]
    told = {found.name: found.null_when for found in made.columns}
    assert told["plans_7d"] == "h.consented is not true"
    assert told["average"] == "there is no such fact; or h.consented is not true"
    own = group(text.replace("h.consented", "ok") + "  - {name: ok, expr: plans_7d = 0}\n")
    assert own.blank_unless == "ok"
    assert next(found for found in own.columns if found.name == "ok").null_when == ""
    assert made.version != group(text.replace("blank_unless: h.consented\n", ""), other).version


# ---- wrong ones

NAMES = "plans_7d, plans_90d, amount, average, provider, ratio_of, d, as_of, cut_off, has_history"


@pytest.mark.parametrize(
    ("derived", "message"),
    [
        ("{name: d}", "'d' is made by one of expr, segment, one_hot, label, score; it says none"),
        ("{name: d, expr: amount, label: provider, values: [a]}",
         "'d' is made by one of expr, segment, one_hot, label, score; it says expr and label"),
        ("{name: d, expr: amont}", f"no column named 'amont' (did you mean 'amount'?); columns: {NAMES}"),
        ("{name: d, expr: faled_7d}", f"no column named 'faled_7d' (did you mean 'failed_7d'?); columns: {NAMES}"),
        ("{name: d, expr: h.faled_7d}", f"no column named 'h.faled_7d' (did you mean 'h.failed_7d'?); columns: {NAMES}"),
        ("{name: d, expr: balance_sum}", "'balance_sum' is a column of i, whose rows are one a account_id, not one a customer_id"),
        ("{name: d, expr: i.balance_sum}", "'i.balance_sum' is a column of i, whose rows are one a account_id, not one a customer_id"),
        ("{name: d, expr: amount / provider}", "'provider' is string, '/' takes numbers"),
        ("{name: d, expr: amount, values: [a]}", "'d': `values` goes with one_hot and label, not expr"),
        ("{name: d, one_hot: provider}", "'d': `one_hot` needs `values`"),
        ("{name: d, one_hot: provider, values: [a, a]}", "'d': a value is written twice: a, a"),
        ("{name: d, one_hot: provider, values: [other]}", "`other` alone tells nothing apart: list a value"),
        ("{name: d, one_hot: provider, values: [a b, a-b]}", "column 'd_a_b' is there already; choose another name"),
        ("{name: d, one_hot: ratio_of, values: [a]}", "'ratio_of' is number; `one_hot` takes text, whole numbers, money, dates or booleans"),
        ("{name: d, label: providr, values: [a]}", f"no column named 'providr' (did you mean 'provider'?); columns: {NAMES}"),
        ("{name: d, segment: [{name: a}]}", "segment 'a' has no `when`: every row would be in it"),
        ("{name: d, segment: [{name: a}, {name: b, when: amount > 1}]}",
         "'d': segment 'a' has no `when`, so none after it can hold; put it last"),
        ("{name: d, segment: [{name: a, when: amount}]}", "'amount' is money, a condition must be boolean"),
        ("{name: d, segment: [{name: a, wen: amount > 1}]}", "unknown key 'wen' (did you mean 'when'?); known: name, when"),
        ("{name: d, windows: [7d], expr: amount}",
         "`windows` makes a column a window, so `{w}` must stand for the window's name somewhere, as in count_{w}"),
        ("{name: d, expr: 'plans_{w}'}", "'plans_{w}': {w} stands for a window's name; give `windows`"),
        ("{name: d, windows: [30d], expr: 'plans_{w}'}", "no column named 'plans_30d' (did you mean 'plans_90d'?); columns: "
         + NAMES.replace(" d,", " d_30d,")),
        ("{name: d, score: {base: 1, minimum: 2, maximum: 1, parts: [{of: amount, bands: [{points: 1}]}]}}",
         "the minimum, 2, is above the maximum, 1"),
        ("{name: d, score: {base: 1, minimum: 0, maximum: 1, parts: []}}", "a score needs `parts`: what gives points"),
        ("{name: d, score: {base: 1, minimum: 0, maximum: 1, parts: [{of: amount, bands: [{below: 1, points: 1}]}]}}",
         "the last band of a part takes every value that is left: write it without `below`"),
        ("{name: d, score: {base: 1, minimum: 0, maximum: 1, parts: [{of: amount, bands: [{points: 1}, {points: 2}]}]}}",
         "only the last band of a part goes without `below`"),
        ("{name: d, score: {base: 1, minimum: 0, maximum: 1, parts: [{of: amount, bands: [{below: 2, points: 1}, {below: 2, points: 3},"
         " {points: 2}]}]}}", "bands ascend: `below: 2` comes after `below: 2`"),
        ("{name: d, score: {base: 1, minimum: 0, maximum: 1, parts: [{of: provider, bands: [{points: 1}]}]}}",
         "'provider' is string; a score takes numbers and money"),
        ("{name: d, score: {base: 1, minimum: 0, maximum: 1, parts: [{of: amount > 1, bands: [{points: 1}]}]}}",
         "'amount > 1' is boolean; a score takes numbers and money; write if(amount > 1, 1, 0)"),
        ("{name: d, null_when: never, expr: amount + 1}", "'d' is never null, so `null_when` is never true"),
        ("{name: d, expr: d + 1}", "'d' is made from itself: d <- d"),
        ("{name: as_of, expr: amount}", "column 'as_of' is there already; choose another name"),
        ("{name: cut_off, expr: amount}", "column 'cut_off' is there already; choose another name"),
    ],
)  # fmt: skip
def test_a_wrong_derived_column(derived, message):
    account = (
        OTHER.replace("name: h", "name: i").replace("customer_id", "account_id").replace("spine: customers", "spine: accounts")
    )
    account = account.replace("payments", "statements", 1).partition("    aggregates")[0]
    account += "    aggregates: [{name: balance_sum, op: sum, of: balance}]\n"
    assert problem(GROUP + f"  - {derived}\n", OTHER, account) == f"g.yaml:13: {message}"


def test_a_cycle_through_another_group_is_told_once_by_its_path():
    one = GROUP + "  - {name: a, expr: b + 1}\n"
    other = OTHER + "  - {name: b, expr: a + 1}\n"
    assert problem(one, other).splitlines() == [
        "g.yaml:13: 'a' is made from itself: a <- h.b <- a",
        "h.yaml:12: 'b' is made from itself: b <- g.a <- b",
    ]


def test_a_name_that_several_other_groups_have():
    third = OTHER.replace("name: h", "name: i")
    assert problem(GROUP + "  - {name: d, expr: failed_7d}\n", OTHER, third) == (
        "g.yaml:13: 'failed_7d' is a column of several groups; write h.failed_7d or i.failed_7d"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("amount", "'amount' is money; `blank_unless` takes a boolean column"),
        ("consentd", "no column named 'consentd'; columns: plans_7d, plans_90d, amount, average, provider, ratio_of, as_of, cut_off, has_history"),
    ],
)  # fmt: skip
def test_a_wrong_consent(name, message):
    text = GROUP.replace("spine: customers", f"spine: customers\nblank_unless: {name}").replace("derived:\n", "")
    assert problem(text) == f"g.yaml:4: {message}"


@pytest.mark.parametrize(
    ("written", "instead", "same"),
    [
        ("plans_90d > 10", "(plans_90d  > 10)", True),
        ("plans_90d > 10", "plans_90d > 11", False),
        ("name: regular", "name: others", False),
        ("      - {name: regular}\n", "", False),
    ],
)  # fmt: skip
def test_the_meaning_of_a_segment(written, instead, same):
    assert (group(GROUP + SEGMENT.replace(written, instead)).version == group(GROUP + SEGMENT).version) is same


@pytest.mark.parametrize(
    ("written", "instead"),
    [("base: 500", "base: 501"), ("minimum: 0", "minimum: 1"), ("maximum: 600", "maximum: 601"), ("missing: 7", "missing: 8"),
     ('below: "0.7"', 'below: "0.8"'), ("points: -20", "points: -21"), ("of: average", "of: amount")],
)  # fmt: skip
def test_the_meaning_of_a_score(written, instead):
    assert group(GROUP + SCORE.replace(written, instead)).version != group(GROUP + SCORE).version
