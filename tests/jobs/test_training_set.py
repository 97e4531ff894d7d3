"""Training sets end to end: a file of labels and what becomes of each; a target of one's own; what is made twice; wrong use."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable

from conf.catalogue import Catalogue
from conf.settings import load_settings
from conf.specs import FeatureGroup, Source
from conf.training_sets import TrainingSet
from jobs import curate, training_set
from jobs.labels_file import open_labels
from stores.lake import Lake
from tests.jobs.by_hand import FEES_WEEKLY, PLANS_DAILY, write_conf
from tests.jobs.by_hand import PLANS as PLANS_SOURCE

PLANS = """\
plan_id,customer_id,amount,created_at,recorded_at
p1,ann,10.00,2025-08-20T02:00:00Z,2025-08-20T02:00:01Z
p2,ann,20.00,2025-09-20T02:00:00Z,2025-09-20T02:00:01Z
p3,bob,40.00,2025-09-24T15:59:59.999999Z,2025-09-24T15:59:59.999999Z
p4,bob,80.00,2025-09-25T02:00:00Z,2025-09-28T02:00:00Z
p5,zoe,1.00,2025-09-30T02:00:00Z,2025-09-30T02:00:00Z
"""
FEES = """\
fee_id,customer_id,amount,charged_at
f1,ann,1.00,2025-09-01T00:00:00Z
f2,bob,2.00,2025-09-27T00:00:00Z
f3,zoe,2.00,2025-09-29T17:00:00Z
"""
SETS: tuple[dict[str, Any], ...] = (
    {
        "name": "frauds",
        "record_identifier": "customer_id",
        "features": {"customer_plans": "all", "customer_fees": "all"},
        "labels": {"targets": {"bad": "boolean"}, "carry": {"weight": "number"}},
    },
    {"name": "frauds_by_event", "record_identifier": "customer_id", "features": {"customer_plans": "all"}, "grain": "event"},
    {
        "name": "more_plans",
        "record_identifier": "customer_id",
        "features": {"customer_plans": ["plan_count"]},
        "target": {
            "horizon": "7d",
            "settling": "2d",
            "inputs": [
                {
                    "source": "plans",
                    "aggregates": [
                        {"name": "more", "op": "any", "where": "amount > 0"},
                        {"name": "borrowed", "op": "sum", "of": "amount"},
                    ],
                }
            ],
        },
        "spine": {"every": "1w", "from": "2025-09-07"},
    },
)
# Local days in Kuala Lumpur end at 16:00 UTC. Of the lines of the file:
LABELS = """\
customer_id,time,bad,weight
ann,2025-09-21T10:00:00+08:00,yes,1.5
bob,2025-09-25,no,
ann,2025-09-21T10:00:00+08:00,yes,1.5
bob,2025-09-26T23:00:00+08:00,no,2
carl,2025-09-26,no,2
ann,2025-13-01,yes,1
,2025-09-21,yes,1
bob,2025-09-26,maybe,heavy
zoe,2025-10-02,yes,1
zoe,2025-10-01,yes,1
dan,2025-09-26,yes,1
dan,2025-09-26,no,1
ann,2025-09-21
"""
FATES = {"labels": 13, "rows": 5, "unripe": 1, "rejected": 6, "duplicates": 1, "conflicts": 2, "without_history": 1}


def run(capsys: Any, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, summary and what a person saw."""
    capsys.readouterr()
    code = training_set.main(list(arguments))
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), err


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_conf(tmp_path_factory.mktemp("conf"), PLANS_DAILY, FEES_WEEKLY)
    (folder / "training_sets").mkdir()
    for spec in SETS:
        (folder / "training_sets" / f"{spec['name']}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def curated(conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake in which only curate has run."""
    folder = tmp_path_factory.mktemp("made")
    for name, text in (("plans", PLANS), ("fees", FEES)):
        (folder / "raw" / name).mkdir(parents=True)
        (folder / "raw" / name / "a.csv").write_text(text)
    lake = folder / "lake"
    assert curate.main(["--conf", str(conf), "--raw", str(folder / "raw"), "--lake", str(lake)]) == 0
    return lake


@pytest.fixture
def lake(curated: Path, tmp_path: Path) -> Path:
    shutil.copytree(curated, tmp_path / "lake")
    return tmp_path / "lake"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(LABELS)
    return path


def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("tasks were asked for")

    monkeypatch.setattr("jobs.workers.open_workers", refuse)


def rows_of(lake: Path, name: str, *columns: str) -> list[tuple[Any, ...]]:
    """In the order in which they lie: by file, then row."""
    files = sorted(str(path) for path in (lake / "training_sets" / name).glob("*.parquet"))
    told = [pq.read_table(file) for file in files]
    table = pa.concat_tables(told)
    assert table.equals(ds.dataset(sorted(DeltaTable(lake / "training_sets" / name).file_uris())).to_table())
    return [tuple(row.values()) for row in (table.select(columns) if columns else table).to_pylist()]


def test_what_becomes_of_every_label(conf, lake, labels, capsys) -> None:
    common = ("frauds", "--conf", str(conf), "--lake", str(lake), "--labels", str(labels), "--as-of", "2025-09-30")
    code, summary, seen = run(capsys, *common)
    assert code == 0, seen
    assert {name: summary["counts"][name] for name in FATES} == FATES
    told = summary["tables"]["training_sets/frauds"]
    assert told["targets"] == {"bad": {"present": 5, "mean": 0.4}, "weight": {"present": 4, "mean": 1.625}}
    assert {name: (group["not_on_spine"], group["without_history"]) for name, group in told["groups"].items()} == {
        "customer_plans": (1, 0),
        "customer_fees": (3, 0),
    }
    # By the day before: bob's plan of the 24th counts on the 25th by a microsecond; that of the 25th was known on the 28th only.
    columns = (
        "customer_id",
        "label_row",
        "bad",
        "weight",
        "plan_count_7d",
        "plan_count_30d",
        "fee_sum_30d",
        "customer_plans__age_days",
    )
    assert sorted(rows_of(lake, "frauds", *columns)) == [
        ("ann", 2, True, 1.5, 1, 1, Decimal("1.00"), 1),
        ("bob", 3, False, None, 1, 1, None, 1),
        ("bob", 5, False, 2.0, 1, 1, None, 2),
        ("carl", 6, False, 2.0, None, None, None, None),
        ("zoe", 11, True, 1.0, 1, 1, Decimal("2.00"), 1),
    ]
    quarantine = f"{lake}/quarantine/{summary['run_id']}/training_set.frauds*.parquet"
    bad = duckdb.sql(f"select line, key, rule, reason from '{quarantine}' order by line").fetchall()
    assert bad == [
        (7, "customer_id=ann", "time.type", "time: '2025-13-01' is not a time such as 2025-09-30T16:00:00Z, or a date"),
        (8, None, "customer_id.required", "customer_id is required and empty"),
        (9, "customer_id=bob", "bad.type; weight.type", "bad: 'maybe' is not true or false; weight: 'heavy' is not a number such as 0.25"),
        (12, "customer_id=dan", "conflict", "customer_id and time are those of other labels with other values: rows 12, 13"),
        (13, "customer_id=dan", "conflict", "customer_id and time are those of other labels with other values: rows 12, 13"),
        (14, None, "unreadable", "2 values where the header has 4 columns"),
    ]  # fmt: skip
    unknown = f"{lake}/training_sets/_without_history/frauds/*.parquet"
    assert duckdb.sql(f"select customer_id, label_row, not_on_spine_of from '{unknown}'").fetchall() == [
        ("carl", 6, "customer_plans, customer_fees")
    ]
    assert "6 labels in quarantine, each with its reason" in seen


def test_the_same_labels_again_change_nothing(conf, lake, labels, tmp_path, capsys, monkeypatch) -> None:
    """Found out without Spark. As JSON lines or Parquet, in a lake of other buckets: the same rows."""
    common = ("--conf", str(conf), "--as-of", "2025-09-30")
    assert run(capsys, "frauds", *common, "--lake", str(lake), "--labels", str(labels))[0] == 0
    first = rows_of(lake, "frauds")
    with monkeypatch.context() as patch:
        no_tasks(patch)
        code, summary, seen = run(capsys, "frauds", *common, "--lake", str(lake), "--labels", str(labels))
        assert (code, summary["counts"]["made"], summary["counts"]["rows"]) == (0, 0, 5)
        assert seen.startswith("Nothing changed: frauds was made of these labels and ledgers by run ")
        code, summary, _ = run(capsys, "frauds", *common, "--lake", str(lake), "--labels", str(labels), "--dry-run")
        assert summary["tables"]["training_sets/frauds"]["would"] == "change nothing"
    other = tmp_path / "other"
    shutil.copytree(lake, other)
    shutil.rmtree(other / "facts")
    Lake(other).storage.write("facts/customer_id/buckets.json", b'{"bits": 3}')
    text = [line.split(",") for line in LABELS.splitlines()]
    header, told = text[0], [row for row in text[1:] if len(row) == 4]
    objects = [{name: cell or None for name, cell in zip(header, row, strict=True)} for row in told]
    packed = gzip.compress("".join(json.dumps(one) + "\n" for one in [{}, *objects]).encode())
    (tmp_path / "labels.jsonl.gz").write_bytes(packed)
    pq.write_table(
        pa.Table.from_pylist([{"customer_id": None}, *objects], pa.schema([(n, pa.string()) for n in header])),
        tmp_path / "l.parquet",
    )
    for file in ("labels.jsonl.gz", "l.parquet"):
        code, summary, seen = run(capsys, "frauds", *common, "--lake", str(other), "--labels", str(tmp_path / file))
        assert (code, summary["counts"]["made"], summary["counts"]["rejected"]) == (0, 1, 6), seen
        assert sorted(rows_of(other, "frauds"), key=str) == sorted(first, key=str)


def test_a_target_of_ones_own_on_a_spine(conf, lake, capsys) -> None:
    """Weekly from 7 September on; the ledger's newest row is of the 30th, so the 29th is the newest complete day, and a day of which
    seven and then two days are over by then is the 20th at the latest."""
    code, summary, seen = run(capsys, "more_plans", "--conf", str(conf), "--lake", str(lake))
    assert code == 0, seen
    assert {name: summary["counts"][name] for name in ("rows", "days", "unripe_days", "unripe", "labels")} == {
        "rows": 2, "days": 2, "unripe_days": 0, "unripe": 0, "labels": 2,
    }  # fmt: skip
    assert summary["tables"]["training_sets/more_plans"]["newest_day"] == "2025-09-29"
    columns = ("customer_id", "as_of", "label_row", "plan_count_30d", "more", "borrowed")
    told = [
        (name, str(day), row, count, more, str(sum_))
        for name, day, row, count, more, sum_ in rows_of(lake, "more_plans", *columns)
    ]
    assert told == [("ann", "2025-09-07", None, 1, False, "0.00"), ("ann", "2025-09-14", None, 1, True, "20.00")]


def test_labels_with_a_target_of_ones_own_need_be_ripe(conf, lake, tmp_path, capsys) -> None:
    """The edge: as of the 20th seven days and two are over on the 29th; as of the 21st not. Only entity and time are needed."""
    path = tmp_path / "labels.jsonl"
    path.write_text('{"entity": "bob", "time": "2025-09-21"}\n{"entity": "bob", "time": "2025-09-22"}\n')
    common = ("more_plans", "--conf", str(conf), "--lake", str(lake), "--labels", str(path))
    code, summary, seen = run(capsys, *common)
    assert code == 0, seen
    assert (summary["counts"]["rows"], summary["counts"]["unripe"]) == (1, 1)
    # Both plans of bob, the one that was known late too; he wasn't on the spine then.
    assert rows_of(lake, "more_plans", "as_of", "plan_count_7d", "more", "has_history")[0][1:] == (None, True, False)
    code, summary, seen = run(capsys, *common, "--as-of", "2025-09-28")
    assert (code, summary["error"]) == (1, f"more_plans: no label of {path} can be used: of 2 0 became rows, 2 aren't ripe, 0 were rejected,"
                                           " 0 are there twice; the newest complete day is 2025-09-28")  # fmt: skip
    assert len(rows_of(lake, "more_plans")) == 1  # the one before stays
    code, summary, _ = run(capsys, *common, "--as-of", "2025-09-30", "--dry-run")
    assert summary["counts"] == {"labels": 2, "unripe": 0, "rejected": 0}
    assert summary["tables"]["training_sets/more_plans"]["would"] == "make more_plans anew of 2 labels"


def test_a_new_row_in_a_ledger_makes_it_anew(conf, lake, labels, tmp_path, capsys) -> None:
    common = (
        "frauds_by_event",
        "--conf",
        str(conf),
        "--lake",
        str(lake),
        "--labels",
        str(tmp_path / "l.csv"),
        "--as-of",
        "2025-09-30",
    )
    (tmp_path / "l.csv").write_text("customer_id,time,target\nbob,2025-09-28T02:00:00Z,1\nbob,2025-09-28T01:59:59.999999Z,0.5\n")
    assert run(capsys, *common)[0] == 0
    # To the microsecond: what is known at T counts, a microsecond earlier it isn't known.
    assert rows_of(lake, "frauds_by_event", "target", "plan_count_7d") == [(0.5, 1), (1.0, 2)]
    raw = tmp_path / "raw"
    (raw / "plans").mkdir(parents=True)
    (raw / "plans" / "b.csv").write_text(PLANS.splitlines()[0] + "\np6,bob,5.00,2025-09-26T02:00:00Z,2025-09-26T02:00:00Z\n")
    (raw / "fees").mkdir()
    assert curate.main(["--conf", str(conf), "--raw", str(raw), "--lake", str(lake)]) == 0
    code, summary, seen = run(capsys, *common)
    assert (code, summary["counts"]["made"]) == (0, 1), seen
    assert rows_of(lake, "frauds_by_event", "target", "plan_count_7d") == [(0.5, 2), (1.0, 3)]


@pytest.mark.parametrize(
    ("arguments", "text", "code", "message"),
    [
        (["fraud"], None, 2, "no training set named 'fraud' (did you mean 'frauds'?); known: frauds, frauds_by_event, more_plans"),
        (["frauds"], None, 2, "etr training_set frauds: say where the labels are: --labels FILE; its definition has no spine"),
        (["frauds", "--labels", "{labels}.csv"], None, 1, "--labels {labels}.csv: there is no such file"),
        (["frauds", "--labels", "{labels}.xlsx"], None, 2, "--labels {labels}.xlsx: its name doesn't say what it is; known: CSV (.csv), JSON"
         " lines (.jsonl, .ndjson, .json), each also .gz, and Parquet (.parquet)"),
        (["frauds", "--labels", "{labels}.csv"], "customer_id,time,bad,weight\n", 1, "--labels {labels}.csv: there is no label in it"),
        (["frauds", "--labels", "{labels}.csv"], "", 1, "--labels {labels}.csv: there is no label in it"),
        (["frauds", "--labels", "{labels}.csv"], "customer_id,tme,bad\nann,2025-09-21,yes\n", 1, "{labels}.csv: no column 'time' (did it mean"
         " that by 'tme'?); columns found: customer_id, tme, bad"),
        (["frauds", "--labels", "{labels}.jsonl"], "[]", 1, "{labels}.jsonl: it is one JSON array; write one object a line, without the brackets"
         " and commas around them"),
        (["frauds", "--labels", "{labels}.parquet"], "PAR1", 1, "{labels}.parquet: it is not Parquet, or cut off"),
        (["frauds", "--labels", "{labels}.csv", "--as-of", "2999-01-01"], LABELS, 2, "--as-of 2999-01-01: that day isn't over yet in"),
        (["frauds", "--label", "x"], None, 2, "etr training_set: no option '--label' (did you mean '--labels'?); known: --as-of, --conf,"
         " --dry-run, --env, --help, --labels, --lake, --set, --wait"),
    ],
)  # fmt: skip
def test_wrong_use(conf, tmp_path, capsys, monkeypatch, arguments, text, code, message) -> None:
    no_tasks(monkeypatch)
    labels = str(tmp_path / "labels")
    told = [argument.replace("{labels}", labels) for argument in arguments]
    if text is not None:
        Path(told[2]).write_text(text)
    found, summary, seen = run(capsys, *told, "--conf", str(conf), "--lake", str(tmp_path / "lake"))
    assert (found, summary["status"]) == (code, "failed")
    assert summary["error"].startswith(message.replace("{labels}", labels))
    assert summary["error"] in seen


@pytest.mark.parametrize(
    ("column", "entity", "known"),
    [
        ({"type": "string"}, "customer_id", "007"),
        ({"type": "string"}, "entity", "007"),
        ({"type": "integer"}, "customer_id", "7"),
        ({"type": "string", "personal": "hmac"}, "customer_id", hmac.new(b"secret", b"007", hashlib.sha256).hexdigest()),
    ],
)
def test_entities_are_read_as_the_ledgers_know_them(tmp_path, monkeypatch, column, entity, known) -> None:
    monkeypatch.setenv("ETR_HMAC_KEY", "secret")
    columns = PLANS_SOURCE["columns"] | {"customer_id": column}
    sources = {"plans": Source.model_validate(PLANS_SOURCE | {"columns": columns})}
    catalogue = Catalogue(sources, {"customer_plans": FeatureGroup.model_validate(PLANS_DAILY)})
    spec = TrainingSet.model_validate({"name": "x", "record_identifier": "customer_id", "features": {"customer_plans": "all"}})
    (tmp_path / "labels.csv").write_text(f"{entity},time,target,more\n007,2025-09-21,1,x\n")
    notes: list[str] = []
    file = open_labels(str(tmp_path / "labels.csv"), spec, catalogue, load_settings("local"))
    [checked] = file.read(notes)
    assert checked.labels["_entity"].to_pylist() == [known]
    assert notes == ["columns that the training set doesn't declare, passed over: more"]


def test_a_ledger_that_is_not_there(conf, tmp_path, capsys, monkeypatch) -> None:
    no_tasks(monkeypatch)
    code, summary, _ = run(capsys, "more_plans", "--conf", str(conf), "--lake", str(tmp_path / "lake"))
    assert (code, summary["error"]) == (1, "plans: its ledger doesn't tell how new its newest row is, so nobody knows which labels are ripe;"
                                           " curate it, or say which day is complete: --as-of YYYY-MM-DD")  # fmt: skip
