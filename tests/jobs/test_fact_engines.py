"""Either engine leaves the same files: a base, and a layer of what came later; and picks itself by what there is to read."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, UnionSource
from jobs.fact_engines import ByDuckDB, BySpark
from jobs.prepare_facts import SMALL_ROWS, Preparer, rows_in_process
from jobs.workers import LocalWorkers, SparkWorkers
from stores.facts import BucketReader, FactTable, Layer
from stores.lake import CurateCommit, CuratedTable, Lake
from stores.storage import LocalStorage
from tests.histories import DAYS, batch
from tests.random_groups import SOURCES
from transforms import prepare_duckdb
from transforms.calendar import FOREVER, microseconds, moment
from transforms.curated import curated_arrow_schema, curated_table
from transforms.fact_arrays import HOLDS, MOMENTS, value_types
from transforms.fact_sql import each_row_stands_alone, key_columns, sorted_by
from transforms.feature_group import Compiled, Stream, compile_groups

BITS = 1
DELIVERED = {name: source for name, source in SOURCES.items() if not isinstance(source, UnionSource)}
UNIONS = {name: source for name, source in SOURCES.items() if isinstance(source, UnionSource)}

# Versions, a mutable parent, payments, days, a union whose members have masks and keys of their own, and several parents a row.
PEOPLE = FeatureGroup.model_validate(
    {
        "name": "people",
        "record_identifier": "person",
        "spine": "people",
        "inputs": [
            {
                "source": "plans",
                "parent": {"source": "accounts", "columns": {"closed": "closed", "why": "reason"}},
                "settled_by": {"source": "parts", "on": {"plan": "plan"}, "amount": "amount", "due": "amount", "where": "ok"},
                "aggregates": [
                    {"name": "unpaid", "op": "sum", "of": "amount - paid_amount", "where": "closed is null", "until": "paid_at"},
                    {"name": "whys", "op": "last", "of": "why"},
                ],
                "daily": [{"name": "owed", "value": "sum(amount - paid_amount)", "op": "max", "windows": ["30d"]}],
            },
            {
                "source": "snapshots",
                "entity": {"person": "via accounts"},
                "daily": [{"name": "held", "value": "sum(balance)", "newest_per": "account", "op": "mean", "windows": ["30d"]}],
            },
        ],
    }
)
ACCOUNTS = FeatureGroup.model_validate(
    {
        "name": "accounts",
        "record_identifier": "account",
        "spine": "accounts",
        "inputs": [
            {
                "source": "parts",
                "entity": {"account": "via accounts on person"},
                "aggregates": [{"name": "paid", "op": "sum", "of": "amount", "windows": ["30d"]}],
            }
        ],
    }
)


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_groups(Catalogue(DELIVERED, {"people": PEOPLE, "accounts": ACCOUNTS}, unions=UNIONS), DAYS[0][1])


@pytest.fixture(scope="module")
def deliveries() -> dict[str, tuple[pa.Table, pa.Table]]:
    """Of each source what came first, and what came with the next run: amendments, and rows of their own."""
    chance = random.Random(5)
    rows: dict[str, list] = {}
    for group in (PEOPLE, ACCOUNTS):
        drawn, _ = batch(SOURCES, group, as_of=DAYS[0][0], zone=DAYS[0][1], cases=8, seed=f"{group.name}")
        rows |= drawn
    parts = {}
    for name, some in rows.items():
        later = [chance.random() < 0.25 for _ in some]
        first = [row for row, is_late in zip(some, later, strict=True) if not is_late]
        second = [row for row, is_late in zip(some, later, strict=True) if is_late]
        parts[name] = (curated_table(DELIVERED[name], first, run="r1"), curated_table(DELIVERED[name], second, run="r2"))
    return parts


def deliver(lake: Lake, deliveries: dict[str, tuple[pa.Table, pa.Table]], number: int) -> None:
    for name, parts in deliveries.items():
        write_deltalake(lake.curated(name).uri, parts[number], mode="append")


def test_both_engines_write_the_same_files_and_layers(spark, tmp_path, compiled, deliveries):
    lake = Lake(tmp_path / "lake")
    deliver(lake, deliveries, 0)
    engines = [ByDuckDB(compiled, lake), BySpark(compiled, lake, lambda: spark)]
    spark.conf.set("spark.sql.codegen.wholeStage", "false")  # compiling the largest plans takes longer than running them
    streams = [stream for stream in compiled.streams.values() if stream.parent]
    tables = {(e.name, s.name): table_of(tmp_path / e.name, s, compiled) for e in engines for s in streams}
    for engine in engines:
        for stream in streams:
            with engine.everything(stream, BITS) as facts:
                tables[engine.name, stream.name].add(facts, number=0, base=True, bucket_bits=BITS, curated={})
    deliver(lake, deliveries, 1)
    engines = [ByDuckDB(compiled, lake), BySpark(compiled, lake, lambda: spark)]
    for engine in engines:
        for stream in streams:
            with engine.changes(stream, {source: ["r2"] for source in stream.sources}, BITS) as (facts, replaced):
                tables[engine.name, stream.name].add(facts, number=1, base=False, bucket_bits=BITS, curated={}, replaced=replaced)
    for stream in streams:
        ours, theirs = (tables[engine.name, stream.name] for engine in engines)
        for mine, other in zip(ours.layers(), theirs.layers(), strict=True):
            assert rows_of(ours, mine) == rows_of(theirs, other) != {}
        reader = BucketReader.of(ours, ours.layers())
        layered = [row for bucket in range(1 << BITS) for row in in_words(of_bucket(reader, bucket))]
        assert layered == everything(engines[0], stream, reader)
    spark.conf.unset("spark.sql.codegen.wholeStage")


def test_where_each_row_stands_alone_only_new_rows_are_read(tmp_path, compiled, deliveries, monkeypatch):
    monkeypatch.setattr("stores.fact_files._MANY", 1)
    """A layer of them on the base is the same as everything made at once."""
    alone = [stream for stream in compiled.streams.values() if each_row_stands_alone(stream, compiled.sources)]
    lake = Lake(tmp_path / "lake")
    deliver(lake, deliveries, 0)
    tables = {stream.name: table_of(tmp_path / "facts", stream, compiled) for stream in alone}
    for stream in alone:
        with ByDuckDB(compiled, lake).everything(stream, BITS) as facts:
            tables[stream.name].add(facts, number=0, base=True, bucket_bits=BITS, curated={})
    deliver(lake, deliveries, 1)
    assert alone
    for stream in alone:
        with ByDuckDB(compiled, lake).of_new_rows(stream, {source: ["r2"] for source in stream.sources}, BITS) as facts:
            tables[stream.name].add(facts, number=1, base=False, bucket_bits=BITS, curated={})
        assert tables[stream.name].layers()[-1].replaced is None
        reader = BucketReader.of(tables[stream.name], tables[stream.name].layers())
        layered = [row for bucket in range(1 << BITS) for row in in_words(of_bucket(reader, bucket))]
        assert layered == everything(ByDuckDB(compiled, lake), stream, reader)


@pytest.mark.parametrize("streams", ["with parents and payments", "others"])
def test_what_is_prepared_in_slices_is_what_is_prepared_at_once(tmp_path, compiled, deliveries, monkeypatch, streams):
    """Of every stream the same rows in the same order, and the same files however few rows wait to be written together.

    Rows that stand alone aren't sliced.
    """
    lake = Lake(tmp_path / "lake")
    deliver(lake, deliveries, 0)
    deliver(lake, deliveries, 1)
    slices: list[int] = []
    cut = prepare_duckdb._slice
    monkeypatch.setattr(prepare_duckdb, "_slice", lambda *given: (slices.append(given[-1]), cut(*given))[1])
    monkeypatch.setattr("jobs.fact_engines.prepare_in_slices", partial(prepare_duckdb.prepare_in_slices, rows_a_slice=20))
    monkeypatch.setattr("stores.facts._ROWS_WAITING", 10)
    monkeypatch.setattr("stores.fact_files._MANY", 1)
    some = [stream for stream in compiled.streams.values() if bool(stream.parent) == (streams != "others")]
    for stream in some:
        slices.clear()
        table = table_of(tmp_path / "facts", stream, compiled)
        with ByDuckDB(compiled, lake).everything(stream, BITS) as facts:
            table.add(facts, number=0, base=True, bucket_bits=BITS, curated={})
        reader = BucketReader.of(table, table.layers())
        found = [row for bucket in range(1 << BITS) for row in in_words(of_bucket(reader, bucket))]
        rows = {name: lake.curated(name).batches(curated_arrow_schema(DELIVERED[name])).read_all() for name in stream.sources}
        at_once = prepare_duckdb.in_buckets(prepare_duckdb.prepare(stream, rows, compiled.sources), BITS)
        read = [name for name in at_once.column_names if name not in ("known", "key") and not name.startswith("key_")]
        assert found == in_words(at_once.select(read))
        assert (min(slices, default=0) > 1) is not each_row_stands_alone(stream, compiled.sources)
    assert some


def everything(engine: ByDuckDB, stream: Stream, reader: BucketReader) -> list[str]:
    """All facts made at once, in order: of the columns that are read."""
    with engine.everything(stream, BITS) as facts:
        rows = pa.concat_tables(facts)
    names = sorted_by([name for name in rows.column_names if name.startswith("key_")])
    return in_words(rows.sort_by([(name, "ascending") for name in ("bucket", *names)]).select(columns_of(reader)))


def columns_of(reader: BucketReader) -> list[str]:
    return ["clock", "entity", *MOMENTS, *HOLDS, *sorted({name for types in reader.value_types.values() for name in types})]


def of_bucket(reader: BucketReader, bucket: int) -> pa.Table:
    """All facts of a bucket that stand, those of one clock after another; null is what a clock doesn't have."""
    tables = []
    for clock, table in sorted(reader.read(bucket).items()):
        for name in ({"clock"} | set(columns_of(reader))) - set(table.column_names):
            table = table.append_column(name, pa.array([clock] * len(table)) if name == "clock" else pa.nulls(len(table)))
        tables.append(table.select(columns_of(reader)))
    return (
        pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({name: [] for name in columns_of(reader)})
    )


def table_of(folder: Path, stream: Stream, compiled: Compiled) -> FactTable:
    return FactTable(LocalStorage(folder), stream, key_columns(stream, compiled.sources))


def rows_of(table: FactTable, layer: Layer) -> dict[str, list]:
    """The rows of each bucket's file, in order, and the keys whose earlier facts no longer stand."""
    found = {bucket: in_words(pq.read_table(table.storage.uri(path))) for bucket, [path] in layer.files.items()}
    replaced = pq.read_table(table.storage.uri(layer.replaced))["key"].to_pylist() if layer.replaced else []
    return {**found, "replaced": sorted(replaced)}


def in_words(rows: pa.Table) -> list[str]:
    """Each row, its columns by name."""
    names = sorted(set(rows.column_names) - {"bucket"})
    return [str(row) for row in rows.select(names).to_pylist()]


class Fake:
    """An engine that finds no facts, and remembers that it was asked."""

    def __init__(self, name: str) -> None:
        self.name, self.asked = name, 0

    @contextmanager
    def everything(self, stream: Stream, bits: int) -> Iterator[Iterator[pa.Table]]:
        self.asked += 1
        yield iter(())


@pytest.mark.parametrize(
    ("workers", "rows"), [(LocalWorkers(2, lambda: None), math.inf), (SparkWorkers(None), SMALL_ROWS)], ids=["one", "many"]
)
def test_on_one_machine_duckdb_prepares_any_number_of_rows(workers, rows):
    assert rows_in_process(workers) == rows


@pytest.mark.parametrize(("most", "chosen"), [(30, "DuckDB"), (29, "Spark")])
def test_duckdb_prepares_what_is_made_of_few_rows(tmp_path, compiled, monkeypatch, caplog, most, chosen):
    """Those of all its sources and commits together count, whatever is new of them."""
    commits = [CurateCommit(number, f"r{number}", (), {"kept": 5}, None, ()) for number in range(2)]
    monkeypatch.setattr(CuratedTable, "commits", lambda table: commits)
    stream = next(stream for stream in compiled.streams.values() if len(stream.sources) == 3)
    duckdb, spark = Fake("DuckDB"), Fake("Spark")
    with caplog.at_level(logging.DEBUG, "jobs.prepare_facts"):
        Preparer(compiled, Lake(tmp_path), duckdb, spark, most).prepare(stream, table_of(tmp_path, stream, compiled), BITS)
    assert {engine.name: engine.asked for engine in (duckdb, spark)} == {"DuckDB": 0, "Spark": 0} | {chosen: 1}
    assert caplog.messages == [f"{stream.name}: prepared by {chosen}, of 30 curated rows (DuckDB takes up to {most})"]


@pytest.mark.parametrize("many", [1, 1_000])
@pytest.mark.parametrize("replaced", [[[], [1]], [[1], []], [[], []], [[1], [2, 3]], [None, [1]], [[1], None]])
def test_layers_that_replace_some_facts_or_none(tmp_path, compiled, replaced, many, monkeypatch):
    """Of what each later layer replaces nothing stands; of all else everything does."""
    monkeypatch.setattr("stores.fact_files._MANY", many)
    stream = next(stream for stream in compiled.streams.values() if each_row_stands_alone(stream, compiled.sources))
    table = table_of(tmp_path, stream, compiled)
    for number, keys in enumerate([None, *replaced]):
        gone = None if keys is None else pa.table({"key": pa.array(keys, pa.int64())})
        facts = iter([one_bucket(table, [3 * number + key for key in (1, 2, 3)])])
        table.add(facts, number=number, base=not number, bucket_bits=0, curated={}, replaced=gone)
    found = of_bucket(BucketReader.of(table, table.layers()), 0)
    standing = {1, 2, 3, 4, 5, 6, 7, 8, 9} - {key for keys in replaced for key in keys or ()}
    assert sorted(found["at"].to_pylist()) == sorted(standing)


def one_bucket(table: FactTable, keys: list[int]) -> pa.Table:
    """A fact of each key, at a moment that is its key."""
    kinds = {"string": pa.string(), "number": pa.float64(), "boolean": pa.bool_()}
    clock = next(iter(value_types(table.stream)))
    count = len(keys)
    columns = {
        "bucket": pa.array([0] * count, pa.int32()),
        "clock": pa.array([clock] * count),
        "entity": pa.array(["x"] * count),
        **{name: pa.array(keys, pa.int64()) for name in ("at", "known", "valid_from", "key")},
        "valid_until": pa.array([int(FOREVER)] * count),
        **{name: pa.nulls(count, pa.int64()) for name in ("holds_from", "holds_until")},
        **{name: pa.array(keys, pa.int64()) for name in table.key_columns},
        **{
            name: pa.nulls(count, kinds.get(type_, pa.int64()))
            for types in value_types(table.stream).values()
            for name, type_ in types.items()
        },
    }
    return pa.table(columns)


def commits_of(newest: datetime, *months: str) -> list[CurateCommit]:
    return [CurateCommit(0, "r0", (), {"kept": 1}, None, months, newest_moment=microseconds(newest))]


WINDOWED = FeatureGroup.model_validate(
    {
        "name": "windowed",
        "record_identifier": "person",
        "spine": "parts",
        "inputs": [{"source": "parts", "aggregates": [{"name": "paid", "op": "sum", "of": "amount", "windows": ["30d"]}]}],
    }
)


@pytest.mark.parametrize(
    ("newest", "months", "since"),
    [
        ("2025-06-30T12:00:00", ("2020-01", "2025-06"), "2025-04-26T16:00:00"),  # 30 days and 35
        ("2025-06-30T12:00:00", ("2024-12", "2025-06"), None),  # hardly any older ones
        ("2025-06-30T12:00:00", (), None),
        ("9999-12-31T23:59:59.999999", ("2020-01",), "now"),  # known when nobody lives to see it
    ],
)
def test_facts_are_recent_as_far_as_windows_reach(tmp_path, newest, months, since):
    compiled = compile_groups(Catalogue(DELIVERED, {"windowed": WINDOWED}), "Asia/Kuala_Lumpur")
    (stream,) = compiled.streams.values()
    commits = commits_of(datetime.fromisoformat(newest).replace(tzinfo=UTC), *months)
    found = Preparer(compiled, Lake(tmp_path), Fake("a"), Fake("b"), 1)._recent_from(stream, {"parts": commits})
    (clock,) = value_types(stream)
    if since == "now":
        assert timedelta(days=64) < datetime.now(UTC) - moment(found[clock]) < timedelta(days=67)
    else:
        assert found == ({clock: microseconds(datetime.fromisoformat(since).replace(tzinfo=UTC))} if since else {})


def test_where_an_aggregate_looks_at_all_facts_none_are_recent(tmp_path):
    aggregates = [{"name": "ever", "op": "count"}]
    told = {"name": "lifelong", "record_identifier": "person", "spine": "parts"}
    lifelong = FeatureGroup.model_validate(told | {"inputs": [{"source": "parts", "aggregates": aggregates}]})
    compiled = compile_groups(Catalogue(DELIVERED, {"windowed": WINDOWED, "lifelong": lifelong}), "UTC")
    (stream,) = compiled.streams.values()
    commits = commits_of(datetime(2025, 6, 30, tzinfo=UTC), "2010-01")
    assert Preparer(compiled, Lake(tmp_path), Fake("a"), Fake("b"), 1)._recent_from(stream, {"parts": commits}) == {}
