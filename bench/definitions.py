"""The definitions of our engine's side, and the same with more windows, or for events that are amended."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.question import FEATURES, WINDOWS

CONF = Path(__file__).with_name("conf")
_AS_SHIPPED = f"windows: [{', '.join(f'{window}d' for window in WINDOWS)}]"
_VERSIONED = (
    ("event_time: occurred_at\n", "event_time: occurred_at\nknown_time: recorded_at\nversion: version\n"),
    ("  provider:", "  version: {type: integer, required: true}\n  recorded_at: {type: timestamp, required: true}\n  provider:"),
)


def many_windows(columns: int) -> tuple[int, ...]:
    """Windows of different lengths, a year at most, that make at least so many columns."""
    count = -(-columns // len(FEATURES))
    if count > max(WINDOWS):
        raise ValueError(f"{columns} columns are more than {len(FEATURES)} features of {max(WINDOWS)} windows")
    return tuple(sorted({1 + (max(WINDOWS) - 1) * place // max(count - 1, 1) for place in range(count)}))


def write_definitions(folder: Path, *, windows: Sequence[int] = WINDOWS, versions: bool = False) -> Path:
    """Write definitions with these windows; `versions`: every version of an event is kept, and counts once it was recorded."""
    shutil.copytree(CONF, folder, dirs_exist_ok=True)
    told = f"windows: [{', '.join(f'{window}d' for window in windows)}]"
    group, source = folder / "feature_groups" / "customer_activity.yaml", folder / "sources" / "events.yaml"
    group.write_text(group.read_text().replace(_AS_SHIPPED, told))
    if versions:
        text = source.read_text()
        for was, becomes in _VERSIONED:
            text = text.replace(was, becomes, 1)
        source.write_text(text)
    return folder
