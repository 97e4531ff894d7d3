"""DuckDB prints nothing to stdout, where programs read a run's summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.database import open_duckdb

ROOT = Path(__file__).parents[2]
PACKAGES = ("conf", "transforms", "stores", "expectations", "jobs")


def test_it_draws_no_progress_bar():
    with open_duckdb(threads=1) as connection:
        settings = dict(connection.sql("select name, value from duckdb_settings()").fetchall())
    assert settings["enable_progress_bar_print"] == "false"
    assert settings["threads"] == "1"


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_else_opens_one(package):
    """A connection that is opened elsewhere would draw one as soon as a query takes two seconds."""
    opened = [
        path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py") if "duckdb.connect(" in path.read_text()
    ]
    assert opened == (["conf/database.py"] if package == "conf" else [])
