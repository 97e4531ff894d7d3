"""CPU seconds and memory of a process and everything it started, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """`ticks`: of itself and of its children that ended and were waited for."""

    pid: int
    parent: int
    name: str
    ticks: int


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree so far. A child that ends is counted on by its parent, so differences are exact."""
    return sum(process.ticks for process in tree(root)) / _TICKS


def tree(root: int) -> list[Process]:
    """A process and all its descendants that live."""
    processes = _processes()
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if pid in processes:
            found.append(processes[pid])
        waiting += children.get(pid, [])
    return found


def peak_megabytes(root: int, name: str) -> float:
    """The largest peak of resident memory among a tree's processes of a name, its root left out; 0 where there are none."""
    peaks = [_peak(process.pid) for process in tree(root) if process.pid != root and process.name.startswith(name)]
    return max(peaks, default=0.0)


def forget_peaks(root: int) -> None:
    """Let every peak begin anew, where the kernel allows it."""
    for process in tree(root):
        try:
            (_PROC / str(process.pid) / "clear_refs").write_text("5")
        except OSError:
            continue


def _peak(pid: int) -> float:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _processes() -> Mapping[int, Process]:
    found = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:  # it ended meanwhile
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        found[int(entry.name)] = Process(int(entry.name), int(rest[1]), name, sum(map(int, rest[11:15])))
    return found
