"""The same seed makes the same sample, whatever is made beside it."""

import hashlib
import json
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from conf.errors import InputError, UsageError
from synthetic.columns import take
from synthetic.layout import LAYOUTS
from synthetic.parameters import Parameters
from synthetic.sample import growth_of, make_block, make_sample
from tests.synthetic.recount import SOURCES, recount, rows_of


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.*"))
        if path.is_file()
    }


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def written(root: Path, pattern: str = "*") -> Counter[str]:
    """Rows by how often they are there; unreadable lines by their kind."""
    found = Counter[str]()
    for name, source in SOURCES.items():
        for path in (root / name).glob(pattern):
            found.update(f"{name} {row}" for row in rows_of(path, source))
    return found


def test_a_seed_makes_the_same_bytes(tmp_path, small_sample):
    make_sample(Parameters(customers=700), tmp_path)
    assert digests(tmp_path) == digests(small_sample)


def test_another_seed_makes_other_people(tmp_path, small_sample):
    make_sample(Parameters(customers=700, seed=8), tmp_path)
    same_files = digests(tmp_path).items() & digests(small_sample).items()
    assert not same_files


def test_a_block_does_not_depend_on_how_many_follow():
    alone, first_of_many = make_block(1, Parameters(customers=4_000)), make_block(1, Parameters(customers=900_000))
    part = make_block(1, Parameters(customers=2_500))
    for name in LAYOUTS:
        assert same(alone[name], first_of_many[name])
        assert same(part[name], take(alone[name], alone[name]["_owner"] < 500))


@pytest.mark.parametrize("until", [date(2025, 10, 1), date(2025, 11, 15)])
def test_a_later_end_only_adds(until):
    """What was delivered by an end is the same when the end is a day, or six weeks, later."""
    base = Parameters(customers=2_000)
    later = make_block(0, Parameters(customers=2_000, until=until))
    for name, rows in make_block(0, base).items():
        assert len(rows["_kind"]) < len(later[name]["_kind"]) or until.day == 1
        assert same(rows, take(later[name], later[name]["_delivered"] < base.cut_off))


def test_the_next_day_lies_beside(tmp_path):
    """The days before and what is added from a day on are together what a sample with the later end has."""
    base, grown, whole = tmp_path / "base", tmp_path / "grown", tmp_path / "whole"
    make_sample(Parameters(customers=700), base)
    make_sample(Parameters(customers=700), grown)
    day = date(2025, 10, 1)
    asked = growth_of(grown, Parameters(until=day, only_from=day))
    make_sample(asked, grown)
    make_sample(Parameters(customers=700, until=day), whole)
    assert written(grown) == written(whole)
    assert digests(base).items() <= digests(grown).items()
    assert asked.customers == 700
    assert growth_of(grown, Parameters(until=day, only_from=day)) == asked
    assert make_sample(asked, grown) is False
    following = growth_of(grown, Parameters(until=date(2025, 10, 2), only_from=date(2025, 10, 2)))
    assert following.first_day == date(2023, 10, 1)


def test_what_is_added_says_what_a_run_that_takes_it_in_must_find(tmp_path):
    """Days of growth: the sums of the base and the growth are those of all the files, read at once."""
    make_sample(Parameters(customers=700), tmp_path)
    asked = growth_of(tmp_path, Parameters(until=date(2025, 10, 20), only_from=date(2025, 10, 1)))
    make_sample(asked, tmp_path)
    found = recount(tmp_path)
    truths = [json.loads(path.read_text())["sources"] for path in sorted(tmp_path.glob("ground_truth*.json"))]
    assert len(truths) == 2
    for name in SOURCES:
        for count in ("read", "kept", "duplicates", "conflicts", "late", "out_of_order"):
            assert sum(truth[name][count] for truth in truths) == found[name][count], (name, count)


def test_growth_follows_on(tmp_path):
    make_sample(Parameters(customers=20), tmp_path)
    with pytest.raises(UsageError) as told:
        growth_of(tmp_path, Parameters(until=date(2025, 10, 5), only_from=date(2025, 10, 5)))
    assert str(told.value) == (
        f"--only-from 2025-10-05: the sample in {tmp_path} ends on 2025-09-30, so that what follows begins on 2025-10-01"
    )


def test_an_unchanged_sample_is_not_made_again(tmp_path):
    parameters = Parameters(customers=20)
    assert make_sample(parameters, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert make_sample(parameters, tmp_path) is False
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    next(tmp_path.glob("fees/*.csv")).write_text("cut short")
    assert make_sample(parameters, tmp_path)


def test_another_sample_takes_the_place_of_the_one_before(tmp_path):
    taken, fresh = tmp_path / "taken", tmp_path / "fresh"
    make_sample(Parameters(customers=20, years=3), taken)
    strangers = ["fees/mine.csv", "fees/fees_2020-01-01_001.csv.gz"]
    for name in strangers:
        (taken / name).write_text("mine")
    (taken / "fees/fees_2022-10-01_009.csv.writing").write_text("left by a run that was killed")
    make_sample(Parameters(customers=20), taken)
    make_sample(Parameters(customers=20), fresh)
    assert {name: digest for name, digest in digests(taken).items() if name not in strangers} == digests(fresh)
    assert all((taken / name).read_text() == "mine" for name in strangers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"customers": 0}, "--customers 0 is out of range: give a whole number from 1 to 50000000"),
        ({"years": 31}, "--years 31 is out of range: give a whole number from 1 to 30"),
        (
            {"until": date(1990, 9, 30)},
            "a sample of 2 years to 1990-09-30 would begin before 1990-01-01: give a later --until",
        ),
        (
            {"only_from": date(2025, 10, 1)},
            "--only-from 2025-10-01 is not a day of the sample: give one after 2023-07-01, up to 2025-09-30",
        ),
    ],
)
def test_wrong_parameters(changes, message):
    if "only_from" in changes:
        changes |= {"since": date(2023, 7, 1)}
    with pytest.raises(UsageError) as told:
        Parameters(**changes)
    assert str(told.value) == message


@pytest.mark.parametrize(
    ("until", "years", "first_day"),
    [
        (date(2025, 9, 30), 2, date(2023, 10, 1)),
        (date(2025, 10, 1), 2, date(2023, 10, 1)),
        (date(2025, 12, 30), 2, date(2023, 10, 1)),
        (date(2025, 12, 31), 1, date(2025, 1, 1)),
    ],
)
def test_a_sample_begins_with_a_quarter(until, years, first_day):
    assert Parameters(until=until, years=years).first_day == first_day


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="give a folder that can be written, with room for the sample"):
        make_sample(Parameters(customers=1), tmp_path / "file" / "raw")
