"""Parquet files that Spark writes, for where its workers may not: into a folder of their own, then moved to where they belong."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from conf.errors import PublishError
from stores.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

_AT_ONCE = 16
_NAME = re.compile(r"part-(\d+)-[^/]*\.parquet")


@dataclass(frozen=True)
class StagedFile:
    """A file that waits to be moved. `task`: which partition of the rows it holds; `folders`: the values in its path."""

    path: str
    task: int
    folders: dict[str, str]
    rows: int
    size: int


class SparkFiles:
    """Files below `folder` of a storage, which belongs to this run alone; what an earlier run left there goes first."""

    def __init__(self, spark: SparkSession, storage: Storage, folder: str) -> None:
        self.spark = spark
        self.storage = storage
        self.folder = folder

    def __enter__(self) -> SparkFiles:
        self._remove_everything()
        return self

    def __exit__(self, *problem: object) -> None:
        self._remove_everything()

    def write(self, rows: DataFrame, *, partition_by: Sequence[str] = ()) -> list[StagedFile]:
        """Write a file for each partition of the rows and each value of `partition_by`; files without rows don't count."""
        place = f"{self.folder}/{uuid.uuid4().hex}"
        rows.write.partitionBy(*partition_by).option("compression", "zstd").parquet(self.storage.uri(place))
        parquet = []
        for file in list(self.storage.list(place)):
            if named := _NAME.fullmatch(file.path.rsplit("/", 1)[1]):
                parquet.append((file, int(named[1])))
            else:  # checksums, and Spark's note that it succeeded
                self.storage.delete(file.path)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            counts = list(pool.map(self._rows_of, (file.path for file, _ in parquet)))
        return [
            StagedFile(file.path, task, _folders_of(file.path.removeprefix(place)), count, file.size)
            for (file, task), count in zip(parquet, counts, strict=True)
            if count
        ]

    def move(self, files: Iterable[tuple[StagedFile, str]]) -> None:
        """Give each file its own place in the storage, where nothing lies yet or an earlier copy of it."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda pair: self._move(pair[0].path, pair[1]), files))

    def _rows_of(self, path: str) -> int:
        with self.storage.open_input(path) as stream:
            return int(pq.read_metadata(stream).num_rows)

    def _move(self, source: str, target: str) -> None:
        at, to = self._hadoop_path(source), self._hadoop_path(target)
        files = self._file_system(at)
        files.mkdirs(to.getParent())
        files.delete(to, False)
        if not files.rename(at, to):
            raise PublishError(f"{self.storage.uri(target)}: Spark could not move a file there from {self.storage.uri(source)}")

    def _remove_everything(self) -> None:
        path = self._hadoop_path(self.folder)
        self._file_system(path).delete(path, True)

    def _hadoop_path(self, path: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(self.storage.uri(path))

    def _file_system(self, path: Any) -> Any:
        return path.getFileSystem(self.spark._jsc.hadoopConfiguration())

    @property
    def _jvm(self) -> Any:
        return self.spark._jvm


def spark_schema(schema: pa.Schema) -> StructType:
    """The same columns as Spark has them, all of which may be null."""
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(field.name, from_arrow_type(field.type)) for field in schema])


def _folders_of(path: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in path.split("/")[:-1] if "=" in part)
