"""A number that is rolled up: its members in the day's snapshots, and what some of these say made again from raw rows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from conf.errors import InputError, UsageError, did_you_mean
from jobs.equal import same
from transforms.by_hand.columns import Explainer
from transforms.by_hand.evidence import Explained
from transforms.by_hand.rollups import Member, Read, RolledUp, RollupExplainer

if TYPE_CHECKING:
    from conf.catalogue import Catalogue
    from conf.specs import FeatureGroup
    from jobs.explained_number import Number
    from stores.lake import Lake
    from stores.snapshots import Snapshot

MADE_AGAIN = 5
"""Members whose own values are made again from raw rows."""


@dataclass(frozen=True)
class Checked:
    """A value of a snapshot, and the same made again from raw rows."""

    read: Read
    made: Any

    @property
    def is_equal(self) -> bool:
        return same(self.read.value, self.made)


@dataclass(frozen=True)
class Members:
    """Those of a rolled-up number. `checked`: by group and identifier, what of the first of each kind was made again.

    `unexplained`: groups whose numbers can't be.
    """

    rolled_up: RolledUp
    checked: Mapping[tuple[str, str], Sequence[Checked]]
    as_of: date
    unexplained: frozenset[str] = frozenset()

    @property
    def differing(self) -> list[Checked]:
        return [one for some in self.checked.values() for one in some if not one.is_equal]

    def of(self, member: Member) -> Sequence[Checked]:
        """What of it was made again."""
        return self.checked.get((member.group, member.identifier), ())

    def look_further(self, member: Member) -> str:
        """The command that explains what a member adds; none of one that adds no feature that can be explained."""
        asked = next((read for read in reversed(member.read) if read.group not in self.unexplained), None)
        if asked is None:
            return ""
        return shlex.join(["etr", "explain", asked.group, asked.identifier, asked.column, "--as-of", self.as_of.isoformat()])


def check_feature(group: FeatureGroup, feature: str) -> None:
    """Raises UsageError for a column that a rollup doesn't have."""
    known = [column.name for column in group.rollup.columns] if group.rollup else []
    if feature not in known:
        near = did_you_mean(feature, known)
        raise UsageError(f"{group.name} has no feature '{feature}'{near}; etr features {group.name} lists them")


def explain_rollup(number: Number, groups: Sequence[str], catalogue: Catalogue, lake: Lake) -> tuple[Explained, Members]:
    """The number made again from the rows of `groups` that it was made of, and these.

    Raises InputError where their snapshots are gone.
    """
    from stores.evidence import DaySnapshots, LakeLedgers

    snapshots, notes = _read(number, groups, lake)
    rows = DaySnapshots(lake.storage, snapshots)
    rolled_up = RollupExplainer(catalogue, rows, number.group, number.entity, number.moment).explain(number.feature)
    ledgers = LakeLedgers(lake)
    checked = {}
    for member in rolled_up.some(MADE_AGAIN):
        checked[member.group, member.identifier] = tuple(_made_again(member, number, catalogue, ledgers))
    made = Explained(rolled_up.column, rolled_up.definition, rolled_up.type, rolled_up.value, note="; ".join(notes))
    functions = frozenset(name for name in groups if catalogue.groups[name].function)
    return made, Members(rolled_up, checked, number.moment.as_of, functions)


def _read(number: Number, groups: Sequence[str], lake: Lake) -> tuple[dict[str, Snapshot], list[str]]:
    """The snapshots that it was made of, or what is there of that day instead, which is noted."""
    from stores.snapshots import SnapshotTable

    group, day = number.group, number.moment.as_of
    own = SnapshotTable(lake.storage, group.name).current(day)
    made_of = own.groups if own else {}
    found, notes = {}, []
    for name in groups:
        table = SnapshotTable(lake.storage, name)
        current, version = table.current(day), made_of.get(name)
        snapshot = (table.find(day, version) if version else None) or current
        if snapshot is None:
            raise InputError(f"{group.name} is made of the rows of {name}, and there is no snapshot of it as of {day}")
        if current and current.version != snapshot.version:
            notes.append(f"{name}: version {snapshot.version}, of which it was made; {current.version} is there by now")
        elif version and snapshot.version != version:
            notes.append(f"{name}: version {snapshot.version}; {version}, of which it was made, is gone")
        found[name] = snapshot
    return found, notes


def _made_again(member: Member, number: Number, catalogue: Catalogue, ledgers: Any) -> Iterator[Checked]:
    """What a member says, from raw rows; what a function or another rollup made is left out."""
    explainers: dict[str, Explainer] = {}
    for read in member.read:
        group = catalogue.groups[read.group]
        if group.is_later:
            continue
        if read.identifier not in explainers:
            explainers[read.identifier] = Explainer(catalogue, ledgers, read.identifier, number.moment)
        yield Checked(read, explainers[read.identifier].explain(group, read.column).value)
