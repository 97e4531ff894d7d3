"""Which rules follow from a definition, and which don't."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conf.catalogue import load_catalogue
from conf.settings import load_settings
from conf.specs import FeatureGroup
from expectations.rules import Profile, Suite
from expectations.suites import group_suite, source_suite
from jobs.validate import load_rules
from tests.expectations.definitions import PLANS, ZONE, catalogue_of, group
from transforms.feature_group import compile_groups

LIMITS = load_settings("local").validation


def suite_of(definition: FeatureGroup, before: Profile | None = None) -> Suite:
    catalogue, compiled = catalogue_of(definition)
    return group_suite(
        compiled.groups[definition.name],
        definition,
        catalogue.sources,
        event_time="2025-09-30T16:00:00Z",
        time_zone=ZONE,
        rows=10,
        limits=LIMITS,
        before=before,
    )


def told(suite: Suite, *columns: str) -> set[str]:
    """The words of the rules about features, their types left out."""
    general = {"customer_id", "event_time", "time_zone", "has_history", "rows", "columns", "key"}
    return {rule.words for rule in suite.rules if rule.name.split(".")[0] not in general and not rule.name.endswith(".type")}


def test_a_share_of_members_lies_between_0_and_1_and_is_there_unless_a_condition_leaves_none() -> None:
    members = [{"group": "customer_plans", "entity": "customer_id", "columns": {"n": "n_7d"}}]
    columns = [
        {"name": "members", "op": "count"},
        {"name": "some_share", "op": "share", "of": "n > 0"},
        {"name": "many_share", "op": "share", "of": "n > 9", "where": "n > 0"},
        {"name": "mean", "op": "mean", "of": "cast(n as number)"},
    ]
    rolled_up = FeatureGroup.model_validate(
        {"name": "portfolio", "record_identifier": "portfolio_id", "rollup": {"members": members, "columns": columns}}
    )
    of_plans = group({"name": "n", "op": "count", "windows": ["7d"]}).model_copy(update={"name": "customer_plans"})
    catalogue, compiled = catalogue_of(of_plans, rolled_up)
    suite = group_suite(
        compiled.group("portfolio"), rolled_up, catalogue.sources, event_time="t", time_zone=ZONE, rows=1, limits=LIMITS
    )
    assert {words for words in told(suite) if words.partition(" ")[0] in {column["name"] for column in columns}} == {
        "members is not null",
        "members is ≥ 0",
        "some_share is not null",
        "some_share is ≥ 0 and ≤ 1",
        "many_share is ≥ 0 and ≤ 1",
        "mean is not null",
        "mean is finite",
    }


def test_every_snapshot_is_asked_for_its_columns_identifier_day_and_rows() -> None:
    suite = suite_of(group({"name": "n", "op": "count", "windows": ["7d"]}))

    assert {rule.name: (rule.severity, rule.words) for rule in suite.rules} == {
        "columns": ("critical", "the columns are those of the definition"),
        "customer_id.type": ("critical", "customer_id is StringType"),
        "event_time.type": ("critical", "event_time is StringType"),
        "time_zone.type": ("critical", "time_zone is StringType"),
        "has_history.type": ("critical", "has_history is BooleanType"),
        "as_of.type": ("critical", "as_of is DateType"),
        "snapshot_version.type": ("critical", "snapshot_version is StringType"),
        "n_7d.type": ("critical", "n_7d is LongType"),
        "rows.some": ("critical", "there is at least one row"),
        "rows.handed_over": ("critical", "10 rows were handed over"),
        "key.unique": ("critical", "no two rows have the same customer_id"),
        "rows.quarantined": ("critical", "at most 5.00% of the rows are quarantined"),
        "customer_id.not_null": ("error", "customer_id is not null"),
        "event_time.not_null": ("error", "event_time is not null"),
        "event_time.values": ("error", "event_time is one of 2025-09-30T16:00:00Z"),
        "time_zone.not_null": ("error", "time_zone is not null"),
        "time_zone.values": ("error", "time_zone is one of Asia/Kuala_Lumpur"),
        "has_history.not_null": ("error", "has_history is not null"),
        "n_7d.not_null": ("error", "n_7d is not null"),
        "n_7d.range": ("error", "n_7d is ≥ 0"),
    }


def test_counts_grow_with_windows_of_days_and_no_others() -> None:
    counts = group({"name": "n", "op": "count", "windows": ["90d", "7d", "mtd", "2mo", "life"], "lag": [0, 7]})

    identities = {words for words in told(suite_of(counts)) if "≤" in words}

    assert identities == {"n_7d ≤ n_90d", "n_90d ≤ n_life", "n_7d_lag7d ≤ n_90d_lag7d", "n_90d_lag7d ≤ n_life_lag7d"}


@pytest.mark.parametrize(
    ("op", "of", "expected"),
    [
        ("sum", "amount", {"f_7d is not null", "f_30d is not null", "f_7d is ≥ 0", "f_30d is ≥ 0", "f_7d ≤ f_30d"}),
        ("sum", "net", {"f_7d is not null", "f_30d is not null"}),  # may be negative
        ("sum", "amount - net", {"f_7d is not null", "f_30d is not null"}),  # nothing is known of an expression
        (
            "sum",
            "share",
            {"f_7d is not null", "f_30d is not null", "f_7d is ≥ 0 and finite", "f_30d is ≥ 0 and finite"},
        ),  # rounds
        ("mean", "amount", {"f_7d is ≥ 0", "f_30d is ≥ 0"}),
        ("max", "net", {"f_7d ≤ f_30d"}),
        ("min", "net", {"f_30d ≤ f_7d"}),
        ("std", "share", {"f_7d is ≥ 0 and finite", "f_30d is ≥ 0 and finite"}),
        ("slope", "share", {"f_7d is finite", "f_30d is finite"}),
        ("recency", None, {"f_7d is ≥ 0", "f_30d is ≥ 0"}),
        ("distinct_count", "provider", {"f_7d is not null", "f_30d is not null", "f_7d is ≥ 0", "f_30d is ≥ 0", "f_7d ≤ f_30d"}),
        ("last", "provider", set()),
    ],
)
def test_rules_follow_from_the_operation_and_what_it_is_taken_of(op: str, of: str | None, expected: set[str]) -> None:
    aggregate = {"name": "f", "op": op, "windows": ["7d", "30d"]} | ({"of": of} if of else {})

    assert told(suite_of(group(aggregate))) == expected


def test_values_add_up_to_the_whole_with_other_and_to_no_more_without() -> None:
    by_all = {"name": "n", "op": "count", "windows": ["7d"], "by": {"provider": ["atome", "other"]}}
    by_some = {"name": "s", "op": "sum", "of": "amount", "windows": ["7d"], "by": {"provider": ["atome"]}}
    by_kind = {"name": "d", "op": "distinct_count", "of": "provider", "windows": ["7d"], "by": {"provider": ["atome", "other"]}}

    suite = suite_of(group(by_all, by_some, by_kind))

    parts = {rule.name: rule.breaks.spark for rule in suite.rules if rule.name.endswith(".parts")}
    assert parts == {
        "n_7d.parts": "not coalesce((`n_7d` = `n_provider_atome_7d` + `n_provider_other_7d`), false)",
        "s_7d.parts": "not coalesce((`s_7d` >= `s_provider_atome_7d`), false)",
    }


def test_a_map_is_held_to_no_number_and_consent_may_blank_the_parts() -> None:
    by_map = {"name": "n", "op": "count", "windows": ["7d", "30d"], "by": {"provider": "map"}}
    by_all = {"name": "s", "op": "count", "windows": ["7d"], "by": {"provider": ["atome", "other"]}}
    agreed = {"name": "agreed", "expr": "n_7d >= 0"}
    definition = group(by_map, by_all, derived=(agreed,)).model_copy(update={"blank_unless": "agreed"})

    suite = suite_of(definition)

    parts = {rule.name: rule.breaks.spark for rule in suite.rules if rule.name.endswith(".parts")}
    unless = "`s_7d` is null or "
    assert parts == {"s_7d.parts": f"not coalesce(({unless}`s_7d` = `s_provider_atome_7d` + `s_provider_other_7d`), false)"}
    assert {words for words in told(suite) if "≤" in words or "null" in words} == {"agreed is not null", "n_7d ≤ n_30d"}


def test_a_mean_lies_between_minimum_and_maximum_of_the_same_facts() -> None:
    def feature(name: str, op: str, of: str | None = "amount", where: str | None = None) -> dict[str, object]:
        return {"name": name, "op": op, "windows": ["7d"]} | ({"of": of} if of else {}) | ({"where": where} if where else {})

    suite = suite_of(
        group(
            feature("low", "min"),
            feature("middle", "mean"),
            feature("high", "max"),
            feature("kinds", "distinct_count", "provider"),
            feature("all", "count", None),
            feature("other_high", "max", where="provider = 'grab'"),  # of other facts
            feature("net_low", "min", "net"),  # of another value
        )
    )

    assert {words for words in told(suite) if "≤" in words} == {"low_7d ≤ middle_7d", "middle_7d ≤ high_7d", "kinds_7d ≤ all_7d"}


def test_the_day_before_sets_the_least_number_of_rows_and_the_columns_that_should_have_values() -> None:
    definition = group({"name": "n", "op": "max", "of": "amount", "windows": ["7d", "30d"]})

    suite = suite_of(definition, before=Profile(101, {"n_7d": 0, "n_30d": 1}))

    relative = {rule.name: (rule.severity, rule.words) for rule in suite.rules if rule.relative}
    assert relative == {
        "rows.day_before": ("critical", "at least 81 rows: the day before had 101, and 20% fewer is the limit"),
        "n_30d.some_values": ("warning", "n_30d has values, as it had the day before"),
    }
    assert suite.version == suite_of(definition).version


def test_curated_rows_are_asked_for_what_their_source_declares() -> None:
    suite = source_suite(
        PLANS,
        limits=LIMITS,
        read=200,
        quarantined=10,
        now=datetime(2025, 10, 1, tzinfo=UTC),
        cut_off=datetime(2025, 9, 30, 16, tzinfo=UTC),
    )

    assert suite.key == ("plan_id", "recorded_at")
    asked = {rule.name: (rule.severity, rule.words) for rule in suite.rules if not rule.name.endswith(".type")}
    assert asked == {
        "plan_id.not_null": ("critical", "plan_id is not null"),
        "customer_id.not_null": ("critical", "customer_id is not null"),
        "created_at.not_null": ("critical", "created_at is not null"),
        "recorded_at.not_null": ("critical", "recorded_at is not null"),
        "_event_time.not_null": ("critical", "_event_time is not null"),
        "provider.values": ("critical", "provider is one of atome, grab"),
        "amount.minimum": ("critical", "amount >= 0"),
        "share.minimum": ("critical", "share >= 0"),
        "share.maximum": ("critical", "share <= 1"),
        "key.unique": ("critical", "no two rows have the same plan_id, recorded_at"),
        "rows.quarantined": ("critical", "at most 5.00% of the newest delivery is quarantined"),
        "event_time.future": ("warning", "no event lies more than two days in the future"),
        "event_time.fresh": ("warning", "something happened in the 35 days before the cut-off"),
    }
    assert {rule.kwargs["column"] for rule in suite.rules if rule.name.endswith(".type")} >= {"national_id", "_known_time"}
    assert "phone.type" not in {rule.name for rule in suite.rules}


def test_no_rows_set_aside_for_long_is_no_fault() -> None:
    now = datetime(2025, 10, 1, tzinfo=UTC)
    suite = source_suite(load_catalogue().source("set_aside"), limits=LIMITS, read=0, quarantined=0, now=now, cut_off=now)
    names = {rule.name for rule in suite.rules}
    assert {"key.unique", "kind.values", "event_time.future"} <= names
    assert "event_time.fresh" not in names


def test_the_shipped_definitions_have_suites_and_rules_by_hand() -> None:
    catalogue = load_catalogue()
    compiled = compile_groups(catalogue, ZONE)
    written = load_rules(None, catalogue, compiled)

    assert set(written) == {("group", "customer_bnpl")}
    for name, definition in catalogue.groups.items():
        suite = group_suite(
            compiled.group(name),
            definition,
            catalogue.sources,
            event_time="T",
            time_zone=ZONE,
            rows=1,
            limits=LIMITS,
            written=written.get(("group", name), ()),
        )
        assert {column.name for column in compiled.group(name).columns} <= {c for rule in suite.rules for c in rule.columns}
    for source in catalogue.sources.values():
        assert source_suite(source, limits=LIMITS, read=0, quarantined=0, now=datetime(2025, 10, 1, tzinfo=UTC)).rules
