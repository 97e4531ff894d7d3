"""The main job on real files, by --conf, --raw and --lake alone, held to the files' published facts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_pipeline(example: str, raw: Path, lake: Path, as_of: str) -> dict:
    """The main job's summary, its last line on stdout."""
    command = [sys.executable, "-m", "jobs.pipeline", "--conf", f"examples/{example}", "--raw", str(raw), "--lake", str(lake)]
    command += ["--as-of", as_of]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def offline(lake: Path, group: str) -> str:
    return f"read_parquet('{lake}/offline_store/*/sagemaker/*/offline-store/{group}-*/data/*/*/*/*/*.parquet')"


@pytest.fixture(scope="module")
def cards(data, tmp_path_factory):
    lake = tmp_path_factory.mktemp("uci")
    return lake, run_pipeline("uci_card", data / "taiwan_card_default", lake, "2005-09-30")


@pytest.fixture(scope="module")
def loans(data, tmp_path_factory):
    lake = tmp_path_factory.mktemp("superlender")
    return lake, run_pipeline("superlender", data / "superlender_loans", lake, "2017-07-31")


def test_every_card_row_is_accounted_for(cards):
    _, summary = cards
    assert summary["status"] == "succeeded"
    assert {name: (told["read"], told["kept"]) for name, told in summary["tables"].items() if name.startswith("curated/")} == {
        "curated/card_accounts": (30_000, 30_000),
        "curated/card_statements": (180_000, 180_000),
    }
    assert summary["tables"]["snapshots/card_conduct"]["published"] == 30_000


def test_cards_meet_the_published_facts(cards):
    lake, _ = cards
    found = duckdb.sql(
        f"""select count(*), round(avg(card_utilisation), 5), round(avg(card_utilisation_avg_6mo), 5),
                   round(max(card_utilisation), 2),
                   count_if(card_over_limit_count_1mo > 0), count_if(card_zero_statement_count_6mo = 6),
                   count_if(card_months_late_max_6mo >= 2), count_if(card_months_late_max_6mo >= 3)
            from {offline(lake, "card_conduct")}"""
    ).fetchall()[0]
    assert found == (30_000, 0.42377, 0.37305, 6.46, 2_115, 866, 8_380, 1_193)


def test_cards_late_by_months(cards):
    lake, _ = cards
    found = duckdb.sql(f"select card_late_month_count_6mo, count(*) from {offline(lake, 'card_conduct')} group by 1 order by 1")
    assert found.fetchall() == [(0, 19_931), (1, 4_426), (2, 1_899), (3, 1_154), (4, 951), (5, 298), (6, 1_341)]


def test_loans_meet_the_published_facts(loans):
    lake, summary = loans
    assert summary["tables"]["curated/loans"]["kept"] == 18_183
    found = duckdb.sql(
        f"""select count(*), sum(has_history), sum(loan_count_life), median(loan_count_life), quantile_disc(loan_count_life, 0.9),
                   quantile_disc(loan_count_life, 0.99), max(loan_count_life), sum(loan_count_term_days_15_life), sum(loan_count_term_days_30_life),
                   sum(loan_count_term_days_60_life), sum(loan_count_term_days_90_life), sum(loan_ten_thousand_count_life), sum(loan_open_count)
            from {offline(lake, "borrower_loans")}"""
    ).fetchall()[0]
    assert found == (4_368, 4_359, 18_183, 3, 10, 15, 26, 6_115, 11_045, 993, 30, 10_529, 0)


def test_times_of_two_zones_in_one_file_are_read_as_declared(loans):
    """Creation is in UTC, the other times in Lagos: read so, approval follows seconds after creation, and never precedes it."""
    lake, _ = loans
    early, median = duckdb.sql(
        "select count_if(approved_at < created_at), median(epoch(approved_at) - epoch(created_at)) "
        f"from read_parquet('{lake}/curated/loans/*/*.parquet')"
    ).fetchall()[0]
    assert early == 0
    assert median == pytest.approx(8, abs=1)


def test_a_second_run_changes_nothing(loans, data):
    lake, _ = loans
    before = sorted((path, path.stat().st_mtime_ns) for path in lake.rglob("*") if path.suffix in (".parquet", ".json"))
    summary = run_pipeline("superlender", data / "superlender_loans", lake, "2017-07-31")
    after = sorted((path, path.stat().st_mtime_ns) for path in lake.rglob("*") if path.suffix in (".parquet", ".json"))
    assert summary["counts"]["changed"] == 0
    assert before == after
