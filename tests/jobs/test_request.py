"""What a job was asked for: one day, a range, a step, schedules, days missed; and what makes no sense. No Spark."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from conf.errors import EtrError, InputError
from jobs import ingest, materialize, pipeline, validate
from jobs.arguments import JobParser
from jobs.prepare_facts import fact_table
from jobs.request import Request, add_days, made_days, read_request
from jobs.validate import Verdict
from stores.published import Published, PublishedVersion
from stores.snapshots import Snapshot, SnapshotFile, SnapshotTable
from stores.storage import LocalStorage
from tests.jobs.by_hand import FEES_WEEKLY, PLANS_DAILY, write_conf

NOW = datetime(2025, 10, 8, 12, tzinfo=UTC)  # in Kuala Lumpur, Tuesday 7 October is the last day that is over
MONTHLY = {**PLANS_DAILY, "name": "plans_monthly", "schedule": "monthly"}


def request(tmp_path: Path, *arguments: str) -> Request:
    conf = write_conf(tmp_path / "conf", PLANS_DAILY, FEES_WEEKLY, MONTHLY)
    parser = JobParser("pipeline", "test")
    parser.add_argument("--catch-up", action="store_true")
    parser.add_argument("--hindsight", action="store_true")
    add_days(parser, restate=True)
    return read_request(parser.parse(["--conf", str(conf), "--lake", str(tmp_path / "lake"), *arguments]), now=NOW)


def days(asked: Request) -> dict[str, list[str]]:
    return {group: [day.isoformat() for day in some] for group, some in asked.days.items()}


def made(tmp_path: Path, group: str, *some: str) -> None:
    """Pointers to snapshots, without rows."""
    table = SnapshotTable(LocalStorage(tmp_path / "lake"), group)
    for day in some:
        table.restore(Snapshot(group, day, "v1", "d", {}, "r1", (SnapshotFile("f", 1, 1),)))


def test_one_day_is_the_last_that_is_over_and_groups_not_on_schedule_are_left_out(tmp_path, caplog) -> None:
    asked = request(tmp_path)
    assert (days(asked), asked.last, asked.is_range, asked.restating) == (
        {"customer_plans": ["2025-10-07"]}, date(2025, 10, 7), False, "asked",
    )  # fmt: skip
    assert asked.left_out == {
        "customer_fees": "it is made weekly (Sundays), and 2025-10-07 isn't one; the next is 2025-10-12",
        "plans_monthly": "it is made monthly (the last day of a month), and 2025-10-07 isn't one; the next is 2025-10-31",
    }
    assert asked.tables_left_out()["snapshots/customer_fees"] == {"left_out": asked.left_out["customer_fees"]}
    with caplog.at_level(logging.WARNING):
        asked.say_who_is_left_out()
    assert caplog.messages[0] == f"customer_fees is left out: {asked.left_out['customer_fees']}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--as-of 2025-10-05", {"customer_plans": 1, "customer_fees": 1}),
        ("--as-of 2025-09-30", {"customer_plans": 1, "plans_monthly": 1}),
        ("--as-of 2025-08-31", {"customer_plans": 1, "customer_fees": 1, "plans_monthly": 1}),  # a Sunday, too
        ("--from 2025-09-01 --to 2025-09-30", {"customer_plans": 30, "customer_fees": 4, "plans_monthly": 1}),
        ("--from 2025-09-01", {"customer_plans": 37, "customer_fees": 5, "plans_monthly": 1}),  # to the last day that is over
        ("--from 2025-09-01 --as-of 2025-09-14", {"customer_plans": 14, "customer_fees": 2}),
        ("--from 2025-08-03 --to 2025-08-31 --every 1w", {"customer_plans": 5, "customer_fees": 5, "plans_monthly": 1}),
        ("--from 2025-07-31 --to 2025-09-30 --every 1mo", {"customer_plans": 3, "customer_fees": 1, "plans_monthly": 3}),
        ("--from 2025-10-05 --to 2025-10-05 --groups customer_fees", {"customer_fees": 1}),
    ],
)
def test_a_range_has_of_each_group_the_days_on_its_schedule(tmp_path, arguments, expected) -> None:
    assert {group: len(some) for group, some in days(request(tmp_path, *arguments.split())).items()} == expected


@pytest.mark.parametrize(
    ("arguments", "restating"),
    [
        ("", "asked"),
        ("--restate", "all"),
        ("--from 2025-09-01", "holes"),
        ("--from 2025-09-01 --restate", "asked"),
        ("--catch-up", "asked"),
    ],
)
def test_which_days_are_made_again(tmp_path, arguments, restating) -> None:
    assert request(tmp_path, *arguments.split()).restating == restating


def judged(tmp_path: Path, group: str, *some: str, passed: bool = True, published: bool = True) -> None:
    """Days that were made and judged; published, too, where they passed."""
    made(tmp_path, group, *some)
    storage = LocalStorage(tmp_path / "lake")
    for day in some:
        status = "passed" if passed else "held_back"
        verdict = Verdict(group, day, "v1", "a", status, 1, 0, None, "r", "r1", (), {})  # type: ignore[arg-type]
        storage.write(f"snapshots/_verdicts/{group}/{day}/v1.json", json.dumps(asdict(verdict)).encode())
        if passed and published:
            version = PublishedVersion("v1", "table", "t", "2025-10-08T00:00:00+00:00", 1, 0, (), "r1")
            Published(storage, group).add(date.fromisoformat(day), version)


def test_days_missed_are_those_since_the_newest_that_each_group_is_done_with(tmp_path) -> None:
    judged(tmp_path, "customer_plans", "2025-09-01", "2025-10-04")
    judged(tmp_path, "customer_fees", "2025-09-21")  # the next Sundays: 28 September, 5 October
    assert days(request(tmp_path, "--catch-up")) == {
        "customer_plans": ["2025-10-05", "2025-10-06", "2025-10-07"],
        "customer_fees": ["2025-09-28", "2025-10-05"],
    }  # plans_monthly was never made, and the as-of day isn't on its schedule


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        ("published", [7]),  # nothing is missed: the day itself
        ("held back", [7]),
        ("passed", [5, 6, 7]),  # by a run that died before it published them
        ("made", [5, 6, 7]),
    ],
)
def test_days_that_a_run_made_before_it_died_are_missed_too(tmp_path, standing, expected) -> None:
    judged(tmp_path, "customer_plans", "2025-10-04")
    some = ("2025-10-05", "2025-10-06", "2025-10-07")
    if standing == "made":
        made(tmp_path, "customer_plans", *some)
    else:
        judged(tmp_path, "customer_plans", *some, passed=standing != "held back", published=standing == "published")
    found = days(request(tmp_path, "--catch-up", "--groups", "customer_plans"))["customer_plans"]
    assert found == [f"2025-10-0{day}" for day in expected]


def test_days_missed_before_a_later_one_and_after_none_that_was_published(tmp_path) -> None:
    judged(tmp_path, "customer_plans", "2025-10-02", "2025-10-07")
    asked = request(tmp_path, "--catch-up", "--as-of", "2025-10-04", "--groups", "customer_plans")
    assert days(asked) == {"customer_plans": ["2025-10-03", "2025-10-04"]}
    made(tmp_path, "plans_monthly", "2025-06-30", "2025-07-31")  # the newest that was made, and those since
    assert days(request(tmp_path, "--catch-up", "--groups", "plans_monthly")) == {
        "plans_monthly": ["2025-07-31", "2025-08-31", "2025-09-30"]
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--to 2025-09-30", "--to belongs to a range of days: say where it begins, too: --from YYYY-MM-DD"),
        ("--every 1w", "--every belongs to a range of days: say where it begins, too: --from YYYY-MM-DD"),
        (
            "--from 2025-09-01 --to 2025-09-30 --as-of 2025-09-30",
            "--as-of names one day and --to the last of a range; give one of them",
        ),
        ("--from 2025-09-30 --to 2025-09-01", "--from 2025-09-30 is later than the range's last day, 2025-09-01"),
        ("--from 2025-09-01 --catch-up", "--catch-up finds the days by itself; give it or --from, not both"),
        ("--from 2025-09-01 --to 2025-10-08", "--to 2025-10-08: that day isn't over yet in Asia/Kuala_Lumpur; the latest is 2025-10-07"),
        ("--as-of 2025-10-08", "--as-of 2025-10-08: that day isn't over yet in Asia/Kuala_Lumpur; the latest is 2025-10-07"),
        (
            "--from 2025-09-01 --every 1y",
            "etr pipeline: argument --every: '1y' is not a step; write a number of days, weeks or months, such as 1d, 1w or 1mo; "
            "see etr pipeline --help",
        ),
    ],
)  # fmt: skip
def test_days_that_make_no_sense_are_refused(tmp_path, arguments, message) -> None:
    with pytest.raises(EtrError) as failure:
        request(tmp_path, *arguments.split())
    assert (str(failure.value), failure.value.exit_code) == (message, 2)


def test_of_a_range_the_days_that_were_made_are_judged_and_published(tmp_path, caplog) -> None:
    made(tmp_path, "customer_plans", "2025-10-01", "2025-10-03")
    with caplog.at_level(logging.WARNING):
        found = made_days(request(tmp_path, "--from", "2025-10-01", "--to", "2025-10-04", "--groups", "customer_plans"))
    assert found == {"customer_plans": (date(2025, 10, 1), date(2025, 10, 3))}
    assert caplog.messages == ["customer_plans: 2 of 4 days were never made; the others are taken"]

    with pytest.raises(InputError) as failure:
        made_days(request(tmp_path, "--from", "2025-09-01", "--to", "2025-09-04", "--groups", "customer_plans"))
    assert str(failure.value) == (
        f"no snapshot of customer_plans from 2025-09-01 to 2025-09-04 in {tmp_path / 'lake'}; "
        "make them: etr materialize --from 2025-09-01 --to 2025-09-04"
    )
    single = request(tmp_path, "--as-of", "2025-09-01", "--groups", "customer_plans")
    assert made_days(single) == {"customer_plans": (date(2025, 9, 1),)}  # the job says that it was never made


def test_with_hindsight_the_same_groups_have_other_versions(tmp_path) -> None:
    plain, hindsight = request(tmp_path), request(tmp_path, "--hindsight")
    assert (plain.kind, hindsight.kind) == ("snapshots", "hindsight")
    assert plain.compiled.groups["customer_plans"].version != hindsight.compiled.groups["customer_plans"].version
    assert hindsight.last == plain.last  # the grace of the sources as they are decides which day is over
    tables = [
        {fact_table(some.compiled, s, some.lake).path for s in some.compiled.streams.values()} for some in (plain, hindsight)
    ]
    assert not tables[0] & tables[1]  # facts of other clocks are other facts


@pytest.mark.parametrize("job", [pipeline, validate, ingest])
def test_hindsight_is_never_judged_or_published(job, capsys) -> None:
    code = job.main(["--hindsight"])
    name = job.__name__.removeprefix("jobs.")
    assert (code, capsys.readouterr().err) == (
        2,
        f"etr {name}: hindsight is for study and is never judged or published; "
        "make it with etr materialize --hindsight and read it in the lake's hindsight/<group>\n",
    )


def test_materialize_says_in_a_dry_run_what_it_would_do(tmp_path, capsys) -> None:
    conf = write_conf(tmp_path / "conf", PLANS_DAILY, FEES_WEEKLY)
    common = ["--conf", str(conf), "--lake", str(tmp_path / "lake"), "--dry-run"]
    assert materialize.main([*common, "--from", "2025-09-27", "--to", "2025-09-28"]) == 0
    out = capsys.readouterr().out
    for line in ("compute customer_plans as of 2025-09-27", "compute customer_fees as of 2025-09-28"):
        assert line in out
    assert "compute customer_fees as of 2025-09-27" not in out
