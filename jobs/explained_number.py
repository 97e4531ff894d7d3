"""Finds a number where it stands: in a snapshot, in the online store, or in a training set."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from conf.errors import InputError, UsageError
from transforms.by_hand.moments import Moment

if TYPE_CHECKING:
    from conf.catalogue import Catalogue
    from conf.settings import Settings
    from conf.specs import FeatureGroup
    from conf.training_sets import TrainingSet
    from stores.lake import Lake
    from stores.training_sets import TrainingSetVersion

NAMED = 5
"""Labels that an error names."""


@dataclass(frozen=True)
class Number:
    """A number that was computed, and as of when. `where`: in which snapshot, record or training set it stands.

    `label_time`: of the label whose number it is; None of a snapshot's. `has_grace`: whether what became known within a source's
    grace after T was known. `remedy`: how it is computed anew. `period`: of a target, the end of what it looks at, from T on.
    """

    group: FeatureGroup
    feature: str
    entity: str
    moment: Moment
    value: Any
    where: str
    remedy: str
    label_time: datetime | None = None
    has_grace: bool = True
    period: Moment | None = None

    @property
    def when(self) -> str:
        """As of when, for a person."""
        told = f"as of {self.moment.as_of}"
        if self.label_time is None:
            return told
        label = f"for the label of {text_of(self.label_time)}"
        if self.period is not None:
            return f"{label}, from {text_of(self.moment.cut_off)} until {text_of(self.period.cut_off)}"
        return f"{label}, {told}" if self.has_grace else f"{label}, to the microsecond"


def find_number(arguments: Namespace, settings: Settings, catalogue: Catalogue, group: FeatureGroup, lake: Lake) -> Number:
    """Raises UsageError and InputError for what isn't there."""
    if arguments.training_set is not None:
        return _in_training_set(arguments, settings, catalogue.training_set(arguments.training_set), group, lake)
    if arguments.label is not None:
        raise UsageError("--label names a label of a training set; say of which: --training-set NAME")
    return _in_record(arguments, settings, group) if arguments.online else _in_snapshot(arguments, settings, group, lake)


def text_of(moment: datetime) -> str:
    """An instant in ISO-8601, UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _in_snapshot(arguments: Namespace, settings: Settings, group: FeatureGroup, lake: Lake) -> Number:
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
    return Number(
        group,
        arguments.feature,
        arguments.identifier,
        Moment.end_of(as_of, row["time_zone"]),
        row[arguments.feature],
        f"snapshot {snapshot.version} of run {snapshot.run_id}",
        "etr materialize says which days to restate",
    )


def _in_record(arguments: Namespace, settings: Settings, group: FeatureGroup) -> Number:
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
    return Number(
        group,
        arguments.feature,
        arguments.identifier,
        Moment.end_of(as_of, settings.time_zone),
        records[0].get(arguments.feature),
        "the online store",
        "etr materialize says which days to restate",
    )


@dataclass(frozen=True)
class TrainingRow:
    """A label's row of a training set, and as of when it was made."""

    made: TrainingSetVersion
    values: Mapping[str, Any]
    moment: Moment
    has_grace: bool

    @property
    def label_time(self) -> datetime:
        found: datetime = self.values["label_time"]
        return found.astimezone(UTC)

    @property
    def where(self) -> str:
        return f"training set {self.made.name}, version {self.made.version} of run {self.made.run_id}"

    def number(self, arguments: Namespace, group: FeatureGroup, period: Moment | None = None) -> Number:
        """What stands in it under the name that is asked for. `period`: of a target."""
        return Number(
            group,
            arguments.feature,
            arguments.identifier,
            self.moment,
            self.values[arguments.feature],
            self.where,
            f"etr training_set {self.made.name} makes it anew",
            self.label_time,
            self.has_grace,
            period,
        )


def find_training_row(
    arguments: Namespace, settings: Settings, spec: TrainingSet, lake: Lake, group: FeatureGroup | None = None
) -> TrainingRow:
    """The row of the label that is asked for. Raises UsageError and InputError for what isn't there; for a `group`, too."""
    from stores.evidence import training_rows
    from stores.training_sets import TrainingSetTable

    if arguments.as_of or arguments.online:
        option = "--online" if arguments.online else "--as-of"
        raise UsageError(f"{option} and --training-set: a training set's row is found by its label; say which: --label TIME")
    made = TrainingSetTable(lake.storage, spec.name).current()
    if made is None:
        raise InputError(f"training set {spec.name}: not made yet in {settings.lake}; run etr training_set {spec.name}")
    if group is not None and group.name not in made.groups:
        raise InputError(f"training set {spec.name} takes nothing of {group.name}; its groups: {', '.join(made.groups)}")
    rows = training_rows(lake.storage, made, spec.record_identifier, arguments.identifier)
    row = _row_of_label(arguments, spec, rows, spec.labels.zone or settings.time_zone)
    zone = settings.time_zone
    if spec.grain == "event":
        return TrainingRow(made, row, Moment.to_the_microsecond(row["cut_off"].astimezone(UTC), zone), has_grace=False)
    return TrainingRow(made, row, Moment.end_of(row["as_of"], zone), has_grace=True)


def _in_training_set(arguments: Namespace, settings: Settings, spec: TrainingSet, group: FeatureGroup, lake: Lake) -> Number:
    found = find_training_row(arguments, settings, spec, lake, group)
    if arguments.feature not in found.values:
        taken = [name for name in _features_of(group) if name in found.values]
        raise InputError(f"training set {spec.name} has no '{arguments.feature}'; of {group.name} it takes: {', '.join(taken)}")
    return found.number(arguments, group)


def _features_of(group: FeatureGroup) -> Sequence[str]:
    from transforms.by_hand.columns import columns_of

    return list(columns_of(group))


def _row_of_label(arguments: Namespace, spec: TrainingSet, rows: Sequence[Mapping[str, Any]], zone: str) -> Mapping[str, Any]:
    """The row of the label that is asked for; without one the only row of the entity."""
    who = f"{spec.record_identifier} '{arguments.identifier}'"
    if not rows:
        raise InputError(f"training set {spec.name} has no label of {who}")
    known = ", ".join(text_of(row["label_time"]) for row in rows[:NAMED])
    more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
    if arguments.label is None:
        if len(rows) > 1:
            raise UsageError(
                f"training set {spec.name} has {len(rows):,} labels of {who}; say which: --label TIME, one of {known}{more}"
            )
        return rows[0]
    wanted = _label_time(arguments.label, zone)
    row = next((row for row in rows if row["label_time"] == wanted), None)
    if row is None:
        raise InputError(
            f"training set {spec.name} has no label of {who} at {text_of(wanted)}; those that are there: {known}{more}"
        )
    return row


def _label_time(text: str, zone: str) -> datetime:
    """A label's time as a labels file writes it: with an offset or local; a date is the start of that local day."""
    try:
        if len(text) == len("2025-09-30"):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        moment = datetime.fromisoformat(text)
    except ValueError as problem:
        told = f"--label: '{text}' is not a time; write it as the labels do, such as 2025-09-30 or 2025-09-30T16:00:00Z"
        raise UsageError(told) from problem
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
