"""The server as a process, with boto3 itself as client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conf.errors import EnvironmentProblem
from stores.embedded.local import LocalFeatureStore, find_running

GROUP = "people"
PEOPLE = {
    "FeatureGroupName": GROUP,
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "String"},
        {"FeatureName": "count", "FeatureType": "Integral"},
    ],
    "OnlineStoreConfig": {"EnableOnlineStore": True, "StorageType": "Standard_V2"},
    "Tags": [{"Key": "owner", "Value": "risk"}],
}
NOON, ONE = "2025-06-01T12:00:00Z", "2025-06-01T13:00:00Z"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalFeatureStore]:
    with LocalFeatureStore(tmp_path / "store") as store:
        yield store


@pytest.fixture
def as_a_user(store: LocalFeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that `env()` gives, and nothing of ours: plain boto3 must find the store by it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in store.env().items():
        monkeypatch.setenv(name, value)


def record(identifier: str, at: str = NOON, count: str = "1") -> list[dict[str, str]]:
    values = {"id": identifier, "at": at, "count": count}
    return [{"FeatureName": name, "ValueAsString": text} for name, text in values.items()]


def clients() -> tuple[Any, Any]:
    once = Config(retries={"total_max_attempts": 1})
    session = boto3.Session()
    return session.client("sagemaker", config=once), session.client("sagemaker-featurestore-runtime", config=once)


@pytest.mark.usefixtures("as_a_user")
def test_every_operation_by_plain_boto3() -> None:
    control, runtime = clients()
    arn = control.create_feature_group(**PEOPLE)["FeatureGroupArn"]
    assert control.describe_feature_group(FeatureGroupName=arn)["FeatureGroupStatus"] == "Created"
    control.update_feature_group(FeatureGroupName=GROUP, FeatureAdditions=[{"FeatureName": "city", "FeatureType": "String"}])
    assert len(control.describe_feature_group(FeatureGroupName=GROUP)["FeatureDefinitions"]) == 4
    listed = control.list_feature_groups(NameContains="peop")["FeatureGroupSummaries"]
    assert [group["FeatureGroupArn"] for group in listed] == [arn]
    control.add_tags(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "test"}])
    assert control.list_tags(ResourceArn=arn)["Tags"] == [
        {"Key": "owner", "Value": "risk"},
        {"Key": "stage", "Value": "test"},
    ]

    runtime.put_record(FeatureGroupName=arn, Record=record("ann"))
    entries = [{"FeatureGroupName": GROUP, "Record": record(f"{n:02d}")} for n in range(25)]
    answer = runtime.batch_write_record(Entries=entries)
    assert (answer["Errors"], answer["UnprocessedEntries"]) == ([], [])
    runtime.update_record(
        FeatureGroupName=GROUP,
        RecordIdentifierValueAsString="ann",
        Features=[{"FeatureName": "city", "ValueAsString": "Ipoh"}],
    )
    got = runtime.get_record(FeatureGroupName=GROUP, RecordIdentifierValueAsString="ann", FeatureNames=["city", "count"])
    assert got["Record"] == [
        {"FeatureName": "city", "ValueAsString": "Ipoh"},
        {"FeatureName": "count", "ValueAsString": "1"},
    ]
    asked = [{"FeatureGroupName": GROUP, "RecordIdentifiersValueAsString": ["00", "24", "25"]}]
    found = runtime.batch_get_record(Identifiers=asked)["Records"]
    assert {detail["RecordIdentifierValueAsString"]: detail["Record"] for detail in found} == {
        "00": record("00"),
        "24": record("24"),
    }
    assert len(runtime.list_records(FeatureGroupName=GROUP)["RecordIdentifiers"]) == 26
    runtime.delete_record(FeatureGroupName=GROUP, RecordIdentifierValueAsString="ann", EventTime=ONE)
    assert "Record" not in runtime.get_record(FeatureGroupName=GROUP, RecordIdentifierValueAsString="ann")
    control.delete_feature_group(FeatureGroupName=GROUP)
    assert control.list_feature_groups()["FeatureGroupSummaries"] == []


@pytest.mark.usefixtures("as_a_user")
def test_boto3_raises_the_service_s_own_exceptions() -> None:
    control, runtime = clients()
    control.create_feature_group(**PEOPLE)
    with pytest.raises(control.exceptions.ResourceInUse):
        control.create_feature_group(**PEOPLE)
    with pytest.raises(control.exceptions.ResourceNotFound):
        control.describe_feature_group(FeatureGroupName="nobody")
    with pytest.raises(runtime.exceptions.ResourceNotFound):
        runtime.get_record(FeatureGroupName="nobody", RecordIdentifierValueAsString="ann")
    with pytest.raises(runtime.exceptions.ValidationError, match="Resource Not Found"):
        runtime.put_record(FeatureGroupName="nobody", Record=record("ann"))
    with pytest.raises(runtime.exceptions.ValidationError, match="'many' of feature 'count' is not Integral"):
        runtime.put_record(FeatureGroupName=GROUP, Record=record("ann", count="many"))
    with pytest.raises(ClientError, match="Entries must have from 1 to 25 members"):
        runtime.batch_write_record(Entries=[{"FeatureGroupName": GROUP, "Record": record("ann")}] * 26)
    runtime.put_record(FeatureGroupName=GROUP, Record=record("ann", at=ONE))
    with pytest.raises(runtime.exceptions.ConflictException):
        runtime.update_record(FeatureGroupName=GROUP, RecordIdentifierValueAsString="ann", Features=record("ann"))


@pytest.mark.usefixtures("as_a_user")
def test_of_two_clients_the_newest_event_time_wins() -> None:
    control, one = clients()
    _, other = clients()
    control.create_feature_group(**PEOPLE)
    one.put_record(FeatureGroupName=GROUP, Record=record("ann", at=ONE, count="2"))
    other.put_record(FeatureGroupName=GROUP, Record=record("ann", at=NOON, count="1"))
    for client in (one, other):
        got = client.get_record(FeatureGroupName=GROUP, RecordIdentifierValueAsString="ann")
        assert got["Record"] == record("ann", at=ONE, count="2")


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    def runtime_of(store: LocalFeatureStore) -> tuple[Any, Any]:
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}  # pragma: allowlist secret
        session = boto3.Session(region_name=store.region, **keys)
        names = ("sagemaker", "sagemaker-featurestore-runtime")
        return tuple(session.client(name, endpoint_url=store.endpoint) for name in names)  # type: ignore[return-value]

    with LocalFeatureStore(tmp_path) as store:
        control, runtime = runtime_of(store)
        created = control.create_feature_group(**PEOPLE)
        runtime.put_record(FeatureGroupName=GROUP, Record=record("ann"))
        os.kill(store.info.pid, signal.SIGKILL)
    with LocalFeatureStore(tmp_path) as store:
        control, runtime = runtime_of(store)
        assert control.describe_feature_group(FeatureGroupName=GROUP)["FeatureGroupArn"] == created["FeatureGroupArn"]
        got = runtime.get_record(FeatureGroupName=GROUP, RecordIdentifierValueAsString="ann")
        assert got["Record"] == record("ann")


def test_a_second_one_on_the_same_folder_joins_and_leaves_the_first_running(store: LocalFeatureStore, tmp_path: Path) -> None:
    with LocalFeatureStore(tmp_path / "store") as joined:
        assert joined.info == store.info
        assert (store.started_here, joined.started_here) == (True, False)
    assert find_running(tmp_path / "store") == store.info


def test_a_server_file_left_behind_is_not_believed(tmp_path: Path) -> None:
    stale = {"endpoint": "http://127.0.0.1:9", "pid": 1, "data": str(tmp_path), "region": "r", "account": "0"}
    (tmp_path / "server.json").write_text(json.dumps(stale))
    with LocalFeatureStore(tmp_path) as store:
        assert store.started_here
        assert store.endpoint != stale["endpoint"]
    assert not (tmp_path / "server.json").exists()


def test_a_folder_that_can_t_be_served_says_why(tmp_path: Path) -> None:
    (tmp_path / "feature_store.sqlite").write_text("this is not a database, whatever its name says")
    with pytest.raises(EnvironmentProblem, match=r"(?s)did not start; its log ends:.*file is not a database"):
        LocalFeatureStore(tmp_path).start()


def test_the_server_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent killed with -9 can't stop anything; its end of the pipe closes, and the server goes."""
    script = (
        "import os, signal, sys\n"
        "from stores.embedded.local import LocalFeatureStore\n"
        "store = LocalFeatureStore(sys.argv[1])\n"
        "store.start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[3])
    assert parent.returncode == -signal.SIGKILL
    # A new server takes the folder's lock; it gets it only when the old one has gone.
    with LocalFeatureStore(tmp_path) as store:
        assert find_running(tmp_path) == store.info
