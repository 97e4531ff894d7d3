"""Examples of a group: what stands for what they leave out, what is refused with its line, and what comes out; without Spark."""

from __future__ import annotations

import pytest

from conf.catalogue import Catalogue
from conf.errors import DefinitionError
from conf.specs import FeatureGroup, Source
from conf.yaml_file import load_model, parse_yaml
from transforms.examples import Outcome, examples_of
from transforms.feature_group import compile_groups

PEOPLE = """\
name: people
format: csv
location: p
key: [person]
version: version
event_time: since
known_time: recorded
columns: {person: string, version: integer, since: timestamp, recorded: timestamp, vip: boolean}
"""
ORDERS = """\
name: orders
format: csv
location: o
zone: Asia/Kuala_Lumpur
key: [order]
version: recorded
event_time: ordered
known_time: recorded
mutable: {paid_at: [paid]}
columns:
  order: string
  person: string
  ordered: timestamp
  recorded: timestamp
  paid_at: timestamp
  paid: money
  shop: {type: string, values: [web, high_street]}
  amount: money
  phone: {type: string, personal: drop}
"""
BALANCES = """\
name: balances
format: csv
location: b
zone: Asia/Kuala_Lumpur
key: [person, day]
event_time: end_of_day(day)
columns: {person: string, day: date, balance: money}
"""
GROUP = """\
name: g
record_identifier: person
spine: people
inputs:
  - source: people
    aggregates:
      - {name: is_vip, op: last, of: vip}
  - source: orders
    aggregates:
      - {name: n, op: count, windows: [1d, 7d]}
      - {name: total, op: sum, of: amount, windows: [7d]}
      - {name: paid_total, op: sum, of: paid}
      - {name: largest, op: max, of: amount, windows: [7d]}
      - {name: shops, op: top_k, of: shop, with: {n: 2}}
      - {name: of, op: count, by: {shop: map}}
  - source: balances
    aggregates:
      - {name: balance, op: last, of: balance}
derived:
  - {name: per_order, expr: "ratio(total_7d, n_7d)"}
examples:
"""


def given(examples: str, group: str = GROUP, *others: str) -> tuple[Catalogue, list[Outcome]]:
    """The outcomes of the examples of `g`, with other groups beside it."""
    file = parse_yaml(group + examples, "g.yaml")
    loaded = load_model(FeatureGroup, file)
    sources = {
        text.splitlines()[0].removeprefix("name: "): load_model(Source, parse_yaml(text, "s.yaml"))
        for text in (PEOPLE, ORDERS, BALANCES)
    }
    beside = [load_model(FeatureGroup, parse_yaml(text, "o.yaml")) for text in others]
    catalogue = Catalogue(sources, {"g": loaded, **{other.name: other for other in beside}}, {"FeatureGroup:g": file})
    found = examples_of(catalogue, compile_groups(catalogue, "Asia/Kuala_Lumpur"), ["g"])
    return catalogue, list(found["g"].run())


def failed(examples: str) -> list[tuple[str, str, str, str]]:
    """Of the cells that differ: entity, column, what is expected, what came out."""
    _, outcomes = given(examples)
    return [(c.entity, c.column, c.expected, c.got) for outcome in outcomes for c in outcome.cells if not c.holds]


def test_what_an_example_leaves_out():
    """Keys are numbered, what is known late is known at once, other columns are null; the spine has who is expected."""
    assert failed("""\
  - as_of: 2025-06-30
    orders:
      - {person: ann, ordered: 2025-06-30T10:00:00+08:00, amount: 120.10}
      - {person: ann, ordered: 2025-06-30T10:00:00, amount: 0.90}
    expect:
      ann: {n_1d: 2, total_7d: 121, largest_7d: "120.10", per_order: 60.5, shops: [], balance: null, has_history: true}
      bob: {n_1d: 0, n_7d: 0, total_7d: 0, largest_7d: null, per_order: null, of_by_shop: {}, is_vip: null}
""") == []  # fmt: skip


def test_a_row_of_the_spine_takes_the_place_of_those_that_are_added():
    """A person with a version of later, one who comes later, and one who isn't there."""
    assert failed("""\
  - days:
      2025-06-30: {ann: {is_vip: false}, bob: null, cid: null}
      2025-07-01: {ann: {is_vip: true}, bob: {is_vip: null}, cid: null}
    people:
      - {person: ann, since: 2025-01-01T00:00:00Z, vip: false}
      - {person: ann, since: 2025-01-01T00:00:00Z, recorded: 2025-07-01T00:00:00Z, vip: true}
      - {person: bob, since: 2025-07-01T00:00:00+08:00}
""") == []  # fmt: skip


def test_edges_versions_and_late_rows():
    assert failed("""\
  - days:
      2025-06-30: {ann: {n_1d: 1, n_7d: 2, paid_total: 0}}
      2025-07-01: {ann: {n_1d: 1, n_7d: 4, paid_total: 5}}
    orders:
      - {person: ann, ordered: 2025-06-29T23:59:59.999999+08:00}
      - {person: ann, ordered: 2025-06-30T00:00:00+08:00, order: a, paid_at: 2025-07-01T00:00:00+08:00, paid: 5}
      - {person: ann, ordered: 2025-07-01T00:00:00+08:00}
      - {person: ann, ordered: 2025-06-30T12:00:00+08:00, recorded: 2025-07-01T12:00:00+08:00}
""") == []  # fmt: skip


def test_lists_maps_and_dates_that_stand_for_times():
    assert failed("""\
  - days:
      2025-06-29: {ann: {balance: null}}
      2025-06-30: {ann: {balance: "7.50", shops: [web, high_street], of_by_shop: {web: 2, high_street: 1}}}
    orders:
      - {person: ann, ordered: 2025-06-01T00:00:00Z, shop: web}
      - {person: ann, ordered: 2025-06-02T00:00:00Z, shop: web}
      - {person: ann, ordered: 2025-06-03T00:00:00Z, shop: high_street}
      - {person: ann, ordered: 2025-06-04T00:00:00Z}
    balances: [{person: ann, day: 2025-06-30, balance: 7.5}]
""") == []  # fmt: skip


def test_what_differs_is_told_with_its_line():
    _, [outcome] = given("""\
  - as_of: 2025-06-30
    description: two orders
    orders: [{person: ann, ordered: 2025-06-30T10:00:00+08:00, amount: 120.10}]
    expect:
      ann:
        n_1d: 2
        total_7d: "120.10"
      bob: null
      cid: {}
""")
    assert (outcome.holds, outcome.where, outcome.number, outcome.description) == (False, "g.yaml:22", 1, "two orders")
    assert [(c.entity, c.column, c.expected, c.got, c.holds, c.where) for c in outcome.cells] == [
        ("ann", "n_1d", "2", "1", False, "g.yaml:27"),
        ("ann", "total_7d", "120.10", "120.10", True, "g.yaml:28"),
        ("bob", "", "no row", "no row", True, "g.yaml:29"),
    ]
    assert outcome.given == {
        "people": [{"person": "ann", "since": "2000-01-01T00:00:00Z"}, {"person": "cid", "since": "2000-01-01T00:00:00Z"}],
        "orders": [{"person": "ann", "ordered": "2025-06-30T10:00:00+08:00", "amount": "120.10"}],
    }


def test_a_row_too_many_and_one_too_few():
    rows = "    people: [{person: ann, since: 2025-01-01T00:00:00Z}]\n"
    assert failed(f"  - as_of: 2025-06-30\n{rows}    expect: {{ann: null, bob: {{n_1d: 0}}}}\n") == [
        ("ann", "", "no row", "a row"),
        ("bob", "", "a row", "no row"),
    ]


ROW = "{person: ann, ordered: 2025-06-30T10:00:00Z, amount: 1}"
EXAMPLE = f"""\
  - as_of: 2025-06-30
    orders:
      - {ROW}
      - {ROW}
    expect:
      ann: {{n_1d: 2}}
"""


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("    orders:", "    order:", "g.yaml:23: no source named 'order' (did you mean 'orders'?); known: people, orders, balances"),
        ("amount: 1}", "amont: 1}", "g.yaml:24: orders: no column named 'amont' (did you mean 'amount'?); columns: order, person, ordered,"
         " recorded, paid_at, paid, shop, amount"),
        ("amount: 1}", "amount: one}", "g.yaml:24: orders: column 'amount' is 'one', which is not an amount such as 1234.50"),
        ("ordered: 2025-06-30T10:00:00Z, ", "", "g.yaml:24: orders: column 'ordered' is missing: it says when the row happened"),
        ("amount: 1}", "shop: wep}", "g.yaml:24: column 'shop' is 'wep' (did you mean 'web'?), which is none of web, high_street\n"
         "g.yaml:25: column 'shop' is 'wep' (did you mean 'web'?), which is none of web, high_street"),
        ("amount: 1}", "order: a}", "g.yaml:25: row 2 of orders is row 1 again: both have the order and recorded of one"),
        ("n_1d: 2", "n_2d: 2", "g.yaml:27: 'g' publishes no column 'n_2d' (did you mean 'n_7d'?)"),
        ("n_1d: 2", "n_1d: two", "g.yaml:27: 'n_1d' is integer, so what is expected of it is a whole number"),
        ("n_1d: 2", "n_1d: [2]", "g.yaml:27: 'n_1d' is integer, so what is expected of it is one value, for the column is integer; only"
         " JSON texts have lists and maps"),
        ("    expect:\n      ann: {n_1d: 2}\n", "    days: {2025-07-01: {ann: {n_1d: 2, m: 1}}}\n", "g.yaml:22: an example needs `as_of`"
         " and `expect`, or `days` with what is expected on each"),
        ("    expect:\n      ann: {n_1d: 2}\n", "", "g.yaml:22: an example needs `expect`, too"),
        ("  - as_of: 2025-06-30\n    orders", "  - orders", "g.yaml:22: an example needs `as_of`, too"),
    ],
)  # fmt: skip
def test_what_is_refused(written, instead, message):
    assert written in EXAMPLE
    with pytest.raises(DefinitionError) as problem:
        given(EXAMPLE.replace(written, instead))
    assert str(problem.value) == message


def test_all_that_is_wrong_is_told_at_once():
    wrong = EXAMPLE.replace("n_1d: 2", "n_1d: two").replace("amount: 1}", "amont: 1}")
    with pytest.raises(DefinitionError) as problem:
        given(wrong + wrong.replace("    orders:", "    rows:\n     orders:"))
    assert [line.split(": ")[0] for line in str(problem.value).splitlines()] == [
        "g.yaml:24",
        "g.yaml:27",
        "g.yaml:31",
        "g.yaml:34",
    ]


def test_a_group_that_a_function_makes_has_none():
    function = (
        "name: g\nrecord_identifier: person\nfunction: json:loads\nreads: {sources: [people]}\ncolumns: {n: integer}\nexamples:\n"
    )
    with pytest.raises(DefinitionError) as problem:
        given("  - {as_of: 2025-06-30, expect: {ann: {n: 1}}}\n", function)
    assert (
        str(problem.value)
        == "g.yaml:6: a group that a Python function makes takes Spark, so it has no examples; test the function"
    )


OF_PEOPLE = """\
name: people
record_identifier: person
spine: people
inputs:
  - {source: people, aggregates: [{name: vip, op: last, of: vip}]}
  - {source: orders, aggregates: [{name: total, op: sum, of: amount, windows: [7d]}, {name: shop, op: last, of: shop}]}
"""
OF_SHOPS = """\
name: shops
record_identifier: shop
rollup:
  members: [{group: people, entity: shop, columns: {spent: total_7d, vip: vip}}]
  columns: [{name: customers, op: count}, {name: spent, op: sum, of: spent}, {name: vip_share, op: share, of: vip}]
"""
OF_ALL = """\
name: g
record_identifier: "all"
rollup:
  members: [{group: shops, entity: "'all'", columns: {customers: customers, spent: spent}}]
  columns: [{name: shops, op: count}, {name: customers, op: sum, of: customers}, {name: most, op: max, of: spent}]
examples:
"""
OF_A_DAY = """\
  - days:
      2025-06-29: {all: null}
      2025-06-30: {all: {shops: 2, customers: 3, most: 7, has_history: true}, none: null}
    people: [{person: ann, since: 2025-01-01T00:00:00Z}, {person: bob, since: 2025-01-01T00:00:00Z}, {person: eve, since: 2025-01-01T00:00:00Z}]
    orders:
      - {person: ann, ordered: 2025-06-30T10:00:00, amount: 3, shop: web}
      - {person: bob, ordered: 2025-06-30T10:00:00, amount: 4, shop: web}
      - {person: eve, ordered: 2025-06-30T10:00:00, amount: 5, shop: high_street}
"""


def test_rows_of_sources_are_answered_and_rolled_up_and_what_came_out_again():
    """On the day before nobody had been to a shop."""
    _, outcomes = given(OF_A_DAY, OF_ALL, OF_SHOPS, OF_PEOPLE)
    assert [[(cell.column, cell.got) for cell in outcome.cells if not cell.holds] for outcome in outcomes] == [[]]
    _, wrong = given(OF_A_DAY.replace("most: 7", "most: 8"), OF_ALL, OF_SHOPS, OF_PEOPLE)
    assert [(cell.column, cell.expected, cell.got, cell.where) for cell in wrong[0].cells if not cell.holds] == [
        ("most", "8", "7.00", "g.yaml:9")
    ]


def test_what_is_expected_of_a_rollup_is_checked():
    with pytest.raises(DefinitionError) as problem:
        given(OF_A_DAY.replace("most: 7", "mots: 7"), OF_ALL, OF_SHOPS, OF_PEOPLE)
    assert str(problem.value) == "g.yaml:9: 'g' publishes no column 'mots' (did you mean 'most'?)"


def test_a_rollup_of_what_a_function_makes_has_none():
    function = "name: people\nrecord_identifier: person\nfunction: json:loads\nreads: {sources: [people]}\ncolumns: {shop: string, vip: boolean, total_7d: money}\n"
    with pytest.raises(DefinitionError) as problem:
        given(OF_A_DAY, OF_ALL, OF_SHOPS, function)
    assert str(problem.value) == (
        "g.yaml:6: 'g' is made of 'people', which a Python function makes: that takes Spark, so it has no examples"
    )
