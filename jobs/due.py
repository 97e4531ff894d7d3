"""Which days have to be made, and which of those made should be restated, with the reasons; found out without Spark."""

from __future__ import annotations

import hashlib
import json
import logging
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from jobs.later_groups import in_order
from transforms.calendar import cut_off

if TYPE_CHECKING:
    from jobs.request import Days, Restating
    from stores.lake import CurateCommit, Lake
    from stores.snapshots import Kind, Snapshot
    from transforms.feature_group import Compiled

ENGINE = "1"  # raised when the same definition on the same rows gives another number
EMPTY: Mapping[str, str] = {}
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
    looked = _Looked(ledgers, lake, kind, horizon)
    make: list[Wanted] = []
    to_restate: list[Wanted] = []
    for group in ledgers.in_order(days):
        asked = set(days[group])
        for day in sorted(asked if kind == "hindsight" else asked.union(looked.made(group))):
            wanted = looked.wanted(group, day)
            if wanted is None:
                continue
            if (day in asked and restating != "holes") or restating == "all" or not wanted.reasons:
                make.append(wanted)
                looked.expected[group, day] = wanted.version
            else:
                to_restate.append(wanted)
    return Due(*(tuple(sorted(some, key=lambda wanted: wanted.day)) for some in (make, to_restate)))


@dataclass(frozen=True)
class _Looked:
    """What was made of each group, looked at once. `expected`: versions that will be current, where others are now."""

    ledgers: Ledgers
    lake: Lake
    kind: Kind
    horizon: timedelta
    expected: dict[tuple[str, date], str] = field(default_factory=dict)
    found: dict[str, dict[date, Snapshot]] = field(default_factory=dict)

    def made(self, group: str) -> dict[date, Snapshot]:
        from stores.snapshots import SnapshotTable

        if group not in self.found:
            self.found[group] = SnapshotTable(self.lake.storage, group, self.kind).all_current()
        return self.found[group]

    def wanted(self, group: str, day: date) -> Wanted | None:
        """The version of a day that has to be made, if any; with reasons where it replaces another."""
        reads = {name: version for name in self.ledgers.groups_read(group) if (version := self._version(name, day))}
        current = self.made(group).get(day)
        if self.kind == "hindsight":
            version = self.ledgers.version_with_hindsight(group, day, reads)
            return None if current and current.version == version else Wanted(group, day, version)
        version = self.ledgers.version_of(group, day, reads)
        if current is None:
            return Wanted(group, day, version)
        if current.stands_for(version):
            return None
        oldest = max(self.made(group)) - self.horizon
        reasons = tuple(self.ledgers.reasons(current, reads, within=day >= oldest))
        return Wanted(group, day, version, current, reasons) if reasons else None

    def _version(self, group: str, day: date) -> str | None:
        current = self.made(group).get(day)
        return self.expected.get((group, day), current.version if current else None)


@dataclass(frozen=True)
class Ledgers:
    """Every commit of the curated tables that some groups read, looked at once."""

    compiled: Compiled
    commits: Mapping[str, Sequence[CurateCommit]]

    @classmethod
    def of(cls, compiled: Compiled, groups: Collection[str], lake: Lake) -> Ledgers:
        sources = sorted({source for group in groups for source in compiled.sources_of(compiled.group(group))})
        return cls(compiled, {source: lake.curated(source).commits() for source in sources})

    def in_order(self, groups: Collection[str]) -> list[str]:
        """Groups that read others' snapshots after these."""
        later = in_order(self.compiled.later[name] for name in groups if name in self.compiled.later)
        return [*(name for name in groups if name in self.compiled.groups), *(group.name for group in later)]

    def groups_read(self, group: str) -> tuple[str, ...]:
        """The groups whose snapshots of a day a group reads."""
        later = self.compiled.later.get(group)
        return later.groups if later else ()

    def newest(self, group: str) -> dict[str, int]:
        """The newest commit of each source that a group reads; -1 where there is none."""
        return {source: max((c.version for c in self.commits[source]), default=-1) for source in self._sources(group)}

    def version_of(
        self, group: str, day: date, reads: Mapping[str, str] = EMPTY, *, until: Mapping[str, int] | None = None
    ) -> str:
        """The hash of the definition's version, the calendar, and what is read that matters to the day.

        That is the newest commit of each source (`until`: among those up to a version) with a row that counts by then, and the
        versions of other groups' snapshots, `reads`.
        """
        moment = cut_off(day, self.compiled.zone)
        commits = {}
        for source in self._sources(group):
            if until is None:
                commits[source] = self._running[source].at(moment)
            else:
                some = [c for c in self.commits[source] if c.version <= until.get(source, -1)]
                commits[source] = _Running.of(some).at(moment)
        return self._hashed(group, day, commits, reads)

    def version_with_hindsight(self, group: str, day: date, reads: Mapping[str, str] = EMPTY) -> str:
        """The hash of the definition's version, the calendar, and everything that was ever taken in: all that is known counts."""
        return self._hashed(group, day, self.newest(group), reads)

    def reasons(self, made: Snapshot, reads: Mapping[str, str] = EMPTY, *, within: bool) -> Iterator[str]:
        """Why a day that was made says something else than it should; none where it couldn't have known better.

        `within`: the day lies within the restatement horizon.
        """
        if made.definition != self.compiled.group(made.group).version:
            yield "its definition changed"
        elif not made.stands_for(self.version_of(made.group, made.day, made.groups, until=made.curated)):
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
        for group, version in reads.items():
            if made.groups.get(group) != version:
                yield f"{group} has another version of that day"

    @cached_property
    def _running(self) -> dict[str, _Running]:
        return {source: _Running.of(commits) for source, commits in self.commits.items()}

    def _sources(self, group: str) -> tuple[str, ...]:
        return self.compiled.sources_of(self.compiled.group(group))

    def _hashed(self, group: str, day: date, commits: Mapping[str, int], reads: Mapping[str, str]) -> str:
        version = self.compiled.group(group).version
        meaning: list[object] = [ENGINE, version, self.compiled.zone, day.isoformat(), sorted(commits.items())]
        meaning += [sorted(reads.items())] if reads else []
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
