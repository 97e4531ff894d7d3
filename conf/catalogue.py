"""Loads the definitions of a folder, finds them by name, and says where in which file a problem lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from conf.errors import DefinitionError, UsageError, did_you_mean
from conf.specs import FeatureGroup, Source
from conf.yaml_file import Model, Place, YamlFile, load_model, parse_yaml

Definition = TypeVar("Definition", Source, FeatureGroup)


@dataclass(frozen=True)
class Catalogue:
    """All definitions of one folder."""

    sources: Mapping[str, Source]
    groups: Mapping[str, FeatureGroup]
    files: Mapping[str, YamlFile] = field(default_factory=dict, repr=False)

    def source(self, name: str) -> Source:
        return _find(name, self.sources, "source")

    def group(self, name: str) -> FeatureGroup:
        return _find(name, self.groups, "feature group")

    def select(self, names: Iterable[str] | None) -> tuple[FeatureGroup, ...]:
        """The named groups in order, all of them when `names` is None. Raises UsageError for an unknown one."""
        return tuple(self.groups.values()) if names is None else tuple(self.group(name) for name in names)

    def problem(self, definition: Source | FeatureGroup, place: Place, message: str) -> DefinitionError:
        """An error that points at a place inside a definition."""
        file = self.files.get(f"{type(definition).__name__}:{definition.name}")
        return file.error(place, message) if file else DefinitionError(f"{definition.name}: {message}")


def load_catalogue(folder: str | Path | None = None) -> Catalogue:
    """Load `sources/*.yaml` and `feature_groups/*.yaml` below `folder` (the shipped definitions when None).

    Raises UsageError for a folder without definitions, DefinitionError for a wrong one (every problem of a file, each with
    its line).
    """
    root: Traversable = resources.files("conf") if folder is None else Path(folder)
    if not root.is_dir():
        raise UsageError(f"--conf {folder}: no such folder; it should hold sources/*.yaml and feature_groups/*.yaml")
    files: dict[str, YamlFile] = {}
    sources = {item.name: item for item in _load_all(Source, root, "sources", files)}
    groups = {item.name: item for item in _load_all(FeatureGroup, root, "feature_groups", files)}
    if not sources:
        raise UsageError(f"--conf {folder}: no definitions; it should hold sources/*.yaml and feature_groups/*.yaml")
    catalogue = Catalogue(sources, groups, files)
    for source in sources.values():
        _check_references(source, catalogue)
    for group in groups.values():
        _check_sources_of(group, catalogue)
    return catalogue


def _load_all(model: type[Model], root: Traversable, folder: str, files: dict[str, YamlFile]) -> Iterator[Model]:
    place = root / folder
    found = (
        sorted((p for p in place.iterdir() if p.name.endswith((".yaml", ".yml"))), key=lambda p: p.name) if place.is_dir() else []
    )
    for path in found:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as problem:
            raise DefinitionError(f"{path.name}:1: not UTF-8 text") from problem
        file = parse_yaml(text, path.name)
        item = load_model(model, file)
        key = f"{model.__name__}:{getattr(item, 'name', '')}"
        if key in files:
            raise file.error(("name",), f"'{getattr(item, 'name', '')}' is defined in {files[key].name} too")
        files[key] = file
        yield item


def _check_references(source: Source, catalogue: Catalogue) -> None:
    for column, parent in source.references.items():
        if parent not in catalogue.sources:
            raise catalogue.problem(
                source,
                ("references", column),
                f"no source named '{parent}'{did_you_mean(parent, catalogue.sources)}; known: {', '.join(catalogue.sources)}",
            )


def _check_sources_of(group: FeatureGroup, catalogue: Catalogue) -> None:
    named: list[tuple[Place, str]] = [(("spine",), group.spine)]
    for index, item in enumerate(group.inputs):
        named.append((("inputs", index, "source"), item.source))
        if item.settled_by:
            named.append((("inputs", index, "settled_by", "source"), item.settled_by.source))
    for place, name in named:
        if name not in catalogue.sources:
            raise catalogue.problem(
                group,
                place,
                f"no source named '{name}'{did_you_mean(name, catalogue.sources)}; known: {', '.join(catalogue.sources)}",
            )
    if group.record_identifier not in catalogue.sources[group.spine].columns:
        columns = catalogue.sources[group.spine].columns
        raise catalogue.problem(
            group,
            ("record_identifier",),
            f"spine '{group.spine}' has no column '{group.record_identifier}'; columns: {', '.join(columns)}",
        )


def _find(name: str, known: Mapping[str, Definition], kind: str) -> Definition:
    if name not in known:
        raise UsageError(f"no {kind} named '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}")
    return known[name]
