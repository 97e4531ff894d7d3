"""Drafts a source's definition from a file: types, key, clocks, money and personal data, for a person to review."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import pyarrow.parquet as pq

from conf.errors import InputError
from conf.specs import ColumnType, Format, Source
from conf.yaml_file import load_model, parse_yaml

ROWS_READ = 50_000
SCHEMA = "../schemas/source.json"  # `etr init --to DIR` writes the schemas there
_NULLS = {"", "null", "na", "n/a", "nan", "none"}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|[+-]\d{2}:?\d{2}))?")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_MONEY_NAME = re.compile(r"amount|balance|limit|price|income|salary|fee|due$|paid|cost|principal|total|_amt|bill", re.I)
_KNOWN_NAME = re.compile(r"record|ingest|load|receiv|updated|extract", re.I)
_EVENT_NAME = re.compile(r"creat|open|post|appl|agree|attempt|charg|given|approv|start|_at$|date|time", re.I)
_ENDING_NAME = re.compile(r"clos|settl|cancel|refund|repaid|paid|decid|withdraw|ended|complet", re.I)
_PERSONAL = (
    (re.compile(r"phone|mobile|e?mail|address|first_?name|last_?name|full_?name|surname", re.I), "drop"),
    (re.compile(r"national_?id|nric|passport|ssn|tax_?id|^ic$|ic_?no|card_?(no|number)|iban", re.I), "hmac"),
)


@dataclass(frozen=True)
class ColumnGuess:
    """What a file's values say about a column."""

    name: str
    type: ColumnType
    nulls: int
    distinct: int
    values: tuple[str, ...]
    has_offset: bool = True

    @property
    def personal(self) -> str | None:
        return next((what for pattern, what in _PERSONAL if pattern.search(self.name)), None)


@dataclass(frozen=True)
class Draft:
    """A definition's text and what a person should look at."""

    yaml: str
    to_review: tuple[str, ...]


def draft_source(path: Path) -> Draft:
    """Draft the YAML of a source from the first rows of a CSV, JSON lines or Parquet file (also .gz).

    The text loads as a Source; nothing in it is certain. Raises InputError for a file that can't be read or has no rows.
    """
    format_, delimiter, header, rows = _read(path)
    if not rows:
        raise InputError(f"{path.name}: no rows to draft from; give a file with a header and at least one row")
    columns = [_guess(name, [row[index] for row in rows]) for index, name in enumerate(header)]
    key = _key(columns, header, rows)
    event = _pick_time(columns, _EVENT_NAME, not_named=(_KNOWN_NAME, _ENDING_NAME))
    known = _pick_time(columns, _KNOWN_NAME)
    review = [f"{len(rows):,} rows were read; types are guessed from them"]
    if event is None:
        event = next((column for column in columns if column.type in ("timestamp", "date")), None)
    if event is None:
        review.append("no column looks like a time: name the event time, or make one with `reshape`")
    if known is None:
        review.append("no column says when a row was first known: rows are judged on their event time alone")
    if not key:
        review.append("no column or pair of columns is unique: name the primary key (and a version, when rows are re-sent)")
    local = [column.name for column in columns if column.type == "timestamp" and not column.has_offset]
    if local:
        review.append(f"times without an offset are read in `zone`: {', '.join(local)}")
    personal = [f"{column.name} ({column.personal})" for column in columns if column.personal]
    if personal:
        review.append(f"looks like personal data: {', '.join(personal)}")
    text = _yaml(path, format_, delimiter, columns, key, event, known, review)
    load_model(Source, parse_yaml(text, f"{source_name(path)}.yaml"))
    return Draft(text, tuple(review))


def _read(path: Path) -> tuple[Format, str, list[str], list[list[str]]]:
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            table = next(pq.ParquetFile(path).iter_batches(ROWS_READ), None)
            columns = table.to_pydict() if table is not None else {}
            rows = [["" if value is None else str(value) for value in row] for row in zip(*columns.values(), strict=True)]
            return "parquet", ",", list(columns), rows
        raw = gzip.open if path.name.endswith(".gz") else open
        with raw(path, "rb") as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="") as text:
            if name.endswith((".jsonl", ".ndjson", ".json")):
                records = [json.loads(line) for line in islice(text, ROWS_READ) if line.strip()]
                header = list(dict.fromkeys(key for record in records for key in record))
                return "jsonl", ",", header, [[_text(record.get(key)) for key in header] for record in records]
            start = text.read(64_000)
            delimiter = _delimiter(start)
            text.seek(0)
            lines = list(islice(csv.reader(text, delimiter=delimiter), ROWS_READ + 1))
            header, rows = (lines[0], [row for row in lines[1:] if len(row) == len(lines[0])]) if lines else ([], [])
            return "csv", delimiter, header, rows
    except (OSError, ValueError) as problem:
        raise InputError(
            f"{path.name}: can't be read: {problem}; etr init takes CSV, JSON lines and Parquet, also .gz"
        ) from problem


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _delimiter(text: str) -> str:
    first = text.splitlines()[0] if text else ""
    return max(",;\t|", key=first.count)


def _guess(name: str, values: Sequence[str]) -> ColumnGuess:
    present = [value.strip() for value in values if value.strip().lower() not in _NULLS]
    counts = Counter(present)
    type_: ColumnType = "string"
    has_offset = True
    if present:
        if {value.lower() for value in counts} <= {"true", "false", "yes", "no"} or (
            set(counts) <= {"0", "1"} and re.match(r"is_|has_|flag", name, re.I)
        ):
            type_ = "boolean"
        elif all(_DATE.fullmatch(value) for value in counts):
            type_ = "date"
        elif all(_TIMESTAMP.fullmatch(value) for value in counts):
            type_ = "timestamp"
            has_offset = all(re.search(r"(Z|[+-]\d{2}:?\d{2})$", value) for value in counts)
        elif all(_NUMBER.fullmatch(value) for value in counts) and not re.search(r"(^|_)(id|no|code|phone)$", name, re.I):
            type_ = _number_type(name, counts)
    few = type_ == "string" and 1 < len(counts) <= 12 and len(present) >= 5 * len(counts)
    return ColumnGuess(name, type_, len(values) - len(present), len(counts), tuple(sorted(counts)) if few else (), has_offset)


def _number_type(name: str, values: Iterable[str]) -> ColumnType:
    fractions = [value.split(".")[1].rstrip("0") for value in values if "." in value]
    if _MONEY_NAME.search(name) and all(len(digits) <= 2 for digits in fractions):
        return "money"
    return "number" if fractions else "integer"


def _key(columns: Sequence[ColumnGuess], header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    candidates = [column for column in columns if not column.nulls and column.type in ("string", "integer", "date", "timestamp")]
    candidates.sort(key=lambda column: (not re.search(r"id$|_no$|key", column.name, re.I), header.index(column.name)))
    for column in candidates:
        if column.distinct == len(rows):
            return [column.name]
    for pair in combinations(candidates[:8], 2):
        places = [header.index(column.name) for column in pair]
        if len({tuple(row[place] for place in places) for row in rows}) == len(rows):
            return [column.name for column in pair]
    return []


def _pick_time(
    columns: Sequence[ColumnGuess], named: re.Pattern[str], not_named: Sequence[re.Pattern[str]] = ()
) -> ColumnGuess | None:
    times = [column for column in columns if column.type in ("timestamp", "date") and named.search(column.name)]
    times = [column for column in times if not any(pattern.search(column.name) for pattern in not_named)]
    times.sort(key=lambda column: (column.nulls > 0, column.type == "date"))
    return times[0] if times else None


def source_name(path: Path) -> str:
    """The name of the source, from the name of the file."""
    name = path.name.split(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "_", name).strip("_") or "source"


def _yaml(
    path: Path,
    format_: Format,
    delimiter: str,
    columns: Sequence[ColumnGuess],
    key: Sequence[str],
    event: ColumnGuess | None,
    known: ColumnGuess | None,
    review: Sequence[str],
) -> str:
    clocks = {column.name for column in (event, known) if column}
    mutable = [c.name for c in columns if c.type == "timestamp" and c.nulls and c.name not in clocks]
    lines = [f"# yaml-language-server: $schema={SCHEMA}"]
    lines += [f"# Drafted from {path.name}; to review:", *(f"#  - {line}" for line in review)]
    lines += [
        f"name: {source_name(path)}",
        "description: ''",
        f"format: {format_}",
        f"location: {_quoted(path.name.removesuffix('.gz'))}",
    ]
    lines += [f"delimiter: {_quoted(delimiter)}"] if delimiter != "," else []
    lines += ["zone: Asia/Kuala_Lumpur"]
    lines += [f"key: [{', '.join(map(_quoted, key or [columns[0].name]))}]"]
    lines += [f"event_time: {_quoted(_time(event, 'start_of_day'))}"]
    lines += [f"known_time: {_quoted(_time(known, 'end_of_day'))}"] if known else []
    if mutable:
        lines += ["# timestamps that are filled in later, with the columns that they settle", "mutable:"]
        lines += [f"  {_quoted(name)}: []" for name in mutable]
    lines += ["columns:"]
    required = {*key, *clocks} if event else set(key)
    for column in columns:
        told = [f"type: {column.type}"]
        told += ["required: true"] if column.name in required and not column.nulls else []
        told += [f"values: [{', '.join(map(_quoted, column.values))}]"] if column.values and not column.personal else []
        told += [f"personal: {column.personal}"] if column.personal else []
        name = _quoted(column.name)
        lines += [f"  {name}: {column.type}" if len(told) == 1 else f"  {name}: {{{', '.join(told)}}}"]
    if event is None:
        lines += ["  event_date: {type: date, required: true}  # not in the file: see above"]
    return "\n".join(lines) + "\n"


def _time(column: ColumnGuess | None, of_date: str) -> str:
    if column is None:
        return f"{of_date}(event_date)"
    return column.name if column.type == "timestamp" else f"{of_date}({column.name})"


def _quoted(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.()-]*", text) and text.lower() not in ("null", "true", "false", "yes", "no")
    return text if plain else json.dumps(text, ensure_ascii=False)
