"""Feature groups are brought to what is wanted, or it is said why they can't be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.errors import PublishError
from stores.aws import FeatureStoreAddress
from stores.embedded.faults import Faults
from stores.embedded.local import LocalFeatureStore
from stores.feature_groups import (
    WantedFeatureGroup,
    describe_feature_group,
    ensure_feature_group,
    list_feature_groups,
    plan_feature_group,
)
from stores.protocols import FeatureDefinition, FeatureType


def features(**types: FeatureType) -> tuple[FeatureDefinition, ...]:
    return tuple(FeatureDefinition(name, kind) for name, kind in types.items())


PEOPLE = WantedFeatureGroup(
    "people",
    record_identifier="id",
    event_time="at",
    features=features(id="String", at="String", count="Integral"),
    offline_uri="file:///lake/offline_store/",
    description="How people are. " * 20,  # longer than SageMaker takes
    tags={"owner": "risk"},
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with LocalFeatureStore(tmp_path) as store:
        yield FeatureStoreAddress(store.endpoint, store.region).control_plane()


def test_a_group_is_created_once(client: Any) -> None:
    first = ensure_feature_group(client, PEOPLE)
    assert (first.change, first.added) == ("created", ("id", "at", "count"))
    assert first.group.features == PEOPLE.features
    assert first.group.offline_uri is not None
    assert first.group.offline_uri.startswith("file:///lake/offline_store/000000000000/sagemaker/")
    assert first.group.offline_uri.endswith("/data")
    second = ensure_feature_group(client, PEOPLE)
    assert (second.change, second.added, second.group) == ("unchanged", (), first.group)
    assert list_feature_groups(client) == ["people"]


def test_new_features_and_tags_are_added_hundreds_at_a_time(client: Any) -> None:
    ensure_feature_group(client, PEOPLE)
    more = features(**{f"f{n}": "Fractional" for n in range(250)})
    wanted = replace(PEOPLE, features=(*PEOPLE.features[:2], *more, PEOPLE.features[2]), tags={"stage": "test"})
    ensured = ensure_feature_group(client, wanted)
    assert (ensured.change, len(ensured.added)) == ("updated", 250)
    assert ensured.group.features == (*PEOPLE.features, *more)  # what is added comes last
    assert client.list_tags(ResourceArn=ensured.group.arn)["Tags"] == [
        {"Key": "owner", "Value": "risk"},
        {"Key": "stage", "Value": "test"},
    ]
    assert ensure_feature_group(client, wanted).change == "unchanged"


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (
            {"features": features(id="String", at="String", count="Fractional")},
            [
                "people.count: the type is Integral and can't become Fractional;"
                " give the feature a new name, or publish under a new group name"
            ],
        ),
        (
            {"features": features(id="String", at="String")},
            ["people: features can't be removed: count; keep them in the definition, or publish under a new group name"],
        ),
        (
            {"record_identifier": "count", "event_time": "id"},
            [
                "people: the record identifier is 'id' and can't become 'count'; publish under a new group name",
                "people: the event time feature is 'at' and can't become 'id'; publish under a new group name",
            ],
        ),
    ],
)
def test_what_can_t_change_in_place_is_refused_with_the_way_round(
    client: Any, change: dict[str, Any], messages: list[str]
) -> None:
    before = ensure_feature_group(client, PEOPLE).group
    wanted = replace(PEOPLE, **{"features": (*PEOPLE.features, *features(city="String")), **change})
    assert list(plan_feature_group(client, wanted).refused) == messages
    with pytest.raises(PublishError) as failure:
        ensure_feature_group(client, wanted)
    assert str(failure.value) == "\n".join(messages)
    assert describe_feature_group(client, "people") == before  # the addition that was also wanted is not made


@pytest.mark.parametrize("root", ["file:///other", "file:///lake", "file:///lake/offline_store/000000000000"])
def test_an_offline_store_can_t_move(client: Any, root: str) -> None:
    lies = ensure_feature_group(client, PEOPLE).group.offline_uri
    assert plan_feature_group(client, replace(PEOPLE, offline_uri=root)).refused == (
        f"people: its offline files lie under {lies} and can't move to {root};"
        " set offline_store.uri to where they are, or publish under a new group name",
    )


def test_stores_that_a_group_was_made_without_are_refused(client: Any) -> None:
    ensure_feature_group(client, replace(PEOPLE, online=False))
    ensure_feature_group(client, replace(PEOPLE, name="places", offline_uri=None))
    assert plan_feature_group(client, PEOPLE).refused == (
        "people: it has no online store and can't get one; publish under a new group name",
    )
    assert plan_feature_group(client, replace(PEOPLE, name="places")).refused == (
        "places: it has no offline store and can't get one; publish under a new group name",
    )


def test_a_plan_changes_nothing(client: Any) -> None:
    assert plan_feature_group(client, PEOPLE).change == "created"
    assert describe_feature_group(client, "people") is None


def test_what_the_service_refuses_is_passed_on(client: Any) -> None:
    with pytest.raises(PublishError) as failure:
        ensure_feature_group(client, replace(PEOPLE, offline_uri="s3://bucket/lake"))
    assert str(failure.value) == (
        "people: SageMaker refused to create the feature group: ValidationException: RoleArn is needed with an OfflineStoreConfig"
    )


def test_a_group_is_waited_for_until_it_is_created(tmp_path: Path) -> None:
    waits: list[float] = []
    with LocalFeatureStore(tmp_path, faults=Faults(creating=3)) as store:
        client = FeatureStoreAddress(store.endpoint, store.region).control_plane()
        ensured = ensure_feature_group(client, PEOPLE, sleep=waits.append)
    assert (ensured.group.status, len(waits)) == ("Created", 3)
