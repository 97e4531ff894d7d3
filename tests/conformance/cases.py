"""Reads the cases of this folder (README.md says what they mean): typed rows, definitions, and what is expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from conf.specs import FeatureGroup, Source, UnionSource

FOLDER = Path(__file__).parent
_CASE = {"case", "why", "says", "as_of", "at", "now", "zone", "sources", "rows", "inputs", "derived", "group", "groups", "expect"}


class _Texts(yaml.SafeLoader):
    """Every scalar is the text that was written; only `null` is nothing."""


_Texts.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Case:
    """One question and its answer. One of `as_of` and `at` is given."""

    name: str
    zone: str
    as_of: date | None
    at: datetime | None
    now: datetime | None
    sources: Mapping[str, Source | UnionSource]
    rows: Mapping[str, list[dict[str, Any]]]
    group: FeatureGroup
    groups: Mapping[str, FeatureGroup]
    expect: Mapping[str, Mapping[str, str | None]]
    raw: Mapping[str, Any] = field(repr=False, default_factory=dict)


def shared_sources() -> dict[str, Source]:
    """Those that cases share."""
    return {name: _source(name, spec) for name, spec in _shared().items()}


def _shared() -> dict[str, Any]:
    return yaml.load((FOLDER / "sources.yaml").read_text(encoding="utf-8"), _Texts)


def load_cases() -> list[Case]:
    shared = _shared()
    return [case for path in sorted(FOLDER.glob("[0-9]*.yaml")) for case in _of_file(path, shared)]


def _of_file(path: Path, shared: Mapping[str, Any]) -> Iterator[Case]:
    document = yaml.load(path.read_text(encoding="utf-8"), _Texts)
    for written in document["cases"]:
        given = {name: document[name] for name in ("as_of", "zone") if name in document} | written
        if unknown := set(given) - _CASE:
            raise ValueError(f"{path.name}: {written['case']}: unknown keys {sorted(unknown)}")
        yield _case(f"{path.stem}: {given['case']}", given, shared)


def _case(name: str, given: Mapping[str, Any], shared: Mapping[str, Any]) -> Case:
    sources = {source: _source(source, spec) for source, spec in {**shared, **given.get("sources", {})}.items()}
    rows = {source: [_row(sources[source], row) for row in some] for source, some in given.get("rows", {}).items()}
    group = _group("g", given.get("group", {}) | {key: given[key] for key in ("inputs", "derived") if key in given})
    others = {other: _group(other, spec) for other, spec in given.get("groups", {}).items()}
    if group.spine == "people" and "people" not in rows:
        rows["people"] = [_row(sources["people"], {"person": one, "since": "2000-01-01T00:00:00Z"}) for one in given["expect"]]
    return Case(
        name=name,
        zone=given["zone"],
        as_of=date.fromisoformat(given["as_of"]) if "at" not in given else None,
        at=_typed(given["at"], "timestamp") if "at" in given else None,
        now=_typed(given["now"], "timestamp") if "now" in given else None,
        sources=sources,
        rows=rows,
        group=group,
        groups=others,
        expect=given["expect"],
        raw=given,
    )


def _source(name: str, spec: Mapping[str, Any]) -> Source | UnionSource:
    if "union_of" in spec:
        return UnionSource.model_validate({"name": name, **spec})
    return Source.model_validate({"name": name, "format": "csv", "location": f"{name}/*.csv", **spec})


def _group(name: str, spec: Mapping[str, Any]) -> FeatureGroup:
    return FeatureGroup.model_validate({"name": name, "record_identifier": "person", "spine": "people", **spec})


def _row(source: Source, written: Mapping[str, str | None]) -> dict[str, Any]:
    """Typed values. A row that doesn't name its known time was known when it happened."""
    row = {name: _typed(text, source.columns[name].type) for name, text in written.items()}
    known = source.known_time
    if known and known.column not in written:
        row[known.column] = row[source.event_time.column]
    return row


def _typed(text: str | None, kind: str) -> Any:
    if text is None:
        return None
    if kind == "timestamp":
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    return _READ[kind](text)


def read_like(value: object, text: str | None) -> Any:
    """What is expected, in the type of what came out; the text itself where it can't be read so."""
    if text is None or value is None:
        return text
    kind = next(kind for kind, python in _PYTHON if type(value) is python)
    try:
        return _typed(text, kind)
    except (ValueError, ArithmeticError, KeyError):
        return text


_READ: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "money": lambda text: Decimal(text).quantize(Decimal("0.01")),
    "boolean": lambda text: {"true": True, "false": False}[text],
    "date": date.fromisoformat,
}
_PYTHON = (
    ("boolean", bool), ("integer", int), ("number", float), ("money", Decimal), ("string", str), ("timestamp", datetime), ("date", date),
)  # fmt: skip
