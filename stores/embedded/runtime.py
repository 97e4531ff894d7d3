"""The runtime's operations: put, get, delete, update and list records. Requests are the wire's JSON."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stores.embedded.errors import ServiceError, group_not_found, validation_error
from stores.embedded.faults import FaultDice
from stores.embedded.feature_group import FeatureGroup, Json, StoredRecord
from stores.embedded.storage import Storage

MOST_ENTRIES = 25
MOST_IDENTIFIERS = 100
TARGET_STORES = ("OnlineStore", "OfflineStore")


class Runtime:
    """sagemaker-featurestore-runtime. Offline files are not written here: the engine's own offline writer does that."""

    def __init__(self, storage: Storage, dice: FaultDice, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._dice = dice
        self._clock = clock

    def put_record(self, name: str, request: Json) -> Json:
        group = self._group_or_validation_error(name)
        self._check_target_stores(group, request.get("TargetStores"))
        record = group.read_record(request.get("Record"), request.get("TtlDuration"))
        self._storage.write([(group, record)], now=self._clock())
        return {}

    def batch_write_record(self, request: Json) -> Json:
        entries = _list_of(request, "Entries", most=MOST_ENTRIES)
        accepted: list[tuple[FeatureGroup, StoredRecord]] = []
        errors, unprocessed = [], []
        for entry in entries:
            if self._dice.leaves_unprocessed():
                unprocessed.append(entry)
                continue
            try:
                accepted.append(self._read_entry(entry, request.get("TtlDuration")))
            except ServiceError as error:
                errors.append({"Entry": entry, "ErrorCode": error.type_name, "ErrorMessage": error.message})
        if accepted:
            self._storage.write(accepted, now=self._clock())
        return {"Errors": errors, "UnprocessedEntries": unprocessed}

    def get_record(self, name: str, query: dict[str, list[str]]) -> Json:
        group = self._online_group(name)
        identifier = _required(query, "RecordIdentifierValueAsString")
        wanted = query.get("FeatureName")
        found = self._present(group, identifier, wanted, query.get("ExpirationTimeResponse") == ["Enabled"])
        return found or {}

    def batch_get_record(self, request: Json) -> Json:
        with_expiry = request.get("ExpirationTimeResponse") == "Enabled"
        records, errors = [], []
        for asked in _list_of(request, "Identifiers", most=MOST_IDENTIFIERS):
            name = asked.get("FeatureGroupName", "") if isinstance(asked, dict) else ""
            for identifier in _list_of(asked, "RecordIdentifiersValueAsString", most=MOST_IDENTIFIERS):
                key = {"FeatureGroupName": name, "RecordIdentifierValueAsString": identifier}
                try:
                    found = self._present(self._online_group(name), identifier, asked.get("FeatureNames"), with_expiry)
                except ServiceError as error:
                    errors.append({**key, "ErrorCode": error.type_name, "ErrorMessage": error.message})
                    continue
                if found:
                    records.append({**key, **found})
        return {"Records": records, "Errors": errors, "UnprocessedIdentifiers": []}

    def delete_record(self, name: str, query: dict[str, list[str]]) -> Json:
        group = self._group_or_validation_error(name)
        self._check_target_stores(group, query.get("TargetStores"))
        identifier = _required(query, "RecordIdentifierValueAsString")
        event_time = group.read_event_time(_required(query, "EventTime"))
        mode = query.get("DeletionMode", ["SoftDelete"])[0]
        now = self._clock()
        if mode == "SoftDelete":
            self._storage.write([(group, StoredRecord(identifier, event_time, values=None))], now=now)
        elif mode == "HardDelete":
            stored = self._storage.read(group, identifier, now=now)
            if stored is not None and event_time < stored.event_time:
                raise validation_error("Validation Error: EventTime is older than that of the stored record")
            self._storage.remove(group, identifier)
        else:
            raise validation_error(f"Validation Error: DeletionMode {mode!r} is neither SoftDelete nor HardDelete")
        return {}

    def update_record(self, name: str, request: Json) -> Json:
        group = self._group_or_validation_error(name)
        self._check_target_stores(group, request.get("TargetStores"))
        if group.storage_type not in ("Standard_V2", "InMemory"):
            raise validation_error(f"Validation Error: FeatureGroup {group.name} is neither Standard_V2 nor InMemory")
        features = _list_of(request, "Features", most=100)
        identifier = request.get("RecordIdentifierValueAsString")
        changes = group.read_values(features)
        if changes[group.identifier_position] not in (None, identifier):
            raise validation_error("Validation Error: The record identifier can't be changed")
        now = self._clock()
        stored = self._storage.read(group, str(identifier), now=now)
        if stored is None or stored.values is None:
            raise ServiceError("ResourceNotFound", 404, f"Resource Not Found: no record {identifier} in {group.name}")
        given = changes[group.event_time_position]
        event_time = stored.event_time if given is None else group.read_event_time(given)
        if event_time < stored.event_time:
            raise ServiceError("ConflictException", 409, "EventTime is older than that of the stored record")
        values = [old if new is None else new for old, new in zip(group.decode(stored.values), changes, strict=True)]
        expires_at, ttl = stored.expires_at, request.get("TtlDuration")
        if ttl is not None:
            if given is None:
                raise validation_error("Validation Error: TtlDuration needs an EventTime in the request")
            expires_at = group.expiry(event_time, ttl)
        changed = replace(stored, event_time=event_time, values=group.encode(values), expires_at=expires_at)
        self._storage.write([(group, changed)], now=now)
        return {}

    def list_records(self, name: str, request: Json) -> Json:
        group = self._online_group(name)
        limit = request.get("MaxResults", MOST_IDENTIFIERS)
        if type(limit) is not int or not 1 <= limit <= MOST_IDENTIFIERS:
            raise validation_error(f"Validation Error: MaxResults must be from 1 to {MOST_IDENTIFIERS}")
        found = self._storage.identifiers(
            group,
            after=_from_token(request.get("NextToken")),
            limit=limit + 1,
            deleted=request.get("IncludeSoftDeletedRecords") is True,
            now=self._clock(),
        )
        page = found[:limit]
        answer: Json = {"RecordIdentifiers": page}
        if len(found) > limit:
            answer["NextToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
        return answer

    def _read_entry(self, entry: object, request_ttl: object) -> tuple[FeatureGroup, StoredRecord]:
        if not isinstance(entry, dict):
            raise validation_error("Validation Error: an entry must be an object")
        group = self._group_or_validation_error(entry.get("FeatureGroupName", ""))
        self._check_target_stores(group, entry.get("TargetStores"))
        ttl = entry.get("TtlDuration")
        return group, group.read_record(entry.get("Record"), request_ttl if ttl is None else ttl)

    def _present(self, group: FeatureGroup, identifier: str, wanted: list[str] | None, with_expiry: bool) -> Json | None:
        stored = self._storage.read(group, identifier, now=self._clock())
        if wanted is not None:
            group.check_names(wanted)
        if stored is None or stored.values is None:
            return None
        found: Json = {"Record": group.present(stored.values, wanted)}
        if with_expiry and stored.expires_at is not None:
            found["ExpiresAt"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stored.expires_at))
        return found

    def _online_group(self, name: str) -> FeatureGroup:
        group = self._find(name)
        if group is None:
            raise ServiceError("ResourceNotFound", 404, group_not_found(name))
        if not group.online:
            raise validation_error(f"Validation Error: FeatureGroup {name} has no online store")
        return group

    def _group_or_validation_error(self, name: str) -> FeatureGroup:
        """Writers of the real service learn of an unknown group by a ValidationError, readers by ResourceNotFound."""
        group = self._find(name)
        if group is None:
            raise validation_error(group_not_found(name))
        return group

    def _find(self, name_or_arn: object) -> FeatureGroup | None:
        return self._storage.groups.get(str(name_or_arn).rpartition("/")[2])

    def _check_target_stores(self, group: FeatureGroup, targets: object) -> None:
        """Only what reaches the online store is taken: a record meant for offline alone would be lost here."""
        if targets is not None and (
            not isinstance(targets, list) or not targets or any(target not in TARGET_STORES for target in targets)
        ):
            raise validation_error(f"Validation Error: TargetStores must be of {', '.join(TARGET_STORES)}")
        if not group.online or (targets is not None and "OnlineStore" not in targets):
            raise validation_error(
                "Validation Error: this local Feature Store keeps online records only; write offline files directly"
            )


def _list_of(request: object, key: str, *, most: int) -> list[Any]:
    items = request.get(key) if isinstance(request, dict) else None
    if not isinstance(items, list) or not 1 <= len(items) <= most:
        raise validation_error(f"Validation Error: {key} must have from 1 to {most} members")
    return items


def _required(query: dict[str, list[str]], key: str) -> str:
    if not query.get(key):
        raise validation_error(f"Validation Error: {key} is missing")
    return query[key][0]


def _from_token(token: object) -> str:
    if token is None:
        return ""
    try:
        return base64.urlsafe_b64decode(str(token)).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise validation_error("Validation Error: NextToken is not one that was given out") from None
