"""`rows`: an Arrow table written out as text, row by row; the same form as `table`, without Spark."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from transforms.curated import arrow_schema

_COLUMN = re.compile(r"\s*(`[^`]+`|\S+)\s+([a-z]+(?:\([0-9]+,[0-9]+\))?)\s*(?:,|$)")


def rows(schema: str, *written: tuple[Any, ...]) -> pa.Table:
    """Build a table of `schema` (Spark DDL, flat). Timestamps are UTC text, decimals and dates text, null is None."""
    types = {match[1].strip("`"): match[2] for match in _COLUMN.finditer(schema)}
    for row in written:
        if len(row) != len(types):
            raise ValueError(f"{row} has {len(row)} values, the schema {len(types)}: {schema}")
    arrow = pa.schema([(name, _arrow_type(kind)) for name, kind in types.items()])
    columns = list(zip(*written, strict=True)) if written else [()] * len(types)
    arrays = [pa.array([_value(v, kind) for v in column], arrow.field(name).type)
              for (name, kind), column in zip(types.items(), columns, strict=True)]  # fmt: skip
    return pa.table(arrays, schema=arrow)


def _arrow_type(kind: str) -> pa.DataType:
    match = re.fullmatch(r"decimal\(([0-9]+),([0-9]+)\)", kind)
    return pa.decimal128(int(match[1]), int(match[2])) if match else arrow_schema({"it": kind}).field("it").type


def _value(written: Any, kind: str) -> Any:
    if written is None:
        return None
    if kind == "timestamp":
        moment = datetime.fromisoformat(written)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if kind == "date":
        return date.fromisoformat(written)
    return Decimal(written).quantize(Decimal("0.01")) if kind.startswith("decimal") else written
