"""Prepared facts at rest: for each stream a sorted base in buckets, and a small layer for each curate commit since."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stores.bucket_stage import BucketStage
from stores.storage import Storage
from transforms.fact_arrays import CLOCK_COLUMNS, PreparedRows, ValueTypes, value_types
from transforms.fact_layers import merged
from transforms.fact_order import in_order, places_of
from transforms.fact_sql import sorted_by
from transforms.feature_group import Stream
from transforms.recent_facts import recent

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROWS_WAITING = 1_000_000  # of all buckets together; some 200 MB


@dataclass(frozen=True)
class Layer:
    """Facts made from the curated versions `curated`; a base holds everything, a later layer what came or changed since.

    `files`: of each bucket. `replaced`: a file with the keys whose facts in earlier layers no longer stand, or None.
    `recent`: of each bucket once more, if there are any, the facts that windows look at which don't begin before `recent_from`
    (microseconds since 1970 UTC); see `transforms.recent_facts`.
    """

    number: int
    base: bool
    bucket_bits: int
    curated: Mapping[str, int]
    files: Mapping[str, Sequence[str]]
    replaced: str | None
    recent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    recent_from: int | None = None


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
            Layer(**json.loads(self.storage.read(file.path)))
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
        recent_from: int | None = None,
    ) -> Layer:
        """Write a layer and then its manifest, which makes it count.

        `facts`: with their `bucket`; Arrow tables are each sorted by it. `replaced`: rows with `key`, or None. `recent_from`: of
        Arrow tables the recent facts are written once more.
        """
        folder = f"{self.path}/layer-{number:06d}"
        self.storage.delete_folder(folder)  # of a run that died
        if isinstance(facts, Iterator):
            self._write(facts, folder, recent_from)
        else:
            self._write_by_spark(facts, bucket_bits, f"{folder}/facts")
            recent_from = None
        files, recent_files = self._files(f"{folder}/facts"), self._files(f"{folder}/recent")
        replaced_path = None
        if replaced is not None:
            replaced_path = f"{folder}/replaced"
            if isinstance(replaced, pa.Table):
                self._write_file(replaced, f"{replaced_path}/part-00000.parquet")
            else:
                replaced.coalesce(1).write.mode("overwrite").parquet(self.storage.uri(replaced_path))
        layer = Layer(number, base, bucket_bits, dict(curated), files, replaced_path, recent_files, recent_from)
        self.storage.write(f"{self.path}/manifests/{number:06d}.json", json.dumps(asdict(layer), indent=1).encode())
        if base:
            self._drop_before(number)
        return layer

    def _write_by_spark(self, facts: DataFrame, bucket_bits: int, folder: str) -> None:
        shuffled = facts.repartition(1 << bucket_bits, "bucket") if bucket_bits else facts.coalesce(1)
        sorted_facts = shuffled.sortWithinPartitions("bucket", *sorted_by(self.key_columns))
        sorted_facts.write.mode("overwrite").partitionBy("bucket").option("compression", "zstd").parquet(self.storage.uri(folder))

    def _write(self, facts: Iterable[pa.Table], folder: str, recent_from: int | None) -> None:
        """The files that Spark would have written: one of each bucket that has facts, its number in the folder's name."""
        values = [name for types in value_types(self.stream).values() for name in types]
        texts = _texts(value_types(self.stream))
        with tempfile.TemporaryDirectory(prefix="etr-") as waiting:
            stage = BucketStage(Path(waiting), _ROWS_WAITING)
            for some in facts:
                stage.add(some)
            for bucket, plain in stage.buckets():
                rows = _encoded(plain, texts)
                [places] = places_of(rows)
                order = in_order(rows, sorted_by(self.key_columns), places)
                rows = rows.take(pa.array(order))
                self._write_bucket(rows, f"{folder}/facts/bucket={bucket}")
                if recent_from is not None:
                    self._write_bucket(recent(rows, places.take(order), recent_from, values), f"{folder}/recent/bucket={bucket}")

    def _write_bucket(self, rows: pa.Table, folder: str) -> None:
        # No dictionaries of what differs from fact to fact: files are smaller without, and read in two thirds of the time.
        differ = ["at", "known", "valid_from", "key", *self.key_columns[:1]]
        repeated = [name for name in rows.column_names if name not in differ]
        with self.storage.open_output(f"{folder}/part-00000.parquet") as stream:
            # Read every night, and in three fifths of the time that zstd takes. Nobody looks for a range of values.
            pq.write_table(
                rows, stream, compression="lz4", use_dictionary=repeated, write_statistics=False, store_schema=False
            )

    def _files(self, folder: str) -> dict[str, list[str]]:
        """Of each bucket."""
        files: dict[str, list[str]] = {}
        for file in self.storage.list(folder):
            if file.path.endswith(".parquet"):
                bucket = file.path.split("/bucket=")[1].split("/")[0]
                files.setdefault(bucket, []).append(file.path)
        return files

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
    """What one layer holds of a bucket, less the facts whose keys are `gone`."""

    reader: BucketReader
    paths: Sequence[str]
    gone: Sequence[pa.Array]

    def read(self, columns: Sequence[str], rows: pa.Array | None = None) -> pa.Table:
        """Columns of all facts that stand, or of `rows` among them."""
        table = self._read(columns)
        wanted = self._kept if rows is None or self._kept is None else self._kept.take(rows)
        wanted = rows if wanted is None else wanted
        return table if wanted is None else table.unify_dictionaries().combine_chunks().take(wanted)

    def loses_any_before(self, moment: int) -> bool:
        """Whether any of the facts that are gone happened before."""
        if not self.gone:
            return False
        is_gone, at = self._judged
        return bool((is_gone & (at < moment)).any())

    @cached_property
    def _kept(self) -> pa.Array | None:
        if not self.gone:
            return None
        is_gone, _ = self._judged
        return pa.array(np.flatnonzero(~is_gone)) if is_gone.any() else None

    @cached_property
    def _judged(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each fact is gone, and when it happened."""
        table = self._read(["key", "at"])
        is_gone = pc.is_in(table["key"], value_set=pa.chunked_array(self.gone, pa.int64()))
        return is_gone.to_numpy(), table["at"].to_numpy()

    def _read(self, columns: Sequence[str]) -> pa.Table:
        tables = []
        for path in self.paths:
            with self.reader.storage.open_input(path) as stream:
                # A third of the time that `read_table` takes for a small file.
                file = pq.ParquetFile(stream, read_dictionary=_texts(self.reader.value_types), pre_buffer=True)
                tables.append(file.read(list(columns), use_threads=False).select(columns))
        return pa.concat_tables(tables, promote_options="default")


@dataclass(frozen=True)
class BucketReader:
    """What a worker needs to read one bucket of a stream; pickles."""

    storage: Storage
    layers: tuple[Layer, ...]
    value_types: ValueTypes
    key_columns: tuple[str, ...]

    @classmethod
    def of(cls, table: FactTable, layers: Sequence[Layer]) -> BucketReader:
        return cls(table.storage, tuple(layers), value_types(table.stream), tuple(table.key_columns))

    def prepared(self, bucket: int, *, since: int | None = None) -> PreparedRows | None:
        """What `read` gives, to be told apart by clock."""
        table = self.read(bucket, since=since)
        return None if table is None else PreparedRows(table, self.value_types)

    def read(self, bucket: int, *, since: int | None = None) -> pa.Table | None:
        """All facts of a bucket that stand, sorted by clock, entity, at, known time and key; None where there are none.

        `since`: no window begins earlier, in microseconds since 1970 UTC; facts that none looks at may be missing.
        """
        parts = self._parts(str(bucket), since)
        if not parts:
            return None
        first = parts[0].read(self.columns)
        if len(parts) == 1:
            return first
        order = sorted_by(self.key_columns)
        others = [name for name in order if name not in self.columns]

        def whole(rows: pa.Array) -> pa.Table:
            some, rest = first.unify_dictionaries().combine_chunks().take(rows), parts[0].read(others, rows)
            return pa.table([*some.columns, *rest.columns], [*some.column_names, *rest.column_names])

        later = pa.concat_tables([part.read([*self.columns, *others]) for part in parts[1:]], promote_options="default")
        return merged(first, later, whole, order)

    def _parts(self, bucket: str, since: int | None) -> list[_Part]:
        parts = []
        for number, layer in enumerate(self.layers):
            if bucket in layer.files:
                gone = [keys for keys in self._replaced[number + 1 :] if len(keys)]
                parts.append(self._part(layer, bucket, since, gone))
        return parts

    def _part(self, layer: Layer, bucket: str, since: int | None, gone: Sequence[pa.Array]) -> _Part:
        if since is not None and layer.recent_from is not None and since >= layer.recent_from and bucket in layer.recent:
            part = _Part(self, layer.recent[bucket], gone)
            if not part.loses_any_before(layer.recent_from):  # else it may tell of a history no more that there still is
                return part
        return _Part(self, layer.files[bucket], gone)

    @property
    def columns(self) -> list[str]:
        return [*CLOCK_COLUMNS, *sorted({name for types in self.value_types.values() for name in types})]

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


def _texts(types: ValueTypes) -> list[str]:
    """The columns that are places in a dictionary wherever facts are moved or read, for half the time."""
    values = {name for some in types.values() for name, type_ in some.items() if type_ == "string"}
    return ["clock", "entity", *sorted(values)]


def _encoded(rows: pa.Table, texts: Sequence[str]) -> pa.Table:
    for name in texts:
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].combine_chunks().dictionary_encode())
    return rows
