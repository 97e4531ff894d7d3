"""An S3 server, a Feature Store, the sample on both a disk and in a bucket, and what the main job makes of it on the disk."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.errors import EnvironmentProblem
from conf.settings import S3Settings
from jobs import sample
from jobs.java import DELTA, S3A, fetched, find_java_home
from stores import s3
from stores.embedded.local import LocalFeatureStore
from stores.lake import Lake
from stores.snapshots import SnapshotTable
from stores.storage import Storage, open_storage
from tests.cluster.servers import SeaweedFS, Standalone, Yarn

AS_OF = "2025-09-30"
GROUPS = ("account_payment", "plan_payment")  # of two kinds of entity: one online and offline, one offline only
ENTITIES = ("account_id", "plan_id")
ASKED = ("--as-of", AS_OF, "--groups", ",".join(GROUPS))
BUCKET = "etr"
ROOT = Path(__file__).resolve().parents[2]
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # a run is short: half the CPU of Java's defaults
_numbers = count()


@pytest.fixture(scope="session")
def java_home() -> Path:
    """That of a JDK: YARN's mini cluster is a Java source that is compiled when it starts."""
    home = find_java_home()
    if not (home / "bin" / "javac").exists():
        raise EnvironmentProblem(
            f"make test-cluster needs a JDK 17, to compile Hadoop's mini cluster; {home} is only a runtime. "
            "Install one (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless) and set JAVA_HOME to its folder"
        )
    return home


@pytest.fixture(scope="session")
def spark_home() -> Path:
    spec = find_spec("pyspark")
    assert spec is not None
    return Path(str(spec.origin)).parent


@pytest.fixture(scope="session")
def environ(java_home: Path, spark_home: Path) -> Iterator[dict[str, str]]:
    """The variables of every machine here: its S3 credentials, its Java, and no way to our checkout."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME") if name in os.environ}
    machine = {
        **kept,
        "JAVA_HOME": str(java_home),
        "SPARK_HOME": str(spark_home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": "etr",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in machine.items():
            if name.startswith("AWS") or name.lower() == "no_proxy":
                patch.setenv(name, value)
        s3.forget_clients()
        yield machine
        s3.forget_clients()


@pytest.fixture(scope="session")
def s3_server(environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("s3") / "seaweedfs", environ) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def feature_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFeatureStore]:
    with LocalFeatureStore(tmp_path_factory.mktemp("feature_store")) as store:
        yield store


@dataclass(frozen=True)
class Run:
    """How a run of the main job ended."""

    code: int
    summary: Mapping[str, Any]
    said: str

    @property
    def last_words(self) -> str:
        """The end of what it said, without Spark's chatter, and its error."""
        said = "\n".join(line for line in self.said.splitlines() if " INFO " not in line)
        return f"{said[-5000:]}\n{self.summary.get('error')}"

    def rows(self, name: str) -> Mapping[str, Any]:
        table: Mapping[str, Any] = self.summary["tables"][name]
        return table


def run_here(*arguments: str) -> Run:
    """The main job as `python -m jobs.pipeline` of this checkout, in local mode."""
    command = [sys.executable, "-m", "jobs.pipeline", *ASKED, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended(done.returncode, done.stdout, done.stderr)


def ended(code: int, out: str, err: str) -> Run:
    lines = [line for line in out.splitlines() if line.startswith('{"job"')]
    return Run(code, json.loads(lines[-1]) if lines else {}, err)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's files."""
    folder = tmp_path_factory.mktemp("raw")
    with contextlib.redirect_stdout(io.StringIO()):
        assert sample.main(["--customers", "200", "--years", "1", "--to", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def raw_in_s3(raw: Path, s3_server: SeaweedFS) -> str:
    """The same files in the bucket."""
    storage = open_storage(f"s3://{BUCKET}/raw", s3_server.settings)
    for file in open_storage(raw).list():
        storage.write(file.path, (raw / file.path).read_bytes())
    return f"s3a://{BUCKET}/raw"


@dataclass(frozen=True)
class Made:
    """What is in a lake after a run: rows in canonical form."""

    snapshots: Mapping[str, list[tuple[Any, ...]]]
    ledgers: Mapping[str, int]
    offline: Mapping[str, int]


def made(lake: Lake, run: Run) -> Made:
    """Read back without Spark: every row of each snapshot, and how many the ledgers and the offline store have."""
    ledgers = {name: lake.curated(name).dataset().count_rows() for name in _sources(run)}  # type: ignore[union-attr]
    return Made(
        {group: snapshot_rows(lake.storage, group) for group in GROUPS},
        ledgers,
        {group: offline_rows(lake, group) for group in GROUPS},
    )


def snapshot_rows(storage: Storage, group: str) -> list[tuple[Any, ...]]:
    """The rows of the day's current version, sorted by identifier, without the version's name."""
    table = SnapshotTable(storage, group)
    snapshot = table.current(date.fromisoformat(AS_OF))
    assert snapshot is not None
    parts = []
    for file in snapshot.files:
        with storage.open_input(file.path) as stream:
            parts.append(pq.read_table(stream))
    rows = pa.concat_tables(parts)
    return sorted(zip(*(column.to_pylist() for column in rows.columns), strict=True), key=lambda row: str(row[0]))


def offline_rows(lake: Lake, group: str) -> int:
    """Rows in the files of the offline store, whoever wrote them: one written twice is counted twice."""
    total = 0
    for file in lake.storage.list("offline_store"):
        if f"/offline-store/{group}-" in file.path and file.path.endswith(".parquet"):
            with lake.storage.open_input(file.path) as stream:
                total += pq.ParquetFile(stream).metadata.num_rows
    return total


def strays(lake: Lake) -> list[str]:
    """Parquet files of snapshots and ledgers that no commit names."""
    there = [file.path for folder in ("snapshots", "curated") for file in lake.storage.list(folder)]
    known: set[str] = set()
    for group in {path.split("/")[1] for path in there if path.startswith("snapshots/") and "/_delta_log/" in path}:
        snapshot = SnapshotTable(lake.storage, group).current(date.fromisoformat(AS_OF))
        known |= {file.path for file in snapshot.files} if snapshot else set()
    for source in {path.split("/")[1] for path in there if path.startswith("curated/") and "/_delta_log/" in path}:
        known |= set(lake.curated(source).paths())
    return [path for path in there if path.endswith(".parquet") and "/_delta_log/" not in path and path not in known]


def _sources(run: Run) -> list[str]:
    return sorted(name.removeprefix("curated/") for name in run.summary["tables"] if name.startswith("curated/"))


@pytest.fixture(scope="session")
def expected(raw: Path, environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What the main job makes on a folder, in local mode."""
    folder = tmp_path_factory.mktemp("lake")
    run = run_here("--raw", str(raw), "--lake", str(folder))
    assert run.code == 0, run.last_words
    return made(Lake(folder), run)


@dataclass(frozen=True)
class InS3:
    """A lake of its own in the bucket, and the arguments of the jobs that use it."""

    uri: str
    raw: str
    settings: S3Settings
    feature_store: str

    @property
    def lake(self) -> Lake:
        return Lake(self.uri, self.settings)

    @property
    def arguments(self) -> list[str]:
        told = {
            "s3.endpoint": self.settings.endpoint,
            "s3.region": self.settings.region,
            "s3.path_style": "true",
            "feature_store.endpoint": self.feature_store,
            "feature_store.role_arn": "arn:aws:iam::000000000000:role/etr",
            "offline_store.region": "ap-southeast-5",
            "personal_data.development_key": "for-sample-data-only",
            "spark.shuffle_partitions": "4",
        }
        settings = [text for key, value in told.items() for text in ("--set", f"{key}={value}")]
        return ["--raw", self.raw, "--lake", self.uri, *settings]


@pytest.fixture
def in_s3(raw_in_s3: str, s3_server: SeaweedFS, tmp_path: Path) -> Iterator[InS3]:
    """A new lake, with a Feature Store that knows no group yet."""
    with LocalFeatureStore(tmp_path / "feature_store") as store:
        yield InS3(f"s3a://{BUCKET}/lake{next(_numbers)}", raw_in_s3, s3_server.settings, store.endpoint)


# ---- spark-submit


@dataclass(frozen=True)
class Packed:
    """What spark-submit is given: `code`, the zip of `make package`; `environment`, of which `python` is one unpacked."""

    code: Path
    environment: Path
    python: Path


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    code, environment = ROOT / "dist" / "etr_code.zip", ROOT / ".venv" / "cluster_environment.tar.gz"
    for path in (code, environment):
        if not path.exists():
            raise EnvironmentProblem(f"{path} isn't there; make test-cluster builds it")
    unpacked = tmp_path_factory.mktemp("environment")
    subprocess.run(["tar", "-xzf", environment, "-C", unpacked], check=True)
    yield Packed(code, environment, unpacked / "bin" / "python")
    shutil.rmtree(unpacked)  # a gigabyte


@dataclass(frozen=True)
class Submit:
    """Runs the main job by spark-submit, from a folder that has none of our code."""

    spark_home: Path
    java_home: Path
    packed: Packed
    environ: Mapping[str, str]
    folder: Path

    def command(self, where: list[str], options: Mapping[str, str], arguments: list[str], *, packed: bool = True) -> list[str]:
        """`packed`: each process unpacks its own environment; else all use the one that lies on this machine."""
        jars = [*fetched(DELTA, self.java_home), *fetched(S3A, self.java_home)]
        script = self.folder / "pipeline.py"
        script.write_bytes((ROOT / "jobs" / "pipeline.py").read_bytes())
        conf = {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            "spark.executor.memory": "1g",
            "spark.driver.extraJavaOptions": QUICK_START,
            "spark.executor.extraJavaOptions": QUICK_START,
            "spark.ui.enabled": "false",
            "spark.pyspark.python": "./environment/bin/python" if packed else str(self.packed.python),
            "spark.executorEnv.SPARK_LOCAL_IP": "127.0.0.1",
            **options,
        }
        settings = [text for key, value in conf.items() for text in ("--conf", f"{key}={value}")]
        environment = ["--archives", f"{self.packed.environment}#environment"] if packed else []
        submit = [str(self.spark_home / "bin" / "spark-submit"), *where, "--jars", ",".join(map(str, jars))]
        code = ["--py-files", str(self.packed.code)]
        return [*submit, *code, *environment, *settings, str(script), "--env", "yarn", *ASKED, *arguments]


@pytest.fixture
def submit(spark_home: Path, java_home: Path, packed: Packed, environ: Mapping[str, str], tmp_path: Path) -> Submit:
    folder = tmp_path / "submit"
    folder.mkdir()
    return Submit(spark_home, java_home, packed, environ, folder)


@pytest.fixture(scope="session")
def standalone(spark_home: Path, environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with Standalone(tmp_path_factory.mktemp("standalone") / "cluster", spark_home, environ) as cluster:
        yield cluster


@pytest.fixture
def yarn(spark_home: Path, java_home: Path, environ: Mapping[str, str], tmp_path: Path) -> Iterator[Yarn]:
    with Yarn(tmp_path / "yarn", spark_home, java_home, environ) as cluster:
        yield cluster
