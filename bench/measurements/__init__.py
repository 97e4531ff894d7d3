"""The rows of the table, each a measurement with a name that can be run alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.measurements import backfills, growth, labels, nightly, preparing, snapshots, uneven, wide
from bench.race import Bench, Ratio

Measurement = Callable[[Bench], Sequence[Ratio]]

MEASUREMENTS: Mapping[str, Measurement] = {
    "snapshot": snapshots.prepared,
    "snapshot_from_raw": snapshots.from_raw,
    "new_day": preparing.new_day,
    "prepare": preparing.whole_history,
    "backfill": backfills.backfills,
    "labels": labels.labels,
    "heavy_entity": uneven.heavy_entity,
    "amended": uneven.amended,
    "growth": growth.ten_times,
    "history": growth.another_year,
    "columns": wide.columns,
    "catalogue": wide.catalogue,
    "nightly": nightly.nightly,
}
