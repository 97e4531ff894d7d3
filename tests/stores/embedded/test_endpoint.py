"""The endpoint without a socket: what each request is answered, on the wire's own terms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from stores.embedded.endpoint import Endpoint
from stores.embedded.event_time import sortable
from stores.embedded.faults import Faults
from stores.embedded.storage import Storage

GROUP = {
    "FeatureGroupName": "people",
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "String"},
        {"FeatureName": "count", "FeatureType": "Integral"},
        {"FeatureName": "share", "FeatureType": "Fractional"},
    ],
    "OnlineStoreConfig": {"EnableOnlineStore": True, "StorageType": "Standard_V2"},
}


class Client:
    """Speaks to an endpoint by function calls; `now` is the time that the server sees."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.now = 1_750_000_000.0
        self.storage = Storage(folder)
        self.endpoint = Endpoint(self.storage, clock=lambda: self.now, **options)

    def control(self, operation: str, **request: Any) -> tuple[int, Any]:
        headers = {"x-amz-target": f"SageMaker.{operation}"}
        status, _, body = self.endpoint.handle("POST", "/", "", headers, json.dumps(request).encode())
        return status, json.loads(body)

    def runtime(self, method: str, path: str, request: Any = None, **query: Any) -> tuple[int, Any]:
        """Status and body; the body of a refusal is `(error type, message)`."""
        body = b"" if request is None else json.dumps(request).encode()
        status, headers, answer = self.endpoint.handle(method, path, urlencode(query, doseq=True), {}, body)
        content = json.loads(answer)
        return status, (headers["x-amzn-errortype"], content["Message"]) if status != 200 else content

    def put(self, **values: str) -> tuple[int, Any]:
        return self.runtime("PUT", "/FeatureGroup/people", {"Record": record(**values)})

    def get(self, identifier: str = "ann") -> dict[str, str]:
        _, answer = self.runtime("GET", "/FeatureGroup/people", RecordIdentifierValueAsString=identifier)
        return {value["FeatureName"]: value["ValueAsString"] for value in answer.get("Record", [])}


def record(**values: str) -> list[dict[str, str]]:
    return [{"FeatureName": name, "ValueAsString": text} for name, text in values.items()]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client(tmp_path)
    assert client.control("CreateFeatureGroup", **GROUP)[0] == 200
    yield client
    client.storage.close()


NOON = {"id": "ann", "at": "2025-06-01T12:00:00Z"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**NOON, "count": "1.5"}, "Validation Error: Value '1.5' of feature 'count' is not Integral"),
        ({**NOON, "count": "9223372036854775808"}, "Value '9223372036854775808' of feature 'count' is not Integral"),
        ({**NOON, "count": ""}, "Value '' of feature 'count' is not Integral"),
        ({**NOON, "share": "NaN"}, "Value 'NaN' of feature 'share' is not Fractional"),
        ({**NOON, "share": "1e999"}, "Value '1e999' of feature 'share' is not Fractional"),
        ({**NOON, "colour": "red"}, "FeatureGroup people has no feature with name colour"),
        ({"at": "2025-06-01T12:00:00Z"}, "Record has no value for the record identifier feature 'id'"),
        ({"id": "ann"}, "Record has no value for the event time feature 'at'"),
        ({**NOON, "id": "ä" * 1025}, "Record identifier is longer than 2048 bytes"),
        ({**NOON, "at": "2025-06-01 12:00:00"}, "EventTime '2025-06-01 12:00:00' is not ISO-8601 in UTC"),
        ({**NOON, "at": "2025-02-29T12:00:00Z"}, "EventTime '2025-02-29T12:00:00Z' is not ISO-8601 in UTC"),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused(client: Client, values: dict[str, str], message: str) -> None:
    status, (kind, said) = client.put(**values)
    assert (status, kind) == (400, "ValidationError")
    assert message in said
    assert client.get() == {}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("2025-06-01T12:00:00Z", "2025-06-01T12:00:00.000000001Z", "2"),  # newer
        ("2025-06-01T12:00:00Z", "2025-06-01T12:00:00.000Z", "2"),  # equal, written differently
        ("2025-06-01T12:00:00.001Z", "2025-06-01T12:00:00Z", "1"),  # older: accepted, ignored
    ],
)
def test_the_newest_event_time_stays_and_an_equal_one_replaces(client: Client, first: str, second: str, kept: str) -> None:
    assert client.put(id="ann", at=first, count="1")[0] == 200
    assert client.put(id="ann", at=second, count="2")[0] == 200
    assert client.get()["count"] == kept


def test_a_put_replaces_the_whole_record(client: Client) -> None:
    client.put(**NOON, count="1", share="0.5")
    client.put(**NOON, count="2")
    assert client.get() == {**NOON, "count": "2"}


@pytest.mark.parametrize(
    ("mode", "deleted_at", "status", "left"),
    [
        ("SoftDelete", "2025-06-01T13:00:00Z", 200, {}),
        ("SoftDelete", "2025-06-01T11:00:00Z", 200, {**NOON, "count": "1"}),  # older than the record: it stays
        ("HardDelete", "2025-06-01T13:00:00Z", 200, {}),
        ("HardDelete", "2025-06-01T11:00:00Z", 400, {**NOON, "count": "1"}),
    ],
)
def test_delete(client: Client, mode: str, deleted_at: str, status: int, left: dict[str, str]) -> None:
    client.put(**NOON, count="1")
    query = {"RecordIdentifierValueAsString": "ann", "EventTime": deleted_at, "DeletionMode": mode}
    assert client.runtime("DELETE", "/FeatureGroup/people", **query)[0] == status
    assert client.get() == left


def test_a_tombstone_outlives_older_records_and_a_hard_delete_does_not(client: Client) -> None:
    for mode, identifier, expected in (("SoftDelete", "ann", {}), ("HardDelete", "bob", {**NOON, "id": "bob"})):
        query = {"RecordIdentifierValueAsString": identifier, "EventTime": "2025-06-01T13:00:00Z", "DeletionMode": mode}
        client.runtime("DELETE", "/FeatureGroup/people", **query)
        client.put(**{**NOON, "id": identifier})
        assert client.get(identifier) == expected


def test_a_batch_writes_what_it_can_and_names_what_it_cannot(client: Client) -> None:
    entries = [
        {"FeatureGroupName": "people", "Record": record(**NOON)},
        {"FeatureGroupName": "people", "Record": record(id="bob", at="noon")},
        {"FeatureGroupName": "nobody", "Record": record(**NOON)},
    ]
    status, answer = client.runtime("POST", "/BatchWriteRecord", {"Entries": entries})
    assert status == 200
    assert [error["Entry"] for error in answer["Errors"]] == entries[1:]
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["ValidationError", "ValidationError"]
    assert "can't find a FeatureGroup with name nobody" in answer["Errors"][1]["ErrorMessage"]
    assert answer["UnprocessedEntries"] == []
    assert client.get() == NOON


@pytest.mark.parametrize("count", [0, 26])
def test_a_batch_of_none_or_more_than_25_is_refused_whole(client: Client, count: int) -> None:
    entries = [{"FeatureGroupName": "people", "Record": record(**NOON)}] * count
    status, (kind, message) = client.runtime("POST", "/BatchWriteRecord", {"Entries": entries})
    assert (status, kind, message) == (
        400,
        "ValidationError",
        "Validation Error: Entries must have from 1 to 25 members",
    )
    assert client.get() == {}


def test_a_batch_get_answers_several_groups_and_leaves_missing_records_out(client: Client) -> None:
    client.put(**NOON, count="1")
    identifiers = [
        {"FeatureGroupName": "people", "RecordIdentifiersValueAsString": ["ann", "bob"], "FeatureNames": ["count"]},
        {"FeatureGroupName": "nobody", "RecordIdentifiersValueAsString": ["ann"]},
    ]
    _, answer = client.runtime("POST", "/BatchGetRecord", {"Identifiers": identifiers})
    assert answer["Records"] == [
        {"FeatureGroupName": "people", "RecordIdentifierValueAsString": "ann", "Record": record(count="1")}
    ]
    assert [(e["FeatureGroupName"], e["ErrorCode"]) for e in answer["Errors"]] == [("nobody", "ResourceNotFound")]


def test_update_changes_some_features_of_a_record_that_exists(client: Client) -> None:
    path = "/FeatureGroup/people/Record"
    client.put(**NOON, count="1", share="0.5")

    def update(**features: str) -> int:
        request = {"RecordIdentifierValueAsString": "ann", "Features": record(**features)}
        return client.runtime("POST", path, request)[0]

    assert update(count="2") == 200
    assert update(count="9", at="2025-06-01T11:00:00Z") == 409
    assert client.get() == {**NOON, "count": "2", "share": "0.5"}
    missing = {"RecordIdentifierValueAsString": "bob", "Features": record(count="1")}
    assert client.runtime("POST", path, missing)[1][0] == "ResourceNotFound"


def test_list_records_gives_each_identifier_once_page_by_page(client: Client) -> None:
    for name in ("cem", "ann", "bob"):
        client.put(**{**NOON, "id": name})
    query = {"RecordIdentifierValueAsString": "bob", "EventTime": "2025-06-01T13:00:00Z"}
    client.runtime("DELETE", "/FeatureGroup/people", **query)
    path = "/FeatureGroup/people/ListRecords"
    _, first = client.runtime("POST", path, {"MaxResults": 1})
    _, second = client.runtime("POST", path, {"MaxResults": 1, "NextToken": first["NextToken"]})
    assert [first["RecordIdentifiers"], second["RecordIdentifiers"]] == [["ann"], ["cem"]]
    assert "NextToken" not in second
    _, everything = client.runtime("POST", path, {"IncludeSoftDeletedRecords": True})
    assert everything["RecordIdentifiers"] == ["ann", "bob", "cem"]


def test_a_record_is_gone_when_its_time_to_live_is_over(client: Client) -> None:
    client.now = 1_748_779_200.0  # 2025-06-01T12:00:00Z
    client.runtime("PUT", "/FeatureGroup/people", {"Record": record(**NOON), "TtlDuration": {"Unit": "Minutes", "Value": 1}})
    client.now += 59
    _, answer = client.runtime(
        "GET", "/FeatureGroup/people", RecordIdentifierValueAsString="ann", ExpirationTimeResponse="Enabled"
    )
    assert answer["ExpiresAt"] == "2025-06-01T12:01:00Z"
    client.now += 1
    assert client.get() == {}
    client.put(**{**NOON, "at": "2025-06-01T11:00:00Z"})  # nothing newer is there any more
    assert client.get()["at"] == "2025-06-01T11:00:00Z"


def test_readers_and_writers_hear_of_an_unknown_group_in_different_ways(client: Client) -> None:
    status, (kind, _) = client.runtime("GET", "/FeatureGroup/nobody", RecordIdentifierValueAsString="ann")
    assert (status, kind) == (404, "ResourceNotFound")
    status, (kind, message) = client.runtime("PUT", "/FeatureGroup/nobody", {"Record": record(**NOON)})
    assert (status, kind) == (400, "ValidationError")
    assert message == "Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name nobody"


def test_a_group_answers_to_its_arn_too(client: Client) -> None:
    _, group = client.control("DescribeFeatureGroup", FeatureGroupName="people")
    path = "/FeatureGroup/" + quote(group["FeatureGroupArn"], safe="")
    client.runtime("PUT", path, {"Record": record(**NOON)})
    assert client.get() == NOON
    assert client.control("DescribeFeatureGroup", FeatureGroupName=group["FeatureGroupArn"])[1] == group


def test_a_record_meant_for_the_offline_store_alone_is_refused_not_lost(client: Client) -> None:
    request = {"Record": record(**NOON), "TargetStores": ["OfflineStore"]}
    status, (_, message) = client.runtime("PUT", "/FeatureGroup/people", request)
    assert status == 400
    assert "write offline files directly" in message


def test_added_features_are_null_in_old_records_and_set_in_new_ones(client: Client) -> None:
    client.put(**NOON, count="1")
    added = [{"FeatureName": "city", "FeatureType": "String"}]
    assert client.control("UpdateFeatureGroup", FeatureGroupName="people", FeatureAdditions=added)[0] == 200
    assert client.get() == {**NOON, "count": "1"}
    client.put(**NOON, city="Ipoh")
    assert client.get() == {**NOON, "city": "Ipoh"}


def test_a_group_made_again_under_the_same_name_starts_empty(client: Client) -> None:
    client.put(**NOON)
    assert client.control("DeleteFeatureGroup", FeatureGroupName="people")[0] == 200
    assert client.control("DescribeFeatureGroup", FeatureGroupName="people")[1]["__type"] == "ResourceNotFound"
    client.control("CreateFeatureGroup", **GROUP)
    assert client.get() == {}


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({}, "ResourceInUse", "FeatureGroup with name people already exists"),
        ({"FeatureGroupName": "_new"}, "ValidationException", "FeatureGroupName '_new' must be 1 to 64 letters"),
        ({"RecordIdentifierFeatureName": "key"}, "ValidationException", "'key' is not among the FeatureDefinitions"),
        ({"EventTimeFeatureName": "count"}, "ValidationException", "'count' must be String or Fractional"),
        ({"OnlineStoreConfig": None}, "ValidationException", "Either OnlineStoreConfig or OfflineStoreConfig"),
        ({"Description": "x" * 129}, "ValidationException", "Description exceeds 128 characters"),
        (
            {"OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "s3://bucket/lake"}}},
            "ValidationException",
            "RoleArn is needed",
        ),
    ],
)
def test_a_group_that_breaks_a_rule_is_refused(client: Client, change: dict[str, Any], kind: str, message: str) -> None:
    request = {**GROUP, "FeatureGroupName": "new" if change else "people", **change}
    status, answer = client.control("CreateFeatureGroup", **request)
    assert (status, answer["__type"]) == (400, kind)
    assert message in answer["message"]


@pytest.mark.parametrize("uri", ["file:///data/lake/", "s3://bucket/lake"])
def test_the_offline_folder_is_named_as_the_service_names_it(tmp_path: Path, uri: str) -> None:
    client = Client(tmp_path, region="eu-west-1", account="123456789012")
    offline = {"S3StorageConfig": {"S3Uri": uri}}
    role = "arn:aws:iam::123456789012:role/any"
    client.control("CreateFeatureGroup", **GROUP, OfflineStoreConfig=offline, RoleArn=role)
    _, group = client.control("DescribeFeatureGroup", FeatureGroupName="people")
    assert group["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"] == (
        uri.rstrip("/") + "/123456789012/sagemaker/eu-west-1/offline-store/people-1750000000/data"
    )
    assert group["OfflineStoreStatus"] == {"Status": "Active"}


def test_groups_are_listed_page_by_page(client: Client) -> None:
    client.control("CreateFeatureGroup", **{**GROUP, "FeatureGroupName": "places"})
    names = []
    token: dict[str, str] = {}
    while True:
        _, page = client.control("ListFeatureGroups", MaxResults=1, SortBy="Name", SortOrder="Ascending", **token)
        names += [summary["FeatureGroupName"] for summary in page["FeatureGroupSummaries"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert names == ["people", "places"]


def test_what_is_no_operation_or_no_json_is_said(client: Client) -> None:
    assert client.control("CreateModel")[1]["__type"] == "UnknownOperationException"
    assert client.runtime("PATCH", "/FeatureGroup/people")[0] == 404
    status, headers, _ = client.endpoint.handle("PUT", "/FeatureGroup/people", "", {}, b"{")
    assert (status, headers["x-amzn-errortype"]) == (400, "SerializationException")


def test_faults_are_off_by_default_and_come_in_the_service_s_forms(tmp_path: Path) -> None:
    for name, (status, kind) in {
        "unavailable": (503, "ServiceUnavailable"),
        "throttled": (400, "ThrottlingException"),
        "not_found": (400, "ValidationError"),
    }.items():
        client = Client(tmp_path / name, faults=Faults(**{name: 1.0}))
        client.control("CreateFeatureGroup", **GROUP)
        got, (said, _) = client.put(**NOON)
        assert (got, said) == (status, kind)


@pytest.mark.parametrize(
    ("text", "fractional", "expected"),
    [
        ("2025-06-01T12:00:00Z", False, "2025-06-01T12:00:00.000000000Z"),
        ("2025-06-01T12:00:00.25Z", False, "2025-06-01T12:00:00.250000000Z"),
        ("0000-02-29T00:00:00Z", False, "0000-02-29T00:00:00.000000000Z"),
        ("2025-06-01T24:00:00Z", False, None),
        ("2025-06-01T12:00:00+00:00", False, None),
        ("1748779200", False, None),
        ("1748779200.25", True, "2025-06-01T12:00:00.250000000Z"),
        ("-0.5", True, "1969-12-31T23:59:59.500000000Z"),
        ("-62135596800", True, "0001-01-01T00:00:00.000000000Z"),
        ("253402300800", True, None),
        ("NaN", True, None),
    ],
)
def test_event_times_become_text_that_sorts_by_time(text: str, fractional: bool, expected: str | None) -> None:
    assert sortable(text, fractional=fractional) == expected
