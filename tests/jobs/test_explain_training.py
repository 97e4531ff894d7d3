"""`etr explain` of a training set's rows: by day and to the microsecond, of whom the spine doesn't have, and wrong use."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from jobs import curate, explain, training_set
from tests.jobs.by_hand import FEES_WEEKLY, PLANS, PLANS_DAILY, write_conf

# Local days in Kuala Lumpur end at 16:00 UTC. Plans have a day of grace.
ROWS = {
    "plans": """\
plan_id,customer_id,amount,created_at,recorded_at
p1,ann,10.00,2025-08-20T02:00:00Z,2025-08-20T02:00:01Z
p2,ann,20.00,2025-09-20T02:00:00Z,2025-09-20T02:00:01Z
p3,bob,40.00,2025-09-20T02:00:00Z,2025-09-20T02:00:01Z
late,ann,80.00,2025-09-20T15:00:00Z,2025-09-21T12:00:00Z
at T,ann,160.00,2025-09-21T02:00:00Z,2025-09-21T02:00:00Z
too late,ann,320.00,2025-09-23T16:00:00Z,2025-09-23T16:00:00Z
""",
    "fees": "fee_id,customer_id,amount,charged_at\nf1,bob,1.00,2025-09-19T00:00:00Z\n",
}
LABELS = """\
customer_id,time,target
ann,2025-09-21T10:00:00+08:00,1
ann,2025-09-21T10:00:00.000001+08:00,1
bob,2025-09-21,0
carl,2025-09-21,0
"""
SETS: tuple[dict[str, Any], ...] = (
    {"name": "by_day", "record_identifier": "customer_id", "features": {"customer_plans": "all", "customer_fees": "all"}},
    {
        "name": "by_event",
        "record_identifier": "customer_id",
        "features": {"customer_plans": ["plan_count"]},
        "grain": "event",
    },
    {
        "name": "by_target",
        "record_identifier": "customer_id",
        "features": {"customer_plans": ["plan_count"]},
        "target": {
            "horizon": "3d",
            "inputs": [
                {
                    "source": "plans",
                    "aggregates": [
                        {"name": "more_plans", "op": "count", "where": "amount < 100"},
                        {"name": "more_amount", "op": "sum", "of": "amount"},
                        {"name": "more_known", "op": "max", "of": "_known_time", "internal": True},
                    ],
                }
            ],
            "derived": [{"name": "is_more", "expr": "more_amount > 20"}],
        },
        "labels": {"targets": {"target": "number"}},
    },
    {"name": "unmade", "record_identifier": "customer_id", "features": {"customer_plans": "all"}},
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[str, ...]:
    """A lake with two training sets of the same labels; the arguments that name it."""
    folder = tmp_path_factory.mktemp("explained")
    conf = write_conf(folder / "conf", PLANS_DAILY, FEES_WEEKLY)
    (conf / "sources" / "plans.yaml").write_text(yaml.safe_dump(PLANS | {"grace": "1d"}, sort_keys=False))
    (conf / "training_sets").mkdir()
    for spec in SETS:
        (conf / "training_sets" / f"{spec['name']}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    for name, text in ROWS.items():
        (folder / "raw" / name).mkdir(parents=True)
        (folder / "raw" / name / "a.csv").write_text(text)
    labels = folder / "labels.csv"
    labels.write_text(LABELS)
    common = ("--conf", str(conf), "--lake", str(folder / "lake"))
    assert curate.main([*common, "--raw", str(folder / "raw")]) == 0
    for name in ("by_day", "by_event", "by_target"):
        assert training_set.main([name, *common, "--labels", str(labels), "--as-of", "2025-09-30"]) == 0
    return common


def explained(capsys, made: tuple[str, ...], *arguments: str) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    code = explain.main([*arguments, *made])
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), out + err


AT, AFTER = "2025-09-21T10:00:00+08:00", "2025-09-21T10:00:00.000001+08:00"


@pytest.mark.parametrize(
    ("name", "column", "entity", "label", "value"),
    [
        ("by_day", "customer_plans.plan_count_7d", "ann", AT, 2),  # the day before: p2, and the late one within its grace
        ("by_day", "customer_plans.plan_amount_sum_7d", "ann", AT, "100.00"),
        ("by_day", "customer_plans.plan_count_30d", "bob", "2025-09-21", 1),
        ("by_day", "customer_fees.fee_sum_30d", "bob", "2025-09-21T00:00:00", "1.00"),
        ("by_event", "customer_plans.plan_count_7d", "ann", AT, 1),  # no grace; what happens at T is out
        ("by_event", "customer_plans.plan_count_7d", "ann", AFTER, 2),  # and a microsecond later in
        ("by_event", "customer_plans.plan_count_30d", "bob", "2025-09-20T16:00:00Z", 1),
    ],
)
def test_a_cell_is_made_again_as_of_its_label(capsys, made, name, column, entity, label, value):
    group, _, feature = column.partition(".")
    code, told, _ = explained(capsys, made, group, entity, feature, "--training-set", name, "--label", label, "--format", "json")
    assert (code, told["value"], told["recomputed"], told["equal"]) == (0, value, value, True)
    assert sum(row["counted"] for row in told["rows"]) == (value if isinstance(value, int) else {"100.00": 2, "1.00": 1}[value])


def test_what_was_known_when_is_told(capsys, made, tmp_path):
    ann = ("customer_plans", "ann", "plan_count_7d", "--label", AT)
    _, told, _ = explained(capsys, made, *ann, "--training-set", "by_event", "--format", "json")
    assert (told["as_of"], told["cut_off"], told["label_time"]) == ("2025-09-21", "2025-09-21T02:00:00Z", "2025-09-21T02:00:00Z")
    assert {row["key"]: row["reason"] for row in told["rows"]} == {
        "p1": "outside the window: 2025-08-20T02:00:00Z is before its start at 2025-09-14T16:00:00Z",
        "p2": "",
        "late": "not yet known: it became known at 2025-09-21T12:00:00Z, after the cut-off",
        "at T": "after the cut-off: it happened at 2025-09-21T02:00:00Z",
        "too late": "after the cut-off: it happened at 2025-09-23T16:00:00Z",
    }
    page = tmp_path / "page.html"
    _, told, seen = explained(capsys, made, *ann, "--training-set", "by_day", "--page", str(page))
    assert (told["as_of"], told["cut_off"]) == ("2025-09-20", "2025-09-20T16:00:00Z")
    heading = "customer_plans.plan_count_7d of ann, for the label of 2025-09-21T02:00:00Z, as of 2025-09-20"
    assert heading in seen and heading in page.read_text() and "training set by_day, version " in seen


@pytest.mark.parametrize(
    ("entity", "target", "value"),
    [
        ("ann", "more_plans", 0),
        ("ann", "more_amount", "160.00"),
        ("ann", "is_more", True),
        ("bob", "more_plans", 0),
        ("bob", "is_more", False),
        ("carl", "more_amount", "0.00"),
    ],
)
def test_a_target_is_made_again_from_what_happened_in_its_period(capsys, made, entity, target, value):
    label = ("--label", AT) if entity == "ann" else ()
    code, told, _ = explained(
        capsys, made, "by_target", entity, target, "--training-set", "by_target", *label, "--format", "json"
    )
    assert (code, told["value"], told["recomputed"], told["equal"]) == (0, value, value, True)
    assert (told["as_of"], told["cut_off"], told["period_end"]) == ("2025-09-20", "2025-09-20T16:00:00Z", "2025-09-23T16:00:00Z")


def test_what_counts_for_a_target_and_what_does_not(capsys, made, tmp_path):
    page = tmp_path / "page.html"
    ann = ("by_target", "ann", "more_plans", "--training-set", "by_target", "--label", AT)
    _, told, _ = explained(capsys, made, *ann, "--format", "json", "--page", str(page))
    before = "outside the window: {} is before its start at 2025-09-20T16:00:00Z"
    assert {row["key"]: row["reason"] for row in told["rows"]} == {
        "p1": before.format("2025-08-20T02:00:00Z"),
        "p2": before.format("2025-09-20T02:00:00Z"),
        "late": before.format("2025-09-20T15:00:00Z"),
        "at T": "filtered: not amount < 100",
        "too late": "after the period's end: it happened at 2025-09-23T16:00:00Z",
    }
    _, told, seen = explained(capsys, made, *ann[:2], "more_amount", *ann[3:])
    heading = "by_target.more_amount of ann, for the label of 2025-09-21T02:00:00Z, from 2025-09-20T16:00:00Z until 2025-09-23T16:00:00Z"
    assert heading in seen.replace("\n", " ") and "training set by_target, version " in seen
    assert heading.replace("more_amount", "more_plans") in page.read_text()


def test_without_a_row_of_the_spine_it_is_null(capsys, made):
    """Bob has a fee and ann hasn't; of carl, whose only label needs no naming, nothing is known."""
    for entity, feature in (("ann", "fee_sum_30d"), ("carl", "fee_sum_30d")):
        label = ("--label", AT) if entity == "ann" else ()
        code, told, seen = explained(capsys, made, "customer_fees", entity, feature, "--training-set", "by_day", *label)
        assert (code, told["value"], told["recomputed"], told["equal"]) == (0, None, None, True)
        assert "null: no row of fees, the spine of customer_fees, counts; it would else be 0.00" in seen


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("customer_plans ann plan_count_7d --training-set by_dya", 2,
         "no training set named 'by_dya' (did you mean 'by_day'?); known: by_day, by_event, by_target, unmade"),
        ("customer_plans ann plan_count_7d --training-set unmade", 1, "training set unmade: not made yet in "),
        ("customer_fees ann fee_sum_30d --training-set by_event", 1,
         "training set by_event takes nothing of customer_fees; its groups: customer_plans"),
        ("customer_plans bob plan_amount_sum_7d --training-set by_event", 1,
         "training set by_event has no 'plan_amount_sum_7d'; of customer_plans it takes: plan_count_7d, plan_count_30d"),
        ("customer_plans zoe plan_count_7d --training-set by_day", 1, "training set by_day has no label of customer_id 'zoe'"),
        ("customer_plans ann plan_count_7d --training-set by_day", 2, "training set by_day has 2 labels of customer_id 'ann'; say which: "
         "--label TIME, one of 2025-09-21T02:00:00Z, 2025-09-21T02:00:00.000001Z"),
        ("by_target ann more_plan --training-set by_target --label " + AT, 2, "the target of training set by_target has no column 'more_plan' "
         "(did you mean 'more_plans'?); its columns: more_plans, more_amount, more_known, is_more"),
        ("by_target ann more_known --training-set by_target --label " + AT, 2,
         "by_target: 'more_known' is internal, so that no training row holds it; explain what is made of it"),
        ("by_target bob target --training-set by_target", 1, "training set by_target: 'target' came with the labels, as it stands in their "
         "row 4; what is made from ledgers can be made again, that can't"),
        ("by_day bob plan_count_7d --training-set by_day", 2,
         "training set by_day defines no target, its labels bring it; explain a feature of a group instead"),
        ("customer_plans bob more_plans --training-set by_target", 2, "customer_plans has no feature 'more_plans'; it belongs to the target: "
         "etr explain by_target bob more_plans --training-set by_target"),
        ("customer_plans bob plan_count_7d --training-set by_day --label 2025-09-22", 1, "training set by_day has no label of customer_id "
         "'bob' at 2025-09-21T16:00:00Z; those that are there: 2025-09-20T16:00:00Z"),
        ("customer_plans bob plan_count_7d --training-set by_day --label yesterday", 2,
         "--label: 'yesterday' is not a time; write it as the labels do, such as 2025-09-30 or 2025-09-30T16:00:00Z"),
        ("customer_plans bob plan_count_7d --training-set by_day --as-of 2025-09-20", 2,
         "--as-of and --training-set: a training set's row is found by its label; say which: --label TIME"),
        ("customer_plans bob plan_count_7d --label 2025-09-21", 2,
         "--label names a label of a training set; say of which: --training-set NAME"),
    ],
)  # fmt: skip
def test_wrong_use(capsys, made, arguments, code, message):
    found, told, _ = explained(capsys, made, *arguments.split())
    assert (found, told["status"]) == (code, "failed")
    assert told["error"].startswith(message)


def test_a_ledger_that_knows_better_by_now_is_told_loudly(capsys, made, tmp_path):
    """A plan of the 19th, delivered after the training set was made."""
    raw = tmp_path / "raw"
    (raw / "plans").mkdir(parents=True)
    (raw / "fees").mkdir()
    header = ROWS["plans"].splitlines()[0]
    (raw / "plans" / "b.csv").write_text(f"{header}\np9,bob,5.00,2025-09-19T02:00:00Z,2025-09-19T02:00:00Z\n")
    assert curate.main([*made, "--raw", str(raw)]) == 0
    code, told, seen = explained(capsys, made, "customer_plans", "bob", "plan_count_7d", "--training-set", "by_day")
    assert (code, told["value"], told["recomputed"], told["equal"]) == (1, 1, 2, False)
    assert "NOT EQUAL: customer_plans.plan_count_7d of 'bob' for the label of 2025-09-20T16:00:00Z, as of 2025-09-20 is 1" in seen
    assert "(etr training_set by_day makes it anew)" in seen
