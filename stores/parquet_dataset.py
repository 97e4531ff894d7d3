"""Parquet files of a table as one dataset, for whoever reads it a column or a few at a time, more than once, without Spark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from stores.storage import Storage


def parquet_dataset(storage: Storage, files: Iterable[tuple[str, Mapping[str, object]]], schema: pa.Schema) -> ds.Dataset:
    """Files by their paths, each with the values of columns that stand in its path only; a column that a file lacks is null.

    deltalake's own dataset also takes the log's statistics for true: a column that a file has none of is one without rows.
    """
    filesystem, root = storage.arrow_filesystem()
    form = ds.ParquetFileFormat()
    fragments = []
    for path, values in files:
        known = [pc.field(name) == pa.scalar(value, schema.field(name).type) for name, value in values.items()]
        whole = known[0] if known else None
        for condition in known[1:]:
            whole = whole & condition
        fragments.append(form.make_fragment(f"{root}/{path}", filesystem, partition_expression=whole))
    return ds.FileSystemDataset(fragments, schema, form, filesystem)
