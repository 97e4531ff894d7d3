"""A feature group of the local server, and what it takes for a record."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from stores.embedded.errors import validation_error
from stores.embedded.event_time import sortable, unix_seconds

NAME = re.compile(r"[a-zA-Z0-9]([_-]*[a-zA-Z0-9]){0,63}")
RESERVED_NAMES = frozenset({"is_deleted", "write_time", "api_invocation_time"})
FEATURE_TYPES = ("Integral", "Fractional", "String")
COLLECTION_TYPES = ("List", "Set", "Vector")
SECONDS_IN = {"Seconds": 1, "Minutes": 60, "Hours": 3600, "Days": 86_400, "Weeks": 604_800}
LONGEST_VALUE = 358_400  # characters of one value, and bytes of a whole record
LONGEST_IDENTIFIER = 2048  # bytes

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1

Json = dict[str, Any]
Value = str | list[str] | None


@dataclass(frozen=True)
class StoredRecord:
    """A record as it rests: its event time in sortable form and its values in definition order, null where absent."""

    identifier: str
    event_time: str
    values: bytes | None
    """None when the record was soft-deleted."""
    expires_at: int | None = None
    """Unix seconds from which the record is gone; None when it stays."""


@dataclass(frozen=True)
class FeatureGroup:
    """What was created, as DescribeFeatureGroup tells it; `number` keys its records and is never given out again."""

    number: int
    document: Json = field(hash=False)

    @property
    def name(self) -> str:
        return str(self.document["FeatureGroupName"])

    @property
    def arn(self) -> str:
        return str(self.document["FeatureGroupArn"])

    @property
    def online(self) -> bool:
        return bool(self.document.get("OnlineStoreConfig", {}).get("EnableOnlineStore"))

    @property
    def storage_type(self) -> str:
        return str(self.document["OnlineStoreConfig"].get("StorageType", "Standard"))

    @cached_property
    def definitions(self) -> list[Json]:
        return list(self.document["FeatureDefinitions"])

    @cached_property
    def names(self) -> list[str]:
        return [definition["FeatureName"] for definition in self.definitions]

    @cached_property
    def positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    @cached_property
    def identifier_position(self) -> int:
        return self.positions[self.document["RecordIdentifierFeatureName"]]

    @cached_property
    def event_time_position(self) -> int:
        return self.positions[self.document["EventTimeFeatureName"]]

    @cached_property
    def _types(self) -> list[str | None]:
        """The scalar type of each feature; None for a collection."""
        return [None if d.get("CollectionType") else d["FeatureType"] for d in self.definitions]

    def read_event_time(self, text: object) -> str:
        """Return `text` in sortable form. Raises: ServiceError when it isn't an event time of this group's kind."""
        fractional = self.definitions[self.event_time_position]["FeatureType"] == "Fractional"
        moment = sortable(text, fractional=fractional) if isinstance(text, str) else None
        if moment is None:
            wanted = "Unix seconds" if fractional else "ISO-8601 in UTC, such as 2025-06-30T16:00:00Z"
            raise validation_error(f"Validation Error: EventTime {str(text)[:64]!r} is not {wanted}")
        return moment

    def read_record(self, record: object, ttl: object = None) -> StoredRecord:
        """Check a record as PutRecord receives it. Raises: ServiceError naming the first thing that is wrong."""
        values = self.read_values(record)
        identifier = values[self.identifier_position]
        if not isinstance(identifier, str) or not identifier:
            name = self.names[self.identifier_position]
            raise validation_error(f"Validation Error: Record has no value for the record identifier feature '{name}'")
        if len(identifier.encode()) > LONGEST_IDENTIFIER:
            raise validation_error(f"Validation Error: Record identifier is longer than {LONGEST_IDENTIFIER} bytes")
        event_time = values[self.event_time_position]
        if event_time is None:
            name = self.names[self.event_time_position]
            raise validation_error(f"Validation Error: Record has no value for the event time feature '{name}'")
        moment = self.read_event_time(event_time)
        return StoredRecord(identifier, moment, self.encode(values), self.expiry(moment, ttl))

    def read_values(self, record: object) -> list[Value]:
        """Return the values of a list of FeatureValue in definition order, each checked against its type."""
        if not isinstance(record, list) or not record:
            raise validation_error("Validation Error: Record must have at least one feature value")
        positions, types = self.positions, self._types
        values: list[Value] = [None] * len(types)
        for item in record:
            try:
                name = item["FeatureName"]
                position = positions[name]
            except (TypeError, KeyError):
                name = item.get("FeatureName") if isinstance(item, dict) else item
                raise self._no_such_feature(name) from None
            if values[position] is not None:
                raise validation_error(f"Validation Error: Feature '{name}' is given more than once")
            text = item.get("ValueAsString")
            kind = types[position]
            if kind is None:
                values[position] = self._read_collection(item, self.definitions[position])
                continue
            if type(text) is not str or "ValueAsStringList" in item:
                raise validation_error(f"Validation Error: Feature '{name}' needs ValueAsString, and only that")
            if len(text) > LONGEST_VALUE:
                raise validation_error(f"Validation Error: Feature '{name}' exceeds {LONGEST_VALUE} characters")
            if kind != "String" and not _is_scalar(text, kind):
                raise _wrong_type(name, text, kind)
            values[position] = text
        return values

    def encode(self, values: list[Value]) -> bytes:
        encoded = orjson.dumps(values)
        if len(encoded) > LONGEST_VALUE:
            raise validation_error(f"Validation Error: Record exceeds {LONGEST_VALUE} bytes")
        return encoded

    def decode(self, values: bytes) -> list[Value]:
        """Values in definition order; those of features added after the record was written are None."""
        stored: list[Value] = orjson.loads(values)
        return stored + [None] * (len(self.definitions) - len(stored))

    def present(self, values: bytes, wanted: list[str] | None = None) -> list[Json]:
        """A record as GetRecord gives it: in definition order or as `wanted` says, absent features left out."""
        row = orjson.loads(values)
        if wanted is None:
            pairs = list(zip(self.names, row, strict=False))
        else:
            pairs = [(name, row[at]) for name in wanted if (at := self.positions[name]) < len(row)]
        return [
            {"FeatureName": name, "ValueAsString": value}
            if isinstance(value, str)
            else {"FeatureName": name, "ValueAsStringList": value}
            for name, value in pairs
            if value is not None
        ]

    def expiry(self, event_time: str, ttl: object) -> int | None:
        """Unix seconds at which a record ends: event time + its own duration, else the group's; None without either."""
        duration = ttl if ttl is not None else self.document.get("OnlineStoreConfig", {}).get("TtlDuration")
        return None if duration is None else unix_seconds(event_time) + ttl_seconds(duration)

    def check_names(self, names: list[str]) -> None:
        """Raises: ServiceError naming the first that isn't a feature of this group."""
        for name in names:
            if name not in self.positions:
                raise self._no_such_feature(name)

    def _no_such_feature(self, name: object) -> Exception:
        return validation_error(f"Validation Error: FeatureGroup {self.name} has no feature with name {name}")

    def _read_collection(self, item: Json, definition: Json) -> list[str]:
        name, kind = definition["FeatureName"], definition["FeatureType"]
        elements = item.get("ValueAsStringList")
        if not isinstance(elements, list) or "ValueAsString" in item:
            raise validation_error(f"Validation Error: Feature '{name}' needs ValueAsStringList, and only that")
        for element in elements:
            if not isinstance(element, str) or not _is_scalar(element, kind):
                raise _wrong_type(name, element, kind)
        if definition["CollectionType"] == "Set" and len(set(elements)) < len(elements):
            raise validation_error(f"Validation Error: Feature '{name}' is a Set and has a value twice")
        if definition["CollectionType"] == "Vector":
            dimension = definition["CollectionConfig"]["VectorConfig"]["Dimension"]
            if len(elements) != dimension:
                raise validation_error(f"Validation Error: Feature '{name}' needs {dimension} values")
        return elements


def ttl_seconds(duration: object) -> int:
    """Seconds of a TtlDuration. Raises: ServiceError when it isn't one."""
    if isinstance(duration, Mapping):
        unit, value = duration.get("Unit"), duration.get("Value")
        if unit in SECONDS_IN and type(value) is int and value >= 1:
            return SECONDS_IN[str(unit)] * value
    raise validation_error(f"Validation Error: TtlDuration needs a Unit of {', '.join(SECONDS_IN)} and a Value from 1")


def _is_scalar(text: str, kind: str) -> bool:
    if kind == "String":
        return True
    if kind == "Integral":
        return _INTEGER.fullmatch(text) is not None and len(text) < 40 and _SMALLEST <= int(text) <= _LARGEST
    return _NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def _wrong_type(name: str, text: object, kind: str) -> Exception:
    return validation_error(f"Validation Error: Value {str(text)[:64]!r} of feature '{name}' is not {kind}")
