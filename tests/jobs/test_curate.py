"""Curate, end to end on small dirty files: what is kept, what is set aside and why, and what a second run does."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import logging
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality
from deltalake import DeltaTable

from conf.catalogue import load_catalogue
from conf.errors import DefinitionError, EnvironmentProblem, InputError, LeaseError, PublishError
from conf.settings import load_settings
from conf.specs import Source
from jobs import curate
from jobs import take_in as taking
from jobs.progress import Progress
from jobs.workers import LocalWorkers
from stores.lake import CuratedTable, Lake
from synthetic.parameters import Parameters
from synthetic.sample import make_sample
from tests.jobs.fees import GOOD, HEADER, fees
from tests.tables import table
from transforms.curated import curated_columns


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    (folder / "fees").mkdir(parents=True)
    return folder


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.fixture(params=["in process", "in Spark"])
def engine(request):
    """Where a test's rows are taken in; for tests of what both must do."""
    return request.param


@pytest.fixture
def take_in(request, raw, lake):
    """Run curate on the sources, in Spark when the test's `engine` says so; the runs are named r1, r2, …"""
    runs = iter(range(1, 99))
    in_spark = "engine" in request.fixturenames and request.getfixturevalue("engine") == "in Spark"

    def run(*sources, **changes):
        settings = load_settings("local")
        return curate.run(
            **{
                "sources": {source.name: source for source in sources},
                "raw": str(raw),
                "lake": lake,
                "workers": LocalWorkers(2, lambda: request.getfixturevalue("spark")),
                "settings": settings,
                "run_id": f"r{next(runs)}",
                "progress": Progress(),
                "in_process_bytes": -1 if in_spark else 2**40,
                **changes,
            }
        )

    return run


def kept(lake, *columns, source="fees"):
    """Rows of a curated table, as `table` writes them, in order of their files and lines."""
    found = DeltaTable(lake.uri("curated", source)).to_pyarrow_table().sort_by([("_file", "ascending"), ("_line", "ascending")])
    return [tuple(_plain(row[name]) for name in columns) for row in found.to_pylist()]


def _plain(value):
    return value if value is None or isinstance(value, bool | int) else str(value).removesuffix("+00:00")


def quarantined(lake, run="r1", source="fees"):
    path = lake.uri(lake.quarantine_path(run, source))
    return [tuple(row.values()) for row in sorted(pq.read_table(path).to_pylist(), key=lambda row: (row["file"], row["line"]))]


def counts(summary, source="fees"):
    found = summary.sources[source]
    return found.read, found.kept, found.duplicates, found.quarantined


# ---- what becomes of rows


def test_every_row_is_accounted_for(engine, spark, raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(
        HEADER
        + GOOD
        + "a2,x,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z\n"  # not money
        + GOOD  # again
        + "a1,1.60,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z\n"  # other content
        + "a3,2.005,2025-02-28T16:30:00Z,2025-02-28T17:00:00Z\n"  # rounded; known on its own local day, 1 March
        + "a4,3,2025-02-28T15:59:00Z,2025-02-28T16:30:00Z\n"  # known after its local day's end: late
    )

    summary = take_in(fees())

    expected = table(
        spark,
        "account_id string, amount decimal(18,2), at timestamp, recorded_at timestamp, _event_time timestamp, "
        "_known_time timestamp, _file string, _line bigint, _run string, _month string",
        *(
            (account, amount, at, known, at, known, "fees/1.csv", line, "r1", at[:7])
            for account, amount, at, known, line in (
                ("a1", "1.50", "2025-01-01 00:00:00", "2025-01-02 00:00:00", 2),
                ("a3", "2.01", "2025-02-28 16:30:00", "2025-02-28 17:00:00", 6),
                ("a4", "3.00", "2025-02-28 15:59:00", "2025-02-28 16:30:00", 7),
            )
        ),
    )
    actual = lake.curated("fees").read(spark)
    assert actual.columns.index("_row_hash") == 8
    assert_df_equality(actual.drop("_row_hash"), expected, ignore_row_order=True, ignore_nullable=True)
    assert quarantined(lake) == [
        (
            "fees", "fees/1.csv", 3, "account_id=a2", "amount.type", "amount: 'x' is not an amount such as 1234.50, below 10^16",
            '{"account_id":"a2","amount":"x","at":"2025-01-01T00:00:00Z","recorded_at":"2025-01-02T00:00:00Z"}',
        ),
        (
            "fees", "fees/1.csv", 5, "account_id=a1", "conflict",
            "its key and version are those of fees/1.csv line 2, with other content",
            '{"account_id":"a1","amount":"1.60","at":"2025-01-01T00:00:00Z","recorded_at":"2025-01-02T00:00:00Z"}',
        ),
    ]  # fmt: skip
    found = summary.sources["fees"]
    assert (found.files, found.read, found.kept, found.duplicates, found.quarantined) == (1, 6, 3, 1, 2)
    assert (found.rules, found.rounded, found.late) == ({"amount.type": 1, "conflict": 1}, 1, 2)
    (commit,) = lake.curated("fees").commits()
    assert (commit.version, commit.run_id, commit.partitions) == (0, "r1", ("2025-01", "2025-02"))
    assert commit.earliest_effect == 1735776000_000000  # known on 2 January
    assert json.loads(lake.storage.read("runs/r1/curate.json"))["counts"]["kept"] == 3


def test_late_rows_are_counted_and_those_beyond_the_restatement_horizon(raw, take_in):
    """Of an event on 1 February in Kuala Lumpur, a day that ends at 16:00 UTC; 35 days later that is 8 March."""
    known = (
        "2025-02-01T16:00:00Z",  # at the day's end: in time
        "2025-02-01T16:00:00.000001Z",  # late
        "2025-03-08T16:00:00Z",  # as late as the horizon
        "2025-03-08T16:00:00.000001Z",  # beyond it
        "2025-12-31T00:00:00Z",
    )
    rows = "".join(f"a{number},1.00,2025-02-01T00:00:00Z,{moment}\n" for number, moment in enumerate(known))
    (raw / "fees" / "1.csv").write_text(HEADER + rows)
    summary = take_in(fees())
    assert (summary.counts["kept"], summary.counts["late"], summary.counts["late_beyond_horizon"]) == (5, 4, 2)


def test_grace_and_the_event_time_decide_when_a_row_first_counts(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    take_in(fees(grace="2d"))
    assert lake.curated("fees").commits()[0].earliest_effect == 1735689600_000001  # a microsecond after its event


def test_a_second_run_takes_nothing(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    sources = {"fees": fees()}
    assert [file.path for file in curate.pending_files(sources, str(raw), lake)["fees"]] == ["fees/1.csv"]
    take_in(fees())
    before = [(file.path, file.tag) for file in lake.storage.list("curated")]

    assert curate.pending_files(sources, str(raw), lake) == {}
    summary = take_in(fees())

    assert summary.counts["files"] == 0
    assert [(file.path, file.tag) for file in lake.storage.list("curated")] == before


def test_only_new_files_are_read_and_their_rows_compared_with_those_kept(engine, raw, lake, take_in):
    (raw / "fees" / "2.csv").write_text(HEADER + GOOD)
    take_in(fees())
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + "a2,1,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z\n")

    summary = take_in(fees())

    assert (summary.sources["fees"].files, *counts(summary)) == (1, 2, 1, 1, 0)
    assert [commit.version for commit in lake.curated("fees").commits()] == [0, 1]
    assert sorted(lake.curated("fees").taken_files()) == ["fees/1.csv", "fees/2.csv"]


def test_a_file_touched_is_not_read_again_and_a_file_changed_is_a_new_one(raw, lake, take_in):
    path = raw / "fees" / "1.csv"
    path.write_text(HEADER + GOOD)
    take_in(fees())
    path.write_text(HEADER + GOOD)
    assert curate.pending_files({"fees": fees()}, str(raw), lake) == {}
    path.write_text(HEADER + GOOD + "a2,1,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z\n")

    summary = take_in(fees())

    assert counts(summary) == (2, 1, 1, 0)
    (raw / "fees" / "2.csv").write_text(HEADER + GOOD)
    assert counts(take_in(fees())) == (1, 0, 1, 0)  # nothing new, and taken all the same
    assert curate.pending_files({"fees": fees()}, str(raw), lake) == {}
    assert summary.sources["fees"].notes == ("fees/1.csv was taken in before and has changed since: read again as a new file",)


def test_versions_of_a_key_are_all_kept(raw, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + GOOD.replace("02T", "03T").replace("1.50", "1.60"))
    assert counts(take_in(fees(version="recorded_at"))) == (2, 2, 0, 0)


def test_orphans_are_counted_by_reference(engine, raw, take_in):
    accounts = Source(
        name="accounts", format="jsonl", location="accounts.jsonl", key=["account_id"], event_time="at",
        columns={"account_id": "string", "at": "timestamp"},
    )  # fmt: skip
    (raw / "accounts.jsonl").write_text('{"account_id": "a1", "at": "2025-01-01T00:00:00Z"}\n')
    (raw / "fees" / "1.csv").write_text(
        HEADER.replace("account_id", "fee_id,account_id") + f"1,{GOOD}2,{GOOD}3,{GOOD.replace('a1', 'a9')}4,{GOOD[2:]}"
    )
    columns = {"fee_id": "string", **fees().columns}

    summary = take_in(fees(columns=columns, key=["fee_id"], references={"account_id": "accounts"}), accounts)

    assert summary.sources["fees"].kept == 4
    assert summary.sources["fees"].orphans == {"account_id": 1}


def test_personal_data_goes_no_further(engine, raw, lake, take_in, monkeypatch):
    """Neither the table, nor the quarantine, nor the manifest holds what was to be dropped or hashed."""
    monkeypatch.setenv("ETR_HMAC_KEY", "k")
    columns = {**fees().columns, "phone": {"type": "string", "personal": "drop"}, "card": {"type": "string", "personal": "hmac"}}
    header = HEADER.replace("\n", ",phone,card\n")
    line = GOOD.replace("\n", ",+60-12345,4111-2222\n")
    (raw / "fees" / "1.csv").write_text(
        header + line + line.replace("1.50", "x") + line.replace("1.50", "1.60") + line.replace("\n", ",\n")
    )

    summary = take_in(fees(columns=columns))

    assert counts(summary) == (4, 1, 0, 3)
    (row,) = DeltaTable(lake.uri("curated", "fees")).to_pyarrow_table().to_pylist()
    assert "phone" not in row
    assert row["card"] == hmac.new(b"k", b"4111-2222", hashlib.sha256).hexdigest()
    text = json.dumps([list(map(str, row.values())), quarantined(lake), lake.storage.read("runs/r1/curate.json").decode()])
    assert "12345" not in text
    assert "2222" not in text


def test_without_a_key_nothing_is_read(raw, lake, take_in, monkeypatch):
    monkeypatch.delenv("ETR_HMAC_KEY", raising=False)
    columns = {**fees().columns, "card": {"type": "string", "personal": "hmac"}}
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    settings = load_settings("local", {"personal_data.development_key": "null"})

    with pytest.raises(EnvironmentProblem, match=r"^environment 'local': no key for personal data; set the environment variable"):
        take_in(fees(columns=columns), settings=settings)

    assert lake.curated("fees").version() is None


# ---- dirty files


def test_rows_that_cannot_be_read_are_set_aside_and_their_neighbours_kept(raw, lake, take_in):
    """Each file has a good row on line 2 and a bad one on line 3; tests/stores/test_raw.py has every way to be bad."""
    cut = "the last line of the file is cut off"
    cases = {
        "a1,1.50,9,2025-01-01,2025-01-02\n": "5 values where the header has 4 columns",
        "a1,1.5": f"2 values where the header has 4 columns; {cut}",
        'a1,"1.5': f"a quoted value that never ends; {cut}, or a quote is missing",
        "caf\u00e9,1,2,3\n": "account_id: byte 0xE9 is not utf-8; the file may be in another encoding",
    }
    for number, bad in enumerate(cases):
        (raw / "fees" / f"{number}.csv").write_bytes((HEADER + GOOD.replace("a1", f"b{number}") + bad).encode("latin-1"))

    assert counts(take_in(fees())) == (8, 4, 0, 4)

    assert quarantined(lake) == [
        (
            "fees",
            f"fees/{number}.csv",
            3,
            "account_id=",
            "unreadable",
            told,
            json.dumps({"_raw": shown}, ensure_ascii=False).replace(": ", ":", 1),
        )
        for number, (shown, told) in enumerate(zip([*list(cases)[:3], "caf\ufffd,1,2,3"], cases.values(), strict=True))
        for shown in [shown.rstrip("\n")]
    ]


def test_latin_1_is_read_where_it_is_declared(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_bytes((HEADER + GOOD.replace("a1", "caf\u00e9")).encode("latin-1"))
    take_in(fees(encoding="latin-1"))
    assert kept(lake, "account_id") == [("caf\u00e9",)]


def test_files_that_cannot_be_read_are_named_and_left_after_the_rest_was_done(engine, raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER.replace("account_id", "acount_id") + GOOD)
    (raw / "fees" / "2.csv").write_text(HEADER + GOOD)
    # It breaks only after rows were read from it; one of them is that of the file before, and no duplicate of it.
    (raw / "fees" / "3.csv.gz").write_bytes(gzip.compress((HEADER + GOOD.replace("a1", "a0") * 20_000).encode())[:-12])
    (raw / "fees" / "4.csv").write_text(HEADER + GOOD.replace("a1", "a0"))

    summary = take_in(fees())

    assert counts(summary) == (2, 2, 0, 0)
    with pytest.raises(InputError) as problem:
        summary.raise_if_failed()
    assert str(problem.value) == (
        "2 files could not be read; the rest was done, and what can't be read was left where it is:\n"
        "  fees/1.csv (fees): no column 'account_id' (did it mean that by 'acount_id'?); "
        "columns found: acount_id, amount, at, recorded_at\n"
        "  fees/3.csv.gz (fees): its compressed data is broken or cut off (Compressed file ended before the end-of-stream "
        "marker was reached); fetch it again\n"
        "Mend or remove each, then run again"
    )
    assert list(lake.curated("fees").taken_files()) == ["fees/2.csv", "fees/4.csv"]

    (raw / "fees" / "3.csv.gz").unlink()
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD.replace("a1", "a5"))
    mended = take_in(fees())
    mended.raise_if_failed()
    assert counts(mended) == (1, 1, 0, 0)


def test_a_broken_file_alone_leaves_an_empty_table(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text("no header\n")
    summary = take_in(fees())
    assert [file.path for file in summary.failed] == ["fees/1.csv"]
    assert lake.curated("fees").version() == 0


def test_a_column_more_or_an_optional_one_less_is_said(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text("account_id,at,recorded_at,extra\na1,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z,x\n")
    summary = take_in(fees())
    assert summary.sources["fees"].notes == (
        "fees/1.csv: columns that the source doesn't declare, passed over: extra",
        "fees/1.csv: columns that it lacks, read as null: amount",
    )
    assert kept(lake, "account_id", "amount") == [("a1", None)]


@pytest.mark.parametrize("content", [b"", HEADER.encode()], ids=["0 bytes", "header only"])
def test_an_empty_file_is_taken_in(raw, lake, take_in, content):
    (raw / "fees" / "1.csv").write_bytes(content)
    summary = take_in(fees())
    assert (summary.failed, counts(summary)) == ((), (0, 0, 0, 0))
    assert curate.pending_files({"fees": fees()}, str(raw), lake) == {}


def test_a_source_without_files_is_an_empty_table(spark, raw, lake, take_in, caplog):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    other = fees(name="other", location="nowhere/*.csv")
    with caplog.at_level(logging.WARNING):
        summary = take_in(fees(), other)
    assert summary.sources["other"].notes == ("no files at nowhere/*.csv; the table is empty",)
    assert "other: no files at nowhere/*.csv; the table is empty" in caplog.messages
    assert lake.curated("other").read(spark).count() == 0
    assert lake.curated("other").read(spark).columns == lake.curated("fees").read(spark).columns


def test_no_files_at_all_is_a_mistake(raw, lake, take_in, tmp_path):
    with pytest.raises(InputError) as problem:
        take_in(fees())
    assert str(problem.value) == f"--raw: {raw} has no file of any source; looked for fees: fees/*.csv"
    with pytest.raises(InputError) as problem:
        take_in(fees(), raw=str(tmp_path / "gone"))
    assert str(problem.value) == f"--raw: there is no folder {tmp_path}/gone; name the folder that holds the raw files"


def test_hidden_and_unfinished_files_are_passed_over(raw, lake):
    for name in ("_1.csv", ".2.csv", "3.csv.tmp", "4.csv.gz", "5.csv"):
        (raw / "fees" / name).write_text("")
    (raw / "fees" / "_old").mkdir()
    (raw / "fees" / "_old" / "6.csv").write_text("")
    found = curate.pending_files({"fees": fees(location="fees/**/*.csv")}, str(raw), lake)["fees"]
    assert [file.path for file in found] == ["fees/4.csv.gz", "fees/5.csv"]


# ---- other formats


def test_json_lines(raw, lake, take_in):
    columns = {**fees().columns, "flag": "boolean", "items": "string"}
    source = fees(format="jsonl", location="fees/*.jsonl", columns=columns)
    times = '"at": "2025-01-01T00:00:00Z", "recorded_at": "2025-01-02T00:00:00Z"'
    with gzip.open(raw / "fees" / "1.jsonl.gz", "wb") as stream:
        stream.write(
            f'\ufeff{{"account_id": "a1", "amount": 120.10, "flag": true, "items": [1, {{"x": "\u00e9"}}], {times}}}\r\n\n'
            f'{{"account_id": 2, "amount": 1234567890123456.75, {times}, "extra": null}}\n'
            f'{{"account_id": "a3", "amount": 1, {times}\n'
            "[1]\n"
            "NaN\n".encode()
            + b'{"account_id": "caf\xe9"}\n'
            + b'{"account_id": "a4", "am'
        )

    summary = take_in(source)

    assert kept(lake, "account_id", "amount", "flag", "items", "_line") == [
        ("a1", "120.10", True, '[1,{"x":"\u00e9"}]', 1),
        ("2", "1234567890123456.75", None, None, 3),
    ]
    assert counts(summary) == (7, 2, 0, 5)
    assert [(line, reason) for _, _, line, _, _, reason, _ in quarantined(lake)] == [
        (4, "not JSON: unexpected end of data, at character 103"),
        (5, "not a JSON object but a list"),
        (6, "not JSON: unexpected character, expected a JSON value, at character 1"),
        (7, "byte 0xE9 is not utf-8; the file may be in another encoding"),
        (8, "not JSON: unexpected end of data, at character 25; the last line of the file is cut off"),
    ]
    assert summary.sources["fees"].notes == ("fees/1.jsonl.gz: keys that the source doesn't declare, passed over: extra",)


def parquet_rows():
    return pa.table(
        {
            "account_id": pa.array(["a1", "a2", "a3"]).dictionary_encode(),
            "amount": pa.array([1.5, float("inf"), None]),
            "at": pa.array([1735689600_000000, 1735689600_000000, 1735689600_000000], pa.timestamp("us", "Asia/Kuala_Lumpur")),
            "recorded_at": pa.array([1735776000_000000000] * 3, pa.timestamp("ns")),
        }
    )


def test_parquet(raw, lake, take_in):
    pq.write_table(parquet_rows(), raw / "fees" / "1.parquet")
    summary = take_in(fees(format="parquet", location="fees/*.parquet", zone="Asia/Kuala_Lumpur"))
    assert kept(lake, "account_id", "amount", "at", "recorded_at", "_line") == [
        ("a1", "1.50", "2025-01-01 00:00:00", "2025-01-01 16:00:00", 1),  # without a zone: local
        ("a3", None, "2025-01-01 00:00:00", "2025-01-01 16:00:00", 3),
    ]
    assert counts(summary) == (3, 2, 0, 1)
    assert quarantined(lake)[0][2:6] == (
        2, "account_id=a2", "amount.type", "amount: 'inf' is not an amount such as 1234.50, below 10^16"
    )  # fmt: skip


def test_a_delta_table_is_read_by_its_log(raw, lake, take_in):
    from deltalake import write_deltalake

    rows = parquet_rows().set_column(0, "account_id", pa.array(["a1", "a2", "a3"])).slice(0, 1)
    write_deltalake(raw / "fees" / "table", rows, partition_by=["account_id"])
    source = fees(format="delta", location="fees/table")
    assert counts(take_in(source)) == (1, 1, 0, 0)
    assert curate.pending_files({"fees": source}, str(raw), lake) == {}
    write_deltalake(raw / "fees" / "table", rows.set_column(0, "account_id", pa.array(["a9"])), mode="append")
    assert counts(take_in(source)) == (1, 1, 0, 0)
    assert kept(lake, "account_id") == [("a1",), ("a9",)]


def test_a_wide_file_is_reshaped(raw, lake, take_in):
    """Rows that can't be read are not reshaped: each is quarantined once. Spark does it, however few they are."""
    (raw / "fees" / "1.csv").write_text('ID,"PAY.1",PAY_2,SEX\n1,10,20,f\n2,30\n3,x,40,m\n')
    sql = (
        "select ID as account_id, m.*, concat('2025-0', month, '-01T00:00:00Z') as at from "
        "(select ID, stack(2, '1', `PAY.1`, '2', PAY_2) as (month, amount) from raw) m"
    )
    columns = {"account_id": "string", "month": "integer", "amount": "money", "at": "timestamp"}
    source = fees(reshape=sql.replace("m.*", "m.month, m.amount"), columns=columns, key=["account_id", "month"], known_time=None)

    summary = take_in(source)

    assert sorted(kept(lake, "account_id", "month", "amount", "_line")) == [
        ("1", 1, "10.00", 2),
        ("1", 2, "20.00", 2),
        ("3", 2, "40.00", 4),
    ]
    assert counts(summary) == (5, 3, 0, 2)
    assert [(row[2], row[4]) for row in quarantined(lake)] == [(3, "unreadable"), (4, "amount.type")]


# ---- crashes, and more than one


def test_a_run_killed_between_commit_and_index_is_finished_by_the_next(raw, lake, take_in, monkeypatch):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)

    def killed(_self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        save = CuratedTable.save_index
        calls = iter([save])  # the first call heals, the second writes the new commit's index
        patch.setattr(CuratedTable, "save_index", lambda self: next(calls, killed)(self))
        with pytest.raises(KeyboardInterrupt):
            take_in(fees())
    assert not lake.storage.exists("curated/fees.commits.json")

    assert curate.pending_files({"fees": fees()}, str(raw), lake) == {}
    summary = take_in(fees())

    assert summary.counts["read"] == 0
    assert [commit.run_id for commit in lake.curated("fees").commits()] == ["r1"]
    assert lake.storage.exists("curated/fees.commits.json")


def test_a_run_killed_before_the_commit_leaves_nothing_behind(raw, lake, take_in, monkeypatch):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CuratedTable, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            take_in(fees())
    assert lake.curated("fees").version() is None
    assert counts(take_in(fees())) == (1, 1, 0, 0)


def test_a_file_written_to_while_it_is_read_waits_for_the_next_run(raw, lake, take_in, monkeypatch):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    (raw / "fees" / "2.csv").write_text(HEADER + GOOD)  # its row would be a duplicate of the first file's
    read = taking.read_file

    def read_and_write(storage, file, how):
        yield from read(storage, file, how)
        with (raw / "fees" / "1.csv").open("a") as stream:
            stream.write(GOOD.replace("a1", "a2"))

    with monkeypatch.context() as patch:
        patch.setattr(taking, "read_file", read_and_write)
        summary = take_in(fees())

    assert [(file.path, file.reason) for file in summary.failed] == [
        ("fees/1.csv", "it changed while it was read; run again when it is written")
    ]
    assert counts(summary) == (1, 1, 0, 0)
    assert list(lake.curated("fees").taken_files()) == ["fees/2.csv"]
    assert counts(take_in(fees()))[1:] != (0, 0, 0)


def test_another_run_is_waited_for_and_then_named(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    with lake.hold(["curated/fees"], "other"), pytest.raises(LeaseError, match=r"^curated/fees is being written by run other "):
        take_in(fees(), wait_seconds=0)
    assert lake.curated("fees").version() is None


def test_a_lease_lost_on_the_way_stops_the_commit(raw, lake, take_in, monkeypatch):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    read = taking.read_file

    def read_and_lose(*args):
        lake.storage.write("leases/curated.fees/000000000099.json", b"{}")
        return read(*args)

    monkeypatch.setattr(taking, "read_file", read_and_lose)
    with pytest.raises(LeaseError, match=r"^curated/fees: another run took over while this run made no progress for over 60 s; "):
        take_in(fees())
    assert lake.curated("fees").version() is None


def test_rows_that_do_not_add_up_fail_the_run(raw, lake, take_in, monkeypatch):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    read = taking.read_file
    monkeypatch.setattr(taking, "read_file", lambda *args: list(read(*args))[-1:])  # only what is told of the file
    with pytest.raises(PublishError) as problem:
        take_in(fees())
    assert str(problem.value) == (
        "fees: 1 rows were read, of which 0 kept, 0 duplicates and 0 quarantined don't make all; nothing was committed"
    )
    assert lake.curated("fees").version() is None


def test_a_type_never_changes_in_place_and_a_new_column_is_null_before(engine, raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    take_in(fees())
    (raw / "fees" / "2.csv").write_text(HEADER.replace("\n", ",kind\n") + GOOD.replace("a1", "a2").replace("\n", ",late\n"))

    changed = {**fees().columns, "amount": "number"}
    with pytest.raises(DefinitionError) as problem:
        take_in(fees(columns=changed))
    assert str(problem.value) == (
        f"fees: column 'amount' is double by its definition and decimal(18,2) in {lake.uri('curated', 'fees')}; "
        "a type never changes in place: give the column another name, or curate into another lake"
    )

    take_in(fees(columns={**fees().columns, "kind": "string"}))
    assert kept(lake, "account_id", "kind") == [("a1", None), ("a2", "late")]


# ---- the sample, and the command


def test_the_sample_is_met_to_the_row(raw, take_in):
    """Every count that the generator tells of itself, over all thirteen sources and three formats."""
    make_sample(Parameters(customers=300), raw)
    truth = json.loads((raw / "ground_truth.json").read_text())["sources"]

    summary = take_in(*load_catalogue(None).sources.values())

    summary.raise_if_failed()
    assert {
        name: (found.read, found.kept, found.duplicates, found.quarantined, found.rules.get("conflict", 0), found.late, found.orphans)
        for name, found in summary.sources.items()
    } == {
        name: (
            told["read"], told["kept"], told["duplicates"], told["conflicts"] + sum(told["bad"].values()), told["conflicts"],
            told["late"], told["orphans"],
        )
        for name, told in truth.items()
    }  # fmt: skip


def test_both_engines_keep_and_set_aside_the_same_rows(raw, lake, tmp_path, take_in):
    """Of each format, in two deliveries, of which the second is compared with what is known."""
    make_sample(Parameters(customers=300, until=date(2025, 6, 30)), raw)
    catalogue = load_catalogue(None)
    sources = [catalogue.source(name) for name in ("accounts", "applications", "balances")]
    other = Lake(tmp_path / "other")
    for only_from in (None, date(2025, 7, 1)):
        if only_from is not None:
            make_sample(Parameters(customers=300, until=date(2025, 9, 30), only_from=only_from), raw)
        here = take_in(*sources)
        there = take_in(*sources, lake=other, in_process_bytes=-1)
        assert [replace(found, seconds=0) for found in here.sources.values()] == [
            replace(found, seconds=0) for found in there.sources.values()
        ]
        assert all(found.kept for found in here.sources.values())
    for source in sources:
        columns = [name for name in curated_columns(source) if name != "_run"]
        assert kept(lake, *columns, source=source.name) == kept(other, *columns, source=source.name)
    with_bad_rows = [name for name in here.sources if lake.storage.exists(lake.quarantine_path("r1", name))]
    assert with_bad_rows
    for name in with_bad_rows:
        assert quarantined(lake, "r1", name) == quarantined(other, "r2", name)


def command(capsys, *arguments):
    """Exit code, the summary on stdout and what a person saw."""
    code = curate.main(arguments)
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), err


def test_the_command_says_what_it_would_take(raw, lake, capsys):
    make_sample(Parameters(customers=100), raw)
    options = ("--raw", str(raw), "--lake", lake.uri(), "--sources", "fees,accounts", "--dry-run")
    code, told, _ = command(capsys, *options)
    assert (code, told["status"], sorted(told["tables"])) == (0, "succeeded", ["curated/accounts", "curated/fees"])
    assert told["counts"]["files"] == len(list(raw.glob("fees/*"))) + len(list(raw.glob("accounts/*")))
    assert not lake.storage.exists("")


def test_the_command_fails_after_the_rest_was_done(raw, lake, capsys):
    (raw / "fees" / "1.csv").write_text("no header\n")
    code, told, err = command(capsys, "--raw", str(raw), "--lake", lake.uri(), "--sources", "fees")
    assert (code, told["status"]) == (1, "failed")
    assert err.endswith(
        "1 file could not be read; the rest was done, and what can't be read was left where it is:\n"
        "  fees/1.csv (fees): its first line is no header: none of the columns fee_id, account_id, plan_id, customer_id, "
        "charged_at, recorded_at, kind, amount is in it\nMend or remove each, then run again\n"
    )
    assert lake.curated("fees").version() == 0


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--sources", "fee"), 2, "no source named 'fee' (did you mean 'fees'?)"),
        (("--raw", "/nowhere"), 1, "--raw: there is no folder /nowhere; name the folder that holds the raw files\n"),
        (("--raw", "gs://x"), 2, "'gs://x': no storage for 'gs://'; known: a folder's path, file://, s3://, s3a://\n"),
    ],
)
def test_wrong_use_of_the_command_costs_no_work(lake, capsys, monkeypatch, options, code, told):
    monkeypatch.setattr("jobs.workers.open_workers", None)
    found, summary, err = command(capsys, "--lake", lake.uri(), *options)
    assert (found, summary["status"]) == (code, "failed")
    assert err.startswith(told)
