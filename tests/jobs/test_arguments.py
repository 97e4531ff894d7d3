"""Arguments and how a job ends. No Spark."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from datetime import UTC, date, datetime

import pytest

from conf.errors import DefinitionError, EtrError, HeldBack, InputError, UsageError
from jobs import cli
from jobs.arguments import JobParser, load_settings_for
from jobs.summary import Summary, new_run_id, run_job


@pytest.fixture
def parser() -> JobParser:
    parser = JobParser("pipeline", "the main job")
    parser.add_argument("--catch-up", action="store_true")
    return parser


def test_the_common_options(parser):
    arguments = parser.parse(
        "--env local --conf mine --raw in --lake out --as-of 2025-09-30 --groups b,,a,b --dry-run --catch-up "
        "--set spark.shuffle_partitions=2 --set time_zone=UTC".split()
    )
    assert arguments == Namespace(
        env="local",
        conf="mine",
        raw="in",
        lake="out",
        as_of=date(2025, 9, 30),
        groups=("b", "a"),
        set={"spark.shuffle_partitions": "2", "time_zone": "UTC"},
        dry_run=True,
        catch_up=True,
    )
    settings = load_settings_for(arguments)
    assert (settings.raw, settings.lake, settings.spark.shuffle_partitions, settings.time_zone) == ("in", "out", 2, "UTC")


def test_what_glue_adds_is_passed_over(parser):
    arguments = parser.parse(
        "--JOB_NAME nightly --job-bookmark-option job-bookmark-disable --enable-metrics --lake s3://b/l --TempDir=s3://b/t "
        "--enable-glue-datacatalog true --as-of 2025-09-30 --JOB_RUN_ID jr_1".split()
    )
    assert (arguments.lake, arguments.as_of, arguments.catch_up) == ("s3://b/l", date(2025, 9, 30), False)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--as_of", "2025-09-30"],
            "etr pipeline: no option '--as_of' (did you mean '--as-of'?); known: --as-of, --catch-up, --conf, --dry-run, --env, "
            "--groups, --help, --lake, --raw, --set",
        ),
        (
            ["--gro", "a"],
            "etr pipeline: no option '--gro' (did you mean '--groups'?); known: --as-of, --catch-up, --conf, --dry-run, --env, "
            "--groups, --help, --lake, --raw, --set",
        ),
        (["now"], "etr pipeline: 'now' is one argument too many; see etr pipeline --help"),
        (
            ["--as-of", "2025-02-30"],
            "etr pipeline: argument --as-of: '2025-02-30' is not a day; write YYYY-MM-DD, such as 2025-09-30; "
            "see etr pipeline --help",
        ),
        (
            ["--as-of", "20250930"],
            "etr pipeline: argument --as-of: '20250930' is not a day; write YYYY-MM-DD, such as 2025-09-30; "
            "see etr pipeline --help",
        ),
        (
            ["--groups", " ,"],
            "etr pipeline: argument --groups: ' ,' names nothing; write names with commas between them; see etr pipeline --help",
        ),
        (
            ["--set", "lake"],
            "etr pipeline: argument --set: 'lake' is not key=value, such as spark.shuffle_partitions=64; see etr pipeline --help",
        ),
        (["--raw"], "etr pipeline: argument --raw: expected one argument; see etr pipeline --help"),
    ],
)
def test_a_wrong_argument_says_what_would_work(parser, argv, message):
    with pytest.raises(UsageError) as caught:
        parser.parse(argv)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("ending", "code", "status"),
    [
        (None, 0, "succeeded"),
        (InputError("raw/: nothing there"), 1, "failed"),
        (UsageError("no group"), 2, "failed"),
        (DefinitionError("a.yaml:1: no"), 2, "failed"),
        (HeldBack("customer_bnpl: fewer rows"), 3, "held_back"),
    ],
)
def test_how_a_job_ends(parser, capsys, ending, code, status):
    def work(arguments: Namespace, run_id: str) -> Summary:
        if ending is not None:
            raise ending
        return Summary("pipeline", run_id, counts={"read": 2}, tables={"curated/fees": {"kept": 2}})

    assert run_job(parser, work, []) == code
    captured = capsys.readouterr()
    told = json.loads(captured.out.splitlines()[-1])
    assert (told["job"], told["status"]) == ("pipeline", status)
    assert captured.err == ("" if ending is None else f"{ending}\n")
    if ending is None:
        assert told["counts"] == {"read": 2} and told["tables"] == {"curated/fees": {"kept": 2}} and "error" not in told


def test_a_held_back_summary_is_exit_code_3(parser):
    assert run_job(parser, lambda _, run_id: Summary("pipeline", run_id, "held_back"), []) == 3


def test_a_wrong_argument_ends_with_2_before_any_work(parser, capsys):
    def work(arguments: Namespace, run_id: str) -> None:
        raise AssertionError("worked")

    assert run_job(parser, work, ["--lakes", "x"]) == 2
    assert "did you mean '--lake'?" in capsys.readouterr().err


def test_a_fault_of_ours_is_raised_after_the_summary(parser, capsys):
    def work(arguments: Namespace, run_id: str) -> None:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        run_job(parser, work, [])
    assert json.loads(capsys.readouterr().out)["error"] == "ZeroDivisionError: ours"


def test_run_ids_sort_by_time_and_differ():
    moment = datetime(2025, 9, 30, 16, 0, tzinfo=UTC)
    assert re.fullmatch(r"20250930T160000Z-[0-9a-f]{6}", new_run_id(moment))
    assert len({new_run_id(moment) for _ in range(20)}) > 15


def test_an_unknown_job_names_the_nearest_and_lists_them(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_present", lambda: {"curate": "c", "pipeline": "p"})
    assert cli.main(["pipelines"]) == 2
    assert capsys.readouterr().err == "etr: no job 'pipelines' (did you mean 'pipeline'?); jobs: curate, pipeline\n"


def test_the_command_loads_nothing_heavy_to_say_so():
    heavy = "pyspark", "pydantic", "yaml", "numpy", "pyarrow", "rich"
    code = f"import sys; from jobs import cli; cli.main(['pipelines']); print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert run.stdout.splitlines()[-1] == "[]"


def test_every_job_of_the_table_that_exists_has_a_main():
    from importlib import import_module

    assert [job for job in cli._present() if not callable(getattr(import_module(f"jobs.{job}"), "main", None))] == []


def test_errors_carry_their_exit_codes():
    assert [kind.exit_code for kind in (EtrError, InputError, UsageError, DefinitionError, HeldBack)] == [1, 1, 2, 2, 3]
