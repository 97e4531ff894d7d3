"""One Spark session for each process of the run; tests/real only with `--data DIR`, the data sets' folder, tests/cluster only with `--cluster`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from conf.settings import load_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_REAL = Path(__file__).parent / "real"
_ASKS_FOR_SPARK = re.compile(r'[(,] ?spark[,)]|"spark"')  # as an argument, or by name on the way
_CLUSTER = Path(__file__).parent / "cluster"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cluster", action="store_true", help="start S3, Spark and YARN on this machine, for tests/cluster")
    parser.addoption("--data", metavar="DIR", type=Path, help="folder of real data sets, for tests/real")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    left_out = (collection_path == _REAL and config.getoption("--data") is None) or (
        collection_path == _CLUSTER and not config.getoption("--cluster")
    )
    return True if left_out else None


class SparkInTwoProcesses(LoadScopeScheduling):
    """Files that need Spark go together, so that few sessions start: those of jobs, about half, to one of xdist's processes and
    the others to another; files without Spark to any, one at a time."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not _ASKS_FOR_SPARK.search(_text_of(file)):
            return file
        return "spark, jobs" if file.startswith("tests/jobs/") else "spark, others"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SparkInTwoProcesses:
    return SparkInTwoProcesses(config, log)


@cache
def _text_of(file: str) -> str:
    return (_REAL.parent.parent / file).read_text()


@pytest.fixture(scope="session")
def data(request: pytest.FixtureRequest) -> Path:
    """The folder that `--data` names."""
    folder = Path(request.config.getoption("--data")).resolve()
    if not folder.is_dir():
        raise pytest.UsageError(f"--data: {folder} is not a folder")
    return folder


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session of all tests of a process: UTC, 2 partitions, no UI, a temporary warehouse."""
    from jobs.session import open_session  # tests without Spark don't wait for its import

    warehouse = tmp_path_factory.mktemp("warehouse")
    overrides = {
        "spark.master": "local[2]",
        "spark.driver_memory": "2g",
        "spark.shuffle_partitions": "2",
        "spark.options.spark.sql.warehouse.dir": str(warehouse),
    }
    session = open_session(load_settings("local", overrides), light=True)
    yield session
    session.stop()
