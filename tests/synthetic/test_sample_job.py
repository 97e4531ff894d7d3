"""`etr sample` as it is typed."""

import json

import pytest

from jobs.sample import main


def told(capsys):
    out, err = capsys.readouterr()
    return json.loads(out.splitlines()[-1]), err


def test_says_that_it_is_synthetic_and_what_it_made(tmp_path, capsys):
    assert main(["--customers", "30", "--raw", str(tmp_path)]) == 0
    summary, err = told(capsys)
    assert err == f"Synthetic data, no real person in it: 30 customers, 2023-10-01 to 2025-09-30, seed 7, to {tmp_path}\n"
    truth = json.loads((tmp_path / "ground_truth.json").read_text())["sources"]
    assert summary["counts"]["rows"] == sum(source["read"] for source in truth.values()) > 500
    assert summary["tables"]["payments"]["kept"] == truth["payments"]["kept"]

    assert main(["--customers", "30", "--to", str(tmp_path)]) == 0
    summary, err = told(capsys)
    assert err.endswith("Unchanged: this very sample is there already.\n")
    assert (summary["status"], summary["counts"]) == ("succeeded", {"files": 0, "rows": 0})


def test_adds_a_day_to_the_sample_that_is_there(tmp_path, capsys):
    assert main(["--customers", "300", "--to", str(tmp_path)]) == 0
    assert main(["--to", str(tmp_path), "--only-from", "2025-10-01"]) == 0
    assert "300 customers, 2025-10-01 to 2025-10-01" in told(capsys)[1]
    added = {path.name for path in tmp_path.rglob("*_2025-10-01_001.*")}
    assert "payments_2025-10-01_001.csv" in added
    assert main(["--to", str(tmp_path), "--only-from", "2025-10-02", "--seed", "8"]) == 2
    assert told(capsys)[0]["error"] == (
        f"etr sample: --seed 8, but the sample in {tmp_path} has 7; leave --seed out to add to it, or name another folder"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--customers", "1k"], "etr sample: argument --customers: '1k' is not a whole number; see etr sample --help"),
        (["--years", "0"], "--years 0 is out of range: give a whole number from 1 to 30"),
        (
            ["--raw", "s3://bucket/raw"],
            "etr sample: 's3://bucket/raw' is not a local folder; write the sample to one and copy it",
        ),
    ],
)
def test_wrong_use(arguments, message, capsys):
    assert main(arguments) == 2
    assert told(capsys)[0]["error"] == message
