"""Raw files as text: what a reader makes of files as they really are. No Spark."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.specs import Source
from stores.raw import FileOutcome, find_files, raw_format, read_file
from stores.storage import open_storage

HEADER = "id,amount,at\n"
GOOD = "a,1.50,2025-01-01\n"
CUT = "the last line of the file is cut off"


def source(**changes):
    columns = {"id": "string", "amount": "money", "at": "timestamp", "note": "string"}
    return Source(**{
        "name": "x", "format": "csv", "location": "*.csv", "columns": columns, "key": ["id"], "event_time": "at", **changes
    })  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Read one file; gives its rows as (line, values…), those unreadable as (line, reason, text), and the outcome."""

    def run(content, name="1.csv", **changes):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        storage, spec = open_storage(tmp_path), source(**{"location": name, **changes})
        (file,) = find_files(spec, storage)
        how = raw_format(spec, storage, [file], reads=None)
        rows = [row for batch in read_file(storage, file, how) for row in batch.to_pylist()]
        told = rows.pop()
        assert told["_line"] is None
        good = [(row["_line"], *(row[name] for name in ("id", "amount", "at"))) for row in rows if row["_unreadable"] is None]
        bad = [(row["_line"], row["_unreadable"], row["_raw"]) for row in rows if row["_unreadable"] is not None]
        outcome = FileOutcome.of(name, told["_unreadable"])
        assert outcome.rows == len(good) + len(bad)
        return good, bad, outcome

    return run


@pytest.mark.parametrize(
    ("content", "encoding", "line"),
    [
        ((HEADER + GOOD).encode("utf-8-sig"), "utf-8", 2),
        ((HEADER + GOOD).replace("\n", "\r\n").encode(), "UTF-8", 2),
        ((HEADER + GOOD).replace("\n", "\r").encode(), "utf-8", 2),
        ((HEADER + GOOD).rstrip("\n").encode(), "utf-8", 2),
        ((HEADER + "\n\n" + GOOD + "\n").encode(), "utf-8", 4),
        ((HEADER + GOOD).encode("utf-16"), "utf-16", 2),
        ((HEADER.replace(",", " , ") + GOOD.replace("1.50", '"1.50"')).encode(), "utf-8", 2),
    ],
    ids=["mark", "crlf", "cr", "no last newline", "blank lines", "utf-16", "quotes, and spaces in the header"],
)
def test_csv_in_other_clothes(read, content, encoding, line):
    assert read(content, encoding=encoding)[:2] == ([(line, "a", "1.50", "2025-01-01")], [])


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("a,1,2,3\n", "4 values where the header has 3 columns"),
        ("a,1\n", "2 values where the header has 3 columns"),
        ("a\n", "1 value where the header has 3 columns"),
        ("a,1.5", f"2 values where the header has 3 columns; {CUT}"),
        ('a,"1.5', f"a quoted value that never ends; {CUT}, or a quote is missing"),
        ('"a"x,1,2\n', "quotes that don't fit: ',' expected after '\"'"),
        ("caf\u00e9,1,2\n", "id: byte 0xE9 is not utf-8; the file may be in another encoding"),
    ],
)
def test_a_csv_row_that_cannot_be_read(read, bad, told):
    more = GOOD.replace("a,", "z,") if bad.endswith("\n") else ""
    good, unreadable, outcome = read((HEADER + GOOD + bad + more).encode("latin-1"))
    assert good == [(2, "a", "1.50", "2025-01-01"), *([(4, "z", "1.50", "2025-01-01")] if more else [])]
    assert unreadable == [(3, told, bad.rstrip("\n").replace("\u00e9", "\ufffd"))]
    assert outcome.problem is None


def test_a_quote_never_closed_does_not_take_the_lines_before_it(read):
    good, bad, _ = read(HEADER + GOOD * 3 + 'b,"1,2\n' + GOOD * 2)
    assert [row[0] for row in good] == [2, 3, 4]
    assert [(line, text) for line, _, text in bad] == [(5, 'b,"1,2\n' + GOOD + GOOD.rstrip("\n"))]


def test_lines_are_counted_as_an_editor_does(read):
    """A quoted value may hold newlines; its row is at the line where it starts."""
    good, _, _ = read(HEADER + '"a\n\nb",1,2\n' + GOOD)
    assert good == [(2, "a\n\nb", "1", "2"), (5, "a", "1.50", "2025-01-01")]


def test_more_rows_than_a_batch(read):
    good, bad, outcome = read(HEADER + (GOOD + "x\n") * 10_000)
    assert (outcome.rows, len(good), len(bad)) == (20_000, 10_000, 10_000)
    assert [row[0] for row in good] == list(range(2, 20_002, 2))


def test_latin_1_and_other_delimiters_are_read_where_declared(read):
    good, bad, _ = read("id;amount;at\ncaf\u00e9;1,5;2\n".encode("latin-1"), encoding="latin-1", delimiter=";")
    assert (good, bad) == ([(2, "caf\u00e9", "1,5", "2")], [])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("1.csv", "idd,amount,at\n", "no column 'id' (did it mean that by 'idd'?); columns found: idd, amount, at"),
        ("1.csv", "id,amount\n", "no column 'at'; columns found: id, amount"),
        ("1.csv", "id,Amount,at\n", "no column 'amount' (did it mean that by 'Amount'?); columns found: id, Amount, at"),
        ("1.csv", GOOD, "its first line is no header: none of the columns id, amount, at, note is in it"),
        ("1.csv", "id,at,at\n", "the column 'at' is in its header twice"),
        ("1.csv", HEADER.encode("utf-16"), "it is UTF-16 and the source says utf-8; write encoding: utf-16 in the source"),
        (
            "1.csv.gz",
            gzip.compress(HEADER.encode(), mtime=0)[:-9],
            "its compressed data is broken or cut off (Compressed file ended before the end-of-stream marker was reached); "
            "fetch it again",
        ),
        ("1.csv.gz", b"no", "its compressed data is broken or cut off (Not a gzipped file (b'no')); fetch it again"),
        ("1.jsonl", "[\n{}\n]", "it is one JSON array; write one object a line, without the brackets and commas around them"),
        (
            "1.parquet",
            b"PAR1 and no more",
            "it is not Parquet, or cut off (Parquet magic bytes not found in footer. Either the file is corrupted or this is not "
            "a parquet file); fetch it again",
        ),
    ],
)
def test_a_file_that_cannot_be_read(read, name, content, told):
    kind = name.removesuffix(".gz").rsplit(".")[-1]
    assert read(content, name, format=kind) == ([], [], FileOutcome(name, 0, told))


def test_a_parquet_file_cut_off(read, tmp_path):
    pq.write_table(pa.table({"id": ["a"], "at": ["2025-01-01"]}), tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    for size in (len(content) - 10, len(content) // 2, 3):
        _, _, outcome = read(content[:size], "1.parquet", format="parquet")
        assert outcome.problem.startswith("it is not Parquet, or cut off (")
        assert outcome.problem.endswith("); fetch it again")


@pytest.mark.parametrize("name", ["1.csv", "1.jsonl", "1.parquet"])
def test_an_empty_file_has_no_rows(read, name):
    assert read("", name, format=name[2:]) == ([], [], FileOutcome(name, 0))


def test_columns_more_or_less_are_said(read):
    _, _, outcome = read("id,at,extra\na,2,3\n")
    assert outcome.notes == (
        "columns that the source doesn't declare, passed over: extra",
        "columns that it lacks, read as null: amount, note",
    )


def test_json_values_are_text(read):
    lines = [
        b'\xef\xbb\xbf{"id": "a", "amount": 120.10, "at": [1, {"x": "\xc3\xa9"}]}\r',
        b"",
        b'{"id": 7, "amount": 1234567890123456.75, "at": true, "more": null}',
        b'{"id": 12345678901234567890123, "amount": 1e-7}',
    ]
    good, bad, outcome = read(b"\n".join(lines), "1.jsonl", format="jsonl")
    assert good == [
        (1, "a", "120.1", '[1,{"x":"\u00e9"}]'),
        (3, "7", "1234567890123456.75", "true"),
        (4, "12345678901234567890123", "1e-07", None),
    ]
    assert bad == []
    assert outcome.notes == ("keys that the source doesn't declare, passed over: more",)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"id": 1\n', "not JSON: unexpected end of data, at character 10"),
        (b"[1]\n", "not a JSON object but a list"),
        (b"1\n", "not a JSON object but a single value"),
        (b'{"amount": NaN}\n', "not JSON: unexpected character, expected a JSON value, at character 12"),
        (b'{"id": "caf\xe9"}\n', "byte 0xE9 is not utf-8; the file may be in another encoding"),
        (b'{"id": "a', f"not JSON: unexpected end of data, at character 10; {CUT}"),
    ],
)
def test_a_json_line_that_cannot_be_read(read, line, told):
    good, bad, _ = read(b'{"id": "x"}\n' + line, "1.jsonl", format="jsonl")
    assert good == [(1, "x", None, None)]
    assert bad == [(2, told, line.decode("utf-8", "replace").rstrip("\n"))]


def test_parquet_values_stay_values_of_their_type_or_become_text(read, tmp_path):
    pq.write_table(
        pa.table(
            {
                "id": pa.array(["a", None]).dictionary_encode(),
                "amount": pa.array([1.5, float("nan")], pa.float32()),
                "at": pa.array([0, 1], pa.timestamp("us", "Asia/Kuala_Lumpur")),
            }
        ),
        tmp_path / "whole",
    )
    good, _, _ = read((tmp_path / "whole").read_bytes(), "1.parquet", format="parquet")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert good == [(1, "a", "1.5", epoch), (2, None, "nan", epoch + timedelta(microseconds=1))]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([0], pa.timestamp("ns")), "1970-01-01 00:00:00.000000"),
        (pa.array([1], pa.date32()), "1970-01-02"),
        (pa.array([True]), "true"),
        (pa.array(["1.10"]).cast(pa.decimal128(9, 3)), "1.100"),
        (pa.array([[1, 2]]), "[1,2]"),
        (pa.array([b"x"]), "x"),
        (pa.array([2**63], pa.uint64()), "9223372036854775808"),
    ],
)
def test_what_is_no_value_of_the_declared_type_is_text(read, tmp_path, column, text):
    pq.write_table(pa.table({"id": ["a"], "amount": column, "at": ["x"]}), tmp_path / "whole")
    good, _, _ = read((tmp_path / "whole").read_bytes(), "1.parquet", format="parquet")
    assert good == [(1, "a", text, "x")]


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_a_time_that_microseconds_cannot_count_is_text(read, tmp_path, unit):
    far = pa.array([2**62], pa.timestamp(unit)) if unit == "ms" else pa.array([2**50], pa.timestamp(unit))
    pq.write_table(pa.table({"id": ["a"], "at": far}), tmp_path / "whole", version="2.6")
    [(line, name, _, at)], _, _ = read((tmp_path / "whole").read_bytes(), "1.parquet", format="parquet")
    assert (line, name) == (1, "a")
    assert isinstance(at, str)


def test_wide_rows_come_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("stores.raw._BYTES_A_BATCH", 10_000)
    table = pa.table({"id": [f"{number:050}" for number in range(500)], "at": pa.array([0] * 500, pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "1.parquet", use_dictionary=False, compression="none")
    storage, spec = open_storage(tmp_path), source(location="1.parquet", format="parquet")
    (file,) = find_files(spec, storage)
    batches = list(read_file(storage, file, raw_format(spec, storage, [file], reads=None)))
    assert max(map(len, batches)) < 200
    assert sum(map(len, batches)) == 501


def test_an_old_spark_timestamp_is_an_instant(read, tmp_path):
    table = pa.table({"id": ["a"], "at": pa.array([0], pa.timestamp("ns"))})
    pq.write_table(table, tmp_path / "whole", use_deprecated_int96_timestamps=True)
    good, _, _ = read((tmp_path / "whole").read_bytes(), "1.parquet", format="parquet")
    assert good == [(1, "a", None, datetime(1970, 1, 1, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("location", "found"),
    [
        ("a/*.csv", ["a/1.csv", "a/2.csv.gz"]),
        ("**/*.csv", ["0.csv", "a/1.csv", "a/2.csv.gz", "a/b/3.csv"]),
        ("a/**/*.csv", ["a/1.csv", "a/2.csv.gz", "a/b/3.csv"]),
        ("a/?.csv", ["a/1.csv", "a/2.csv.gz"]),
        ("a/[2-9].csv", ["a/2.csv.gz"]),
        ("a/2.csv.gz", ["a/2.csv.gz"]),
        ("0.csv", ["0.csv"]),
        ("nowhere/*.csv", []),
    ],
)
def test_locations(tmp_path, location, found):
    storage = open_storage(tmp_path)
    for path in ("0.csv", "a/1.csv", "a/2.csv.gz", "a/b/3.csv", "a/_4.csv", "a/.5.csv", "a/_c/6.csv", "a/7.csv.tmp", "ax/8.csvx"):
        storage.write(path, b"")
    assert [file.path for file in find_files(source(location=location), storage)] == found
