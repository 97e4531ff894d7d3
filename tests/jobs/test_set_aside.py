"""The ledger of the rows that curate set aside: what is in it, when each counts, and that each is there once whatever happens."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from conf.catalogue import load_catalogue
from conf.errors import PublishError
from conf.settings import load_settings
from conf.specs import SET_ASIDE_COLUMNS, Source
from jobs import curate, set_aside
from jobs.progress import Progress
from jobs.workers import LocalWorkers
from stores.lake import CuratedTable, Lake
from synthetic.parameters import Parameters
from synthetic.sample import make_sample
from tests.jobs.fees import GOOD, HEADER, fees
from tests.synthetic.recount import outcomes
from transforms.curated import curated_arrow_schema
from transforms.feature_group import compile_groups
from transforms.small import answer_rows

BAD = "a2,x,2025-02-01T00:00:00Z,2025-02-02T00:00:00Z\n"
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
TAKEN = "2025-03-01 12:00:00"
LEDGER = Source(
    name="aside", format="set_aside", key=["row_id"], event_time="event_time", known_time="known_time",
    columns={**SET_ASIDE_COLUMNS, "account_id": "string", "plan_id": "string"},
)  # fmt: skip


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
    """Run curate on the sources and the ledger, in Spark when the test's `engine` says so; the runs are named r1, r2, …"""
    runs = iter(range(1, 99))
    in_spark = "engine" in request.fixturenames and request.getfixturevalue("engine") == "in Spark"

    def run(*sources, **changes):
        return curate.run(
            **{
                "sources": {source.name: source for source in (*sources, LEDGER)},
                "raw": str(raw),
                "lake": lake,
                "workers": LocalWorkers(2, lambda: request.getfixturevalue("spark")),
                "settings": load_settings("local"),
                "run_id": f"r{next(runs)}",
                "progress": Progress(),
                "in_process_bytes": -1 if in_spark else 2**40,
                "now": NOW,
                **changes,
            }
        )

    return run


def aside(lake, *columns, ledger="aside"):
    """Rows of the ledger as text, in order of their files and lines."""
    found = lake.curated(ledger).dataset().to_table().sort_by([("_file", "ascending"), ("_line", "ascending")])
    return [tuple(_plain(row[name]) for name in columns) for row in found.to_pylist()]


def _plain(value):
    return value if value is None or isinstance(value, int) else str(value).removesuffix("+00:00")


def files(lake):
    return {file.path: file.tag for file in lake.storage.list("curated")}


# ---- what is set aside


def test_every_row_that_is_not_kept_is_there_with_its_kind_its_clocks_and_whose_it_is(engine, raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(
        HEADER
        + GOOD
        + GOOD  # the same again
        + GOOD.replace("1.50", "1.60")  # other content
        + BAD
        + "a3,x\n"  # too short to be read at all: known when it was taken in, and happened then as far as anybody knows
        + "a4,2.00,yesterday,2025-02-02T00:00:00Z\n"  # happened when it was known
        + "a5,2.00,2025-02-01T00:00:00Z,soon\n"  # known when it was taken in
        + ",2.00,2025-02-01T00:00:00Z,2025-02-02T00:00:00Z\n"  # nobody's
        + "a6,2.00,0001-01-01T00:00:00Z,2025-02-02T00:00:00Z\n"  # a time that can't be
    )

    summary = take_in(fees())

    assert aside(lake, "_line", "kind", "rule", "account_id", "_event_time", "_known_time") == [
        (3, "duplicate", None, "a1", "2025-01-01 00:00:00", "2025-01-02 00:00:00"),
        (4, "conflict", "conflict", "a1", "2025-01-01 00:00:00", "2025-01-02 00:00:00"),
        (5, "invalid", "amount.type", "a2", "2025-02-01 00:00:00", "2025-02-02 00:00:00"),
        (6, "invalid", "unreadable", None, TAKEN, TAKEN),
        (7, "invalid", "at.type", "a4", "2025-02-02 00:00:00", "2025-02-02 00:00:00"),
        (8, "invalid", "recorded_at.type", "a5", "2025-02-01 00:00:00", TAKEN),
        (9, "invalid", "account_id.required", None, "2025-02-01 00:00:00", "2025-02-02 00:00:00"),
        (10, "invalid", "event_time", "a6", "2025-02-02 00:00:00", "2025-02-02 00:00:00"),
    ]
    assert set(aside(lake, "source", "_file", "_run", "plan_id")) == {("fees", "fees/1.csv", "r1", None)}
    assert aside(lake, "event_time", "known_time") == aside(lake, "_event_time", "_known_time")
    assert len(set(aside(lake, "row_id"))) == 8
    found = summary.sources["fees"]
    assert (found.read, found.kept, found.duplicates, found.quarantined) == (9, 1, 1, 7)
    assert list(summary.sources) == ["fees"]  # a row is counted once, by its own source
    (commit,) = lake.curated("aside").commits()
    assert (commit.run_id, commit.partitions, commit.counts) == ("r1", ("2025-01", "2025-02", "2025-03"), {"kept": 8})
    assert commit.earliest_effect == 1735776000_000000  # known on 2 January


def test_of_a_source_judged_on_its_event_time_alone_rows_are_known_when_they_happened(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + GOOD + "a2,1.00,never,2025-02-02T00:00:00Z\n")
    take_in(fees(known_time=None))
    assert aside(lake, "_line", "_event_time", "_known_time") == [
        (3, "2025-01-01 00:00:00", "2025-01-01 00:00:00"),
        (4, TAKEN, TAKEN),
    ]


def test_a_row_is_told_from_its_likes_when_one_line_makes_several(raw, lake, take_in):
    """Spark reshapes, however few the rows are."""
    (raw / "fees" / "1.csv").write_text("ID,A,B\n1,x,y\n")
    sql = (
        "select ID as account_id, m.amount, '2025-01-01T00:00:00Z' as at from (select ID, stack(2, A, B) as (amount) from raw) m"
    )
    columns = {"account_id": "string", "amount": "money", "at": "timestamp"}
    take_in(fees(reshape=sql, columns=columns, known_time=None))
    assert aside(lake, "_line", "kind", "account_id") == [(2, "invalid", "1")] * 2
    assert len(set(aside(lake, "row_id"))) == 2


def test_personal_data_goes_no_further(engine, raw, lake, take_in, monkeypatch):
    """What a source hashes is there as its hash, what it drops isn't there."""
    monkeypatch.setenv("ETR_HMAC_KEY", "k")
    columns = {**fees().columns, "account_id": {"type": "string", "personal": "hmac"}}
    columns["plan_id"] = {"type": "string", "personal": "drop"}
    header = HEADER.replace("\n", ",plan_id\n")
    line = GOOD.replace("\n", ",p1\n")
    (raw / "fees" / "1.csv").write_text(header + line + line)
    take_in(fees(columns=columns))
    ((hashed, plan),) = aside(lake, "account_id", "plan_id")
    assert (len(hashed), plan) == (64, None)
    assert hashed == lake.curated("fees").dataset().to_table()["account_id"][0].as_py()


def test_without_a_ledger_in_the_definitions_there_is_none(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + BAD)
    take_in(fees(), sources={"fees": fees()})
    assert {path.split("/")[1] for path in files(lake)} == {"fees", "fees.commits.json"}
    assert lake.curated("fees").commits()[0].set_aside is None


# ---- once


def test_a_second_run_changes_nothing(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + BAD)
    take_in(fees())
    before = files(lake)
    sources = {"fees": fees(), "aside": LEDGER}
    assert curate.pending_files(sources, str(raw), lake) == {}
    take_in(fees())
    assert files(lake) == before


def test_without_such_rows_there_is_an_empty_ledger_of_one_commit(raw, lake, take_in):
    for number in range(3):
        (raw / "fees" / f"{number}.csv").write_text(HEADER + GOOD.replace("a1", f"b{number}"))
        take_in(fees())
    assert aside(lake, "row_id") == []
    assert lake.curated("aside").version() == 0
    assert lake.curated("aside").commits()[0].earliest_effect is None


def test_rows_of_several_sources_and_runs_lie_side_by_side(raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + BAD)
    other = fees(name="charges", location="charges.csv")
    (raw / "charges.csv").write_text(HEADER + BAD)
    take_in(fees(), other)
    (raw / "fees" / "2.csv").write_text(HEADER + GOOD)
    take_in(fees(), other)
    assert aside(lake, "source", "_file", "kind", "_run") == [
        ("charges", "charges.csv", "invalid", "r1"),
        ("fees", "fees/1.csv", "invalid", "r1"),
        ("fees", "fees/2.csv", "duplicate", "r2"),
    ]
    assert [commit.run_id for commit in lake.curated("aside").commits()] == ["r1", "r2"]


def test_rows_of_a_file_that_grew_are_not_set_aside_again(engine, raw, lake, take_in):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD)
    (raw / "fees" / "2.csv").write_text(HEADER + GOOD + BAD + GOOD.replace("1.50", "9") + GOOD.replace("a1", "a9") + "a3,x\n")
    take_in(fees())
    before = aside(lake, "row_id")
    assert aside(lake, "_line", "kind") == [(2, "duplicate"), (3, "invalid"), (4, "conflict"), (6, "invalid")]
    with (raw / "fees" / "2.csv").open("a") as file:
        file.write(GOOD + BAD)

    summary = take_in(fees())

    found = summary.sources["fees"]
    assert (found.read, found.kept, found.duplicates, found.quarantined) == (7, 0, 3, 4)  # as they were read
    assert aside(lake, "_line", "kind")[4:] == [(7, "duplicate"), (8, "invalid")]
    assert aside(lake, "row_id")[:4] == before


def test_a_run_killed_between_a_source_and_the_ledger_is_finished_by_the_next(raw, lake, take_in, monkeypatch):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + BAD)

    def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        bring = set_aside.bring_up_to_date
        calls = iter([bring])  # the first call looks for what an earlier run left, the second adds this run's rows
        patch.setattr(curate, "bring_up_to_date", lambda *args: next(calls, killed)(*args))
        with pytest.raises(KeyboardInterrupt):
            take_in(fees())
    assert lake.curated("fees").version() == 0
    sources = {"fees": fees(), "aside": LEDGER}
    assert [file.path for file in curate.pending_files(sources, str(raw), lake)["aside"]] == ["curated/fees@0"]
    (raw / "fees" / "2.csv").write_text(HEADER + GOOD)

    take_in(fees())

    assert aside(lake, "_file", "kind", "_run") == [("fees/1.csv", "invalid", "r1"), ("fees/2.csv", "duplicate", "r2")]
    # Facts find new rows by the runs of new commits.
    assert [commit.run_id for commit in lake.curated("aside").commits() if commit.counts["kept"]] == ["r1", "r2"]
    assert curate.pending_files(sources, str(raw), lake) == {}


def test_a_run_killed_before_a_source_commits_sets_nothing_aside(raw, lake, take_in, monkeypatch):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + BAD)
    append = CuratedTable.append

    def killed(self, *args, **options):
        if self.source == "fees":
            raise KeyboardInterrupt
        return append(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(CuratedTable, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            take_in(fees())
    assert lake.curated("aside").version() is None
    take_in(fees())
    assert aside(lake, "_line", "kind", "_run") == [(3, "invalid", "r2")]


def test_rows_that_do_not_add_up_fail_the_run(raw, lake, take_in, monkeypatch):
    (raw / "fees" / "1.csv").write_text(HEADER + GOOD + BAD)
    made = set_aside.SetAside.__call__
    monkeypatch.setattr(set_aside.SetAside, "__call__", lambda self, rows: (batch[:0] for batch in made(self, rows)))
    with pytest.raises(PublishError) as problem:
        take_in(fees())
    assert str(problem.value) == "fees: 1 rows to set aside were counted and 0 written; nothing was committed"
    assert lake.curated("fees").version() is None


# ---- the sample, and the command


def test_both_engines_set_aside_the_same_rows(raw, lake, tmp_path, take_in):
    """Of each format, in two deliveries."""
    make_sample(Parameters(customers=300, until=date(2025, 6, 30)), raw)
    catalogue = load_catalogue(None)
    sources = [catalogue.source(name) for name in ("accounts", "applications", "balances", "set_aside")]
    other = Lake(tmp_path / "other")
    for only_from in (None, date(2025, 7, 1)):
        if only_from is not None:
            make_sample(Parameters(customers=300, until=date(2025, 9, 30), only_from=only_from), raw)
        found = {source.name: source for source in sources}
        take_in(sources=found)
        take_in(sources=found, lake=other, in_process_bytes=-1)
    columns = [name for name in lake.curated("set_aside").dataset().schema.names if name != "_run"]
    here, there = (aside(some, *columns, ledger="set_aside") for some in (lake, other))
    assert here == there
    assert {row[columns.index("kind")] for row in here} == {"duplicate", "conflict", "invalid"}
    assert {row[columns.index("source")] for row in here} == {"accounts", "applications", "balances"}


def test_quality_features_count_what_a_slow_recount_of_the_sample_counts(raw, lake, take_in):
    """Each customer's shares, at the end of every month of a year."""
    make_sample(Parameters(customers=1000, years=1), raw)
    catalogue = load_catalogue(None)
    compiled = compile_groups(catalogue, "Asia/Kuala_Lumpur")
    take_in(sources=catalogue.sources, now=datetime(2026, 1, 1, tzinfo=UTC))
    days = [(date(2024, 11, 1) + timedelta(days=30 * number)) for number in range(11)]

    tables = {
        name: lake.curated(name).batches(curated_arrow_schema(source)).read_all() for name, source in catalogue.sources.items()
    }
    rows = answer_rows(compiled, ["customer_quality"], tables, days)["customer_quality"].to_pylist()

    delivered = [
        (source, list(outcomes(raw, source)))
        for source in map(catalogue.source, ("bnpl_plans", "instalments", "payments", "transactions"))
    ]
    dirty = Counter[str]()
    for day in days:
        shares = {window: _shares(delivered, day, window, dirty) for window in (7, 30)}
        made = [row for row in rows if row["as_of"] == day]
        assert len(made) > 800
        for row in made:
            for window, of_customer in shares.items():
                found = (row[f"dq_duplicate_ratio_{window}d"], row[f"dq_validity_score_{window}d"])
                assert found == of_customer.get(row["customer_id"], (0, None)), (day, window, row["customer_id"])
    assert all(dirty[kind] > 10 for kind in ("duplicate", "conflict", "invalid")), dirty


def _shares(delivered, day, window, dirty):
    """By customer: the share of rows that are repeated, and of those that are valid, in the days to the end of `day`."""
    cut_off = datetime(day.year, day.month, day.day, 16, tzinfo=UTC)
    counts = {}
    for source, outcome in delivered:
        plans = set()
        for kind, row in outcome:
            event, known = row.get(source.event_time.column), row.get("recorded_at")
            if known is None or known > cut_off or row["customer_id"] is None:
                continue  # a row that doesn't say when it was known was known when it was taken in
            if not cut_off - timedelta(days=window) <= (event or known) < cut_off:
                continue
            if kind == "kept" and source.version:  # the versions of a plan are one
                if row["plan_id"] in plans:
                    continue
                plans.add(row["plan_id"])
            counts.setdefault(row["customer_id"], Counter())[kind] += 1
            dirty[kind] += 1
    return {
        customer: ((some["duplicate"] + some["conflict"]) / some.total(), (some.total() - some["invalid"]) / some.total())
        for customer, some in counts.items()
    }


def test_the_command_brings_the_ledger_up_to_date_whatever_sources_it_is_asked_for(raw, lake):
    make_sample(Parameters(customers=100), raw)
    assert curate.main(["--raw", str(raw), "--lake", lake.uri(), "--sources", "fees"]) == 0
    assert set(aside(lake, "source", ledger="set_aside")) == {("fees",)}
