"""The facts that windows of the last while look at, apart from those that only tell that there is a history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.calendar import FOREVER


def recent(facts: pa.Table, since: int, values: Sequence[str]) -> pa.Table:
    """Of facts in order the rows that answer, at any T not before `since`, every window that doesn't begin before it.

    `since`: microseconds since 1970 UTC. Rows out, in order: those not before it; of those before it all that don't count at
    each such T, and of the others of each clock and entity the newest with each of `values`. So whether an entity has any fact
    with a value is told as by all facts.
    """
    old = facts["at"].to_numpy() < since
    if not old.any():
        return facts
    counts = (facts["valid_from"].to_numpy() <= since) & (facts["valid_until"].to_numpy() == FOREVER)
    keep = ~(old & counts)
    run = _runs(facts)
    for name in values:
        there = np.flatnonzero(old & counts & facts[name].is_valid().to_numpy())
        newest = there[np.append(run[there][1:] != run[there][:-1], True)] if len(there) else there
        keep[newest] = True
    return facts.take(pa.array(np.flatnonzero(keep)))


def _runs(facts: pa.Table) -> NDArray[np.int64]:
    """A number for each fact, the same for those of one clock and entity, which lie together."""
    begins = np.zeros(len(facts), dtype=np.bool_)
    for name in ("clock", "entity"):
        places = facts[name].combine_chunks().dictionary_encode().indices.to_numpy()
        begins[1:] |= places[1:] != places[:-1]
    return np.cumsum(begins)
