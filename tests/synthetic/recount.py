"""A sample read again, the slow obvious way, by the definitions of its sources alone: what a reader must find."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq

from conf.catalogue import load_catalogue
from conf.specs import Source

Row = dict[str, Any]
ZONE = ZoneInfo("Asia/Kuala_Lumpur")
SOURCES = {name: source for name, source in load_catalogue(None).sources.items() if source.is_delivered}


class BadRowError(Exception):
    """The kind of a row that can't be kept."""


def recount(root: Path, pattern: str = "*") -> dict[str, dict[str, Any]]:
    """Per source: read, kept, duplicates, conflicts, bad, late, orphans and out_of_order; and read and kept of each file."""
    kept = {name: dict[tuple[Any, ...], Row]() for name in SOURCES}
    found = {name: _take_in(root, source, kept[name], pattern) for name, source in SOURCES.items()}
    for name, source in SOURCES.items():
        for column, parent in source.references.items():
            keys = {key[0] for key in kept[parent]}
            values = [row[column] for row in kept[name].values() if row[column] is not None]
            found[name]["orphans"][column] = sum(value not in keys for value in values)
    return found


def _take_in(root: Path, source: Source, kept: dict[tuple[Any, ...], Row], pattern: str) -> dict[str, Any]:
    counts, bad, greatest = Counter[str](), Counter[str](), dict[Any, Any]()
    files = {}
    for path in sorted((root / source.name).glob(pattern)):
        before = Counter(counts)
        for read in rows_of(path, source):
            counts["read"] += 1
            try:
                row = typed(read, source)
            except BadRowError as kind:
                bad[str(kind)] += 1
                continue
            key = tuple(row[name] for name in source.key)
            versioned = (*key, row[source.version]) if source.version else key
            if versioned in kept:
                counts["duplicates" if kept[versioned] == row else "conflicts"] += 1
                continue
            kept[versioned] = row
            counts["kept"] += 1
            counts["late"] += _is_late(row, source)
            newer_by = "version" if "version" in source.key else source.version
            if newer_by:
                thing = row[source.key[0]]
                counts["out_of_order"] += thing in greatest and row[newer_by] < greatest[thing]
                greatest[thing] = max(row[newer_by], greatest.get(thing, row[newer_by]))
        since = counts - before
        files[f"{source.name}/{path.name}"] = {name: since[name] for name in ("read", "kept", "duplicates", "conflicts")}
    names = ("read", "kept", "duplicates", "conflicts", "late", "out_of_order")
    return {**{name: counts[name] for name in names}, "bad": dict(bad), "orphans": {}, "files": files}


def rows_of(path: Path, source: Source) -> Iterator[Row | str]:
    """Rows as they are written: typed in Parquet, text elsewhere; a line that isn't a row is its kind."""
    if source.format == "parquet":
        yield from pq.read_table(path).to_pylist()
        return
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    is_cut = lines[-1] != b""
    lines = [line.removesuffix(b"\r") for line in (lines if is_cut else lines[:-1])]
    for number, line in enumerate(lines[1:] if source.format == "csv" else lines):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            yield "latin1_bytes"
            continue
        if source.format == "jsonl":
            try:
                yield json.loads(text, parse_float=Decimal)
            except ValueError:
                yield "broken_json"
            continue
        values = next(csv.reader([text], strict=True))
        if is_cut and number == len(lines) - 2:
            yield "cut_last_line"
        elif len(values) != len(source.columns):
            yield "column_too_many" if len(values) > len(source.columns) else "column_missing"
        else:
            yield dict(zip(source.columns, values, strict=True))


def typed(read: Row | str, source: Source) -> Row:
    if isinstance(read, str):
        raise BadRowError(read)
    row = {}
    for name, column in source.columns.items():
        value = read[name]
        text = "" if value is None else str(value)
        if value is None or text in source.null_values:
            if name in source.key[:1]:
                raise BadRowError("null_key")
            if column.required:
                raise BadRowError("null_where_required" if source.format == "parquet" else "nan_where_required")
            row[name] = None
            continue
        row[name] = _value(text, value, column.type)
        if column.values and row[name] not in column.values:
            raise BadRowError("value_outside_vocabulary")
        if column.minimum is not None and row[name] < column.minimum:
            raise BadRowError("below_minimum")
    if source.name == "instalments" and row["plan_id"] is None and row["account_id"] is None:
        raise BadRowError("neither_plan_nor_account")
    return row


def _value(text: str, value: object, kind: str) -> Any:
    try:
        if kind in ("integer", "money"):
            if "," in text:
                raise BadRowError("amount_with_commas")
            return int(text) if kind == "integer" else Decimal(text)
        if kind == "date":
            return date.fromisoformat(text)
        if kind == "timestamp":
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=ZONE)
    except InvalidOperation:
        raise BadRowError("unparsable_number") from None
    except ValueError:
        raise BadRowError("unparsable_number" if kind == "integer" else "date_in_another_format") from None
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise BadRowError("unparsable_flag")
        return text.lower() == "true"
    return text


def _is_late(row: Row, source: Source) -> bool:
    event = row[source.event_time.column]
    if source.event_time.of_date == "end_of_month":
        event = (event.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    day = event.astimezone(ZONE).date() if isinstance(event, datetime) else event
    following = day + timedelta(days=1)
    return row["recorded_at"] > datetime(following.year, following.month, following.day, tzinfo=ZONE)


def outcomes(root: Path, source: Source) -> Iterator[tuple[str, Row]]:
    """What becomes of each row in the order of delivery (kept, duplicate, conflict, invalid), and what can be read of it."""
    kept: dict[tuple[Any, ...], Row] = {}
    for path in sorted((root / source.name).glob("*")):
        for read in rows_of(path, source):
            try:
                row = typed(read, source)
            except BadRowError:
                yield "invalid", {} if isinstance(read, str) else {name: _readable(read, source, name) for name in source.columns}
                continue
            key = (*(row[name] for name in source.key), row[source.version] if source.version else None)
            if key not in kept:
                kept[key] = row
                yield "kept", row
            else:
                yield "duplicate" if kept[key] == row else "conflict", row


def _readable(read: Row, source: Source, name: str) -> Any:
    value = read[name]
    text = "" if value is None else str(value)
    try:
        return None if text in source.null_values else _value(text, value, source.columns[name].type)
    except BadRowError:
        return None
