"""Prepared facts at rest: for each stream a sorted base in buckets, and a small layer for each curate commit since."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stores.bucket_stage import BucketStage
from stores.fact_files import read_facts, write_facts
from stores.storage import Storage
from transforms.fact_arrays import CLOCK, HOLDS, MOMENTS, PreparedRows, ValueTypes, by_clock, value_types
from transforms.fact_layers import merged
from transforms.fact_order import in_order, places_of
from transforms.fact_sql import sorted_by
from transforms.feature_group import Stream
from transforms.recent_facts import recent

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Columns = Mapping[str, Sequence[str]]
"""Those that are read, by clock."""

EMPTY: Mapping[str, int] = MappingProxyType({})
_ROWS_WAITING = 1_000_000  # of all buckets together; some 200 MB


@dataclass(frozen=True)
class Layer:
    """Facts made from the curated versions `curated`; a base holds everything, a later layer what came or changed since.

    `files`: of each bucket; `sizes`: their bytes together. `replaced`: a file with the keys whose facts in earlier layers no
    longer stand, or None. `recent`: of each bucket once more the facts of some clocks that windows look at which don't begin
    before `recent_from` (by clock, microseconds since 1970 UTC); see `transforms.recent_facts`.
    """

    number: int
    base: bool
    bucket_bits: int
    curated: Mapping[str, int]
    files: Mapping[str, Sequence[str]]
    replaced: str | None
    recent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    recent_from: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Layer:
        """From its fields as JSON has them. Recent facts of all clocks at once, as they once lay apart, are not looked at."""
        layer = cls(**told)
        return layer if isinstance(layer.recent_from, dict) else replace(layer, recent_from={})


class FactTable:
    """The layers of one stream. Its name holds the hash of its definition: a changed definition is another table."""

    def __init__(self, storage: Storage, stream: Stream, key_columns: Sequence[str]) -> None:
        self.storage = storage
        self.stream = stream
        self.key_columns = list(key_columns)
        self.path = f"facts/{stream.entity}/{stream.name}"

    def layers(self) -> list[Layer]:
        """The last base and what lies on it. A layer is there when its manifest is."""
        found = [
            Layer.of(json.loads(self.storage.read(file.path)))
            for file in self.storage.list(f"{self.path}/manifests")
            if file.path.endswith(".json")
        ]
        found.sort(key=lambda layer: layer.number)
        last_base = max((index for index, layer in enumerate(found) if layer.base), default=0)
        return found[last_base:]

    def add(
        self,
        facts: DataFrame | Iterator[pa.Table],
        *,
        number: int,
        base: bool,
        bucket_bits: int,
        curated: Mapping[str, int],
        replaced: DataFrame | pa.Table | None = None,
        recent_from: Mapping[str, int] = EMPTY,
    ) -> Layer:
        """Write a layer and then its manifest, which makes it count.

        `facts`: with their `bucket`; Arrow tables are each sorted by it. `replaced`: rows with `key`, or None. `recent_from`: of
        these clocks the recent facts are written once more, from Arrow tables.
        """
        folder = f"{self.path}/layer-{number:06d}"
        self.storage.delete_folder(folder)  # of a run that died
        if isinstance(facts, Iterator):
            self._write(facts, folder, recent_from)
        else:
            self._write_by_spark(facts, bucket_bits, f"{folder}/facts")
            recent_from = EMPTY
        files, sizes = self._files(f"{folder}/facts")
        recent_files, _ = self._files(f"{folder}/recent")
        replaced_path = None
        if replaced is not None:
            replaced_path = f"{folder}/replaced"
            if isinstance(replaced, pa.Table):
                self._write_file(replaced, f"{replaced_path}/part-00000.parquet")
            else:
                replaced.coalesce(1).write.mode("overwrite").parquet(self.storage.uri(replaced_path))
        layer = Layer(number, base, bucket_bits, dict(curated), files, replaced_path, recent_files, dict(recent_from), sizes)
        self.storage.write(f"{self.path}/manifests/{number:06d}.json", json.dumps(asdict(layer), indent=1).encode())
        if base:
            self._drop_before(number)
        return layer

    def _write_by_spark(self, facts: DataFrame, bucket_bits: int, folder: str) -> None:
        shuffled = facts.repartition(1 << bucket_bits, "bucket") if bucket_bits else facts.coalesce(1)
        sorted_facts = shuffled.sortWithinPartitions("bucket", *sorted_by(self.key_columns))
        sorted_facts.write.mode("overwrite").partitionBy("bucket").option("compression", "zstd").parquet(self.storage.uri(folder))

    def _write(self, facts: Iterable[pa.Table], folder: str, recent_from: Mapping[str, int]) -> None:
        """The files that Spark would have written: one of each bucket that has facts, its number in the folder's name."""
        types = value_types(self.stream)
        texts = _texts(types)
        with tempfile.TemporaryDirectory(prefix="etr-") as waiting:
            stage = BucketStage(Path(waiting), _ROWS_WAITING)
            for some in facts:
                stage.add(some)
            for bucket, plain in stage.buckets():
                rows = _encoded(plain, texts)
                [places] = places_of(rows)
                rows = rows.take(pa.array(in_order(rows, sorted_by(self.key_columns), places)))
                tables = by_clock(rows)
                self._write_bucket(tables, f"{folder}/facts/bucket={bucket}")
                some = {name: recent(tables[name], since, types[name]) for name, since in recent_from.items() if name in tables}
                if some:
                    self._write_bucket(some, f"{folder}/recent/bucket={bucket}")

    def _write_bucket(self, tables: Mapping[str, pa.Table], folder: str) -> None:
        with self.storage.open_output(f"{folder}/part-00000.parquet") as stream:
            write_facts(stream, tables, differ=["at", "known", "valid_from", "key", *self.key_columns[:1]])

    def _files(self, folder: str) -> tuple[dict[str, list[str]], dict[str, int]]:
        """Of each bucket the files, and their bytes together."""
        files: dict[str, list[str]] = {}
        sizes: dict[str, int] = {}
        for file in self.storage.list(folder):
            if file.path.endswith(".parquet"):
                bucket = file.path.split("/bucket=")[1].split("/")[0]
                files.setdefault(bucket, []).append(file.path)
                sizes[bucket] = sizes.get(bucket, 0) + file.size
        return files, sizes

    def _write_file(self, table: pa.Table, path: str) -> None:
        with self.storage.open_output(path) as stream:
            pq.write_table(table, stream, compression="zstd")

    def _drop_before(self, number: int) -> None:
        for file in list(self.storage.list(f"{self.path}/manifests")):
            if int(file.path.rsplit("/", 1)[1].split(".")[0]) < number:
                self.storage.delete(file.path)
        for file in list(self.storage.list(self.path)):
            name = file.path.removeprefix(f"{self.path}/").split("/")[0]
            if name.startswith("layer-") and int(name.removeprefix("layer-")) < number:
                self.storage.delete(file.path)


@dataclass(frozen=True)
class _Part:
    """What one layer holds of a bucket, less the facts whose keys are `gone`: of the `clocks` the recent facts, of others all."""

    reader: BucketReader
    all: Sequence[str]
    recent: Sequence[str]
    clocks: frozenset[str]
    gone: Sequence[pa.Array]

    def read(self, columns: Columns) -> dict[str, pa.Table]:
        """Of each clock that has facts the columns of all that stand."""
        found = {}
        for clock, table in self._read(columns).items():
            kept = self._kept(clock)
            found[clock] = table if kept is None else _taken(table, kept)
        return found

    def rows(self, clock: str, columns: Sequence[str], rows: pa.Array) -> pa.Table:
        """Columns of some of those that stand."""
        kept = self._kept(clock)
        return _taken(self._read({clock: columns})[clock], rows if kept is None else kept.take(rows))

    def loses_any_before(self, moment: int, clock: str) -> bool:
        """Whether any of a clock's facts that are gone happened before."""
        if clock not in self._judged:
            return False
        is_gone, at = self._judged[clock]
        return bool((is_gone & (at < moment)).any())

    def _kept(self, clock: str) -> pa.Array | None:
        """The places of the facts that stand; None where all do."""
        if clock not in self._judged:
            return None
        is_gone, _ = self._judged[clock]
        return pa.array(np.flatnonzero(~is_gone)) if is_gone.any() else None

    @cached_property
    def _judged(self) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.int64]]]:
        """By clock, whether each fact is gone, and when it happened; empty where nothing is."""
        if not self.gone:
            return {}
        gone = pa.chunked_array(self.gone, pa.int64())
        tables = self._read(dict.fromkeys(self.reader.clocks, ("key", "at")))
        return {
            clock: (pc.is_in(table["key"], value_set=gone).to_numpy(), table["at"].to_numpy()) for clock, table in tables.items()
        }

    def _read(self, columns: Columns) -> dict[str, pa.Table]:
        found: dict[str, list[pa.Table]] = {}
        for paths, apart in ((self.all, False), (self.recent, True)):
            some = {clock: names for clock, names in columns.items() if (clock in self.clocks) is apart}
            for path in paths if some else ():
                with self.reader.storage.open_input(path) as stream:
                    for clock, table in read_facts(stream, some, _texts(self.reader.value_types)).items():
                        found.setdefault(clock, []).append(table)
        return {clock: pa.concat_tables(tables, promote_options="default") for clock, tables in found.items()}


def _taken(table: pa.Table, rows: pa.Array) -> pa.Table:
    return table.unify_dictionaries().combine_chunks().take(rows)


@dataclass(frozen=True)
class BucketReader:
    """What a worker needs to read one bucket of a stream; pickles. `daily`: the clocks for values of every day."""

    storage: Storage
    layers: tuple[Layer, ...]
    value_types: ValueTypes
    key_columns: tuple[str, ...]
    daily: frozenset[str] = frozenset()

    @classmethod
    def of(cls, table: FactTable, layers: Sequence[Layer]) -> BucketReader:
        daily = frozenset(clock.name for clock in table.stream.clocks if clock.daily)
        return cls(table.storage, tuple(layers), value_types(table.stream), tuple(table.key_columns), daily)

    @property
    def clocks(self) -> list[str]:
        return sorted(self.value_types)

    def size(self, bucket: int) -> int:
        """How many bytes the facts of a bucket have; 0 where it isn't known."""
        return sum(layer.sizes.get(str(bucket), 0) for layer in self.layers)

    def prepared(
        self, bucket: int, *, needed: Mapping[str, Collection[str]] | None = None, since: Mapping[str, int] = EMPTY
    ) -> PreparedRows | None:
        """The facts of a bucket that stand, ready for the kernel; None where there are none. `needed`, `since`: see `read`."""
        tables = self.read(bucket, needed=needed, since=since)
        return PreparedRows(tables, self._types_of(needed)) if tables else None

    def read(
        self, bucket: int, *, needed: Mapping[str, Collection[str]] | None = None, since: Mapping[str, int] = EMPTY
    ) -> dict[str, pa.Table]:
        """By clock all facts of a bucket that stand, sorted by entity, at, known time and key; of the clocks that have any.

        `needed`: the values that are read, by clock; by default all. `since`: by clock, no window begins earlier, in microseconds
        since 1970 UTC; facts that none looks at may be missing.
        """
        parts = self._parts(str(bucket), since)
        if not parts:
            return {}
        columns = {clock: self._columns(clock, types) for clock, types in self._types_of(needed).items()}
        found = parts[0].read(columns)
        if len(parts) == 1:
            return found
        order = [name for name in sorted_by(self.key_columns) if name != CLOCK]
        whole = {clock: list(dict.fromkeys([*names, *order])) for clock, names in columns.items()}
        later: dict[str, list[pa.Table]] = {}
        for part in parts[1:]:
            for clock, table in part.read(whole).items():
                later.setdefault(clock, []).append(table)
        for clock, tables in later.items():
            new = pa.concat_tables(tables, promote_options="default")
            earlier = found.get(clock, new.select(columns[clock]).slice(0, 0))
            rows = partial(parts[0].rows, clock, whole[clock])
            found[clock] = merged(earlier, new, rows, order)
        return found

    def _types_of(self, needed: Mapping[str, Collection[str]] | None) -> ValueTypes:
        """The types of the values that are needed."""
        if needed is None:
            return self.value_types
        return {
            clock: {name: type_ for name, type_ in self.value_types[clock].items() if name in names}
            for clock, names in needed.items()
            if clock in self.value_types
        }

    def _columns(self, clock: str, values: Iterable[str]) -> list[str]:
        return ["entity", *MOMENTS, *(HOLDS if clock in self.daily else ()), *sorted(values)]

    def _parts(self, bucket: str, since: Mapping[str, int]) -> list[_Part]:
        parts = []
        for number, layer in enumerate(self.layers):
            if bucket in layer.files:
                gone = [keys for keys in self._replaced[number + 1 :] if len(keys)]
                parts.append(self._part(layer, bucket, since, gone))
        return parts

    def _part(self, layer: Layer, bucket: str, since: Mapping[str, int], gone: Sequence[pa.Array]) -> _Part:
        clocks = {clock for clock, moment in layer.recent_from.items() if clock in since and since[clock] >= moment}
        part = _Part(self, layer.files[bucket], layer.recent.get(bucket, ()), frozenset(clocks), gone)
        # Of a clock that lost older facts the recent ones may tell of a history no more that there still is.
        losing = {clock for clock in clocks if part.loses_any_before(layer.recent_from[clock], clock)}
        return replace(part, clocks=frozenset(clocks - losing)) if losing else part

    @cached_property
    def _replaced(self) -> list[pa.Array]:
        """Of each layer the keys whose facts in earlier ones no longer stand."""
        return [self._keys(layer.replaced) if layer.replaced else pa.array([], pa.int64()) for layer in self.layers]

    def _keys(self, folder: str) -> pa.Array:
        keys = []
        for file in self.storage.list(folder):
            if file.path.endswith(".parquet"):
                with self.storage.open_input(file.path) as stream:
                    keys += pq.read_table(stream, columns=["key"])["key"].cast(pa.int64()).chunks
        return pa.chunked_array(keys, pa.int64()).combine_chunks()


def prepared_of(
    readers: Mapping[str, BucketReader],
    bucket: int,
    *,
    needed: Mapping[str, Mapping[str, Collection[str]]],
    since: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> dict[str, PreparedRows | None]:
    """By stream the facts of a bucket, with the values that are needed, by stream and clock; `since` likewise."""
    return {
        name: reader.prepared(bucket, needed=needed.get(name, {}), since=since.get(name, {})) for name, reader in readers.items()
    }


def _texts(types: ValueTypes) -> list[str]:
    """The columns that are places in a dictionary wherever facts are moved or read, for half the time."""
    values = {name for some in types.values() for name, type_ in some.items() if type_ == "string"}
    return [CLOCK, "entity", *sorted(values)]


def _encoded(rows: pa.Table, texts: Sequence[str]) -> pa.Table:
    for name in texts:
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].combine_chunks().dictionary_encode())
    return rows
