"""The facts that windows of the last while look at, apart from those that only tell that there is a history."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from transforms.calendar import FOREVER
from transforms.fact_order import places_of


def recent(facts: pa.Table, since: int, values: Iterable[str]) -> pa.Table:
    """Of a clock's facts in order the rows that answer, at any T not before `since`, every window that doesn't begin before it.

    `since`: microseconds since 1970 UTC. `values`: those that the clock has. Rows out, in order: those not before it; of those
    before it all that don't count at each such T, and of the others of each entity the newest with each of `values`. So whether
    an entity has any fact with a value is told as by all facts.
    """
    old = facts["at"].to_numpy() < since
    if not old.any():
        return facts
    counts = (facts["valid_from"].to_numpy() <= since) & (facts["valid_until"].to_numpy() == FOREVER)
    [places] = places_of(facts)
    keep = ~(old & counts)
    for name in values:
        there = np.flatnonzero(old & counts & facts[name].is_valid().to_numpy())
        newest = there[np.append(places.group[there][1:] != places.group[there][:-1], True)] if len(there) else there
        keep[newest] = True
    return facts.take(pa.array(np.flatnonzero(keep)))
