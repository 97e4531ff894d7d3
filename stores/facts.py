"""Prepared facts at rest: for each stream a sorted base in buckets, and a small layer for each curate commit since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stores.partitioned import PartitionedFiles
from stores.storage import Storage
from transforms.fact_arrays import CLOCK_COLUMNS, ValueTypes, entities_with_facts, facts_on_clocks, value_types
from transforms.fact_sql import sorted_by
from transforms.feature_group import Stream
from transforms.kernel import Facts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROWS_WAITING = 1_000_000  # of all buckets together; some 200 MB


@dataclass(frozen=True)
class Layer:
    """Facts made from the curated versions `curated`; a base holds everything, a later layer what came or changed since.

    `files`: of each bucket. `replaced`: a file with the keys whose facts in earlier layers no longer stand, or None.
    """

    number: int
    base: bool
    bucket_bits: int
    curated: Mapping[str, int]
    files: Mapping[str, Sequence[str]]
    replaced: str | None


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
    ) -> Layer:
        """Write a layer and then its manifest, which makes it count.

        `facts`: with their `bucket`; of Arrow tables, each sorted by it, and the facts of a bucket in all of them as `sorted_by`
        says. `replaced`: rows with `key`, or None.
        """
        folder = f"{self.path}/layer-{number:06d}"
        self.storage.delete_folder(folder)  # of a run that died
        if isinstance(facts, Iterator):
            self._write(facts, f"{folder}/facts")
        else:
            self._write_by_spark(facts, bucket_bits, f"{folder}/facts")
        files: dict[str, list[str]] = {}
        for file in self.storage.list(f"{folder}/facts"):
            if file.path.endswith(".parquet"):
                bucket = file.path.split("/bucket=")[1].split("/")[0]
                files.setdefault(bucket, []).append(file.path)
        replaced_path = None
        if replaced is not None:
            replaced_path = f"{folder}/replaced"
            if isinstance(replaced, pa.Table):
                self._write_file(replaced, f"{replaced_path}/part-00000.parquet")
            else:
                replaced.coalesce(1).write.mode("overwrite").parquet(self.storage.uri(replaced_path))
        layer = Layer(number, base, bucket_bits, dict(curated), files, replaced_path)
        self.storage.write(f"{self.path}/manifests/{number:06d}.json", json.dumps(asdict(layer), indent=1).encode())
        if base:
            self._drop_before(number)
        return layer

    def _write_by_spark(self, facts: DataFrame, bucket_bits: int, folder: str) -> None:
        shuffled = facts.repartition(1 << bucket_bits, "bucket") if bucket_bits else facts.coalesce(1)
        in_order = shuffled.sortWithinPartitions("bucket", *sorted_by(self.key_columns))
        in_order.write.mode("overwrite").partitionBy("bucket").option("compression", "zstd").parquet(self.storage.uri(folder))

    def _write(self, facts: Iterable[pa.Table], folder: str) -> None:
        """The files that Spark would have written: one of each bucket that has facts, its number in the folder's name."""
        path_of = f"{folder}/bucket={{}}/part-00000.parquet".format
        # No dictionaries of what differs from fact to fact: files are smaller without, and read in two thirds of the time.
        values = [name for types in value_types(self.stream).values() for name in types]
        repeated = [*CLOCK_COLUMNS, *values, *self.key_columns[1:]]
        with ExitStack() as stack:
            files = PartitionedFiles(
                self.storage, path_of, stack, waiting=_ROWS_WAITING, dictionaries=[name for name in repeated if name != "at"]
            )
            for some in facts:
                buckets = some["bucket"].to_numpy()
                kept = some.drop_columns(["bucket"])
                starts = np.flatnonzero(np.diff(buckets, prepend=-1))
                for start, end in pairwise([*starts, len(buckets)]):
                    files.add(str(buckets[start]), kept.slice(start, end - start))
            files.close()

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
class BucketReader:
    """What a worker needs to read one bucket of a stream; pickles."""

    storage: Storage
    layers: tuple[Layer, ...]
    value_types: ValueTypes
    key_columns: tuple[str, ...]

    @classmethod
    def of(cls, table: FactTable, layers: Sequence[Layer]) -> BucketReader:
        return cls(table.storage, tuple(layers), value_types(table.stream), tuple(table.key_columns))

    def read(self, bucket: int) -> pa.Table | None:
        """All facts of a bucket that stand, sorted by clock, entity, at, known time and key; None where there are none."""
        layered = len(self.layers) > 1
        values = {name for types in self.value_types.values() for name in types}
        columns = [*CLOCK_COLUMNS, *sorted(values)]
        columns += ["known", "key", *self.key_columns] if layered else []
        # Sorting takes texts as they are; else they come as places in a dictionary, for half the time.
        texts = [name for types in self.value_types.values() for name, type_ in types.items() if type_ == "string"]
        encoded = None if layered else ["clock", "entity", *texts]
        parts: list[pa.Table] = []
        for layer in self.layers:
            if layer.replaced and parts:
                gone = self._replaced(layer.replaced)
                if len(gone):
                    parts = [part.filter(pc.invert(pc.is_in(part["key"], value_set=gone))) for part in parts]
            for path in layer.files.get(str(bucket), ()):
                with self.storage.open_input(path) as stream:
                    parts.append(pq.read_table(stream, columns=columns, use_threads=False, read_dictionary=encoded))
        if not parts:
            return None
        table = pa.concat_tables(parts, promote_options="default")
        if layered:
            table = table.sort_by([(name, "ascending") for name in sorted_by(self.key_columns)])
        return table

    def _replaced(self, path: str) -> pa.Array:
        keys = []
        for file in self.storage.list(path):
            if file.path.endswith(".parquet"):
                with self.storage.open_input(file.path) as stream:
                    keys.append(pq.read_table(stream, columns=["key"])["key"])
        return pa.chunked_array(keys).combine_chunks() if keys else pa.array([], pa.int64())

    def facts(self, table: pa.Table, entities: pa.Array) -> Iterator[tuple[str, Facts]]:
        """Each clock's facts of the given entities (sorted by their bytes, without repeats)."""
        return facts_on_clocks(table, self.value_types, entities)

    def entities(self, table: pa.Table, clock: str) -> pa.Array:
        """The entities with facts on a clock, sorted by their bytes."""
        return entities_with_facts([(table, clock)])
