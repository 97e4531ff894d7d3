"""What of the snapshots isn't published yet, found out without Spark and without starting a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from conf.errors import InputError, PublishError
from jobs.feature_groups import is_online, online_features
from jobs.feature_store import embedded_folder, feature_store
from jobs.validate import Verdict, verdict_of

if TYPE_CHECKING:
    from conf.settings import Settings
    from jobs.request import Days
    from stores.lake import Lake
    from stores.published import Published, Target
    from stores.snapshots import Snapshot
    from transforms.feature_group import AnyGroup, Compiled

DATABASE = "feature_store.sqlite"
"""The embedded Feature Store's file in its folder."""


@dataclass(frozen=True)
class Unpublished:
    """A group's day that isn't published: `offline`, or `online` where it would be what is served.

    `held_back`: it was judged and isn't fit, so that publishing does nothing about it.
    """

    group: str
    day: date
    offline: bool
    online: bool
    held_back: bool

    def __str__(self) -> str:
        where = " and ".join(name for name, due in (("offline", self.offline), ("online", self.online)) if due)
        return f"{self.group} as of {self.day} {where}"


def pending(compiled: Compiled, days: Days, lake: Lake, settings: Settings) -> list[Unpublished]:
    """The group days that aren't published as asked; a day not computed, not judged or held back is among them. No Spark.

    Starts no server: an embedded Feature Store is looked up in its folder.
    """
    there = targets(settings, list(days))
    result = []
    for name, asked in days.items():
        work = GroupWork.of(compiled.group(name), asked, lake, there.get(name))
        offline = work.due_offline()
        newest = work.due_online()
        online = [newest.snapshot.day] if newest else []
        if offline and offline[-1] == work.days[-1] and work.is_open(offline[-1]) and is_online(work.group):
            online = offline[-1:]
        for day in sorted({*offline, *online}):
            held_back = not work.is_fit(day) and not work.is_open(day)
            result.append(Unpublished(name, day, day in offline, day in online, held_back))
    return result


def restated_and_unpublished(groups: Sequence[str], lake: Lake, settings: Settings) -> Days:
    """The days of which an earlier version is published, and the restated one that is current isn't. No Spark."""
    from stores.published import Published
    from stores.snapshots import SnapshotTable

    there = targets(settings, groups)
    found: dict[str, tuple[date, ...]] = {}
    for group, target in there.items():
        log, made = Published(lake.storage, group), SnapshotTable(lake.storage, group)
        current = ((day, made.current(day)) for day in log.days())
        found[group] = tuple(day for day, s in current if s and s.restates and log.find(day, s.version, target) is None)
    return found


@dataclass(frozen=True)
class Day:
    """A day's current version, and the verdict on it (None: never judged). `fit`: to be published."""

    snapshot: Snapshot
    verdict: Verdict | None
    fit: bool

    @classmethod
    def of(cls, group: AnyGroup, day: date, lake: Lake) -> Day | None:
        """None for a day that was never made."""
        from stores.snapshots import SnapshotTable

        snapshot = SnapshotTable(lake.storage, group.name).current(day)
        if snapshot is None:
            return None
        verdict = verdict_of(lake, snapshot)
        fit = snapshot.definition == group.version and verdict is not None and verdict.passed
        return cls(snapshot, verdict, fit)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Rows to publish, quarantined and held back. Raises PublishError when they aren't all rows."""
        verdict, rows = self.verdict, self.snapshot.rows
        told = (verdict.published, verdict.quarantined, verdict.held_back) if verdict else (0, 0, 0)
        if sum(told) != rows:
            raise PublishError(
                f"{self.snapshot.group}: the snapshot as of {self.snapshot.as_of} has {rows:,} rows; of {told[0]:,} to publish, "
                f"{told[1]:,} quarantined and {told[2]:,} held back that isn't the sum; delete its verdict and judge it anew: "
                f"etr validate --as-of {self.snapshot.as_of}"
            )
        return told


@dataclass(frozen=True)
class GroupWork:
    """A group's days, what is known of each, and the feature group they go to (None: not created yet)."""

    group: AnyGroup
    days: tuple[date, ...]
    found: Mapping[date, Day]
    log: Published
    target: Target | None
    lake: Lake

    @classmethod
    def of(cls, group: AnyGroup, days: Sequence[date], lake: Lake, target: Target | None) -> GroupWork:
        from stores.published import Published

        found = {day: known for day in days if (known := Day.of(group, day, lake)) is not None}
        return cls(group, tuple(sorted(days)), found, Published(lake.storage, group.name), target, lake)

    def is_fit(self, day: date) -> bool:
        """Computed by today's definition, and passed."""
        return day in self.found and self.found[day].fit

    def is_open(self, day: date) -> bool:
        """Yet to be computed by today's definition, or to be judged."""
        known = self.found.get(day)
        return known is None or known.verdict is None or known.snapshot.definition != self.group.version

    def due_offline(self) -> list[date]:
        """The days whose current version isn't in the offline store."""
        return [day for day in self.days if not self.is_published(day)]

    def due_online(self) -> Day | None:
        """The newest day that is fit, unless it is what was last sent; a day older than that one is never sent."""
        newest = self._newest_fit() if is_online(self.group) else None
        sent = self.log.sent()
        if newest is None or self.target is None or sent is None or not sent.went_to(self.target):
            return newest
        same = (sent.version, sent.features) == (newest.snapshot.version, tuple(online_features(self.group)))
        is_served = newest.snapshot.as_of == sent.as_of and same and sent.whole
        return None if newest.snapshot.as_of < sent.as_of or is_served else newest

    def has_work(self) -> bool:
        """Whether anything can be published."""
        return self.due_online() is not None or any(self.is_fit(day) for day in self.due_offline())

    def check(self) -> None:
        """Raises InputError for a day that can't be published yet, with the job that comes before."""
        name = self.group.name
        for day in self.days:
            if day not in self.found:
                raise InputError(f"{name}: no snapshot as of {day} in {self.lake.uri()}; make it: etr materialize --as-of {day}")
            if self.found[day].snapshot.definition != self.group.version:
                raise InputError(
                    f"{name}: the snapshot as of {day} was computed by another definition than today's; "
                    f"compute it anew: etr materialize --as-of {day}"
                )
            if self.found[day].verdict is None:
                raise InputError(f"{name}: the snapshot as of {day} was never judged; judge it: etr validate --as-of {day}")

    def is_published(self, day: date) -> bool:
        if day not in self.found or self.target is None:
            return False
        return self.log.find(day, self.found[day].snapshot.version, self.target) is not None

    def _newest_fit(self) -> Day | None:
        """The newest of the days asked for that is fit, and of the day that was published last."""
        fit = [known for known in self.found.values() if known.fit]
        for day in self.log.days()[-1:]:
            known = Day.of(self.group, day, self.lake)
            if known is not None and known.fit and known.snapshot.version in {v.version for v in self.log.versions(day)}:
                fit.append(known)
        return max(fit, key=lambda known: known.snapshot.as_of, default=None)


def targets(settings: Settings, groups: Sequence[str]) -> dict[str, Target]:
    """The feature groups that exist, by name, looked up without a server of our own."""
    from stores.published import Target

    if not settings.feature_store.embedded:
        with feature_store(settings) as address:
            client = address.control_plane()
            found = {name: target_of(client, name) for name in groups}
    elif not (embedded_folder(settings.lake) / DATABASE).exists():
        return {}
    else:
        from stores.embedded.storage import Storage as Records

        records = Records(embedded_folder(settings.lake))
        try:
            found = {name: Target.of(group.document) for name, group in records.groups.items() if name in groups}
        finally:
            records.close()
    return {name: target for name, target in found.items() if target is not None}


def target_of(client: Any, name: str) -> Target | None:
    from stores.feature_groups import describe_feature_group
    from stores.published import Target

    if describe_feature_group(client, name) is None:
        return None
    return Target.of(client.describe_feature_group(FeatureGroupName=name))
