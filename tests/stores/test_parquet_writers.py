"""What is in the files: encodings that pay, and the ranges that somebody looks for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stores.parquet_writers import feature_writer, ledger_writer, offline_writer

ROWS = 10_000
TABLE = pa.table(
    {
        "id": [hashlib.sha256(str(number).encode()).hexdigest() for number in range(ROWS)],
        "provider": ["atome", "grab"] * (ROWS // 2),
        "count": list(range(ROWS)),
        "share": [number / ROWS for number in range(ROWS)],
    }
)
of_different_ids = partial(feature_writer, each_once="id")


def written(writer_of: Callable[..., pq.ParquetWriter]) -> pq.ParquetFile:
    stream = io.BytesIO()
    with writer_of(stream, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return pq.ParquetFile(stream)


@pytest.mark.parametrize("writer_of", [ledger_writer, feature_writer, of_different_ids, offline_writer])
def test_a_file_says_what_was_written(writer_of: Callable[..., pq.ParquetWriter]) -> None:
    assert written(writer_of).read().equals(TABLE)


@pytest.mark.parametrize(
    ("writer_of", "dictionaries", "ranges"),
    [
        (ledger_writer, {"id", "provider"}, {"id", "provider", "count", "share"}),
        (feature_writer, {"id", "provider"}, {"id", "provider"}),
        (of_different_ids, {"provider"}, {"id", "provider"}),
        (offline_writer, {"id", "provider"}, {"id", "provider"}),
    ],
)
def test_texts_have_dictionaries_and_what_is_looked_for_has_a_range(
    writer_of: Callable[..., pq.ParquetWriter], dictionaries: set[str], ranges: set[str]
) -> None:
    group = written(writer_of).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert {column.path_in_schema for column in columns if column.has_dictionary_page} == dictionaries
    assert {column.path_in_schema for column in columns if column.is_stats_set} == ranges


def test_the_dictionary_of_texts_that_hardly_come_again_ends_early() -> None:
    """The identifiers have 680 kB, of which a dictionary of 64 KiB is a tenth; one of all would be most of the column."""
    column = written(ledger_writer).metadata.row_group(0).column(0)
    assert (column.data_page_offset - column.dictionary_page_offset) / column.total_compressed_size < 0.2
