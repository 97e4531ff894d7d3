"""Which days have to be made, and which of those made should be restated, with the reasons; found out without Spark."""

from __future__ import annotations

import hashlib
import json
import logging
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from transforms.calendar import cut_off

if TYPE_CHECKING:
    from jobs.request import Days, Restating
    from stores.lake import CurateCommit, Lake
    from stores.snapshots import Kind, Snapshot
    from transforms.feature_group import Compiled

ENGINE = "1"  # raised when the same definition on the same rows gives another number
_FILES_NAMED = 2
_REASONS_NAMED = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A version of a group's day that has to be made. `current`: the one that it replaces, for these `reasons`."""

    group: str
    day: date
    version: str
    current: Snapshot | None = field(default=None, compare=False)
    reasons: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        anew = f" anew: {'; '.join(self.reasons)}" if self.reasons else ""
        return f"compute {self.group} as of {self.day}{anew}"


@dataclass(frozen=True)
class Due:
    """`make`: what a run would make, oldest day first; `to_restate`: what else should be made again and wasn't asked for."""

    make: tuple[Wanted, ...]
    to_restate: tuple[Wanted, ...]


def find_due(
    ledgers: Ledgers, days: Days, lake: Lake, *, restating: Restating, horizon: timedelta, kind: Kind = "snapshots"
) -> Due:
    """Compare what was made with what today's definitions and ledgers make.

    A curate commit matters to a day when any of its rows counts at that day's cut-off: what was known late never changes what
    an earlier day should have said. `horizon`: late rows of a source without a known time matter to no day that lies further
    back from a group's newest. Hindsight is made whenever anything came since, and never restated.
    """
    from stores.snapshots import SnapshotTable

    make: list[Wanted] = []
    to_restate: list[Wanted] = []
    for group, asked in days.items():
        table = SnapshotTable(lake.storage, group, kind)
        if kind == "hindsight":
            make += _hindsight(ledgers, group, asked, {day: table.current(day) for day in asked})
            continue
        made = table.all_current()
        oldest = max(made) - horizon if made else date.min
        for day in sorted({*asked, *made}):
            current, version = made.get(day), ledgers.version_of(group, day)
            if current is None or not current.files:
                make.append(Wanted(group, day, version))
            elif not current.stands_for(version) and (reasons := tuple(ledgers.reasons(current, within=day >= oldest))):
                wanted = Wanted(group, day, version, current, reasons)
                (make if restating == "all" or (restating == "asked" and day in asked) else to_restate).append(wanted)
    return Due(*(tuple(sorted(some, key=lambda wanted: wanted.day)) for some in (make, to_restate)))


def _hindsight(ledgers: Ledgers, group: str, days: Sequence[date], made: Mapping[date, Snapshot | None]) -> Iterator[Wanted]:
    for day in days:
        version, current = ledgers.version_with_hindsight(group, day), made[day]
        if current is None or current.version != version:
            yield Wanted(group, day, version)


@dataclass(frozen=True)
class Ledgers:
    """Every commit of the curated tables that some groups read, looked at once."""

    compiled: Compiled
    commits: Mapping[str, Sequence[CurateCommit]]

    @classmethod
    def of(cls, compiled: Compiled, groups: Sequence[str], lake: Lake) -> Ledgers:
        sources = sorted({source for group in groups for source in compiled.sources_of(compiled.groups[group])})
        return cls(compiled, {source: lake.curated(source).commits() for source in sources})

    def newest(self, group: str) -> dict[str, int]:
        """The newest commit of each source that a group reads; -1 where there is none."""
        return {source: max((c.version for c in self.commits[source]), default=-1) for source in self._sources(group)}

    def version_of(self, group: str, day: date, *, until: Mapping[str, int] | None = None) -> str:
        """The hash of the definition's version, the calendar, and the newest commits (`until`: of those) that matter to a day."""
        moment = cut_off(day, self.compiled.zone)
        read = {}
        for source in self._sources(group):
            if until is None:
                read[source] = self._running[source].at(moment)
            else:
                some = [c for c in self.commits[source] if c.version <= until.get(source, -1)]
                read[source] = _Running.of(some).at(moment)
        return self._hashed(group, day, read)

    def version_with_hindsight(self, group: str, day: date) -> str:
        """The hash of the definition's version, the calendar, and every newest commit: all that is known counts."""
        return self._hashed(group, day, self.newest(group))

    def reasons(self, made: Snapshot, *, within: bool) -> Iterator[str]:
        """Why a day that was made says something else than it should; none where it couldn't have known better.

        `within`: the day lies within the restatement horizon.
        """
        group = self.compiled.groups[made.group]
        if made.definition != group.version:
            yield "its definition changed"
        elif not made.stands_for(self.version_of(made.group, made.day, until=made.curated)):
            yield "the engine changed"
        moment = cut_off(made.day, self.compiled.zone)
        for source in self._sources(made.group):
            came = [commit for commit in self.commits[source] if commit.version > made.curated.get(source, -1)]
            files = [file.path for commit in came if _matters(commit, moment) for file in commit.files]
            if not files:
                continue
            if self.compiled.sources[source].known_time is not None:
                yield f"{source}: {_named(files)} came later, with rows that were known by then"
            elif within:
                yield f"{source}: {_named(files)} came later, with rows of that time"

    @cached_property
    def _running(self) -> dict[str, _Running]:
        return {source: _Running.of(commits) for source, commits in self.commits.items()}

    def _sources(self, group: str) -> tuple[str, ...]:
        return self.compiled.sources_of(self.compiled.groups[group])

    def _hashed(self, group: str, day: date, read: Mapping[str, int]) -> str:
        version = self.compiled.groups[group].version
        meaning = [ENGINE, version, self.compiled.zone, day.isoformat(), sorted(read.items())]
        return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Running:
    """The newest version among the commits that took effect by some moment."""

    effects: tuple[int, ...]
    versions: tuple[int, ...]

    @classmethod
    def of(cls, commits: Sequence[CurateCommit]) -> _Running:
        known = sorted((c.earliest_effect, c.version) for c in commits if c.earliest_effect is not None)
        return cls(tuple(effect for effect, _ in known), tuple(accumulate((version for _, version in known), max)))

    def at(self, moment: int) -> int:
        number = bisect_right(self.effects, moment)
        return self.versions[number - 1] if number else -1


def _matters(commit: CurateCommit, moment: int) -> bool:
    return commit.earliest_effect is not None and commit.earliest_effect <= moment


def _named(files: Sequence[str]) -> str:
    more = len(files) - _FILES_NAMED
    return ", ".join(files[:_FILES_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def say_what_to_restate(to_restate: Sequence[Wanted]) -> None:
    """Name on stderr the days made before that should be made again, and the command."""
    if to_restate:
        _log.warning("%s", what_to_restate(to_restate))


def what_to_restate(to_restate: Sequence[Wanted]) -> str:
    """Which days should be restated, why and how."""
    by_group: dict[str, list[Wanted]] = {}
    for wanted in to_restate:
        by_group.setdefault(wanted.group, []).append(wanted)
    lines = ["made without what they should have known, or by another definition; what was served stays served:"]
    for group, some in by_group.items():
        days = f"{some[0].day}" if len(some) == 1 else f"{len(some):,} days from {some[0].day} to {some[-1].day}"
        reasons = list(dict.fromkeys(reason for wanted in some for reason in wanted.reasons))
        more = f"; and {len(reasons) - _REASONS_NAMED:,} reasons more" if len(reasons) > _REASONS_NAMED else ""
        lines.append(f"  {group}: {days} ({'; '.join(reasons[:_REASONS_NAMED])}{more})")
    return "\n".join([*lines, "to make them again and publish them: etr pipeline --restate"])
