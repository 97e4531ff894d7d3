"""`table`: a DataFrame written out as text, row by row."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, DataType, DateType, DecimalType, MapType, StructType, TimestampType

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def table(spark: SparkSession, schema: str, *rows: tuple[Any, ...]) -> DataFrame:
    """Build a DataFrame of `schema` (Spark DDL). Timestamps are UTC text, decimals and dates text, null is None."""
    struct = spark.createDataFrame([], schema).schema
    for row in rows:
        if len(row) != len(struct.fields):
            raise ValueError(f"{json.dumps(row, default=str)} has {len(row)} values, the schema {len(struct.fields)}: {schema}")
    return spark.createDataFrame([tuple(map(_value, row, (f.dataType for f in struct))) for row in rows], struct)


def _value(written: Any, kind: DataType) -> Any:
    if written is None:
        return None
    if isinstance(kind, TimestampType):
        moment = datetime.fromisoformat(written)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if isinstance(kind, DateType):
        if not _DAY.fullmatch(written):
            raise ValueError(f"'{written}' is not a date: write YYYY-MM-DD")
        return date.fromisoformat(written)
    if isinstance(kind, DecimalType):
        return Decimal(written).quantize(Decimal(1).scaleb(-kind.scale))
    if isinstance(kind, ArrayType):
        return [_value(item, kind.elementType) for item in written]
    if isinstance(kind, MapType):
        return {_value(key, kind.keyType): _value(item, kind.valueType) for key, item in written.items()}
    if isinstance(kind, StructType):
        return tuple(map(_value, written, (f.dataType for f in kind)))
    return written
