"""How Parquet files are written, by what they are for. Writers are closed by whoever asked for them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_LARGEST_DICTIONARY = 2**16
"""Bytes from which on texts are written as they are: they hardly come again, and a dictionary costs more than it spares."""


def ledger_writer(stream: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """For rows as they came: written once and kept for good, with the range of each column, by which deliveries find theirs."""
    return pq.ParquetWriter(
        stream,
        schema,
        compression="zstd",
        use_dictionary=_texts(schema),
        dictionary_pagesize_limit=_LARGEST_DICTIONARY,
    )


def feature_writer(stream: Any, schema: pa.Schema, *, each_once: str | None = None) -> pq.ParquetWriter:
    """For features in the lake, mostly numbers. `each_once`: a column that never has the same value twice."""
    texts = _texts(schema)
    # Differences of whole numbers are written and read in two thirds of the time; what nobody looks for needs no range.
    encodings = {field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_integer(field.type)}
    return pq.ParquetWriter(
        stream,
        schema,
        compression="snappy",  # a third less time than zstd for a tenth more bytes, and every reader knows it
        use_dictionary=[name for name in texts if name != each_once],
        column_encoding=encodings,
        write_statistics=texts,
    )


def offline_writer(stream: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """For the offline store, whose queries are paid by the byte, and made by what may not know a newer encoding."""
    texts = _texts(schema)
    return pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=texts, write_statistics=texts)


def _texts(schema: pa.Schema) -> list[str]:
    """The columns for which a dictionary pays: one of numbers costs as much as all else, and files are smaller without."""
    return [field.name for field in schema if pa.types.is_string(field.type)]
