"""Opens the SparkSession. The only module that knows which platform it runs on."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from pyspark.sql import SparkSession

from conf.errors import EnvironmentProblem, UsageError
from conf.settings import Settings
from jobs.java import DELTA, S3A, fetched, find_java_home, trust_store_option
from stores.storage import is_s3

_CODE = Path(__file__).resolve().parent.parent

# On every platform.
_COMMON = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.analyzer.maxIterations": "1000",  # definitions may nest deeper than Spark's 100 rounds resolve
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Dates of long ago are as they are written: by default Spark refuses those that Spark 2 would have read as others.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
}
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # The default of 10,000 tasks a listing is for clusters: VACUUM alone takes minutes with it on a laptop.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
}
# For many small queries, as in tests: half the CPU of a start, and slower code in the long run.
_LIGHT = {
    "spark.default.parallelism": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
}
_LIGHT_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m"
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"


def open_session(settings: Settings, *, light: bool = False) -> SparkSession:
    """Return the session of this process, started with `settings` if there is none yet.

    Its time zone is UTC, and the process's own too, so that a timestamp collected to Python is in UTC.
    On Glue, EMR and YARN the platform brings Java, jars and memory; `light` is for tests and small runs: Java
    compiles quickly instead of well.
    Raises: EnvironmentProblem when Java or the Delta jars are missing; UsageError for a relative lake on a cluster.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
    options = {**_COMMON, "spark.sql.shuffle.partitions": str(settings.spark.shuffle_partitions)}
    options |= s3_options(settings)
    if settings.platform == "local":
        options |= _start_locally(settings, light=light)
    else:
        _check_addresses(settings)
        options |= settings.spark.options
    builder = SparkSession.builder.appName(settings.spark.app_name)
    for key, value in options.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except RuntimeError as problem:  # PySpark's own, when the JVM ended before it answered
        raise EnvironmentProblem(
            f"Spark did not start with {settings.spark.driver_memory} of driver memory on {os.environ.get('JAVA_HOME')}: "
            f"{problem}. See Java's own message above; for less memory: --set spark.driver_memory=2g"
        ) from problem


def _start_locally(settings: Settings, *, light: bool) -> dict[str, str]:
    """Prepare this process for a JVM of its own and return the options that the JVM starts with."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    own = settings.spark.options
    options = {
        **_LOCAL,
        **(_LIGHT if light else {}),
        "spark.master": settings.spark.master or "local[*]",
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(filter(None, [str(_CODE), os.environ.get("PYTHONPATH")])),
        "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / f"etr-warehouse-{os.getuid()}"),
        **own,
    }
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # started by spark-submit: its JVM runs already, with the jars it was given
        return options

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    java_home = find_java_home()
    os.environ["JAVA_HOME"] = str(java_home)
    java_options = [
        f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}",
        "-Duser.timezone=UTC",
        trust_store_option(java_home),
        _LIGHT_JAVA if light else "-XX:+UseParallelGC",
        own.get(_JAVA_OPTIONS, ""),
    ]
    options[_JAVA_OPTIONS] = " ".join(filter(None, java_options))
    if "spark.jars.packages" not in own:
        wanted = [DELTA, S3A] if uses_s3(settings) else [DELTA]
        found = [path for jars in wanted for path in fetched(jars, java_home, ivy_settings=own.get("spark.jars.ivySettings"))]
        options["spark.jars"] = ",".join(filter(None, [*map(str, found), own.get("spark.jars", "")]))
    return options


def uses_s3(settings: Settings) -> bool:
    """Whether Spark itself reads or writes in S3."""
    return is_s3(settings.raw) or is_s3(settings.lake)


def s3_options(settings: Settings) -> dict[str, str]:
    """How Spark reaches S3 as the workers' own adapter does. Credentials are found where each process runs."""
    if not uses_s3(settings):
        return {}
    s3 = settings.s3
    if settings.platform in ("glue", "emr"):  # s3:// is the platform's own there, and knows the way
        told = {"enableServerSideEncryption": "true", "serverSideEncryption.kms.keyId": s3.kms_key} if s3.kms_key else {}
        return {f"spark.hadoop.fs.s3.{key}": value for key, value in told.items() if value}
    told = {
        "path.style.access": str(s3.path_style).lower(),
        "aws.credentials.provider": "com.amazonaws.auth.DefaultAWSCredentialsProviderChain",
    }
    if s3.endpoint:
        told |= {"endpoint": s3.endpoint, "connection.ssl.enabled": str(s3.endpoint.startswith("https://")).lower()}
    if s3.region:
        told["endpoint.region"] = s3.region
    if s3.kms_key:
        told |= {"encryption.algorithm": "SSE-KMS", "encryption.key": s3.kms_key}
    options = {f"spark.hadoop.fs.s3a.{key}": value for key, value in told.items()}
    return options | {"spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem"}


def _check_addresses(settings: Settings) -> None:
    for name, address in (("raw", settings.raw), ("lake", settings.lake)):
        if "://" not in address and not address.startswith("/"):
            raise UsageError(
                f"--{name}: '{address}' is a folder of a laptop, the platform is {settings.platform}; "
                f"write an address, such as --{name} s3://bucket/{name}"
            )
