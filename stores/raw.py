"""Raw files as columns of text, or of values where a file has such: CSV, JSON lines, Parquet and Delta, a file at a time."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.errors import InputError
from conf.specs import ColumnType, Format, Source
from stores.storage import Storage
from transforms.conform import CARRIED
from transforms.typed_values import is_value, types_of_values

_BATCH_ROWS = 8192
_PARQUET_BATCH_ROWS = 65_536
_BYTES_A_BATCH = 32 * 2**20
_LARGEST_FIELD = 16 * 2**20
_BYTES_A_TASK = 64 * 2**20
_LONGEST_TEXT = 4000
_COMPRESSED = ".gz"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class RawFile:
    """A file to take in. `partition`: values that stand in the path of a Delta table's file and not in the file."""

    path: str
    size: int
    tag: str
    partition: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class FileOutcome:
    """What became of a file: the rows found in it, why it can't be read at all, and what a person should know."""

    path: str
    rows: int
    problem: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str, told: str) -> FileOutcome:
        """From the row without `_line` that a file ends with."""
        values = json.loads(told)
        return cls(path, values["rows"], values["problem"], tuple(values["notes"]))


@dataclass(frozen=True)
class RawFormat:
    """How to read a source's files: `columns` are those wanted, of which `required` must be in a file's header.

    `types`: as they are declared, of columns that may come as values, where a file has them so; what is none of the values that a
    type knows comes as text, and so does every other column. `null_values`: texts that stand for no value.
    """

    format: Format
    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    required: frozenset[str]
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    null_values: tuple[str, ...] = ()


def find_files(source: Source, storage: Storage) -> list[RawFile]:
    """The files at the source's location, by path, `.gz` ones of text formats too, but none whose name starts with `_` or `.`."""
    fixed = PurePosixPath(re.split(r"[*?\[]", source.location)[0] + "x").parent.as_posix()
    files = list(storage.list("" if fixed == "." else fixed))
    if source.format == "delta":
        return _delta_files(source, storage, [file.path for file in files])
    wanted = _matcher(source.location)
    packed = source.format in ("csv", "jsonl")
    found = []
    for file in files:
        plain = file.path.removesuffix(_COMPRESSED) if packed else file.path
        if (wanted(file.path) or wanted(plain)) and not any(part[0] in "_." for part in file.path.split("/")):
            found.append(RawFile(file.path, file.size, file.tag))
    return found


def _delta_files(source: Source, storage: Storage, paths: Sequence[str]) -> list[RawFile]:
    """The data files of the newest version of each Delta table at the location."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    wanted = _matcher(source.location.rstrip("/"))
    roots = {path.split("/_delta_log/")[0] for path in paths if "/_delta_log/" in path}
    found = []
    for root in sorted(root for root in roots if wanted(root)):
        try:
            table = DeltaTable(storage.uri(root), storage_options=storage.delta_options())
            features = set(table.protocol().reader_features or ())
            actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        except (DeltaError, OSError, ValueError) as problem:
            raise InputError(f"{source.name}: {root} can't be read as a Delta table: {problem}") from problem
        if strange := features & {"deletionVectors", "columnMapping"}:
            raise InputError(
                f"{source.name}: {root} uses {', '.join(sorted(strange))}, which this reader doesn't know; "
                "write the table without, or declare an export of it as parquet"
            )
        for action in actions:
            partition = {k.removeprefix("partition."): v for k, v in action.items() if k.startswith("partition.")}
            texts = {name: None if value is None else str(value) for name, value in partition.items()}
            path = f"{root}/{action['path']}"
            found.append(RawFile(path, action["size_bytes"], f"{action['modification_time']}-{action['size_bytes']}", texts))
    return sorted(found, key=lambda file: file.path)


def fingerprint(source: Source, storage: Storage, file: RawFile) -> str:
    """What identifies a raw file's content."""
    return f"delta:{file.tag}" if source.format == "delta" else storage.fingerprint(file.path)


def _matcher(glob: str) -> Callable[[str], bool]:
    """Whether a path fits the glob: `*` and `?` stay within a folder's name, `**/` is any number of folders."""
    tokens = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", glob.removeprefix("./"))
    pattern = "".join(tokens.get(part) or (part if part.startswith("[") else re.escape(part)) for part in parts)
    compiled = re.compile(pattern)
    return lambda path: compiled.fullmatch(path) is not None


def raw_format(source: Source, storage: Storage, files: Sequence[RawFile], *, reads: tuple[set[str], bool] | None) -> RawFormat:
    """How to read the source's files.

    `reads`: the raw columns that its reshaping names and whether it takes all (`*`), as text, which a reshaping select is written
    for; None without reshaping.
    """
    if reads is None:
        times = [time.column for time in (source.event_time, source.known_time) if time]
        required = {*source.key, *times, *([source.version] if source.version else [])}
        required |= {name for name, column in source.columns.items() if column.required}
        columns = tuple(source.columns)
        types = types_of_values(source)
    else:
        types = {}
        named, everything = reads
        columns = tuple(sorted(named))
        required = set(named)
        if everything:
            first = RawFormat(source.format, source.encoding, source.delimiter, (), frozenset())
            seen = (name for file in files for name in names_in(first, storage, file))
            columns = tuple(dict.fromkeys([*columns, *seen]))
    return RawFormat(
        source.format, source.encoding, source.delimiter, columns, frozenset(required), types, tuple(source.null_values)
    )


def names_in(how: RawFormat, storage: Storage, file: RawFile) -> list[str]:
    """The columns that a file has; none when it can't be read, which reading it will tell."""
    try:
        with closing(_open(storage, file)) as stream:
            if how.format in ("parquet", "delta"):
                return [*pq.ParquetFile(stream).schema_arrow.names, *file.partition]
            if how.format == "csv":
                text = io.TextIOWrapper(stream, encoding=_codec(how.encoding), errors="surrogateescape", newline="")
                return [name.strip() for name in next(csv.reader(text, delimiter=how.delimiter), [])]
            names: dict[str, None] = {}
            for _, line in zip(range(100), stream, strict=False):
                names |= dict.fromkeys(orjson.loads(line.strip() or b"{}"))
            return list(names)
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException, csv.Error):
        return []


def reading_tasks(files: Sequence[RawFile], parallelism: int) -> list[list[RawFile]]:
    """Spread files over tasks of about the same size: as many as can run at once, more where there is much to read."""
    total = sum(file.size for file in files)
    count = min(len(files), max(parallelism, total // _BYTES_A_TASK))
    tasks: list[list[RawFile]] = [[] for _ in range(count)]
    sizes = [0] * count
    for file in sorted(files, key=lambda file: (-file.size, file.path)):
        least = sizes.index(min(sizes))
        tasks[least].append(file)
        sizes[least] += file.size + 4096  # opening one costs too
    return tasks


class _UnreadableError(Exception):
    """Why a file can't be read at all."""


@dataclass
class _Rows:
    """Rows read: the columns of good ones with their lines; bad ones as line, reason and text."""

    columns: list[pa.Array]
    lines: pa.Array
    bad: list[tuple[int, str, str | None]]


def read_file(storage: Storage, file: RawFile, how: RawFormat) -> Iterator[pa.RecordBatch]:
    """Yield the file's rows in batches: its columns as text or values, and CARRIED. Never raises for what is in a file.

    All batches have the same columns, and, but for times that microseconds can't count, of the same types.

    Last comes a row without `_line`, which is no row of data: it tells what became of the file, as JSON, in `_unreadable`.
    """
    readers: dict[Format, Callable[..., Iterator[_Rows]]] = {
        "csv": _read_csv,
        "jsonl": _read_json_lines,
        "parquet": _read_parquet,
        "delta": _read_parquet,
    }
    rows, notes, problem = 0, cast("list[str]", []), None
    types: list[pa.DataType] = [pa.string()] * len(how.columns)
    try:
        with closing(_open(storage, file)) as stream:
            for read in readers[how.format](stream, file, how, notes):
                rows += len(read.lines) + len(read.bad)
                types = [column.type for column in read.columns]
                yield _batch(file, how, read)
    except _UnreadableError as told:
        problem = str(told)
    except (EOFError, gzip.BadGzipFile, zlib.error) as told:
        problem = f"its compressed data is broken or cut off ({told}); fetch it again"
    except (pa.ArrowException, UnicodeError) as told:
        problem = str(told).splitlines()[0]
    except OSError as told:
        problem = told.strerror or str(told)
    told_text = json.dumps({"rows": rows, "problem": problem, "notes": notes})
    status = _Rows([pa.nulls(0, type_) for type_ in types], pa.array([], pa.int64()), [(-1, told_text, None)])
    yield _batch(file, how, status)


def _batch(file: RawFile, how: RawFormat, read: _Rows) -> pa.RecordBatch:
    good, bad = len(read.lines), len(read.bad)
    lines = pa.array([line if line >= 0 else None for line, _, _ in read.bad], pa.int64())
    reasons = pa.array([reason for _, reason, _ in read.bad], pa.string())
    texts = pa.array([None if text is None else text[:_LONGEST_TEXT] for _, _, text in read.bad], pa.string())
    arrays = [_joined(column, pa.nulls(bad, column.type)) for column in read.columns]
    arrays += [
        pa.repeat(pa.scalar(file.path, pa.string()), good + bad),
        _joined(read.lines, lines),
        _joined(pa.nulls(good, pa.string()), reasons),
        _joined(pa.nulls(good, pa.string()), texts),
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[*how.columns, *CARRIED])


def _joined(first: pa.Array, second: pa.Array) -> pa.Array:
    return pa.concat_arrays([first, second]) if len(second) else first


def _open(storage: Storage, file: RawFile) -> BinaryIO:
    stream = storage.open_input(file.path)
    return cast("BinaryIO", gzip.open(stream)) if file.path.endswith(_COMPRESSED) else stream


# ---- headers


def _positions(header: Sequence[str], how: RawFormat, notes: list[str]) -> list[int | None]:
    """Where each wanted column stands in the header; None: it has none, and its values are null.

    Raises _UnreadableError when a required column is missing, or one seems to be there under a misspelt name.
    """
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise _UnreadableError(f"the column '{twice[0]}' is in its header twice")
    unknown = [name for name in header if name not in how.columns]
    missing = [name for name in how.columns if name not in header]
    if how.columns and len(missing) == len(how.columns):
        raise _UnreadableError(f"its first line is no header: none of the columns {', '.join(how.columns)} is in it")
    fatal = []
    for name in missing:
        cutoff = 0.6 if name in how.required else 0.8
        near = difflib.get_close_matches(name.lower(), [other.lower() for other in unknown], n=1, cutoff=cutoff)
        if near:
            found = next(other for other in unknown if other.lower() == near[0])
            fatal.append(f"no column '{name}' (did it mean that by '{found}'?)")
        elif name in how.required:
            fatal.append(f"no column '{name}'")
    if fatal:
        raise _UnreadableError(f"{'; '.join(fatal)}; columns found: {', '.join(header)}")
    if unknown:
        notes.append(f"columns that the source doesn't declare, passed over: {', '.join(unknown)}")
    if missing:
        notes.append(f"columns that it lacks, read as null: {', '.join(missing)}")
    return [header.index(name) if name in header else None for name in how.columns]


# ---- CSV


def _codec(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def _read_csv(stream: BinaryIO, file: RawFile, how: RawFormat, notes: list[str]) -> Iterator[_Rows]:
    """Rows by their first physical line: a quoted value may hold newlines. Blank lines are passed over."""
    csv.field_size_limit(_LARGEST_FIELD)
    buffered = io.BufferedReader(cast("Any", stream))
    mark = buffered.peek(2)[:2]
    if mark in _UTF16_MARKS and not how.encoding.lower().startswith("utf-16"):
        raise _UnreadableError(f"it is UTF-16 and the source says {how.encoding}; write encoding: utf-16 in the source")
    text = io.TextIOWrapper(buffered, encoding=_codec(how.encoding), errors="surrogateescape", newline="")
    kept: list[str] = []
    rows = csv.reader(_keeping(text, kept), delimiter=how.delimiter, strict=True)
    try:
        header = [name.strip() for name in next((row for row in rows if row), [])]
    except csv.Error as problem:
        raise _UnreadableError(f"its header can't be read: {problem}") from problem
    if not header:
        return  # an empty file
    positions = _positions(header, how, notes)
    kept.clear()
    width, start = len(header), rows.line_num + 1
    good: list[list[str]] = []
    lines: list[int] = []
    bad: list[tuple[int, str, str | None]] = []
    more = True
    while more:
        try:
            more = False
            for row in rows:
                if len(row) == width:
                    good.append(row)
                    lines.append(start)
                elif row:
                    bad.append((start, _wrong_width(len(row), width, kept), _shown("".join(kept))))
                start = rows.line_num + 1
                kept.clear()
                if len(lines) + len(bad) >= _BATCH_ROWS:
                    yield _csv_rows(good, lines, bad, header, positions, how)
                    good, lines, bad = [], [], []
        except csv.Error as problem:
            more = True
            bad.append((start, _broken_quotes(str(problem)), _shown("".join(kept))))
            start = rows.line_num + 1
            kept.clear()
    if good or bad:
        yield _csv_rows(good, lines, bad, header, positions, how)


def _keeping(text: Iterable[str], kept: list[str]) -> Iterator[str]:
    """The lines, each also kept until the row that it belongs to is done."""
    for line in text:
        kept.append(line)
        yield line


def _wrong_width(found: int, width: int, kept: Sequence[str]) -> str:
    values = f"{found} value{'' if found == 1 else 's'} where the header has {width} columns"
    cut = found < width and kept and not kept[-1].endswith(("\n", "\r"))
    return f"{values}; the last line of the file is cut off" if cut else values


def _broken_quotes(problem: str) -> str:
    if "unexpected end of data" in problem:
        return "a quoted value that never ends; the last line of the file is cut off, or a quote is missing"
    if "field larger" in problem:
        return f"a value of more than {_LARGEST_FIELD // 2**20} MiB; a closing quote is missing"
    return f"quotes that don't fit: {problem}"


def _csv_rows(
    good: list[list[str]],
    lines: list[int],
    bad: list[tuple[int, str, str | None]],
    header: Sequence[str],
    positions: Sequence[int | None],
    how: RawFormat,
) -> _Rows:
    try:
        return _Rows(_columns_of(good, positions), pa.array(lines, pa.int64()), bad)
    except UnicodeEncodeError:  # somewhere a byte that the encoding doesn't have
        fine: list[list[str]] = []
        fine_lines: list[int] = []
        for row, line in zip(good, lines, strict=True):
            if reason := _wrong_bytes(row, header, how.encoding):
                bad.append((line, reason, _shown(how.delimiter.join(row))))
            else:
                fine.append(row)
                fine_lines.append(line)
        return _Rows(_columns_of(fine, positions), pa.array(fine_lines, pa.int64()), bad)


def _columns_of(rows: Sequence[Sequence[str]], positions: Sequence[int | None]) -> list[pa.Array]:
    columns = list(zip(*rows, strict=True)) if rows else []
    empty = pa.nulls(len(rows), pa.string())
    return [empty if at is None or not columns else pa.array(columns[at], pa.string()) for at in positions]


def _wrong_bytes(row: Sequence[str], header: Sequence[str], encoding: str) -> str | None:
    for value, name in zip(row, header, strict=True):
        for character in value:
            if "\udc80" <= character <= "\udcff":
                return f"{name}: byte 0x{ord(character) - 0xDC00:02X} is not {encoding}; the file may be in another encoding"
    return None


def _shown(text: str) -> str:
    """Text that stands for itself in UTF-8, without the line's end; bytes that were not text as U+FFFD."""
    return text.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# ---- JSON lines


def _read_json_lines(stream: BinaryIO, file: RawFile, how: RawFormat, notes: list[str]) -> Iterator[_Rows]:
    """One object a line; a value that is an object or a list is JSON text. Blank lines are passed over."""
    known = set(how.columns)
    unknown: dict[str, None] = {}
    values: list[list[str | None]] = []
    lines: list[int] = []
    bad: list[tuple[int, str, str | None]] = []
    first = True
    for number, line in enumerate(stream, 1):
        if first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if line.startswith(_UTF16_MARKS):
                raise _UnreadableError("it is UTF-16; JSON lines are read as UTF-8: convert it")
        if not line.strip():
            continue
        if first and line.lstrip().startswith(b"["):
            raise _UnreadableError("it is one JSON array; write one object a line, without the brackets and commas around them")
        first = False
        try:
            found = _json_object(line, how.encoding)
        except ValueError as problem:
            cut = "" if line.endswith(b"\n") else "; the last line of the file is cut off"
            bad.append((number, f"{problem}{cut}", _shown(line.decode("utf-8", "replace"))))
        else:
            if not found.keys() <= known:
                unknown |= dict.fromkeys(found.keys() - known)
            values.append(_texts(found, line, how))
            lines.append(number)
        if len(lines) + len(bad) >= _BATCH_ROWS:
            yield _Rows(_columns_of(cast("Any", values), range(len(how.columns))), pa.array(lines, pa.int64()), bad)
            values, lines, bad = [], [], []
    if lines or bad:
        columns = _columns_of(cast("Any", values), range(len(how.columns)))
        yield _Rows(columns, pa.array(lines, pa.int64()), bad)
    if unknown:
        notes.append(f"keys that the source doesn't declare, passed over: {', '.join(sorted(unknown))}")


def _json_object(line: bytes, encoding: str) -> dict[str, Any]:
    """Raises ValueError saying why the line isn't an object."""
    try:
        found = orjson.loads(line if _codec(encoding) == "utf-8-sig" else line.decode(encoding))
    except orjson.JSONDecodeError as problem:
        try:
            line.decode()
        except UnicodeDecodeError as wrong:
            byte = line[wrong.start]
            raise ValueError(f"byte 0x{byte:02X} is not utf-8; the file may be in another encoding") from None
        raise ValueError(f"not JSON: {problem.msg}, at character {problem.pos + 1}") from None
    if not isinstance(found, dict):
        raise ValueError(f"not a JSON object but a {'list' if isinstance(found, list) else 'single value'}")
    return found


def _texts(found: Mapping[str, Any], line: bytes, how: RawFormat) -> list[str | None]:
    texts = [_text(found.get(name)) for name in how.columns]
    for at, name in enumerate(how.columns):
        # More digits than a double holds: read them as they are written.
        if type(found.get(name)) is float and len(texts[at] or "") > 16:
            texts[at] = str(json.loads(line, parse_float=str, parse_int=str)[name])
    return texts


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return orjson.dumps(value).decode()


# ---- Parquet


def _read_parquet(stream: BinaryIO, file: RawFile, how: RawFormat, notes: list[str]) -> Iterator[_Rows]:
    """Rows by their number in the file, from 1."""
    if file.size == 0:
        return
    try:
        content = pq.ParquetFile(stream)
    except pa.ArrowInvalid as problem:
        told = str(problem).splitlines()[0].rstrip(".")
        raise _UnreadableError(f"it is not Parquet, or cut off ({told}); fetch it again") from problem
    schema = content.schema_arrow
    header = [*schema.names, *file.partition]
    positions = _positions(header, how, notes)
    wanted = [header[at] for at in positions if at is not None and header[at] in schema.names]
    instants = {
        content.schema.column(n).name for n in range(len(content.schema)) if content.schema.column(n).physical_type == "INT96"
    }
    number = 1
    size = sum(content.metadata.row_group(group).total_byte_size for group in range(content.num_row_groups))
    rows_at_once = max(min(_BYTES_A_BATCH * content.metadata.num_rows // max(size, 1), _PARQUET_BATCH_ROWS), 1)
    for batch in content.iter_batches(batch_size=rows_at_once, columns=wanted):
        found = {name: _column_found(batch.column(name), name, how, instant=name in instants) for name in wanted}
        for name, value in file.partition.items():
            found[name] = pa.repeat(pa.scalar(value, pa.string()), batch.num_rows)
        columns = [found.get(name, pa.nulls(batch.num_rows, pa.string())) for name in how.columns]
        yield _Rows(columns, pa.array(range(number, number + batch.num_rows), pa.int64()), [])
        number += batch.num_rows


def _column_found(column: pa.Array, name: str, how: RawFormat, *, instant: bool) -> pa.Array:
    """The column's values where they are of its declared type, else their text; a time below the microsecond is cut off."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        column = _in_microseconds(column, has_zone=instant or column.type.tz is not None)
    type_ = how.types.get(name)
    is_one = type_ is not None and is_value(column.type, type_, how.null_values)
    return column if is_one else _column_text(column, name)


def _in_microseconds(column: pa.Array, *, has_zone: bool) -> pa.Array:
    """What lies below is cut off; of times that are too far away to be counted in them the column as it is, for its text."""
    zone = "UTC" if has_zone else None
    zoned = column if column.type.tz else pc.cast(column, pa.timestamp(column.type.unit, zone))
    try:
        return pc.cast(zoned, pa.timestamp("us", zone), safe=column.type.unit != "ns")
    except pa.ArrowInvalid:
        return zoned


def _column_text(column: pa.Array, name: str) -> pa.Array:
    """Values as a text file would have them; an instant ends in Z, nested values are JSON."""
    if pa.types.is_nested(column.type):
        texts = [None if value is None else orjson.dumps(value, default=str).decode() for value in column.to_pylist()]
        return pa.array(texts, pa.string())
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowException as problem:
        raise _UnreadableError(f"the column '{name}' is {column.type} and has no text form: {problem}") from problem
