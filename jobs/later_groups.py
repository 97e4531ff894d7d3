"""Groups that are made of other groups' snapshots of the day: in which order, and whether these are there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from typing import TYPE_CHECKING

from conf.errors import DefinitionError, InputError

if TYPE_CHECKING:
    from transforms.feature_group import LaterGroup


def in_order(groups: Iterable[LaterGroup]) -> list[LaterGroup]:
    """Each after those that it reads. Raises DefinitionError for groups that wait for one another."""
    waiting = {group.name: group for group in groups}
    ordered: list[LaterGroup] = []
    while waiting:
        ready = [group for group in waiting.values() if not any(name in waiting for name in group.groups)]
        if not ready:
            raise DefinitionError(f"{', '.join(waiting)} read one another's snapshots; none of them can be made first")
        ordered += ready
        for group in ready:
            del waiting[group.name]
    return ordered


def check_reads(group: LaterGroup, reads: Collection[str], day: date) -> None:
    """Raises InputError for a group that it reads without a snapshot of the day."""
    for name in group.groups:
        if name not in reads:
            raise InputError(
                f"{group.name} reads the snapshot of {name}, and there is none as of {day}; "
                f"make it too: etr materialize --as-of {day} --groups {name},{group.name}"
            )
