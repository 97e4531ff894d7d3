"""Training sets as they are written: their short forms, and what is wrong with a wrong one, with its line."""

from __future__ import annotations

import pytest

from conf.catalogue import load_catalogue
from conf.errors import DefinitionError, UsageError
from conf.training_sets import Choice
from tests.conf.test_catalogue import folder

SET = """\
name: order_default
record_identifier: customer_id
features:
  customer_orders: [order_count_7d]
target:
  horizon: 12mo
  settling: 14d
  inputs:
    - source: orders
      aggregates: [{name: bad, op: any, where: "amount < 0"}]
spine: {every: 1mo, from: 2024-01-31}
"""


def written(tmp_path, text: str = SET):
    folder(tmp_path)
    path = tmp_path / "training_sets" / "order_default.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return load_catalogue(tmp_path)


def test_a_training_set_is_found_by_name(tmp_path):
    catalogue = written(tmp_path)
    found = catalogue.training_set("order_default")
    assert (str(found.target.horizon), found.target.settling, found.grain, found.days_before) == ("12mo", 14, "day", 1)
    assert found.features == {"customer_orders": Choice(only=("order_count_7d",))}
    with pytest.raises(UsageError) as problem:
        catalogue.training_set("order_defaults")
    assert str(problem.value) == ("no training set named 'order_defaults' (did you mean 'order_default'?); known: order_default")


@pytest.mark.parametrize(
    ("features", "choice"),
    [
        ("all", Choice()),
        ("{all_but: [order_count_30d]}", Choice(all_but=("order_count_30d",))),
        ("{only: [order_count]}", Choice(only=("order_count",))),
    ],
)
def test_ways_to_choose_features(tmp_path, features, choice):
    catalogue = written(tmp_path, SET.replace("[order_count_7d]", features))
    assert catalogue.training_set("order_default").features == {"customer_orders": choice}


@pytest.mark.parametrize(
    ("target", "targets", "expected"),
    [
        ("", "", {"target": "number"}),
        ("target: {horizon: 90d, inputs: [{source: orders}]}\n", "", {}),
        ("", "labels: {targets: {defaulted: boolean}}\n", {"defaulted": "boolean"}),
    ],
)
def test_what_a_labels_file_must_say(tmp_path, target, targets, expected):
    """Nothing, where the definition has a target of its own; a number called `target`, where nobody says anything."""
    text = "name: order_default\nrecord_identifier: customer_id\nfeatures: {customer_orders: all}\n" + target + targets
    assert written(tmp_path, text).training_set("order_default").label_targets == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("horizon: 12mo", "horizon: life", "order_default.yaml:6: 'life' is no length of a period; write days or months, such as '90d'"
         " or '12mo'"),
        ("horizon: 12mo", "horizon: 12w", "order_default.yaml:6: window '12w' is not a length of time; write a whole number and a unit"
         " (d or mo), such as '30d' or '6mo', or 'mtd' or 'life'"),
        ("settling: 14d", "settling: 1mo", "order_default.yaml:7: '1mo' is not a number of local days; write it as '14d'"),
        ("every: 1mo", "every: 1y", "order_default.yaml:11: '1y' is not a step; write a number of days, weeks or months, such as 1d, 1w or"
         " 1mo"),
        ("[order_count_7d]", "[]", "order_default.yaml:4: an empty list takes no feature; write `all`, names, or {all_but: [names]}"),
        ("[order_count_7d]", "everything", "order_default.yaml:4: 'everything' is not a choice of features; write `all`, a list of names,"
         " or {all_but: [names]}"),
        ("[order_count_7d]", "{only: [a], all_but: [b]}", "order_default.yaml:4: write `only` or `all_but`, not both"),
        ("target:", "days_before: 0\ntarget:", "order_default.yaml:1: `days_before: 0` would let what happened on the label's own day, after"
         " it, into its features; the least is 1, the day before; or write `grain: event`: what was known at its time"),
        ("target:", "grain: event\ndays_before: 2\ntarget:", "order_default.yaml:1: `days_before` goes with `grain: day`; `grain: event`"
         " takes what is known at the label's own time"),
        ("target:", "grain: event\ntarget:", "order_default.yaml:1: `spine` asks for days; it goes with `grain: day`"),
        ("settling: 14d", "setling: 14d", "order_default.yaml:7: unknown key 'setling' (did you mean 'settling'?); known: horizon, settling,"
         " inputs, derived"),
    ],
)  # fmt: skip
def test_a_wrong_definition_names_its_line(tmp_path, old, new, message):
    assert old in SET
    with pytest.raises(DefinitionError) as problem:
        written(tmp_path, SET.replace(old, new, 1))
    assert str(problem.value) == message


def test_a_spine_needs_a_target(tmp_path):
    text = "name: x\nrecord_identifier: customer_id\nfeatures: {customer_orders: all}\nspine: {from: 2024-01-31}\n"
    with pytest.raises(DefinitionError) as problem:
        written(tmp_path, text)
    assert str(problem.value) == (
        "order_default.yaml:1: `spine` needs `target`: without a labels file nothing else says what is to be learned"
    )
