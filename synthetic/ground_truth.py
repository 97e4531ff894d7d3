"""What a reader of the sample must find: counted while it is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conf.errors import UsageError
from synthetic.clock import NULL, Flags, Ints, first_day_of, local_day, midnight, month_of
from synthetic.columns import Columns, row_count, take
from synthetic.dirt import KEPT
from synthetic.files import FileCount
from synthetic.layout import LAYOUTS, Layout
from synthetic.parameters import Parameters


@dataclass
class SourceTruth:
    """One source: `read = kept + duplicates + conflicts + bad`. `late`, `orphans` and `out_of_order` are of the kept rows."""

    read: int = 0
    kept: int = 0
    duplicates: int = 0
    conflicts: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    late: int = 0
    orphans: dict[str, int] = field(default_factory=dict)
    out_of_order: int = 0
    nulls_as_words: int = 0
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def quarantined(self) -> int:
        return self.conflicts + sum(self.bad.values())

    def add_files(self, counts: Mapping[str, FileCount]) -> None:
        """Take over the counts of the files, and their sums."""
        for name, count in sorted(counts.items()):
            self.files[name] = asdict(count)
            self.read += count.rows
            self.kept += count.kept
            self.duplicates += count.duplicates
            self.conflicts += count.conflicts
            self.nulls_as_words += count.nulls_as_words
            for kind, rows in count.bad.items():
                self.bad[kind] = self.bad.get(kind, 0) + rows


def count_kept(truth: Mapping[str, SourceTruth], rows: Mapping[str, Columns], written_from: int) -> None:
    """Add what is late, an orphan or out of order among the kept rows of a block that are delivered from `written_from` on.

    A block holds all rows of its customers up to the end of the sample, so references need no look elsewhere.
    """
    kept = {name: take(columns, columns["_kind"] == KEPT) for name, columns in rows.items()}
    for name, columns in kept.items():
        layout, found = LAYOUTS[name], truth[name]
        is_written = columns["_delivered"] >= written_from
        found.late += int((_is_late(layout, columns) & is_written).sum())
        found.out_of_order += int((_comes_after_newer(layout, columns) & is_written).sum())
        for column, parent in layout.references.items():
            codes = columns[column]
            known = np.unique(kept[parent][LAYOUTS[parent].key[0]])
            is_orphan = (codes != NULL) & ~np.isin(codes, known) & is_written
            found.orphans[column] = found.orphans.get(column, 0) + int(is_orphan.sum())


def _is_late(layout: Layout, columns: Columns) -> Flags:
    """Known after the local midnight that ends the day of its own event."""
    event: Ints = columns[layout.event]
    if layout.event_is == "time":
        day = local_day(event)
    elif layout.event_is == "day":
        day = event
    else:
        day = first_day_of(month_of(event) + 1) - 1
    late: Flags = columns["recorded_at"] > midnight(day + 1)
    return late


def _comes_after_newer(layout: Layout, columns: Columns) -> Flags:
    """Rows that are delivered after a greater version of their key; `columns` are in the order of delivery."""
    n = row_count(columns)
    if layout.newer_by is None or not n:
        return np.zeros(n, bool)
    order = np.argsort(columns[layout.key[0]], kind="stable")
    key, version = columns[layout.key[0]][order], columns[layout.newer_by][order]
    group = np.cumsum(np.concatenate([[0], key[1:] != key[:-1]]))
    greatest = np.maximum.accumulate(version + group * 2**34)  # a version is a number or seconds since 1970
    after = np.zeros(n, bool)
    after[order] = version + group * 2**34 < greatest
    return after


def truth_path(root: Path, parameters: Parameters) -> Path:
    """`ground_truth.json`, or `ground_truth_<day>.json` of what is written from a day on."""
    suffix = f"_{parameters.only_from.isoformat()}" if parameters.only_from else ""
    return root / f"ground_truth{suffix}.json"


def write_truth(root: Path, parameters: Parameters, truth: Mapping[str, SourceTruth]) -> None:
    """Write the ground truth, last of all: where it is, the sample is whole."""
    told = {
        "synthetic": True,
        "parameters": parameters.as_json(),
        "sources": {name: {**asdict(source), "quarantined": source.quarantined} for name, source in truth.items()},
    }
    path = truth_path(root, parameters)
    unfinished = path.with_name(path.name + ".writing")
    unfinished.write_text(json.dumps(told, indent=1) + "\n")
    unfinished.replace(path)


def read_truth(path: Path) -> dict[str, Any] | None:
    """A ground truth as it was written; None where there is none. Raises: UsageError when it isn't one."""
    try:
        told = json.loads(path.read_text())
        if isinstance(told["parameters"], dict) and isinstance(told["sources"], dict):
            return dict(told)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{path} is not the ground truth of a sample; remove it, or write to another folder")


def is_unchanged(root: Path, parameters: Parameters) -> bool:
    """Whether the folder holds this very sample: same parameters and generator, every file there with its size."""
    told = read_truth(truth_path(root, parameters))
    if told is None or told["parameters"] != parameters.as_json():
        return False
    sizes = {name: count["bytes"] for source in told["sources"].values() for name, count in source["files"].items()}
    return all((root / name).is_file() and (root / name).stat().st_size == size for name, size in sizes.items())
