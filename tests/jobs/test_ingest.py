"""Snapshots written by hand, published offline and online; what a crash, a restatement or a wiped store makes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.errors import InputError, PublishError
from conf.settings import Settings, load_settings
from conf.specs import ColumnType
from conf.windows import Window
from jobs import ingest
from jobs.feature_store import feature_store
from jobs.ingest import IngestSummary
from jobs.progress import Progress
from jobs.unpublished import pending
from jobs.validate import Verdict
from jobs.workers import LocalWorkers, Workers
from stores.lake import QUARANTINE_SCHEMA, Lake
from stores.published import Published
from stores.snapshots import DayWriter, Snapshot, SnapshotTable, sort_by_day
from transforms.answer import snapshot_schema
from transforms.feature_group import Column, Compiled, CompiledGroup, WindowColumn
from transforms.operations import build_operation

ZONE = "Asia/Kuala_Lumpur"
MONDAY, TUESDAY = date(2025, 9, 29), date(2025, 9, 30)
CUT_OFF = {MONDAY: "2025-09-29T16:00:00Z", TUESDAY: "2025-09-30T16:00:00Z"}
NOW = datetime(2025, 10, 2, 3, 4, 5, tzinfo=UTC)


def column(name: str, kind: ColumnType, *, online: bool = True) -> WindowColumn:
    told = Column(name, name, kind, name, "none", online, False, "allowed")
    return WindowColumn(told, "s", "c", "v", Window("lifetime"), 0, False, build_operation("last", {}))


def group(name: str, *columns: WindowColumn) -> CompiledGroup:
    return CompiledGroup(name, "customer_id", ("s", "c", "v"), (), columns, (), "definition-1")


BNPL = group(
    "customer_bnpl",
    column("plan_count_7d", "integer"),
    column("amount_sum_30d", "money"),
    column("share", "number"),
    column("any_late", "boolean"),
    column("provider", "string"),
    column("first_day", "date"),
    column("last_at", "timestamp"),
    column("age", "integer", online=False),
)
QUIET = group("customer_profile", column("sex", "string", online=False))
COMPILED = Compiled(ZONE, {g.name: g for g in (BNPL, QUIET)}, {}, {})

ANN: Mapping[str, Any] = {
    "customer_id": "ann",
    "has_history": True,
    "plan_count_7d": 3,
    "amount_sum_30d": Decimal("120.10"),
    "share": 0.25,
    "any_late": False,
    "provider": "atome",
    "first_day": date(2025, 1, 2),
    "last_at": datetime(2025, 9, 1, 12, 0, 0, 500_000, tzinfo=UTC),
    "age": 41,
}
BOB: Mapping[str, Any] = {"customer_id": "bob", "has_history": False, "plan_count_7d": 0, "amount_sum_30d": Decimal("0.00")}
CID: Mapping[str, Any] = {"customer_id": "cid", "has_history": True, "plan_count_7d": 1, "age": 30}


def no_spark() -> Any:
    raise AssertionError("Spark was started")


@dataclass(frozen=True)
class Bench:
    """A lake, and what a run over it would be given."""

    lake: Lake
    settings: Settings
    workers: Workers

    def run(self, *days: date, run_id: str = "r1", groups: Sequence[str] = ("customer_bnpl",), **changed: Any) -> IngestSummary:
        arguments: dict[str, Any] = {
            "compiled": COMPILED,
            "settings": self.settings,
            "workers": self.workers,
            "now": NOW,
        } | changed
        return ingest.run(days=dict.fromkeys(groups, days), lake=self.lake, run_id=run_id, progress=Progress(), **arguments)

    def pending(self, *days: date) -> list[str]:
        return [str(item) for item in pending(COMPILED, {"customer_bnpl": days}, self.lake, self.settings)]

    def offline(self, name: str = "customer_bnpl") -> list[Path]:
        """Every offline file of a group, of all its tables."""
        root = Path(self.lake.uri("offline_store"))
        return sorted(root.glob(f"000000000000/sagemaker/ap-southeast-5/offline-store/{name}-*/data/*/*/*/*/*"))

    def everything(self) -> dict[str, bytes]:
        """Every file of the lake but the runs' manifests and the Feature Store's own."""
        return {
            file.path: self.lake.storage.read(file.path)
            for file in self.lake.storage.list()
            if not file.path.startswith(("runs/", "feature_store/"))
        }

    def online(self, *identifiers: str) -> list[dict[str, str] | None]:
        """Records as plain boto3 reads them."""
        with feature_store(self.settings) as address:
            options: Any = {"endpoint_url": address.endpoint_url, "region_name": "ap-southeast-5"}
            options |= {"aws_access_key_id": "x", "aws_secret_access_key": "x"}  # pragma: allowlist secret
            client = boto3.client("sagemaker-featurestore-runtime", **options)
            answers = [
                client.get_record(FeatureGroupName="customer_bnpl", RecordIdentifierValueAsString=name) for name in identifiers
            ]
        return [
            {v["FeatureName"]: v["ValueAsString"] for v in answer["Record"]} if "Record" in answer else None for answer in answers
        ]

    def control_plane(self, operation: str, **request: Any) -> Any:
        with feature_store(self.settings) as address:
            return getattr(address.control_plane(), operation)(**request)

    def snapshot(
        self,
        day: date,
        *files: Sequence[Mapping[str, Any]],
        version: str = "v1",
        of: CompiledGroup = BNPL,
        quarantined: Sequence[str | None] = (),
        held_back: bool = False,
    ) -> None:
        """Commit a day's version, a file for each sequence of rows, with its verdict."""
        schema, storage = snapshot_schema(of), self.lake.storage
        common = {"event_time": CUT_OFF[day], "time_zone": ZONE}
        written = []
        for rows in files:
            with DayWriter(storage, of.name, {day.isoformat(): version}, schema) as writer:
                writer.write(day.isoformat(), pa.Table.from_pylist([{**row, **common} for row in rows], schema=schema))
                written += list(writer.close())
        made = sort_by_day(written)[day.isoformat()]
        snapshot = Snapshot(of.name, day.isoformat(), version, of.version, {}, "r0", made)
        SnapshotTable(storage, of.name).commit([snapshot], schema)
        bad = [dict.fromkeys(QUARANTINE_SCHEMA.names) | {"source_or_group": of.name, "key": key} for key in quarantined]
        if bad:
            self.lake.write_quarantine("r0", f"{of.name}-{day}", [pa.RecordBatch.from_pylist(bad, schema=QUARANTINE_SCHEMA)])
        verdict = Verdict(
            name=of.name, as_of=snapshot.as_of, version=version, asked="a", status="held_back" if held_back else "passed",
            rows=snapshot.rows, quarantined=len(bad), quarantine_file=self.lake.quarantine_path("r0", f"{of.name}-{day}") if bad else None,
            result_file="r", run_id="r0", broken=(), non_null={},
        )  # fmt: skip
        storage.write(f"snapshots/_verdicts/{of.name}/{day}/{version}.json", json.dumps(asdict(verdict)).encode())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    lake = tmp_path / "lake"
    return Bench(Lake(lake), load_settings("local", {"lake": str(lake)}), LocalWorkers(2, no_spark))


def counts(summary: IngestSummary, *names: str) -> tuple[int, ...]:
    return tuple(summary.counts[name] for name in names or ("published", "written", "skipped", "dead_lettered"))


def test_a_day_is_published_and_a_second_run_changes_nothing(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [ANN], [BOB, CID])
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline and online"]

    first = bench.run(TUESDAY)
    before = bench.everything()
    second = bench.run(TUESDAY, run_id="r2", workers=None, now=NOW + timedelta(days=1))

    assert counts(first, "rows", "published", "quarantined", "held_back", "files") == (3, 3, 0, 0, 1)
    assert counts(first, "sent", "written", "skipped", "dead_lettered") == (3, 3, 0, 0)
    assert (first.changed, second.changed, set(second.counts.values())) == (True, False, {0})
    assert (bench.pending(TUESDAY), bench.everything()) == ([], before)
    first.raise_if_failed(bench.lake)


def test_offline_files_read_by_duckdb_and_pandas_are_the_snapshot(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [ANN], [BOB, CID])
    bench.run(TUESDAY)

    (path,) = bench.offline()
    table, *_, year, month, day, hour, _ = path.relative_to(bench.lake.uri("offline_store")).parts[4:]
    created = bench.control_plane("describe_feature_group", FeatureGroupName="customer_bnpl")["CreationTime"]
    assert table == f"customer_bnpl-{int(created.timestamp())}"
    assert (year, month, day, hour) == ("year=2025", "month=09", "day=30", "hour=16")
    query = f"describe select * exclude (year, month, day, hour) from read_parquet('{path}', hive_partitioning = true)"
    assert [row[:2] for row in duckdb.sql(query).fetchall()] == [
        ("customer_id", "VARCHAR"),
        ("event_time", "VARCHAR"),
        ("has_history", "BIGINT"),
        ("plan_count_7d", "BIGINT"),
        ("amount_sum_30d", "DOUBLE"),
        ("share", "DOUBLE"),
        ("any_late", "BIGINT"),
        ("provider", "VARCHAR"),
        ("first_day", "VARCHAR"),
        ("last_at", "VARCHAR"),
        ("age", "BIGINT"),
        ("as_of", "VARCHAR"),
        ("time_zone", "VARCHAR"),
        ("snapshot_version", "VARCHAR"),
        ("write_time", "TIMESTAMP WITH TIME ZONE"),
        ("api_invocation_time", "TIMESTAMP WITH TIME ZONE"),
        ("is_deleted", "BOOLEAN"),
    ]
    read = pd.read_parquet(path, partitioning=None).set_index("customer_id").sort_index()
    ann, bob = read.loc["ann"].to_dict(), read.loc["bob"].to_dict()
    told = {"event_time": CUT_OFF[TUESDAY], "as_of": "2025-09-30", "time_zone": ZONE, "snapshot_version": "v1"}
    told |= {"write_time": NOW, "api_invocation_time": NOW, "is_deleted": False}
    assert ann == told | {
        "has_history": 1, "plan_count_7d": 3, "amount_sum_30d": 120.10, "share": 0.25, "any_late": 0, "provider": "atome",
        "first_day": "2025-01-02", "last_at": "2025-09-01T12:00:00.500Z", "age": 41,
    }  # fmt: skip
    assert (list(read.index), bob["amount_sum_30d"], bob["has_history"], bob["provider"]) == (["ann", "bob", "cid"], 0.0, 0, None)


def test_plain_boto3_reads_the_online_features_of_the_snapshot(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [ANN, BOB])
    bench.run(TUESDAY)
    told = {"event_time": CUT_OFF[TUESDAY]}
    assert bench.online("ann", "bob", "nobody") == [
        told
        | {
            "customer_id": "ann", "has_history": "1", "plan_count_7d": "3", "amount_sum_30d": "120.10", "share": "0.25",
            "any_late": "0", "provider": "atome", "first_day": "2025-01-02", "last_at": "2025-09-01T12:00:00.500Z",
        },
        told | {"customer_id": "bob", "has_history": "0", "plan_count_7d": "0", "amount_sum_30d": "0.00"},
        None,
    ]  # fmt: skip


def test_only_what_changed_is_sent_and_no_older_day(bench: Bench) -> None:
    bench.snapshot(MONDAY, [ANN, BOB])
    bench.snapshot(TUESDAY, [{**ANN, "plan_count_7d": 4}], [BOB, CID])

    tuesday = bench.run(TUESDAY, run_id="r1")
    monday = bench.run(MONDAY, run_id="r2")

    assert (counts(tuesday), counts(monday)) == ((3, 3, 0, 0), (2, 0, 0, 0))
    assert monday.groups["customer_bnpl"].online is None
    assert [record and record["plan_count_7d"] for record in bench.online("ann")] == ["4"]
    # A correction of the newest day: one value is another, one only offline, one row is new.
    bench.snapshot(TUESDAY, [ANN], [{**CID, "age": 31}, BOB, {**BOB, "customer_id": "dee"}], version="v2")
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline and online"]
    assert counts(bench.run(MONDAY, TUESDAY, run_id="r3")) == (4, 2, 2, 0)
    assert [record and record["plan_count_7d"] for record in bench.online("ann", "dee")] == ["3", "0"]
    assert bench.pending(MONDAY, TUESDAY) == []


def test_of_several_days_at_once_the_newest_is_sent(bench: Bench) -> None:
    bench.snapshot(MONDAY, [ANN, BOB])
    bench.snapshot(TUESDAY, [{**ANN, "plan_count_7d": 9}])
    assert bench.pending(MONDAY, TUESDAY) == [
        "customer_bnpl as of 2025-09-29 offline",
        "customer_bnpl as of 2025-09-30 offline and online",
    ]
    summary = bench.run(MONDAY, TUESDAY)
    assert (counts(summary), len(bench.offline())) == ((3, 1, 0, 0), 2)
    assert bench.online("bob") == [None]


def test_a_restated_version_lies_beside_the_old_one_with_a_later_write_time(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [ANN])
    bench.run(TUESDAY)
    bench.snapshot(TUESDAY, [{**ANN, "plan_count_7d": 5}], version="v2")
    bench.run(TUESDAY, run_id="r2", now=NOW - timedelta(hours=1))  # a clock that goes wrong

    query = f"""select snapshot_version, plan_count_7d from read_parquet({[str(path) for path in bench.offline()]})
        qualify row_number() over (partition by customer_id order by event_time desc, write_time desc) = 1"""
    assert duckdb.sql(query).fetchall() == [("v2", 5)]
    versions = Published(bench.lake.storage, "customer_bnpl").versions(TUESDAY)
    assert [(v.version, v.rows, v.run_id, len(v.files)) for v in versions] == [("v1", 1, "r1", 1), ("v2", 1, "r2", 1)]


def test_a_definition_that_went_back_is_served_again_and_what_was_served_stays(bench: Bench) -> None:
    """The first version is the newest again: its rows get a later write time, in files beside those of the first time."""
    bench.snapshot(TUESDAY, [ANN])
    bench.run(TUESDAY)
    bench.snapshot(TUESDAY, [{**ANN, "plan_count_7d": 5}], version="v2")
    bench.run(TUESDAY, run_id="r2", now=NOW + timedelta(hours=1))
    bench.snapshot(TUESDAY, [ANN], version="v1")
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline and online"]

    for run_id in ("r3", "r4"):
        bench.run(TUESDAY, run_id=run_id, now=NOW + timedelta(hours=2))

    files = [str(path) for path in bench.offline()]
    query = f"select snapshot_version, plan_count_7d, hour(write_time) from read_parquet({files}) order by write_time"
    assert duckdb.sql(query).fetchall() == [("v1", 3, NOW.hour), ("v2", 5, NOW.hour + 1), ("v1", 3, NOW.hour + 2)]
    assert bench.pending(TUESDAY) == []
    assert [record and record["plan_count_7d"] for record in bench.online("ann")] == ["3"]


def test_a_run_that_died_before_a_version_was_noted_leaves_no_row_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are written again under the same names; those of a version that is no more are removed."""
    bench.snapshot(TUESDAY, [ANN, BOB])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Published, "add", die)
        with pytest.raises(KeyboardInterrupt):
            bench.run(TUESDAY)
    died = bench.offline()
    assert (len(died), bench.pending(TUESDAY)) == (1, ["customer_bnpl as of 2025-09-30 offline and online"])

    bench.run(TUESDAY, run_id="r2")
    assert (bench.offline(), bench.pending(TUESDAY)) == (died, [])

    bench.snapshot(TUESDAY, [BOB], version="v2")
    with monkeypatch.context() as patch:
        patch.setattr(Published, "add", die)
        with pytest.raises(KeyboardInterrupt):
            bench.run(TUESDAY, run_id="r3")
    bench.snapshot(TUESDAY, [CID], version="v3")
    bench.run(TUESDAY, run_id="r4")
    found = pd.concat(pd.read_parquet(path, partitioning=None) for path in bench.offline())
    assert sorted(zip(found["customer_id"], found["snapshot_version"], strict=True)) == [
        ("ann", "v1"), ("bob", "v1"), ("cid", "v3"),
    ]  # fmt: skip


def test_after_a_sending_that_died_nothing_is_taken_for_unchanged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second version went online and wasn't noted: the third has the first's values again, and all are sent."""
    bench.snapshot(TUESDAY, [ANN, BOB])
    bench.run(TUESDAY)
    bench.snapshot(TUESDAY, [{**ANN, "plan_count_7d": 8}, BOB], version="v2")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Published, "finish_sending", die)
        with pytest.raises(KeyboardInterrupt):
            bench.run(TUESDAY, run_id="r2")
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 online"]
    bench.snapshot(TUESDAY, [ANN, BOB], version="v3")
    assert counts(bench.run(TUESDAY, run_id="r3")) == (2, 2, 0, 0)
    assert [record and record["plan_count_7d"] for record in bench.online("ann")] == ["3"]


def test_quarantined_rows_are_left_out_everywhere(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [ANN, BOB, CID], quarantined=["bob"])
    summary = bench.run(TUESDAY)
    assert counts(summary, "rows", "published", "quarantined", "held_back", "sent") == (3, 2, 1, 0, 2)
    assert sorted(pd.read_parquet(bench.offline()[0], partitioning=None)["customer_id"]) == ["ann", "cid"]
    assert bench.online("bob") == [None]


def test_a_verdict_that_does_not_fit_the_rows_publishes_nothing(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [ANN, BOB], quarantined=["nobody"])
    with pytest.raises(PublishError, match=r"^customer_bnpl: 1 rows are fit to publish as of 2025-09-30, 2 were written to "):
        bench.run(TUESDAY)
    assert bench.online("ann") == [None]
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline and online"]


def test_a_day_held_back_is_counted_and_the_day_before_stays_served(bench: Bench) -> None:
    bench.snapshot(MONDAY, [ANN])
    bench.run(MONDAY)
    bench.snapshot(TUESDAY, [{**ANN, "plan_count_7d": 999}, BOB], held_back=True)
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline"]

    summary = bench.run(TUESDAY, run_id="r2", workers=None)

    assert counts(summary, "rows", "published", "quarantined", "held_back") == (2, 0, 0, 2)
    assert (len(bench.offline()), [r and r["plan_count_7d"] for r in bench.online("ann", "bob")]) == (1, ["3", None])


def test_a_group_without_online_features_is_published_offline_only(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [{"customer_id": "ann", "has_history": True, "sex": "f"}], of=QUIET)
    summary = bench.run(TUESDAY, groups=["customer_profile"])
    assert (counts(summary), len(bench.offline("customer_profile"))) == ((1, 0, 0, 0), 1)
    group = bench.control_plane("describe_feature_group", FeatureGroupName="customer_profile")
    assert group.get("OnlineStoreConfig", {}).get("EnableOnlineStore", False) is False


def test_a_feature_group_made_again_is_filled_again(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [ANN, BOB])
    bench.run(TUESDAY)
    bench.control_plane("delete_feature_group", FeatureGroupName="customer_bnpl")
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline and online"]
    assert counts(bench.run(TUESDAY, run_id="r2"))[1:] == (2, 0, 0)
    assert bench.pending(TUESDAY) == []

    shutil.rmtree(bench.lake.uri("feature_store"))
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline and online"]
    assert counts(bench.run(TUESDAY, run_id="r3"))[1:] == (2, 0, 0)
    assert [record is not None for record in bench.online("ann", "bob")] == [True, True]


def test_offline_files_that_were_lost_are_written_again(bench: Bench) -> None:
    bench.snapshot(TUESDAY, [ANN])
    bench.run(TUESDAY)
    (path,) = bench.offline()
    path.unlink()
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline"]
    assert (counts(bench.run(TUESDAY, run_id="r2")), bench.offline()) == ((1, 0, 0, 0), [path])


def test_dead_letters_are_kept_with_their_reason_and_sent_again(bench: Bench) -> None:
    """An infinite number is one that the store can't hold; the other records are written, and the run fails."""
    bench.snapshot(TUESDAY, [ANN, {**BOB, "share": float("inf")}])
    summary = bench.run(TUESDAY)
    assert counts(summary, "sent", "written", "skipped", "dead_lettered") == (2, 1, 0, 1)
    (row,) = pq.read_table(bench.lake.uri("quarantine/r1/online_customer_bnpl.parquet")).to_pylist()
    assert (row["source_or_group"], row["key"], row["rule"]) == ("customer_bnpl", "bob", "Unwritable")
    assert row["reason"] == "share: inf is not a number that the Feature Store holds"
    with pytest.raises(PublishError) as failure:
        summary.raise_if_failed(bench.lake)
    assert str(failure.value) == (
        "records that the online store did not take; all others are written:\n"
        "  customer_bnpl: 1 of 2 records, each with its reason: "
        f"{bench.lake.uri('quarantine/r1/online_customer_bnpl.parquet')}\n"
        "Mend what the reasons say and run again: only what is missing is sent"
    )
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 online"]
    assert counts(bench.run(TUESDAY, run_id="r2")) == (0, 0, 1, 1)


def test_small_files_become_one_and_large_ones_several(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is a task: no row is lost or doubled where files are merged and split."""
    rows = [[{**BOB, "customer_id": f"c{number:04d}"} for number in range(start, start + 70)] for start in (0, 70, 140)]
    bench.snapshot(TUESDAY, *rows)
    monkeypatch.setattr("stores.offline.plan_parts.__kwdefaults__", {"most_rows": 50, "most_bytes": 2**30})
    monkeypatch.setattr(ingest, "LEAST_ROWS_A_SENDING", 40)
    summary = bench.run(TUESDAY)
    assert counts(summary, "published", "files", "written") == (210, 6, 210)
    found = pd.concat(pd.read_parquet(path, partitioning=None) for path in bench.offline())
    assert sorted(found["customer_id"]) == [f"c{number:04d}" for number in range(210)]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("nothing", "customer_bnpl: no snapshot as of 2025-09-30 in {lake}; make it: etr materialize --as-of 2025-09-30"),
        (
            "another definition",
            "customer_bnpl: the snapshot as of 2025-09-30 was computed by another definition than today's; "
            "compute it anew: etr materialize --as-of 2025-09-30",
        ),
        (
            "no verdict",
            "customer_bnpl: the snapshot as of 2025-09-30 was never judged; judge it: etr validate --as-of 2025-09-30",
        ),
    ],
)
def test_what_comes_before_is_named(bench: Bench, made: str, message: str) -> None:
    if made != "nothing":
        bench.snapshot(TUESDAY, [ANN], of=BNPL if made == "no verdict" else replace(BNPL, version="definition-0"))
    if made == "no verdict":
        bench.lake.storage.delete("snapshots/_verdicts/customer_bnpl/2025-09-30/v1.json")
    with pytest.raises(InputError) as failure:
        bench.run(TUESDAY, workers=None)
    assert str(failure.value) == message.format(lake=bench.lake.uri())
    assert bench.pending(TUESDAY) == ["customer_bnpl as of 2025-09-30 offline and online"]
