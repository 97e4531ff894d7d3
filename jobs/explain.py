"""The raw rows that made one number, and the number made again from them, the slow way."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf.errors import InputError, UsageError, did_you_mean
from jobs.arguments import JobParser, load_settings_for
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from conf.settings import Settings
    from conf.specs import ColumnType, FeatureGroup
    from stores.lake import Lake
    from transforms.by_hand.evidence import Explained

SAME_DIGITS = 1e-9  # doubles are added in another order than the engine does


@dataclass(frozen=True)
class Number:
    """A number that was computed, and as of when. `where`: in which snapshot or record it stands."""

    group: FeatureGroup
    feature: str
    entity: str
    as_of: date
    zone: str
    value: Any
    where: str


@dataclass(frozen=True)
class Explanation:
    """A number, and how it came about. `definition_version`: of the feature group; `definition`: the column in words."""

    number: Number
    definition: str
    definition_version: str
    type: ColumnType
    made_again: Explained

    @property
    def is_equal(self) -> bool:
        return same(self.number.value, self.made_again.value)


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("explain", __doc__ or "", common=("env", "conf", "lake", "as_of", "set"))
    parser.add_argument("group", metavar="GROUP", help="the feature group's name")
    parser.add_argument("identifier", metavar="ID", help="the record identifier")
    parser.add_argument("feature", metavar="FEATURE", help="the column's name")
    parser.add_argument("--online", action="store_true", help="of the record in the online store, instead of a snapshot")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="for a person (default), or one line of JSON")
    parser.add_argument("--page", metavar="FILE", help="also write a page to print, as HTML")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary | None:
    settings = load_settings_for(arguments)
    explanation = explain(arguments, settings)
    if arguments.page:
        from jobs.explanation_page import page_of

        _write(Path(arguments.page), page_of(explanation))
    told = as_json(explanation)
    if arguments.format == "text":
        from jobs.explanation_text import show

        show(explanation)
        told = {name: value for name, value in told.items() if name != "rows"}
    if not explanation.is_equal:
        sys.stderr.write(f"{_loudly(explanation)}\n")
    every = explanation.made_again.all_evidence()
    counts = {"rows": len(every), "counted": sum(row.counted for row in every)}
    return Summary("explain", run_id, "succeeded" if explanation.is_equal else "failed", counts, answer=told)


def explain(arguments: Namespace, settings: Settings) -> Explanation:
    """Find the number, and make it again. Raises UsageError and InputError for what isn't there."""
    from conf.catalogue import load_catalogue
    from stores.evidence import LakeLedgers
    from stores.lake import Lake
    from transforms.by_hand.columns import Explainer, columns_of
    from transforms.by_hand.moments import Moment
    from transforms.feature_group import compile_groups

    catalogue = load_catalogue(arguments.conf)
    group = catalogue.group(arguments.group)
    if group.function:
        raise UsageError(f"{group.name} is made by the Python function {group.function}; its inputs can be explained, it can't")
    known = columns_of(group)
    if arguments.feature not in known:
        nearest = did_you_mean(arguments.feature, known)
        raise UsageError(f"{group.name} has no feature '{arguments.feature}'{nearest}; etr features {group.name} lists them")
    compiled = compile_groups(catalogue, settings.time_zone).groups[group.name]
    column = next((column for column in compiled.columns if column.name == arguments.feature), None)
    if column is None:
        raise UsageError(
            f"{group.name}: '{arguments.feature}' is internal, so that no snapshot holds it; explain what is made of it"
        )
    lake = Lake(settings.lake)
    number = _record(arguments, settings, group) if arguments.online else _cell(arguments, settings, group, lake)
    moment = Moment.end_of(number.as_of, number.zone)
    made_again = Explainer(catalogue, LakeLedgers(lake), number.entity, moment).explain(group, number.feature)
    return Explanation(number, column.words, compiled.version, column.type, made_again)


def _cell(arguments: Namespace, settings: Settings, group: FeatureGroup, lake: Lake) -> Number:
    from stores.evidence import snapshot_row
    from stores.snapshots import SnapshotTable

    table = SnapshotTable(lake.storage, group.name)
    days = table.days()
    if not days:
        raise InputError(f"{group.name}: no snapshot of it in {settings.lake}; run etr pipeline --groups {group.name}")
    as_of = arguments.as_of or days[-1]
    snapshot = table.current(as_of)
    if snapshot is None:
        raise InputError(
            f"{group.name}: no snapshot as of {as_of} in {settings.lake}; days that are there: {days[0]} to {days[-1]}"
        )
    row = snapshot_row(lake.storage, snapshot, group.record_identifier, arguments.identifier)
    if row is None:
        raise InputError(f"{group.name} as of {as_of} has no row of {group.record_identifier} '{arguments.identifier}'")
    if arguments.feature not in row:
        raise InputError(
            f"{group.name} as of {as_of} was computed without '{arguments.feature}'; run etr materialize --as-of {as_of} again"
        )
    where = f"snapshot {snapshot.version} of run {snapshot.run_id}"
    return Number(group, arguments.feature, arguments.identifier, as_of, row["time_zone"], row[arguments.feature], where)


def _record(arguments: Namespace, settings: Settings, group: FeatureGroup) -> Number:
    from zoneinfo import ZoneInfo

    from jobs.feature_store import feature_store
    from stores.online import OnlineConfig, SageMakerOnlineStore

    if arguments.as_of:
        raise UsageError("--as-of and --online: the record in the online store is of one day, so leave --as-of out")
    with feature_store(settings, must_exist=True) as address:
        records = SageMakerOnlineStore(OnlineConfig(address)).get_records(group.name, [arguments.identifier])
    if not records:
        raise InputError(f"{group.name}: no record of '{arguments.identifier}' in the online store")
    cut_off = datetime.fromisoformat(records[0]["event_time"].replace("Z", "+00:00"))
    as_of = (cut_off - timedelta(microseconds=1)).astimezone(ZoneInfo(settings.time_zone)).date()
    value = records[0].get(arguments.feature)
    return Number(group, arguments.feature, arguments.identifier, as_of, settings.time_zone, value, "the online store")


def same(told: Any, made: Any) -> bool:
    """Whether a number as it stands (typed, or text of the online store) is the one made again; doubles to nine digits."""
    if told is None or made is None:
        return told is made
    if isinstance(told, str) and not isinstance(made, str):
        told = _like(told, made)
    if isinstance(told, str) and isinstance(made, str) and told[:1] in ("[", "{"):
        return _same_json(json.loads(told), json.loads(made))
    if isinstance(told, float) or isinstance(made, float):
        return math.isclose(float(told), float(made), rel_tol=SAME_DIGITS, abs_tol=1e-12)
    return bool(told == made)


def _same_json(told: Any, made: Any) -> bool:
    if isinstance(told, dict) and isinstance(made, dict):
        return told.keys() == made.keys() and all(_same_json(told[key], made[key]) for key in told)
    if isinstance(told, list) and isinstance(made, list):
        return len(told) == len(made) and all(map(_same_json, told, made))
    return same(told, made)


def _like(text: str, made: Any) -> Any:
    """A record's text as a value of the kind of `made`."""
    if isinstance(made, bool):
        return text.lower() in ("true", "1")
    if isinstance(made, datetime):
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    if isinstance(made, date):
        return date.fromisoformat(text)
    return Decimal(text) if isinstance(made, Decimal) else type(made)(text)


def as_json(explanation: Explanation) -> dict[str, Any]:
    """What a program reads: the number, the number made again, and every row with its verdict."""
    number, made = explanation.number, explanation.made_again
    return {
        "group": number.group.name,
        "identifier": number.entity,
        "feature": number.feature,
        "as_of": number.as_of.isoformat(),
        "definition": explanation.definition,
        "definition_version": explanation.definition_version,
        "where": number.where,
        "value": plain(number.value),
        "recomputed": plain(made.value),
        "equal": explanation.is_equal,
        "note": made.note,
        "rows": [
            {name: plain(value) for name, value in asdict(row).items()} | {"counted": row.counted} for row in made.all_evidence()
        ],
    }


def plain(value: Any) -> Any:
    """A value as JSON has it: money as text, times in ISO-8601, UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    return str(value) if isinstance(value, (Decimal, date)) else value


def _loudly(explanation: Explanation) -> str:
    number, made = explanation.number, explanation.made_again
    return (
        f"NOT EQUAL: {number.group.name}.{number.feature} of '{number.entity}' as of {number.as_of} is {plain(number.value)} in "
        f"{number.where}, and {plain(made.value)} when made again from today's ledgers and definitions. Either something that it "
        "should have known came later (etr materialize says which days to restate), or one of the two ways is wrong: report it"
    )


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}; give a file that can be written") from problem


if __name__ == "__main__":
    sys.exit(main())
