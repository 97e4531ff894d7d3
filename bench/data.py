"""Seeded events and labels: a few entities have most events, events come in bursts, from many providers, amounts in cents."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.question import MICROSECONDS_A_DAY

LAST_DAY = date(2025, 12, 31)
_WEIGHT_POWER = -0.8
_IN_BURSTS = 0.3
_HOURS_IN_BURST = 8
_LATE = 0.12
_SINGLE_DAYS = 8

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """What to generate. The last of `days` days is LAST_DAY.

    `heavy`: the share of all events that the first entity has, where it is above 0. `amended`: the share of events that get a
    second version later; above 0, or where `versions`, rows have `version` and `recorded_at`.
    """

    events: int
    entities: int
    days: int = 730
    providers: int = 40
    seed: int = 20251231
    heavy: float = 0.0
    amended: float = 0.0
    versions: bool = False

    @property
    def folder(self) -> str:
        return f"events-{self.events}-{sha256(repr(asdict(self)).encode()).hexdigest()[:8]}"

    @property
    def first_day(self) -> date:
        return LAST_DAY - timedelta(days=self.days - 1)


@dataclass(frozen=True)
class Data:
    """Files in time order: `history`, a file a month, and `new`, a file for each of the last few days."""

    shape: Shape
    history: tuple[Path, ...]
    new: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return self.history + self.new

    def labels(self, count: int, *, on_heavy: int = 0) -> Path:
        """Labels: most on any entity, a tenth drawn by event (half of these at its very instant), `on_heavy` on the first.

        No label's window reaches back before the first day.
        """
        path = self.files[0].parent / f"labels-{count}-{on_heavy}.parquet"
        if not path.exists():
            _write_labels(self, path, count, on_heavy)
        return path


def generate(shape: Shape, under: Path) -> Data:
    """The data of a shape, in a folder of its own; made once."""
    folder = under / shape.folder
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write_events(shape, folder)
        (folder / "complete").touch()
    files = sorted(folder.glob("events-*.parquet"))
    first_new = (LAST_DAY - timedelta(days=_SINGLE_DAYS - 1)).isoformat()
    new = tuple(file for file in files if file.stem.removeprefix("events-") >= first_new)
    return Data(shape, tuple(file for file in files if file not in new), new)


def microseconds(day: date) -> int:
    """The midnight that begins a UTC day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _write_events(shape: Shape, folder: Path) -> None:
    random = np.random.default_rng(shape.seed)
    entity = _entities(shape, random)
    occurred = _times(shape, entity, random)
    order = np.argsort(occurred, kind="stable")
    entity, occurred = entity[order], occurred[order]
    late = random.random(shape.events) < _LATE
    columns = {
        "event_id": np.arange(shape.events),
        "customer": entity,
        "occurred_at": occurred,
        "provider": np.minimum(random.geometric(0.08, shape.events) - 1, shape.providers - 1),
        "amount": np.minimum(np.exp(random.normal(8.5, 1.1, shape.events)).astype(np.int64) + 100, 500_000),
        "is_late": late,
        "days_past_due": np.where(late, np.minimum(random.geometric(0.08, shape.events), 120), -1),
    }
    if shape.versions or shape.amended:
        columns |= {"version": np.ones(shape.events, dtype=np.int64), "recorded_at": occurred}
        columns = _with_amendments(columns, shape, random)
    starts = _file_starts(shape)
    known = columns["recorded_at" if "recorded_at" in columns else "occurred_at"]
    edges = [*np.searchsorted(known, starts[1:]).tolist(), len(known)]
    begin = 0
    for name, end in zip(_file_names(shape), edges, strict=True):
        part = {key: values[begin:end] for key, values in columns.items()}
        pq.write_table(_table(part), folder / f"events-{name}.parquet", compression="zstd")
        begin = end


def _entities(shape: Shape, random: np.random.Generator) -> Numbers:
    """The entity of each event, ascending."""
    weights = np.arange(1, shape.entities + 1, dtype=np.float64) ** _WEIGHT_POWER
    weights /= weights.sum()
    if shape.heavy:
        weights[1:] *= (1 - shape.heavy) / weights[1:].sum()
        weights[0] = shape.heavy
    named = np.concatenate([[0], 1 + random.permutation(shape.entities - 1)])  # weights say nothing of names
    counts = random.multinomial(shape.events, weights)
    return np.sort(np.repeat(named, counts))


def _times(shape: Shape, entity: Numbers, random: np.random.Generator) -> Numbers:
    """Any time of the range, or, in a burst, soon after an event of the same entity."""
    count = len(entity)
    begin, span = microseconds(shape.first_day), shape.days * MICROSECONDS_A_DAY
    times = begin + random.integers(0, span, count)
    follows = (random.random(count) < _IN_BURSTS) & (np.diff(entity, prepend=-1) == 0)
    leader = np.maximum.accumulate(np.where(follows, 0, np.arange(count)))
    soon = random.exponential(_HOURS_IN_BURST * 3_600_000_000, count).astype(np.int64)
    return np.where(follows, np.minimum(times[leader] + soon, begin + span - 1), times)


def _with_amendments(columns: dict[str, Any], shape: Shape, random: np.random.Generator) -> dict[str, Any]:
    """Adds a second version of some events, recorded some days later; in order of recording."""
    end = microseconds(LAST_DAY + timedelta(days=1)) - 1
    which = np.flatnonzero(random.random(shape.events) < shape.amended)
    second = {name: values[which] for name, values in columns.items()}
    second["version"] = second["version"] + 1
    second["amount"] = second["amount"] + random.integers(1, 5_000, len(which))
    later = random.exponential(10 * MICROSECONDS_A_DAY, len(which)).astype(np.int64) + 1
    second["recorded_at"] = np.minimum(second["recorded_at"] + later, end)
    both = {name: np.concatenate([values, second[name]]) for name, values in columns.items()}
    order = np.argsort(both["recorded_at"], kind="stable")
    return {name: values[order] for name, values in both.items()}


def _table(part: dict[str, Any]) -> pa.Table:
    due = pa.array(part["days_past_due"], mask=part["days_past_due"] < 0)
    arrays = {
        "event_id": pa.array(part["event_id"]),
        "customer_id": _names("c", part["customer"], 7),
        "occurred_at": pa.array(part["occurred_at"], pa.timestamp("us", tz="UTC")),
        "provider": _names("provider-", part["provider"], 2),
        "amount": pa.array(part["amount"]),
        "is_late": pa.array(part["is_late"]),
        "days_past_due": due,
    }
    if "version" in part:
        arrays["version"] = pa.array(part["version"])
        arrays["recorded_at"] = pa.array(part["recorded_at"], pa.timestamp("us", tz="UTC"))
    return pa.table(arrays)


def _names(prefix: str, numbers: Numbers, width: int) -> pa.Array:
    padded = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=width, padding="0")
    return pc.binary_join_element_wise(prefix, padded, "")


def _file_names(shape: Shape) -> list[str]:
    return [start.isoformat() for start in _starts(shape)]


def _file_starts(shape: Shape) -> list[int]:
    return [microseconds(start) for start in _starts(shape)]


def _starts(shape: Shape) -> Sequence[date]:
    """The day on which each file begins: every month, and each of the last few days."""
    single = [LAST_DAY - timedelta(days=back) for back in reversed(range(_SINGLE_DAYS))]
    days = [shape.first_day + timedelta(days=number) for number in range(shape.days - _SINGLE_DAYS)]
    return [day for place, day in enumerate(days) if place == 0 or day.day == 1] + single


def _write_labels(data: Data, path: Path, count: int, on_heavy: int) -> None:
    shape = data.shape
    random = np.random.default_rng(shape.seed + count)
    earliest = microseconds(max(shape.first_day + timedelta(days=365), LAST_DAY - timedelta(days=364)))
    latest = microseconds(LAST_DAY + timedelta(days=1))
    by_event = count // 10
    some = pa.concat_tables(pq.read_table(file, columns=["customer_id", "occurred_at"]) for file in data.files)
    some = some.filter(pc.greater_equal(some["occurred_at"].cast(pa.int64()), earliest))
    drawn = some.take(pa.array(random.integers(0, len(some), by_event)))
    uniform = _names("c", random.integers(0, shape.entities, count - by_event - on_heavy), 7)
    heavy = _names("c", np.zeros(on_heavy, dtype=np.int64), 7)
    entities = pa.chunked_array([drawn["customer_id"].combine_chunks(), uniform, heavy])
    times = random.integers(earliest, latest, count)
    at_event = by_event // 2
    times[:at_event] = drawn["occurred_at"].cast(pa.int64()).to_numpy()[:at_event]
    table = pa.table({"customer_id": entities, "label_time": pa.array(times, pa.timestamp("us", tz="UTC"))})
    table = table.group_by(["customer_id", "label_time"], use_threads=False).aggregate([])
    table = table.append_column("target", pa.array(random.integers(0, 2, len(table)).astype(np.float64)))
    pq.write_table(table, path, compression="zstd")
