"""Feature groups as infrastructure: what exists, what is wanted, what would change, and changing it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import ClientError

from conf.errors import PublishError
from stores.protocols import FeatureDefinition, FeatureGroupDescription

ADDITIONS_PER_CALL = 100
SECONDS_TO_SETTLE = 900  # an InMemory group takes 10 to 15 minutes to appear
SECONDS_BETWEEN_LOOKS = 2.0

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class WantedFeatureGroup:
    """A feature group as a definition wants it."""

    name: str
    record_identifier: str
    event_time: str
    features: tuple[FeatureDefinition, ...]
    """Every feature in order, identifier and event time among them."""
    online: bool = True
    offline_uri: str | None = None
    """Root of the offline store; the service lays the group's own folder below it."""
    role_arn: str | None = None
    """The role by which the service writes offline files; AWS asks for one where there is an offline store."""
    description: str = ""
    """At most 128 characters reach SageMaker; the rest is cut off."""
    tags: Mapping[str, str] = field(default_factory=dict)
    iceberg: bool = False


@dataclass(frozen=True)
class FeatureGroupPlan:
    """What `apply_plan` would do to bring a group to what is wanted; `refused` says why it can't."""

    wanted: WantedFeatureGroup
    existing: FeatureGroupDescription | None
    added: tuple[FeatureDefinition, ...] = ()
    retagged: Mapping[str, str] = field(default_factory=dict)
    """Tags to add or to set anew; tags that others put there stay."""
    refused: tuple[str, ...] = ()

    @property
    def change(self) -> Change:
        if self.existing is None:
            return "created"
        return "updated" if self.added or self.retagged else "unchanged"


@dataclass(frozen=True)
class EnsuredFeatureGroup:
    """A group that is now as wanted, and what had to be done."""

    change: Change
    added: tuple[str, ...]
    group: FeatureGroupDescription


def ensure_feature_group(
    client: Any, wanted: WantedFeatureGroup, *, sleep: Callable[[float], None] = time.sleep
) -> EnsuredFeatureGroup:
    """Create the group or add what it lacks, and wait until it can be written to. A second call changes nothing.

    Raises: PublishError when a type would change or a feature would go, which the Feature Store can't do in place.
    """
    return apply_plan(client, plan_feature_group(client, wanted), sleep=sleep)


def plan_feature_group(client: Any, wanted: WantedFeatureGroup) -> FeatureGroupPlan:
    """Compare the group that exists with the one that is wanted; changes nothing."""
    existing = describe_feature_group(client, wanted.name)
    if existing is None:
        return FeatureGroupPlan(wanted, None, added=wanted.features)
    types = existing.types
    added = tuple(feature for feature in wanted.features if feature.name not in types)
    tags = _tags(client, existing.arn)
    retagged = {key: value for key, value in wanted.tags.items() if tags.get(key) != value}
    return FeatureGroupPlan(wanted, existing, added, retagged, tuple(_refusals(wanted, existing)))


def apply_plan(client: Any, plan: FeatureGroupPlan, *, sleep: Callable[[float], None] = time.sleep) -> EnsuredFeatureGroup:
    """Carry out a plan and wait until the group has settled. Raises: PublishError when the plan is refused."""
    wanted = plan.wanted
    if plan.refused:
        raise PublishError("\n".join(plan.refused))
    if plan.existing is None:
        try:
            client.create_feature_group(**_creation(wanted))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUse":
                raise _refused_by_service(wanted.name, "create", error) from error
            # Another run created it since we looked: bring that one to what is wanted.
            _settled(client, wanted.name, sleep)
            return apply_plan(client, plan_feature_group(client, wanted), sleep=sleep)
        return EnsuredFeatureGroup("created", tuple(f.name for f in plan.added), _settled(client, wanted.name, sleep))
    _settled(client, wanted.name, sleep)
    for start in range(0, len(plan.added), ADDITIONS_PER_CALL):
        additions = [_wire_definition(feature) for feature in plan.added[start : start + ADDITIONS_PER_CALL]]
        try:
            client.update_feature_group(FeatureGroupName=wanted.name, FeatureAdditions=additions)
        except ClientError as error:
            raise _refused_by_service(wanted.name, "add features to", error) from error
        _settled(client, wanted.name, sleep)
    if plan.retagged:
        client.add_tags(ResourceArn=plan.existing.arn, Tags=_wire_tags(plan.retagged))
    added = tuple(feature.name for feature in plan.added)
    return EnsuredFeatureGroup(plan.change, added, _settled(client, wanted.name, sleep))


def describe_feature_group(client: Any, name: str) -> FeatureGroupDescription | None:
    """Return the group by name or ARN, with all its features; None when there is none."""
    answer = _describe(client, name)
    return None if answer is None else _description(answer)


def list_feature_groups(client: Any) -> list[str]:
    """Names of all feature groups, in alphabetical order."""
    names: list[str] = []
    for page in _pages(client.list_feature_groups, MaxResults=100):
        names += [summary["FeatureGroupName"] for summary in page["FeatureGroupSummaries"]]
    return sorted(names)


def _refusals(wanted: WantedFeatureGroup, existing: FeatureGroupDescription) -> Iterator[str]:
    """What the Feature Store can't change in place, each with the way round."""
    for what, now, then in (
        ("record identifier", existing.record_identifier, wanted.record_identifier),
        ("event time feature", existing.event_time, wanted.event_time),
    ):
        if now != then:
            yield f"{wanted.name}: the {what} is '{now}' and can't become '{then}'; publish under a new group name"
    types = existing.types
    for feature in wanted.features:
        if types.get(feature.name, feature.type) != feature.type:
            yield (
                f"{wanted.name}.{feature.name}: the type is {types[feature.name]} and can't become {feature.type};"
                " give the feature a new name, or publish under a new group name"
            )
    wanted_names = {feature.name for feature in wanted.features}
    removed = [feature.name for feature in existing.features if feature.name not in wanted_names]
    if removed:
        yield (
            f"{wanted.name}: features can't be removed: {', '.join(removed)};"
            " keep them in the definition, or publish under a new group name"
        )
    if wanted.online and not existing.online:
        yield f"{wanted.name}: it has no online store and can't get one; publish under a new group name"
    if wanted.offline_uri is not None and existing.offline_uri is None:
        yield f"{wanted.name}: it has no offline store and can't get one; publish under a new group name"
    elif wanted.offline_uri is not None and not _lies_below(str(existing.offline_uri), wanted.offline_uri):
        yield (
            f"{wanted.name}: its offline files lie under {existing.offline_uri} and can't move to {wanted.offline_uri};"
            " set offline_store.uri to where they are, or publish under a new group name"
        )


def _creation(wanted: WantedFeatureGroup) -> dict[str, Any]:
    request: dict[str, Any] = {
        "FeatureGroupName": wanted.name,
        "RecordIdentifierFeatureName": wanted.record_identifier,
        "EventTimeFeatureName": wanted.event_time,
        "FeatureDefinitions": [_wire_definition(feature) for feature in wanted.features],
        "OnlineStoreConfig": {"EnableOnlineStore": wanted.online},
        "Description": wanted.description[:128],
        "Tags": _wire_tags(wanted.tags),
    }
    if wanted.offline_uri is not None:
        request["OfflineStoreConfig"] = {
            "S3StorageConfig": {"S3Uri": _root(wanted.offline_uri)},
            "TableFormat": "Iceberg" if wanted.iceberg else "Glue",
        }
    if wanted.role_arn is not None:
        request["RoleArn"] = wanted.role_arn
    return request


def _settled(client: Any, name: str, sleep: Callable[[float], None]) -> FeatureGroupDescription:
    """Wait until the group is Created and its last update is through. Raises: PublishError when either failed."""
    answer: Mapping[str, Any] = {}
    for _ in range(int(SECONDS_TO_SETTLE / SECONDS_BETWEEN_LOOKS)):
        answer = _describe(client, name) or {}
        status = answer.get("FeatureGroupStatus", "gone")
        update = answer.get("LastUpdateStatus", {})
        if status == "Created" and update.get("Status", "Successful") == "Successful":
            return _description(answer)
        if status not in ("Created", "Creating") or update.get("Status") == "Failed":
            reason = answer.get("FailureReason") or update.get("FailureReason") or "no reason given"
            raise PublishError(f"{name}: the feature group is {status}, its last update {update.get('Status')}: {reason}")
        sleep(SECONDS_BETWEEN_LOOKS)
    raise PublishError(f"{name}: still {answer.get('FeatureGroupStatus')} after {SECONDS_TO_SETTLE} s; run again later")


def _describe(client: Any, name: str) -> dict[str, Any] | None:
    """DescribeFeatureGroup with the features of all its pages; None when there is no such group."""
    try:
        pages = list(_pages(client.describe_feature_group, FeatureGroupName=name))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFound":
            return None
        raise _refused_by_service(name, "describe", error) from error
    features = [definition for page in pages for definition in page["FeatureDefinitions"]]
    return {**pages[0], "FeatureDefinitions": features}


def _pages(operation: Callable[..., dict[str, Any]], **request: Any) -> Iterator[dict[str, Any]]:
    page = operation(**request)
    yield page
    while page.get("NextToken"):
        page = operation(**request, NextToken=page["NextToken"])
        yield page


def _description(answer: Mapping[str, Any]) -> FeatureGroupDescription:
    offline = answer.get("OfflineStoreConfig", {}).get("S3StorageConfig", {})
    return FeatureGroupDescription(
        name=answer["FeatureGroupName"],
        arn=answer["FeatureGroupArn"],
        record_identifier=answer["RecordIdentifierFeatureName"],
        event_time=answer["EventTimeFeatureName"],
        features=tuple(FeatureDefinition(d["FeatureName"], d["FeatureType"]) for d in answer["FeatureDefinitions"]),
        status=answer.get("FeatureGroupStatus", "Created"),
        online=bool(answer.get("OnlineStoreConfig", {}).get("EnableOnlineStore")),
        offline_uri=offline.get("ResolvedOutputS3Uri"),
    )


def _tags(client: Any, arn: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for page in _pages(client.list_tags, ResourceArn=arn) for tag in page["Tags"]}


def _wire_definition(feature: FeatureDefinition) -> dict[str, str]:
    return {"FeatureName": feature.name, "FeatureType": feature.type}


def _wire_tags(tags: Mapping[str, str]) -> Sequence[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _lies_below(offline_uri: str, root: str) -> bool:
    """Whether the service would lay a group's folder there: `<root>/<account>/sagemaker/<region>/offline-store/…`."""
    return re.match(re.escape(_root(root)) + r"/\d{12}/sagemaker/", offline_uri) is not None


def _root(uri: str) -> str:
    return uri.rstrip("/")


def _refused_by_service(name: str, action: str, error: ClientError) -> PublishError:
    said = error.response["Error"]
    return PublishError(f"{name}: SageMaker refused to {action} the feature group: {said['Code']}: {said['Message']}")
