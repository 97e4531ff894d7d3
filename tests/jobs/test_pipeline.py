"""The main job from files to features: end to end, again, the next day, after a crash, beside another run, held back, used wrongly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from conf.catalogue import load_catalogue
from conf.errors import UsageError
from jobs import get, ingest, materialize, pipeline, request, sample, validate
from stores.lake import Lake
from stores.snapshots import SnapshotTable

LAST, NEXT = "2025-09-30", "2025-10-01"
GROUPS = ("account_conduct", "customer_bnpl", "customer_credit", "customer_payment")


def run(capsys, *arguments: str, job=pipeline) -> tuple[int, dict, str]:
    """Exit code, summary and what a person saw."""
    capsys.readouterr()
    code = job.main(list(arguments))
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]) if out else {}, err


def contents(lake: Path) -> dict[str, bytes]:
    """Every file of a lake but leases."""
    return {
        str(path.relative_to(lake)): path.read_bytes()
        for path in lake.rglob("*")
        if path.is_file() and "_leases" not in str(path) and "-wal" not in path.name and "-shm" not in path.name
    }


def rows(lake: Path, group: str, as_of: str) -> list[tuple]:
    """A snapshot's rows, sorted, without its version."""
    snapshot = SnapshotTable(Lake(lake).storage, group).current(date.fromisoformat(as_of))
    assert snapshot is not None
    files = [f"{lake}/{file.path}" for file in snapshot.files]
    return duckdb.sql(f"select * exclude (as_of, snapshot_version) from read_parquet({files}) order by 1").fetchall()


def offline(lake: Path, group: str) -> str:
    return f"read_parquet('{lake}/offline_store/*/sagemaker/*/offline-store/{group}-*/data/*/*/*/*/*.parquet')"


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    assert sample.main(["--customers", "120", "--years", "1", "--to", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def done(raw, tmp_path_factory) -> Iterator[tuple[Path, dict, str]]:
    """A finished run on the sample: lake, summary, what a person saw."""
    capture = pytest.MonkeyPatch()
    lake = tmp_path_factory.mktemp("lake")
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert pipeline.main(["--raw", str(raw), "--lake", str(lake), "--as-of", LAST]) == 0, err.getvalue()
    capture.undo()
    yield lake, json.loads(out.getvalue().splitlines()[-1]), err.getvalue()


def _refuse(*_, **__):
    raise AssertionError("tasks were asked for")


@pytest.fixture
def no_tasks(monkeypatch):
    monkeypatch.setattr("jobs.workers.open_workers", _refuse)


def test_every_row_is_accounted_for_as_the_ground_truth_says(done, raw):
    _, summary, _ = done
    truth = json.loads((raw / "ground_truth.json").read_text())["sources"]
    told = {name.removeprefix("curated/"): table for name, table in summary["tables"].items() if name.startswith("curated/")}
    assert set(told) == set(truth)
    for name, table in told.items():
        for count in ("read", "kept", "duplicates", "quarantined"):
            assert table[count] == truth[name][count], (name, count)
        assert table["read"] == table["kept"] + table["duplicates"] + table["quarantined"]
    for group in GROUPS:
        table = summary["tables"][f"snapshots/{group}"]
        assert table["rows"] == table["published"] + table["quarantined"] + table["held_back"]
        assert table["sent"] == table["written"] + table["skipped"] + table["dead_lettered"]


def test_every_row_that_is_not_kept_is_in_the_ledger_that_quality_features_count(done, raw):
    lake, _, _ = done
    truth = json.loads((raw / "ground_truth.json").read_text())["sources"]
    aside = Lake(lake).curated("set_aside").dataset().to_table()  # noqa: F841 - read by DuckDB
    found = duckdb.sql("select source, kind, count(*), count(distinct row_id) from aside group by all").fetchall()
    assert {(source, kind): (rows, ids) for source, kind, rows, ids in found} == {
        (name, kind): (count, count)
        for name, told in truth.items()
        for kind, count in (
            ("duplicate", told["duplicates"]), ("conflict", told["conflicts"]), ("invalid", sum(told["bad"].values()))
        )
        if count
    }  # fmt: skip


def test_what_a_person_sees(done):
    lake, summary, seen = done
    assert seen.startswith("etr pipeline as of 2025-09-30 (Asia/Kuala_Lumpur): 13 sources from ")
    for words in ("ledgers", "feature groups", "customer_bnpl", f"lake: {lake}", "Next:", ".venv/bin/etr get customer_"):
        assert words in seen
    assert not [line for line in seen.splitlines() if "WARN" in line or "ivy" in line.lower() or "Stage" in line]
    assert summary["job"] == "pipeline"
    assert summary["status"] == "succeeded"


def test_online_offline_and_the_snapshot_say_the_same(done, capsys):
    lake, _, _ = done
    for group in GROUPS:
        snapshot = {row[0]: row for row in rows(lake, group, LAST)}
        assert snapshot
        assert duckdb.sql(f"select count(*) from {offline(lake, group)}").fetchall()[0] == (len(snapshot),)
    known = sorted(row[0] for row in rows(lake, "customer_bnpl", LAST))
    code, _, _ = run(capsys, "customer_bnpl", known[0], "--lake", str(lake), "--format", "json", job=get)
    assert code == 0
    columns = [
        c for c in duckdb.sql(f"select * from {offline(lake, 'customer_bnpl')}").columns if c.startswith("bnpl_plan_count")
    ]
    listed = ", ".join(columns)
    stored = duckdb.sql(f"select {listed} from {offline(lake, 'customer_bnpl')} where customer_id = '{known[0]}'").fetchall()[0]
    run(capsys, "customer_bnpl", known[0], "--lake", str(lake), "--format", "json", job=get)
    from conf.settings import load_settings
    from jobs.feature_store import feature_store

    with feature_store(load_settings("local", {"lake": str(lake)})) as address:
        answer = address.runtime().get_record(FeatureGroupName="customer_bnpl", RecordIdentifierValueAsString=known[0])
    record = {feature["FeatureName"]: feature["ValueAsString"] for feature in answer["Record"]}
    assert record["event_time"] == "2025-09-30T16:00:00Z"
    assert [int(record[column]) for column in columns] == list(stored)


def test_a_second_run_changes_nothing_and_does_no_task(done, raw, capsys, no_tasks):
    lake, _, _ = done
    before = contents(lake)
    code, summary, seen = run(capsys, "--raw", str(raw), "--lake", str(lake), "--as-of", LAST)
    assert (code, summary["counts"]["changed"]) == (0, 0)
    assert "Nothing changed" in seen
    assert contents(lake) == before


def test_the_next_day_prepares_only_what_is_new_and_says_what_a_fresh_run_says(done, raw, tmp_path, capsys):
    """A day's files arrive; the result is as if everything had been there from the start."""
    lake, grown, fresh = tmp_path / "lake", tmp_path / "raw", tmp_path / "fresh"
    shutil.copytree(raw, grown)
    shutil.copytree(done[0], lake)
    assert sample.main(["--until", NEXT, "--only-from", NEXT, "--to", str(grown)]) == 0
    online = f"offline_store.uri={done[0] / 'offline_store'}"  # a copied lake publishes to the place its groups remember
    code, summary, seen = run(capsys, "--raw", str(grown), "--lake", str(lake), "--as-of", NEXT, "--set", online)
    assert code == 0, seen
    assert 0 < summary["counts"]["read"] < 2_000
    layers = [json.loads(path.read_text()) for path in (lake / "facts").rglob("manifests/*.json")]
    assert {layer["base"] for layer in layers if layer["number"] > 0} == {False}
    code, _, seen = run(capsys, "--raw", str(grown), "--lake", str(fresh), "--as-of", NEXT)
    assert code == 0, seen
    for group in GROUPS:
        assert rows(lake, group, NEXT) == rows(fresh, group, NEXT)
        assert rows(lake, group, LAST) == rows(done[0], group, LAST)
    counts = summary["tables"]["snapshots/customer_bnpl"]
    assert 0 < counts["skipped"] < counts["sent"]  # records that did not change are not sent


def test_a_run_that_died_is_finished_by_running_it_again(done, raw, tmp_path, capsys, monkeypatch):
    lake = tmp_path / "lake"
    command = ("--raw", str(raw), "--lake", str(lake), "--as-of", LAST)

    class Died(BaseException):
        """As a killed process: nothing cleans up."""

    def die(*_, **__):
        raise Died

    committed = SnapshotTable.commit
    commits = 0

    def die_at_the_second(self, *arguments):
        nonlocal commits
        commits += 1
        if commits == 2:
            raise Died
        return committed(self, *arguments)

    for target, name, how in ((SnapshotTable, "commit", die_at_the_second), (validate, "run", die), (ingest, "run", die)):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, how)
            with pytest.raises(Died):
                pipeline.main(list(command))
    code, _, seen = run(capsys, *command)
    assert code == 0, seen
    for group in GROUPS:
        assert rows(lake, group, LAST) == rows(done[0], group, LAST)
        assert duckdb.sql(f"select count(*), count(distinct #1) from {offline(lake, group)}").fetchall()[0][0] == len(
            rows(lake, group, LAST)
        )
        delta = duckdb.sql(f"select count(*) from read_parquet('{lake}/snapshots/{group}/*/*/*.parquet')").fetchall()[0]
        assert delta == (len(rows(lake, group, LAST)),)


def test_two_runs_at_once(done, raw, capsys, no_tasks):
    lake, _, _ = done
    with Lake(lake).hold(["curated/payments"], "20250930T000000Z-abcdef"):
        code, summary, seen = run(capsys, "--raw", str(raw), "--lake", str(lake), "--as-of", "2025-09-29", "--wait", "0")
    assert (code, summary["status"]) == (1, "failed")
    assert "20250930T000000Z-abcdef" in seen


def test_a_day_that_fails_is_held_back_and_what_was_served_stays(done, raw, tmp_path, capsys, monkeypatch):
    lake = tmp_path / "lake"
    shutil.copytree(done[0], lake)
    before = {group: duckdb.sql(f"select * from {offline(done[0], group)} order by 1, 2").fetchall() for group in GROUPS}
    limit = ("--set", "validation.max_quarantined_share=0")
    online = ("--set", f"offline_store.uri={done[0] / 'offline_store'}")
    code, summary, seen = run(capsys, "--raw", str(raw), "--lake", str(lake), "--as-of", "2025-09-29", *limit, *online)
    assert (code, summary["status"]) == (3, "held_back")
    assert "customer_bnpl as of 2025-09-29 is held back; what was served before stays served" in seen
    monkeypatch.setattr("jobs.workers.open_workers", _refuse)
    code, summary, again = run(capsys, "--raw", str(raw), "--lake", str(lake), "--as-of", "2025-09-29", *limit, *online)
    assert (code, summary["status"], again.splitlines()[1:]) == (3, "held_back", seen.splitlines()[1:])  # told at once
    assert before == {group: duckdb.sql(f"select * from {offline(done[0], group)} order by 1, 2").fetchall() for group in GROUPS}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--lak", "x"), "etr pipeline: no option '--lak' (did you mean '--lake'?)"),
        (("--env", "locl"), "locl"),
        (("--groups", "customer_bnlp"), "no feature group named 'customer_bnlp' (did you mean 'customer_bnpl'?)"),
        (("--as-of", "2999-01-01"), "--as-of 2999-01-01: that day isn't over yet in Asia/Kuala_Lumpur"),
        (("--as-of", "30.09.2025"), "'30.09.2025' is not a day; write YYYY-MM-DD, such as 2025-09-30"),
        (("--conf", "docs"), "--conf docs: no definitions; it should hold sources/*.yaml and feature_groups/*.yaml"),
        (("--conf", "nowhere"), "--conf nowhere: no such folder"),
        (("--set", "spark.shuffle_partition=4"), "shuffle_partition"),
        (("--raw", "nowhere", "--lake", "/tmp/nothing-here"), "nowhere"),
    ],
)
def test_wrong_use_costs_no_tasks(arguments, says, capsys, no_tasks):
    code, summary, seen = run(capsys, *arguments)
    assert (code in (1, 2), summary["status"]) == (True, "failed")
    assert says in seen


def test_the_default_day_is_the_last_that_is_over_and_the_latest_allowed():
    catalogue, zone = load_catalogue(), "Asia/Kuala_Lumpur"
    now = datetime(2025, 9, 30, 16, tzinfo=UTC)
    assert request.as_of_day(None, catalogue, zone, now) == date(2025, 9, 30)
    assert request.as_of_day(None, catalogue, zone, now - timedelta(microseconds=1)) == date(2025, 9, 29)
    with pytest.raises(UsageError):
        request.as_of_day(date(2025, 10, 1), catalogue, zone, now)


def test_days_missed_are_caught_up(done, raw, capsys, no_tasks):
    lake, _, _ = done
    code, summary, _ = run(capsys, "--raw", str(raw), "--lake", str(lake), "--as-of", "2025-10-03", "--catch-up", "--dry-run")
    assert code == 0
    assert [line for line in summary["tables"]["would"] if line.startswith("compute customer_bnpl")] == [
        f"compute customer_bnpl as of 2025-10-0{n}" for n in (1, 2, 3)
    ]


def test_a_definition_that_changed_makes_a_new_version_beside_the_old(done, raw, tmp_path, capsys):
    lake, conf = tmp_path / "lake", tmp_path / "conf"
    shutil.copytree(done[0], lake)
    for folder in ("sources", "feature_groups"):
        shutil.copytree(Path("conf") / folder, conf / folder)
    path = conf / "feature_groups" / "customer_bnpl.yaml"
    path.write_text(path.read_text().replace("bnpl_plan_count_365d > 12", "bnpl_plan_count_365d > 0"))
    code, summary, seen = run(
        capsys, "--conf", str(conf), "--lake", str(lake), "--as-of", LAST, "--groups", "customer_bnpl", job=materialize
    )
    assert code == 0, seen
    assert summary["counts"]["made"] == 1
    assert len(list((lake / "snapshots" / "customer_bnpl" / f"as_of={LAST}").iterdir())) == 2
    assert rows(lake, "customer_bnpl", LAST) != rows(done[0], "customer_bnpl", LAST)
