"""What a sample says of itself is what is found in its files."""

import json
from datetime import date

import pytest

from synthetic.dirt import BAD_ROWS, CONFLICTS, CUT_LAST_LINE, DUPLICATE_BESIDE, DUPLICATE_ELSEWHERE
from synthetic.files import file_name
from synthetic.layout import LAYOUTS
from synthetic.parameters import Parameters
from synthetic.sample import make_block, make_sample
from tests.synthetic.recount import SOURCES, recount

COUNTED = ("read", "kept", "duplicates", "conflicts", "bad", "late", "orphans", "out_of_order")


def truth_of(root, name="ground_truth.json"):
    return json.loads((root / name).read_text())["sources"]


def test_the_files_hold_what_the_ground_truth_says(default_sample):
    """Every count, of every source and file, by an independent reading of all rows."""
    truth, found = truth_of(default_sample), recount(default_sample)
    assert {name: {key: truth[name][key] for key in COUNTED} for name in truth} == {
        name: {key: found[name][key] for key in COUNTED} for name in truth
    }
    for name, source in truth.items():
        files = {
            file: {"read": count["rows"], **{key: count[key] for key in ("kept", "duplicates", "conflicts")}}
            for file, count in source["files"].items()
        }
        assert files == found[name]["files"]


def test_every_kind_of_dirt_is_there(default_sample):
    truth = truth_of(default_sample)
    for name, kinds in BAD_ROWS.items():
        last = {CUT_LAST_LINE} if name == "payments" else set()
        assert set(truth[name]["bad"]) == {bad.kind for bad in kinds} | last
        assert min(truth[name][key] for key in ("duplicates", "conflicts", "late")) > 0
        assert all(count > 0 for count in truth[name]["orphans"].values())
    assert truth["customers"]["out_of_order"] > 20
    assert truth["accounts"]["out_of_order"] > 0


def test_rows_add_up(default_sample):
    for source in truth_of(default_sample).values():
        assert source["read"] == source["kept"] + source["duplicates"] + source["quarantined"]
        assert source["read"] == sum(file["rows"] for file in source["files"].values())
        assert source["quarantined"] == source["conflicts"] + sum(source["bad"].values())


def test_dirt_is_one_in_so_many_rows():
    """Of a source whose rows are all known within the simulated months, exactly; the few after the end aside."""
    parameters = Parameters(until=date(2025, 9, 30))
    rows = make_block(0, parameters)["statements"]
    clean = (rows["_kind"] == 0).sum()
    assert (rows["_kind"] == 2).sum() == pytest.approx(clean / CONFLICTS.every, abs=2)
    expected = clean / DUPLICATE_BESIDE.every + clean * 21 / 24 / DUPLICATE_ELSEWHERE.every  # 95 days are not yet over
    assert (rows["_kind"] == 1).sum() == pytest.approx(expected, abs=3)


def test_files_of_a_few_rows_each_hold_the_same_truth(tmp_path, small_sample):
    """A quarter goes on in another file when one is full, and names keep the order of delivery."""
    make_sample(Parameters(customers=700), tmp_path, most_rows=500)
    assert (tmp_path / "payments/payments_2024-01-01_001.csv").stat().st_size > 0
    whole, parts = truth_of(small_sample), truth_of(tmp_path)
    assert {name: {key: whole[name][key] for key in COUNTED} for name in whole} == {
        name: {key: parts[name][key] for key in COUNTED} for name in parts
    }
    assert {name: recount(tmp_path)[name]["kept"] for name in parts} == {name: parts[name]["kept"] for name in parts}


def test_odd_files_are_there(small_sample):
    first, second = date(2023, 10, 1), date(2024, 1, 1)
    marked = (small_sample / file_name(LAYOUTS["customers"], first, 1)).read_bytes()
    returns = (small_sample / file_name(LAYOUTS["statements"], second, 1)).read_bytes()
    cut = (small_sample / file_name(LAYOUTS["payments"], second, 1)).read_bytes()
    assert marked.startswith(b"\xef\xbb\xbfcustomer_id,")
    assert returns.count(b"\r\n") == returns.count(b"\n") > 100
    assert not cut.endswith(b"\n")


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_layouts_are_those_of_the_sources(name):
    layout, source = LAYOUTS[name], SOURCES[name]
    assert list(layout.columns) == list(source.columns)
    assert (layout.format, layout.key, layout.version) == (source.format, source.key, source.version)
    assert (layout.event, layout.references) == (source.event_time.column, dict(source.references))
    assert set(LAYOUTS) == set(SOURCES)
