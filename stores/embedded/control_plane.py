"""The control plane's operations: create, describe, update, delete and list feature groups, and their tags."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from stores.embedded.errors import ServiceError, group_not_found, validation_exception
from stores.embedded.faults import FaultDice
from stores.embedded.feature_group import (
    COLLECTION_TYPES,
    FEATURE_TYPES,
    NAME,
    RESERVED_NAMES,
    FeatureGroup,
    Json,
    ttl_seconds,
)
from stores.embedded.storage import Storage

_MOST_FEATURES, _MOST_ADDITIONS, _MOST_TAGS, _LONGEST_DESCRIPTION = 2500, 100, 50, 128
_OFFLINE_URI = re.compile(r"(s3|https|file)://.+")
_SORT_KEYS = {"Name": "FeatureGroupName", "CreationTime": "CreationTime"}


class ControlPlane:
    """sagemaker, as far as feature groups go."""

    def __init__(self, storage: Storage, dice: FaultDice, clock: Callable[[], float], *, region: str, account: str) -> None:
        self._storage = storage
        self._dice = dice
        self._clock = clock
        self._region = region
        self._account = account
        self._operations: dict[str, Callable[[Json], Json]] = {
            "CreateFeatureGroup": self.create_feature_group,
            "DescribeFeatureGroup": self.describe_feature_group,
            "UpdateFeatureGroup": self.update_feature_group,
            "DeleteFeatureGroup": self.delete_feature_group,
            "ListFeatureGroups": self.list_feature_groups,
            "AddTags": self.add_tags,
            "DeleteTags": self.delete_tags,
            "ListTags": self.list_tags,
        }

    def run(self, operation: str, request: Json) -> Json:
        """Answer one call. Raises: ServiceError, also for an operation that isn't there."""
        if operation not in self._operations:
            known = ", ".join(sorted(self._operations))
            raise ServiceError("UnknownOperationException", 400, f"no operation {operation!r} here; known: {known}")
        return self._operations[operation](request)

    def create_feature_group(self, request: Json) -> Json:
        name = _name(request, "FeatureGroupName")
        if name in self._storage.groups:
            raise ServiceError(
                "ResourceInUse",
                400,
                f"Resource Already Exists: FeatureGroup with name {name} already exists. Choose a different name.",
            )
        definitions = _definitions(request.get("FeatureDefinitions"), "FeatureDefinitions", most=_MOST_FEATURES)
        _check_unique(definitions)
        types = {definition["FeatureName"]: definition["FeatureType"] for definition in definitions}
        identifier = _name(request, "RecordIdentifierFeatureName")
        event_time = _name(request, "EventTimeFeatureName")
        for feature in (identifier, event_time):
            if feature not in types:
                raise validation_exception(f"Feature '{feature}' is not among the FeatureDefinitions")
        if types[event_time] == "Integral":
            raise validation_exception(f"Event time feature '{event_time}' must be String or Fractional")
        description = request.get("Description")
        if description is not None and len(description) > _LONGEST_DESCRIPTION:
            raise validation_exception(f"Description exceeds {_LONGEST_DESCRIPTION} characters")
        now = self._clock()
        arn = f"arn:aws:sagemaker:{self._region}:{self._account}:feature-group/{name}"
        online = self._online_config(request)
        offline = self._offline_config(request, name, types[event_time], created=int(now))
        if online is None and offline is None:
            raise validation_exception("Either OnlineStoreConfig or OfflineStoreConfig is needed")
        document: Json = {
            "FeatureGroupArn": arn,
            "FeatureGroupName": name,
            "RecordIdentifierFeatureName": identifier,
            "EventTimeFeatureName": event_time,
            "FeatureDefinitions": definitions,
            "CreationTime": now,
            "LastModifiedTime": now,
            "OnlineStoreConfig": online,
            "OfflineStoreConfig": offline,
            "ThroughputConfig": request.get("ThroughputConfig", {"ThroughputMode": "OnDemand"}),
            "RoleArn": request.get("RoleArn"),
            "Description": description,
        }
        document = {key: value for key, value in document.items() if value is not None}
        self._storage.create_group(name, document, _tags(request.get("Tags", [])))
        return {"FeatureGroupArn": arn}

    def describe_feature_group(self, request: Json) -> Json:
        group = self._group(request.get("FeatureGroupName"))
        creating = self._dice.still_creating(group.arn)
        answer = {**group.document, "FeatureGroupStatus": "Creating" if creating else "Created", "NextToken": ""}
        if "OfflineStoreConfig" in group.document:
            answer["OfflineStoreStatus"] = {"Status": "Active"}
        return answer

    def update_feature_group(self, request: Json) -> Json:
        group = self._group(request.get("FeatureGroupName"))
        document = {**group.document, "LastModifiedTime": self._clock(), "LastUpdateStatus": {"Status": "Successful"}}
        if "FeatureAdditions" in request:
            additions = _definitions(request["FeatureAdditions"], "FeatureAdditions", most=_MOST_ADDITIONS)
            document["FeatureDefinitions"] = group.definitions + additions
            _check_unique(document["FeatureDefinitions"])
            if len(document["FeatureDefinitions"]) > _MOST_FEATURES:
                raise validation_exception(f"A feature group holds at most {_MOST_FEATURES} features")
        if "OnlineStoreConfig" in request:
            document["OnlineStoreConfig"] = _changed_online_config(group, request["OnlineStoreConfig"])
        if "ThroughputConfig" in request:
            document["ThroughputConfig"] = {**document["ThroughputConfig"], **request["ThroughputConfig"]}
        self._storage.replace_document(group, document)
        return {"FeatureGroupArn": group.arn}

    def delete_feature_group(self, request: Json) -> Json:
        """Online records go with the group; offline files stay, as at the service."""
        self._storage.drop_group(self._group(request.get("FeatureGroupName")))
        return {}

    def list_feature_groups(self, request: Json) -> Json:
        limit = request.get("MaxResults", 10)
        if type(limit) is not int or not 1 <= limit <= 100:
            raise validation_exception("MaxResults must be from 1 to 100")
        sort_key = _SORT_KEYS.get(request.get("SortBy", "CreationTime"), "FeatureGroupName")
        documents = sorted(
            (group.document for group in self._storage.groups.values() if _matches(group.document, request)),
            key=lambda document: (document[sort_key], document["FeatureGroupName"]),
            reverse=request.get("SortOrder", "Descending") == "Descending",
        )
        start = request.get("NextToken") or "0"
        if not start.isdigit():
            raise validation_exception("NextToken is not one that was given out")
        end = int(start) + limit
        answer: Json = {"FeatureGroupSummaries": [_summary(document) for document in documents[int(start) : end]]}
        if end < len(documents):
            answer["NextToken"] = str(end)
        return answer

    def add_tags(self, request: Json) -> Json:
        group = self._group(request.get("ResourceArn"))
        added = _tags(request.get("Tags", []))
        if len({**self._storage.tags(group.arn), **added}) > _MOST_TAGS:
            raise validation_exception(f"A resource holds at most {_MOST_TAGS} tags")
        self._storage.add_tags(group.arn, added)
        return {"Tags": _wire_tags(self._storage.tags(group.arn))}

    def delete_tags(self, request: Json) -> Json:
        group = self._group(request.get("ResourceArn"))
        self._storage.delete_tags(group.arn, request.get("TagKeys", []))
        return {}

    def list_tags(self, request: Json) -> Json:
        group = self._group(request.get("ResourceArn"))
        return {"Tags": _wire_tags(self._storage.tags(group.arn))}

    def _group(self, name_or_arn: object) -> FeatureGroup:
        if not isinstance(name_or_arn, str) or not name_or_arn:
            raise validation_exception("FeatureGroupName or ResourceArn is missing")
        group = self._storage.groups.get(name_or_arn.rpartition("/")[2])
        if group is None:
            raise ServiceError("ResourceNotFound", 400, group_not_found(name_or_arn))
        return group

    def _online_config(self, request: Json) -> Json | None:
        config = request.get("OnlineStoreConfig")
        if not config or not config.get("EnableOnlineStore"):
            return None
        storage_type = config.get("StorageType", "Standard")
        if storage_type not in ("Standard", "Standard_V2", "InMemory"):
            raise validation_exception(f"StorageType {storage_type!r} is none of Standard, Standard_V2, InMemory")
        if config.get("TtlDuration") is not None:
            ttl_seconds(config["TtlDuration"])
        return {**config, "StorageType": storage_type}

    def _offline_config(self, request: Json, name: str, event_time_type: str, *, created: int) -> Json | None:
        """The offline store as described: with the group's own folder below the URI, and its table in the catalogue."""
        config = request.get("OfflineStoreConfig")
        if config is None:
            return None
        uri = config.get("S3StorageConfig", {}).get("S3Uri", "")
        if _OFFLINE_URI.fullmatch(uri) is None:
            raise validation_exception(f"S3Uri {uri!r} is not s3://bucket/prefix (or, here only, file:///folder)")
        if not uri.startswith("file:") and not request.get("RoleArn"):
            raise validation_exception("RoleArn is needed with an OfflineStoreConfig")
        if config.get("TableFormat") == "Iceberg" and event_time_type != "String":
            raise validation_exception("An Iceberg table needs an event time feature of type String")
        resolved = f"{uri.rstrip('/')}/{self._account}/sagemaker/{self._region}/offline-store/{name}-{created}/data"
        answer: Json = {
            "TableFormat": "Glue",
            "DisableGlueTableCreation": False,
            **config,
            "S3StorageConfig": {**config["S3StorageConfig"], "ResolvedOutputS3Uri": resolved},
        }
        if not answer["DisableGlueTableCreation"]:
            table = f"{name.replace('-', '_').lower()}_{created}"
            catalogue = {"TableName": table, "Catalog": "AwsDataCatalog", "Database": "sagemaker_featurestore"}
            answer.setdefault("DataCatalogConfig", catalogue)
        return answer


def _name(request: Json, key: str) -> str:
    name = request.get(key)
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise validation_exception(
            f"{key} {name!r} must be 1 to 64 letters, digits, '-' and '_', with a letter or digit at both ends"
        )
    return name


def _definitions(given: Any, key: str, *, most: int) -> list[Json]:
    if not isinstance(given, list) or not 1 <= len(given) <= most:
        raise validation_exception(f"{key} must have from 1 to {most} members")
    for definition in given:
        name = _name(definition, "FeatureName")
        if name.lower() in RESERVED_NAMES:
            raise validation_exception(f"FeatureName '{name}' is reserved")
        if definition.get("FeatureType") not in FEATURE_TYPES:
            raise validation_exception(f"FeatureType of '{name}' must be one of {', '.join(FEATURE_TYPES)}")
        collection = definition.get("CollectionType")
        if collection is not None and collection not in COLLECTION_TYPES:
            raise validation_exception(f"CollectionType of '{name}' must be one of {', '.join(COLLECTION_TYPES)}")
        vector = definition.get("CollectionConfig", {}).get("VectorConfig", {})
        if collection == "Vector" and not vector.get("Dimension"):
            raise validation_exception(f"Vector '{name}' needs a Dimension")
    return given


def _check_unique(definitions: list[Json]) -> None:
    seen: set[str] = set()
    for definition in definitions:
        if definition["FeatureName"] in seen:
            raise validation_exception(f"Feature '{definition['FeatureName']}' is defined more than once")
        seen.add(definition["FeatureName"])


def _changed_online_config(group: FeatureGroup, change: Json) -> Json:
    if not group.online:
        raise validation_exception(f"FeatureGroup {group.name} has no online store")
    current: Json = group.document["OnlineStoreConfig"]
    storage_type = change.get("StorageType", current["StorageType"])
    if storage_type != current["StorageType"] and (current["StorageType"], storage_type) != ("Standard", "Standard_V2"):
        raise validation_exception(f"StorageType can't change from {current['StorageType']} to {storage_type}")
    if change.get("TtlDuration") is not None:
        ttl_seconds(change["TtlDuration"])
    return {**current, **change}


def _matches(document: Json, request: Json) -> bool:
    created = document["CreationTime"]
    offline_status = "Active" if "OfflineStoreConfig" in document else None
    return (
        request.get("NameContains", "") in document["FeatureGroupName"]
        and request.get("FeatureGroupStatusEquals", "Created") == "Created"
        and request.get("OfflineStoreStatusEquals", offline_status) == offline_status
        and request.get("CreationTimeAfter", created) <= created <= request.get("CreationTimeBefore", created)
    )


def _summary(document: Json) -> Json:
    summary = {key: document[key] for key in ("FeatureGroupName", "FeatureGroupArn", "CreationTime")}
    summary["FeatureGroupStatus"] = "Created"
    if "OfflineStoreConfig" in document:
        summary["OfflineStoreStatus"] = {"Status": "Active"}
    return summary


def _tags(given: list[Json]) -> dict[str, str]:
    if len(given) > _MOST_TAGS:
        raise validation_exception(f"A resource holds at most {_MOST_TAGS} tags")
    return {tag["Key"]: tag["Value"] for tag in given}


def _wire_tags(tags: dict[str, str]) -> list[Json]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
