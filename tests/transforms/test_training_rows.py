"""Training rows against the oracle: the features known at each label's time, by day and to the microsecond, and what happened after."""

from __future__ import annotations

import random
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from conf.catalogue import load_catalogue
from conf.specs import FeatureGroup
from conf.training_sets import TrainingSet
from tests.histories import DAYS, batch, utc
from tests.oracle import disagreements, local_date, start_of_day
from tests.training import DAY, Expected, Label, compiled, pieces, training_rows
from transforms import training_rows as engine
from transforms.calendar import EPOCH, day_number
from transforms.training_sets import compile_training_set

CATALOGUE = load_catalogue()
MICROSECOND = timedelta(microseconds=1)
MALAYSIA = "Asia/Kuala_Lumpur"
SPEC = {"name": "labelled", "record_identifier": "customer_id"}
SMALL = FeatureGroup.model_validate(
    {
        "name": "small",
        "record_identifier": "customer_id",
        "spine": "customers",
        "inputs": [
            {
                "source": "bnpl_plans",
                "aggregates": [
                    {"name": "plans", "op": "count", "windows": ["7d", "1mo"]},
                    {"name": "financed", "op": "sum", "of": "financed_amount", "where": "decision = 'approved'"},
                    {"name": "provider", "op": "last", "of": "provider", "internal": True},
                ],
                "states": [{"name": "active", "op": "count", "from": "created_at", "until": "settled_at"}],
            },
            {"source": "payments", "aggregates": [{"name": "paid", "op": "sum", "of": "amount", "windows": ["30d"]}]},
        ],
        "derived": [
            {"name": "is_atome", "expr": "provider = 'atome'"},
            {"name": "plan_share", "expr": "ratio(plans_7d, plans_1mo)"},
        ],
    }
)


def with_grace(hours: int):
    graces = {"bnpl_plans": timedelta(hours=hours), "customers": timedelta(hours=hours)}
    return {
        name: CATALOGUE.sources[name].model_copy(update={"grace": graces.get(name, timedelta())})
        for name in ("customers", "bnpl_plans", "payments", "instalments")
    }


def random_labels(entities, as_of: date, zone: str, *, seed: int) -> list[Label]:
    """Three of each entity: on edges of a day, to the microsecond, and at any moment; one of nobody that is known."""
    chance = random.Random(seed)
    edges = [
        start_of_day(as_of + step * DAY, zone) + shift for step in (0, 1, 2) for shift in (-MICROSECOND, timedelta(), MICROSECOND)
    ]
    labels = {
        Label(entity, chance.choice([*edges, edges[4] + timedelta(seconds=chance.randrange(86_400))]))
        for entity in entities
        for _ in range(3)
    }
    return [*sorted(labels, key=lambda label: (label.time, label.entity)), Label("nobody", edges[4])]


def history(group: FeatureGroup, sources, moment: int, *, seed: int, cases: int = 20):
    as_of, zone = DAYS[moment]
    rows, _ = batch(sources, group, as_of=as_of, zone=zone, cases=cases, seed=seed)
    entities = sorted({row["customer_id"] for some in rows.values() for row in some if row.get("customer_id")})
    return rows, random_labels(entities, as_of, zone, seed=seed), zone


def assert_as_expected(found, expected, group: FeatureGroup) -> None:
    """Features and has_history of every label; of an entity that isn't on the spine no feature has a value."""
    told, wanted = {}, {}
    for label, row in found.items():
        key = f"{label.entity} at {label.time}"
        features = expected(label)
        names = [name for name in row if name not in META and not name.startswith(f"{group.name}__")]
        told[key] = {name: row[name] for name in names} | {"has_history": row[f"{group.name}__has_history"]}
        wanted[key] = dict.fromkeys(names) | {"has_history": False} if features is None else features
    assert sum(features["has_history"] for features in wanted.values()) > 10
    assert disagreements(wanted, told) == []


META = {"customer_id", "label_time", "label_row", "as_of", "cut_off", "has_history", "target"}


@pytest.mark.parametrize("moment", [0, 1, 3, 5])
def test_by_day_the_features_are_those_of_the_day_before(moment):
    """Of the label's local day nothing leaks, whatever its hour; what was known within the grace counts."""
    sources = with_grace(2)
    spec = TrainingSet.model_validate({**SPEC, "features": {"small": "all"}})
    rows, labels, zone = history(SMALL, sources, moment, seed=moment)
    made = compiled(spec, sources, [SMALL], zone)
    found = training_rows(made, rows, labels, values={"target": [1.0] * len(labels)})
    assert_as_expected(found, Expected(SMALL, sources, rows, zone).of_day, SMALL)
    for label, row in found.items():
        day = local_date(label.time, zone) - DAY
        assert (row["as_of"], row["cut_off"], row["target"]) == (day, start_of_day(day + DAY, zone), 1.0)


@pytest.mark.parametrize("moment", [0, 2, 4, 6])
def test_by_event_the_features_are_known_to_the_microsecond(moment):
    """What happened before the label's time, known by then: the grace doesn't help."""
    sources = with_grace(2)
    spec = TrainingSet.model_validate({**SPEC, "features": {"small": "all"}, "grain": "event"})
    rows, labels, zone = history(SMALL, sources, moment, seed=50 + moment)
    found = training_rows(compiled(spec, sources, [SMALL], zone), rows, labels, values={"target": [0.0] * len(labels)})
    assert_as_expected(found, Expected(SMALL, sources, rows, zone).of_event, SMALL)
    for label, row in found.items():
        assert (row["as_of"], row["cut_off"]) == (local_date(label.time - MICROSECOND, zone), label.time)


def test_more_days_before():
    sources = with_grace(0)
    spec = TrainingSet.model_validate({**SPEC, "features": {"small": ["plans", "financed"]}, "days_before": 3})
    rows, labels, zone = history(SMALL, sources, 0, seed=7)
    found = training_rows(compiled(spec, sources, [SMALL], zone), rows, labels, values={"target": [0.0] * len(labels)})
    expected = Expected(SMALL, sources, rows, zone)
    names = ("plans_7d", "plans_1mo", "financed")
    assert set(next(iter(found.values()))) - META == {
        *names,
        *(f"small__{name}" for name in ("version", "has_history", "age_days")),
    }
    for label, row in found.items():
        wanted = expected.of_day(label, days_before=3) or dict.fromkeys(names)
        assert {name: row[name] for name in names} == {name: wanted[name] for name in names}


@pytest.mark.parametrize("name", CATALOGUE.training_sets)
def test_shipped_training_sets(name):
    """What they take of each group is what the oracle says of it, the label's own day left out."""
    spec = CATALOGUE.training_set(name)
    made = compile_training_set(spec, CATALOGUE, MALAYSIA)
    for group in made.rows.groups:
        definition = CATALOGUE.group(group.name)
        rows, labels, zone = history(definition, CATALOGUE.sources, 0, seed=11, cases=3)
        rows["consents"] = [consent(entity) for entity in sorted({label.entity for label in labels})]
        found = training_rows(made, rows, labels)
        expected = Expected(definition, {**CATALOGUE.sources, **CATALOGUE.unions}, rows, zone, CATALOGUE.groups)
        taken = [column.name for column in group.columns]
        known = 0
        for label, row in found.items():
            told = expected.of_day(label) or dict.fromkeys(taken)
            wanted = {label.entity: {column: told[column] for column in taken}}
            assert disagreements(wanted, {label.entity: {column: row[column] for column in taken}}) == []
            known += any(value not in (None, 0, False) for value in wanted[label.entity].values())
        assert known > 10


def consent(customer: str) -> dict:
    """Without one, every feature of a customer is blank."""
    given = utc("2020-01-01T00:00:00")
    told = {"customer_id": customer, "purpose": "bureau", "given_at": given, "recorded_at": given, "withdrawn_at": None}
    return told | {"consent_id": f"consent-{customer}"}


# ---- the target


TARGET = {
    "horizon": "1mo",
    "inputs": [
        {
            "source": "instalments",
            "settled_by": {
                "source": "payments", "on": {"instalment_id": "instalment_id"}, "amount": "amount", "due": "due_amount",
                "where": "outcome = 'succeeded'",
            },
            "aggregates": [
                {"name": "late", "op": "any", "at": "add_days(due_date, 10)",
                 "where": "paid_at is null or paid_at >= start_of_day(add_days(due_date, 10))"},
                {"name": "due", "op": "sum", "of": "due_amount", "at": "due_date", "internal": True},
            ],
            "states": [{"name": "unpaid_at_end", "op": "count", "from": "due_date", "until": "paid_at"}],
            "daily": [{"name": "most_unpaid", "value": "count()", "op": "max", "from": "due_date", "until": "paid_at"}],
        },
        {"source": "payments", "aggregates": [{"name": "attempts", "op": "count"}]},
    ],
    "derived": [{"name": "is_heavy", "expr": "due > 100"}],
}  # fmt: skip


def target_group(window: str) -> FeatureGroup:
    """The target as a group whose windows are the period."""
    group = {"name": "outcome", "record_identifier": "customer_id", "spine": "customers", "inputs": [], "derived": []}
    for item in TARGET["inputs"]:
        windowed = {kind: [one | {"windows": [window]} for one in item.get(kind, [])] for kind in ("aggregates", "daily")}
        group["inputs"].append(item | windowed)
    group["derived"] = [{"name": "is_heavy", "expr": f"due_{window} > 100"}]
    return FeatureGroup.model_validate(group)


@pytest.mark.parametrize("moment", [0, 1, 2, 6])
def test_the_target_is_what_happened_from_the_cut_off_to_the_periods_end(moment):
    """With today's knowledge of it: a window of the period's days, as of its last day, in hindsight."""
    sources = {name: source.model_copy(update={"grace": timedelta()}) for name, source in with_grace(0).items()}
    spec = TrainingSet.model_validate({**SPEC, "features": {"small": ["plans"]}, "target": TARGET})
    as_of, zone = DAYS[moment]
    rows, _ = batch(sources, target_group("30d"), as_of=as_of, zone=zone, cases=15, seed=moment)
    entities = sorted({row["customer_id"] for row in rows["customers"]})
    labels = random_labels(entities, as_of - 12 * DAY, zone, seed=moment)
    made = compiled(spec, sources, [SMALL], zone)
    found = training_rows(made, rows, labels)
    by_length: dict[int, Expected] = {}
    seen = set()
    for label, row in found.items():
        first = local_date(label.time, zone)
        end = one_month_later(first)
        days = (end - first).days
        expected = by_length.setdefault(days, Expected(target_group(f"{days}d"), sources, rows, zone))
        if (told := expected.with_hindsight(label.entity, end - DAY)) is None:
            continue  # the oracle says nothing of those that aren't on the spine
        names = {"late": f"late_{days}d", "attempts": f"attempts_{days}d", "most_unpaid": f"most_unpaid_{days}d",
                 "unpaid_at_end": "unpaid_at_end", "is_heavy": "is_heavy"}  # fmt: skip
        wanted = {name: told[theirs] for name, theirs in names.items()}
        assert {name: row[name] for name in wanted} == wanted, label
        seen |= {(name, bool(value)) for name, value in wanted.items()}
    assert seen == {(name, value) for name in names for value in (True, False)}


def one_month_later(day: date) -> date:
    month = day.month % 12 + 1
    year = day.year + (day.month == 12)
    for number in (day.day, 30, 29, 28):
        try:
            return date(year, month, number)
        except ValueError:
            continue
    raise AssertionError(day)


CUSTOMERS = [
    {"customer_id": name, "version": 1, "valid_from": "2024-01-01T00:00:00Z", "recorded_at": "2024-01-01T00:00:00Z"}
    for name in ("ann", "bob")
]
SETTINGS = {**SPEC, "features": {"small": ["plans_7d"]}, "target": {"horizon": "30d", "inputs": [
    {"source": "bnpl_plans", "aggregates": [{"name": "plans_after", "op": "count"}]}]}}  # fmt: skip


def plans(*times: str, customer: str = "ann", known: str | None = None):
    """Plans created at these local times, known at once unless told."""
    return [
        {"plan_id": f"{customer}-{time}", "customer_id": customer, "provider": "atome", "merchant_category": "fashion", "financed_amount": "1",
         "created_at": time, "recorded_at": known or time}
        for time in times
    ]  # fmt: skip


def at(text: str):
    return utc(text + "+08:00")


@pytest.mark.parametrize(
    ("grain", "time", "events", "before", "after"),
    [
        # By day, T is the midnight at which the label's day begins; the period ends with the 30th local day after D.
        ("day", "2025-06-15T15:00:00", ["2025-06-14T23:59:59.999999"], 1, 0),
        ("day", "2025-06-15T15:00:00", ["2025-06-15T00:00:00"], 0, 1),
        ("day", "2025-06-15T15:00:00", ["2025-06-15T09:00:00"], 0, 1),  # before the label, on its day
        ("day", "2025-06-15T15:00:00", ["2025-07-14T23:59:59.999999"], 0, 1),
        ("day", "2025-06-15T15:00:00", ["2025-07-15T00:00:00"], 0, 0),
        # By event, T is the label's time; the period ends with the same local day.
        ("event", "2025-06-15T15:00:00", ["2025-06-15T14:59:59.999999"], 1, 0),
        ("event", "2025-06-15T15:00:00", ["2025-06-15T15:00:00"], 0, 1),
        ("event", "2025-06-15T15:00:00", ["2025-07-15T23:59:59.999999"], 0, 1),
        ("event", "2025-06-15T15:00:00", ["2025-07-16T00:00:00"], 0, 0),
        ("event", "2025-06-15T00:00:00", ["2025-06-14T23:59:59.999999", "2025-06-15T00:00:00"], 1, 1),
        ("event", "2025-06-15T00:00:00", ["2025-07-14T23:59:59.999999", "2025-07-15T00:00:00"], 0, 1),
    ],
)
def test_an_event_is_a_feature_before_the_cut_off_and_the_target_from_it_on(grain, time, events, before, after):
    made = compiled(TrainingSet.model_validate({**SETTINGS, "grain": grain}), with_grace(0), [SMALL])
    found = training_rows(made, {"customers": CUSTOMERS, "bnpl_plans": plans(*events)}, [Label("ann", at(time))])
    row = found[Label("ann", at(time))]
    assert (row["plans_7d"], row["plans_after"]) == (before, after)


def test_a_late_row_tells_what_happened_and_is_no_feature():
    """Known a year later: the target has it, the features of a later label of that time have not."""
    late = plans("2025-06-10T12:00:00", known="2026-06-01T00:00:00")
    made = compiled(TrainingSet.model_validate(SETTINGS), with_grace(0), [SMALL])
    labels = [Label("ann", at("2025-06-10T00:00:00")), Label("ann", at("2025-06-12T00:00:00"))]
    found = training_rows(made, {"customers": CUSTOMERS, "bnpl_plans": late}, labels)
    assert [(row["plans_7d"], row["plans_after"]) for row in found.values()] == [(0, 1), (0, 0)]


def test_how_old_the_features_are():
    """Local days from the newest fact of any input to the label's day; null where nothing was known, or nobody."""
    rows = {
        "customers": CUSTOMERS,
        "bnpl_plans": plans("2025-06-01T12:00:00", "2025-06-09T23:00:00") + plans("2025-06-12T00:00:00", customer="carl"),
        "payments": [{"payment_id": "p", "instalment_id": "i", "customer_id": "ann", "attempted_at": "2025-06-05T00:00:00", "amount": "1",
                      "outcome": "failed", "is_autopay": "false"}],
    }  # fmt: skip
    spec = TrainingSet.model_validate({**SPEC, "features": {"small": ["plans"]}, "labels": {"targets": {}}})
    times = [("ann", "2025-06-01T09:00"), ("ann", "2025-06-02T09:00"), ("ann", "2025-06-07T23:00"), ("ann", "2025-06-10T01:00"),
             ("bob", "2025-06-10T01:00"), ("carl", "2025-06-20T00:00")]  # fmt: skip
    labels = [Label(name, at(time)) for name, time in times]
    made = compiled(spec, with_grace(0), [SMALL])
    found = training_rows(made, rows, labels)
    names = ("has_history", "small__has_history", "small__age_days", "plans_7d")
    assert [tuple(found[label][name] for name in names) for label in labels] == [
        (False, False, None, 0),  # the plan of that day came after the label's day had begun
        (True, True, 1, 1),
        (True, True, 2, 1),
        (True, True, 1, 1),
        (False, False, None, 0),  # on the spine, without any fact
        (False, False, None, None),  # a plan, and not on the spine: no row in the group
    ]
    [piece] = pieces(made, rows, labels)
    unknown = engine.without_history(piece, "customer_id").to_pylist()
    assert [(row["customer_id"], row["label_row"], row["not_on_spine_of"]) for row in unknown] == [
        ("ann", 1, None), ("bob", 5, None), ("carl", 6, "small"),
    ]  # fmt: skip


def test_rewriting_what_comes_after_each_labels_cut_off_changes_nothing():
    """Rule 7: every row that happened at T or later, or became known after it, is rewritten; the rows stay identical."""
    sources = with_grace(2)
    spec = TrainingSet.model_validate({**SPEC, "features": {"small": "all"}, "labels": {"targets": {}}})
    rows, labels, zone = history(SMALL, sources, 0, seed=21, cases=30)
    labels = list({label.entity: label for label in labels}.values())  # one of each entity
    made = compiled(spec, sources, [SMALL], zone)
    cut_offs = {label.entity: row["cut_off"] for label, row in training_rows(made, rows, labels).items()}
    rewritten, changed = {}, 0
    for name, some in rows.items():
        source, rewritten[name] = sources[name], []
        for row in some:
            cut_off = cut_offs[row["customer_id"]]
            if row[source.event_time.column] >= cut_off or row[source.known_time.column] > cut_off + source.grace:
                amounts = [column for column, told in source.columns.items() if told.type == "money"]
                row = row | dict.fromkeys(amounts) | ({"provider": "rewritten"} if name == "bnpl_plans" else {})
                changed += 1
            rewritten[name].append(row)
    assert changed > 50
    assert training_rows(made, rows, labels) == training_rows(made, rewritten, labels)


def test_many_labels_are_answered_in_pieces(monkeypatch):
    sources = with_grace(0)
    spec = TrainingSet.model_validate({**SPEC, "features": {"small": "all"}, "target": TARGET})
    rows, labels, zone = history(SMALL, sources, 0, seed=31)
    made = compiled(spec, sources, [SMALL], zone)
    [whole] = pieces(made, rows, labels)
    monkeypatch.setattr(engine, "MAXIMUM_CELLS", 200)
    parts = pieces(made, rows, labels)
    assert len(parts) > 5
    assert pa.concat_tables(part.rows for part in parts).equals(whole.rows)


@pytest.mark.parametrize(
    ("horizon", "settling", "as_of", "last", "ripe"),
    [
        ("30d", "0d", "2025-01-31", "2025-03-02", "2025-03-02"),
        ("30d", "14d", "2025-01-31", "2025-03-02", "2025-03-16"),
        ("1mo", "0d", "2025-01-31", "2025-02-28", "2025-02-28"),  # the month after D is February
        ("1mo", "0d", "2025-01-30", "2025-02-27", "2025-02-27"),  # from 31 January to the last of February, exclusive
        ("12mo", "0d", "2024-02-28", "2025-02-27", "2025-02-27"),  # T is in the leap day; 2025 has none
        ("12mo", "0d", "2023-02-28", "2024-02-29", "2024-02-29"),
        ("12mo", "7d", "2024-12-31", "2025-12-31", "2026-01-07"),
    ],
)
def test_when_a_label_is_ripe(horizon, settling, as_of, last, ripe):
    """When the last day of its period is over, and the days have passed until that is known."""
    target = {**SETTINGS["target"], "horizon": horizon, "settling": settling}
    made = compiled(TrainingSet.model_validate({**SETTINGS, "target": target}), with_grace(0), [SMALL])
    days = np.array([day_number(date.fromisoformat(as_of))])
    told = [made.rows.outcome.last_days(days), made.rows.known_on(days)]
    assert [EPOCH + int(day[0]) * DAY for day in told] == [date.fromisoformat(last), date.fromisoformat(ripe)]
