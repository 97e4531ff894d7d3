"""Loads the definitions of a folder, finds them by name, and says where in which file a problem lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from conf.errors import DefinitionError, Problems, UsageError, did_you_mean
from conf.expressions import ExpressionError, parse_condition
from conf.specs import FeatureGroup, Source, UnionSource
from conf.training_sets import TrainingSet
from conf.yaml_file import Model, Place, YamlFile, load_model, parse_yaml

Definition = TypeVar("Definition", Source, FeatureGroup, UnionSource, TrainingSet)


@dataclass(frozen=True)
class Catalogue:
    """All definitions of one folder. `sources` are curated; `unions` are read from these."""

    sources: Mapping[str, Source]
    groups: Mapping[str, FeatureGroup]
    files: Mapping[str, YamlFile] = field(default_factory=dict, repr=False)
    unions: Mapping[str, UnionSource] = field(default_factory=dict)
    training_sets: Mapping[str, TrainingSet] = field(default_factory=dict)

    def source(self, name: str) -> Source:
        return _find(name, self.sources, "source")

    def group(self, name: str) -> FeatureGroup:
        return _find(name, self.groups, "feature group")

    def training_set(self, name: str) -> TrainingSet:
        return _find(name, self.training_sets, "training set")

    def select(self, names: Iterable[str] | None) -> tuple[FeatureGroup, ...]:
        """The named groups in order, all of them when `names` is None. Raises UsageError for an unknown one."""
        return tuple(self.groups.values()) if names is None else tuple(self.group(name) for name in names)

    def problem(
        self, definition: Source | UnionSource | FeatureGroup | TrainingSet, place: Place, message: str
    ) -> DefinitionError:
        """An error that points at a place inside a definition."""
        file = self.files.get(f"{type(definition).__name__}:{definition.name}")
        return file.error(place, message) if file else DefinitionError(f"{definition.name}: {message}")


def load_catalogue(folder: str | Path | None = None) -> Catalogue:
    """Load `sources/*.yaml`, `feature_groups/*.yaml` and `training_sets/*.yaml` below `folder` (the shipped ones when None).

    Raises UsageError for a folder without definitions, DefinitionError for wrong ones (every problem of every file, each with
    its line).
    """
    root: Traversable = resources.files("conf") if folder is None else Path(folder)
    if not root.is_dir():
        raise UsageError(f"--conf {folder}: no such folder; it should hold sources/*.yaml and feature_groups/*.yaml")
    files: dict[str, YamlFile] = {}
    problems = Problems()
    delivered = list(_load_all(_kind_of_source, root, "sources", files, problems))
    sources = {item.name: item for item in delivered if isinstance(item, Source)}
    unions = {item.name: item for item in delivered if isinstance(item, UnionSource)}
    groups = {item.name: item for item in _load_all(lambda file: FeatureGroup, root, "feature_groups", files, problems)}
    training_sets = {item.name: item for item in _load_all(lambda file: TrainingSet, root, "training_sets", files, problems)}
    problems.raise_all()
    if not sources:
        raise UsageError(f"--conf {folder}: no definitions; it should hold sources/*.yaml and feature_groups/*.yaml")
    catalogue = Catalogue(sources, groups, files, unions, training_sets)
    for source in sources.values():
        with problems.gather():
            _check_references(source, catalogue)
            _check_rules(source, catalogue)
    with problems.gather():
        _check_set_aside(catalogue)
    for union in unions.values():
        with problems.gather():
            _check_members(union, catalogue)
    for group in groups.values():
        with problems.gather():
            _check_sources_of(group, catalogue)
    problems.raise_all()
    return catalogue


def _kind_of_source(file: YamlFile) -> type[Source] | type[UnionSource]:
    return UnionSource if isinstance(file.data, dict) and "union_of" in file.data else Source


def _load_all(
    kind: Callable[[YamlFile], type[Model]], root: Traversable, folder: str, files: dict[str, YamlFile], problems: Problems
) -> Iterator[Model]:
    """A definition a file; those that are wrong are left out, and told with the problems."""
    names: dict[str, str] = {}
    place = root / folder
    found = (
        sorted((p for p in place.iterdir() if p.name.endswith((".yaml", ".yml"))), key=lambda p: p.name) if place.is_dir() else []
    )
    for path in found:
        with problems.gather():
            file = _parse(path)
            item = load_model(kind(file), file)
            name = getattr(item, "name", "")
            if name in names:
                raise file.error(("name",), f"'{name}' is defined in {names[name]} too")
            names[name] = file.name
            files[f"{type(item).__name__}:{name}"] = file
            yield item


def _parse(path: Traversable) -> YamlFile:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise DefinitionError(f"{path.name}:1: not UTF-8 text") from problem
    return parse_yaml(text, path.name)


def _check_references(source: Source, catalogue: Catalogue) -> None:
    for column, parent in source.references.items():
        _known(parent, catalogue.sources, source, ("references", column), catalogue)


def _check_rules(source: Source, catalogue: Catalogue) -> None:
    types = {name: column.type for name, column in source.columns.items()}
    for index, rule in enumerate(source.rules):
        try:
            parse_condition(rule.expr, types, zone=source.zone)
        except ExpressionError as problem:
            raise catalogue.problem(source, ("rules", index, "expr"), str(problem)) from problem


def _check_set_aside(catalogue: Catalogue) -> None:
    """At most one ledger of the rows set aside, which takes columns over as they are."""
    ledgers = [source for source in catalogue.sources.values() if not source.is_delivered]
    for another in ledgers[1:]:
        raise catalogue.problem(another, ("format",), f"'{ledgers[0].name}' has `format: set_aside` too; one source can have it")
    for ledger in ledgers:
        for name in ledger.carried:
            wanted = ledger.columns[name].type
            for source in catalogue.sources.values():
                column = source.columns.get(name)
                if column is None or not source.is_delivered or column.personal == "drop":
                    continue
                found = "string" if column.personal == "hmac" else column.type
                if found != wanted:
                    told = f"'{name}' is {wanted} here and {found} in '{source.name}': a column is taken over as it is"
                    raise catalogue.problem(ledger, ("columns", name), told)


def _check_members(union: UnionSource, catalogue: Catalogue) -> None:
    for member in union.union_of:
        _known(member, catalogue.sources, union, ("union_of", member), catalogue)


def _check_sources_of(group: FeatureGroup, catalogue: Catalogue) -> None:
    """Sources and groups that a group names; its expressions are checked when it is compiled."""
    read: dict[str, Source | UnionSource] = {**catalogue.sources, **catalogue.unions}
    if group.spine is not None:
        _known(group.spine, read, group, ("spine",), catalogue)
        _check_spine(group, read[group.spine], catalogue)
    for index, item in enumerate(group.inputs):
        place: Place = ("inputs", index)
        _known(item.source, read, group, (*place, "source"), catalogue)
        if item.parent:
            _known(item.parent.source, catalogue.sources, group, (*place, "parent", "source"), catalogue)
        if item.settled_by:
            _known(item.settled_by.source, catalogue.sources, group, (*place, "settled_by", "source"), catalogue)
    for index, name in enumerate(group.reads.sources):
        _known(name, catalogue.sources, group, ("reads", "sources", index), catalogue)
    for index, name in enumerate(group.reads.groups):
        others = [other for other in catalogue.groups if other != group.name]
        _known(name, others, group, ("reads", "groups", index), catalogue, "feature group")
    for index, members in enumerate(group.rollup.members if group.rollup else ()):
        _known(members.group, catalogue.groups, group, ("rollup", "members", index, "group"), catalogue, "feature group")
        for name in members.beside:
            _known(name, catalogue.groups, group, ("rollup", "members", index, "beside", name), catalogue, "feature group")


def _check_spine(group: FeatureGroup, spine: Source | UnionSource, catalogue: Catalogue) -> None:
    """It has the record identifier's column, or an input of the group says how its rows get one."""
    if isinstance(spine, UnionSource):
        columns = list(dict.fromkeys(name for told in spine.union_of.values() for name in told))
    else:
        columns = list(spine.columns)
    said = any(item.source == spine.name and item.entity for item in group.inputs)
    if group.record_identifier not in columns and not said:
        told = f"spine '{spine.name}' has no column '{group.record_identifier}'; columns: {', '.join(columns)}"
        raise catalogue.problem(group, ("record_identifier",), told)


def _known(
    name: str,
    known: Iterable[str],
    definition: Source | UnionSource | FeatureGroup,
    place: Place,
    catalogue: Catalogue,
    kind: str = "source",
) -> None:
    if name not in known:
        told = f"no {kind} named '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}"
        raise catalogue.problem(definition, place, told)


def _find(name: str, known: Mapping[str, Definition], kind: str) -> Definition:
    if name not in known:
        raise UsageError(f"no {kind} named '{name}'{did_you_mean(name, known)}; known: {', '.join(known) or 'none'}")
    return known[name]
