"""What a run says to try next: commands that find what it wrote, in a folder or in S3."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.settings import S3Settings, load_settings
from jobs.closing import read_offline, where_records_are


@pytest.mark.parametrize(
    ("environment", "changes", "expected"),
    [
        ("local", {}, ""),
        ("local", {"lake": "other"}, "--lake other"),
        (
            "local",
            {"lake": "s3://bucket/lake", "feature_store.endpoint": "http://127.0.0.1:8490"},
            "--set feature_store.endpoint=http://127.0.0.1:8490",
        ),
        (
            "local",
            {"lake": "s3://bucket/lake", "feature_store.endpoint": "null", "offline_store.region": "eu-west-1"},
            "--set feature_store.endpoint=null --set offline_store.region=eu-west-1",
        ),
        ("emr", {"lake": "s3://bucket/lake"}, "--env emr"),
    ],
)
def test_records_are_found_where_the_run_put_them(environment, changes, expected):
    assert " ".join(where_records_are(load_settings(environment, changes))) == expected


def test_offline_files_in_a_folder_are_shown(tmp_path):
    for number in (1, 2):
        file = tmp_path / "g-123" / "data" / f"year=2025/month=09/day=30/hour=0{number}" / "part.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(pa.table({"customer_id": [f"ann{number}"]}), file)
    shown = shell(read_offline(f"{tmp_path}/g-*/data", S3Settings()))
    assert "ann1" in shown
    assert "ann2" in shown


def test_offline_files_in_s3_are_named_as_pyarrow_has_them():
    other = S3Settings(endpoint="http://127.0.0.1:8333", region="us-east-1", path_style=True)
    table = "s3a://bucket/offline_store/000000000000/sagemaker/us-east-1/offline-store/g-1/data"
    assert f"d.dataset('{table.replace('s3a', 's3')}')" in read_offline(table, S3Settings())
    asked = "?scheme=http&endpoint_override=127.0.0.1:8333&region=us-east-1"
    assert f"d.dataset('{table.replace('s3a', 's3')}{asked}')" in read_offline(table, other)


def shell(command):
    """What a command shows that begins with this project's Python."""
    words = command.removeprefix(".venv/bin/python")
    done = subprocess.run(f"{sys.executable}{words}", shell=True, capture_output=True, text=True, check=True)
    return done.stdout
