"""`etr get` and `etr serve` on a lake's Feature Store. No Spark."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from conf.settings import load_settings
from jobs import get, serve
from jobs.feature_store import feature_store
from stores.feature_groups import WantedFeatureGroup, ensure_feature_group
from stores.online import OnlineConfig, SageMakerOnlineStore
from stores.protocols import FeatureDefinition, Record

PEOPLE = WantedFeatureGroup(
    "people",
    "id",
    "at",
    tuple(FeatureDefinition(name, "String") for name in ("at", "id", "amount")),  # the identifier isn't first
)
ANN = {"at": "2025-06-01T12:00:00Z", "id": "ann", "amount": "120.10"}
BOB = {"at": "2025-06-01T12:00:00Z", "id": "bob"}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake whose Feature Store has two people; its server doesn't run."""
    lake = tmp_path / "lake"
    with feature_store(load_settings("local", {"lake": str(lake)})) as address:
        ensure_feature_group(address.control_plane(), PEOPLE)
        records = [Record(values["id"], values["at"], values) for values in (ANN, BOB)]
        assert SageMakerOnlineStore(OnlineConfig(address)).put_batch("people", records).written == 2
    return lake


def test_get_shows_a_column_a_record_and_a_line_a_feature(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get.main(["people", "bob", "nobody", "ann", "bob", "--lake", str(lake)]) == 0
    out, err = capsys.readouterr()
    *table, summary = out.splitlines()
    assert table == [
        "id      bob                   ann",
        "at      2025-06-01T12:00:00Z  2025-06-01T12:00:00Z",
        "amount  -                     120.10",
    ]
    assert json.loads(summary)["counts"] == {"records": 2, "missing": 1}
    assert err == "people: no record of nobody\n"


def test_get_as_json_is_one_line_with_the_values_that_the_store_gives(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get.main(["people", "ann", "nobody", "--lake", str(lake), "--format", "json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = {"job": "get", "status": "succeeded", "group": "people", "records": [ANN], "missing": ["nobody"]}
    assert json.loads(line) == told


def test_get_names_the_group_that_was_meant(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get.main(["poeple", "ann", "--lake", str(lake)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("no feature group named 'poeple' (did you mean 'people'?); known: ")


def test_get_before_anything_was_published_says_so_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get.main(["people", "ann", "--lake", str(tmp_path / "lake")]) == 1
    assert capsys.readouterr().err == (
        f"{tmp_path}/lake/feature_store: no records there, nothing was published yet; run etr pipeline, or name another --lake\n"
    )
    assert not (tmp_path / "lake").exists()


def test_an_embedded_store_needs_a_lake_in_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert get.main(["people", "ann", "--lake", "s3://bucket/lake"]) == 2
    assert capsys.readouterr().err == (
        "the embedded Feature Store keeps its records in the lake's folder, and the lake is s3://bucket/lake;"
        " set feature_store.endpoint to null for AWS, or to an address\n"
    )


def test_serve_prints_what_plain_boto3_needs_and_stops_on_ctrl_c(
    lake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "jobs.serve", "--lake", str(lake), "--port", "0", "--print-env"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as server:
        assert server.stderr is not None
        assert server.stdout is not None
        try:
            for line in server.stderr:
                if line.startswith("Ctrl-C"):
                    break
            environment = _exported(server.stdout)
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                monkeypatch.delenv(name)
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            client = boto3.Session().client("sagemaker-featurestore-runtime")
            got = client.get_record(FeatureGroupName="people", RecordIdentifierValueAsString="ann")["Record"]
            assert {value["FeatureName"]: value["ValueAsString"] for value in got} == ANN

            assert get.main(["people", "ann", "--lake", str(lake), "--format", "json"]) == 0  # joins the running one
            assert json.loads(capsys.readouterr().out)["records"] == [ANN]
            assert serve.main(["--lake", str(lake)]) == 0  # a second one only says where the first is
            said = capsys.readouterr().err
            assert said.startswith(f"It runs already, as process {server.pid}.\n")
            assert environment["AWS_ENDPOINT_URL_SAGEMAKER"] in said
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


def _exported(stream: Any) -> dict[str, str]:
    """The variables of `export NAME=value` lines, of which the last is AWS_EC2_METADATA_DISABLED."""
    exported: dict[str, str] = {}
    while "AWS_EC2_METADATA_DISABLED" not in exported:
        name, _, value = stream.readline().removeprefix("export ").strip().partition("=")
        exported[name] = value
    return exported
