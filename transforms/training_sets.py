"""Compiles a training set: the columns that it takes of each feature group, what it refuses, and its target. No Spark."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from conf.catalogue import Catalogue
from conf.errors import DefinitionError, did_you_mean
from conf.specs import Aggregate, Daily, Derived, FeatureGroup
from conf.training_sets import Choice, Target, TrainingSet
from conf.windows import Window
from conf.yaml_file import Place, YamlFile
from transforms.feature_group import LIFETIME, Column, Compiled, CompiledGroup, WindowColumn, compile_groups
from transforms.feature_group.compiled import digest
from transforms.hindsight import with_hindsight
from transforms.operations import build_operation
from transforms.schedule import Step
from transforms.training_rows import Outcome, TrainingRows, on_spine_name, recency_name

SINCE_T = Window("since")


@dataclass(frozen=True)
class CompiledTrainingSet:
    """A training set that can be made.

    `features` has the streams that its features are answered from, `outcomes` those of its target. `version`: the hash of what it
    means.
    """

    spec: TrainingSet
    rows: TrainingRows
    features: Compiled
    outcomes: Compiled | None
    version: str

    @property
    def feature_streams(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stream for group in self.rows.groups for stream in group.streams))

    @property
    def outcome_streams(self) -> tuple[str, ...]:
        return self.rows.outcome.group.streams if self.rows.outcome else ()

    @property
    def outcome_sources(self) -> tuple[str, ...]:
        """The sources that tell what happened."""
        if self.outcomes is None or self.rows.outcome is None:
            return ()
        return self.outcomes.sources_of(self.rows.outcome.group)

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that it is made from."""
        found = [source for group in self.rows.groups for source in self.features.sources_of(group)]
        return tuple(dict.fromkeys([*found, *self.outcome_sources]))


def compile_training_set(spec: TrainingSet, catalogue: Catalogue, zone: str) -> CompiledTrainingSet:
    """Raises DefinitionError with the file and line of everything that is refused.

    That is: unknown groups and features; features that look into the target's period, or are not for scoring, or are made from
    such; a target with windows of its own; names that are there twice.
    """
    compiled = compile_groups(catalogue, zone)
    chosen = _Chooser(spec, catalogue, compiled).choose()
    known = compiled if spec.grain == "day" else compile_groups(without_grace(catalogue), zone)
    groups = tuple(
        replace(_narrowed(known.groups[name], columns), version=compiled.groups[name].version) for name, columns in chosen.items()
    )
    outcome, outcomes = _compile_target(spec, catalogue, zone)
    rows = TrainingRows(
        entity=spec.record_identifier,
        zone=zone,
        grain=spec.grain,
        days_before=spec.days_before,
        groups=groups,
        history=_history(groups, spec.record_identifier),
        outcome=outcome,
        label_columns=tuple({**spec.label_targets, **spec.labels.carry}.items()),
    )
    _check_names(spec, catalogue, rows)
    _check_step(spec, catalogue)
    return CompiledTrainingSet(spec, rows, known, outcomes, _version(spec, rows))


def _version(spec: TrainingSet, rows: TrainingRows) -> str:
    meaning = {
        "entity": rows.entity,
        "zone": rows.zone,
        "grain": rows.grain,
        "days_before": rows.days_before,
        "features": [[group.name, group.version, [column.name for column in group.columns]] for group in rows.groups],
        "target": [rows.outcome.group.version, str(rows.outcome.horizon), rows.outcome.settling] if rows.outcome else None,
        "labels": rows.label_columns,
        "read": [spec.labels.zone, spec.labels.null_values],
    }
    return digest(meaning, 16)


# ---- features


class _Chooser:
    """Finds the columns that are asked for, and collects what is wrong with them."""

    def __init__(self, spec: TrainingSet, catalogue: Catalogue, compiled: Compiled) -> None:
        self.spec = spec
        self.catalogue = catalogue
        self.compiled = compiled
        self.problems: list[DefinitionError] = []

    def choose(self) -> dict[str, list[str]]:
        """The columns of each group, in the order of its definition."""
        chosen = {}
        for name, choice in self.spec.features.items():
            if self._is_usable(name):
                places = dict(self._columns(self.compiled.groups[name], choice))
                for column, place in places.items():
                    self._check(self.compiled.groups[name], column, place)
                chosen[name] = list(places)
        if self.problems:
            raise DefinitionError("\n".join(dict.fromkeys(map(str, self.problems))))
        return chosen

    def _fail(self, place: Place, message: str) -> None:
        self.problems.append(self.catalogue.problem(self.spec, place, message))

    def _is_usable(self, name: str) -> bool:
        place, known = ("features", name), self.catalogue.groups
        if name not in known:
            self._fail(place, f"no feature group named '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}")
        elif known[name].record_identifier != self.spec.record_identifier:
            told = f"{name} is a group of {known[name].record_identifier}, this training set one of {self.spec.record_identifier}"
            self._fail(place, f"{told}; take groups of one record identifier")
        elif name not in self.compiled.groups:
            made = "by a Python function, which gives" if known[name].function else "of other groups' rows, which are of"
            told = f"{name} is made {made} whole days"
            self._fail(place, f"{told}; a training set takes groups that are answered for any moment")
        else:
            return True
        return False

    def _columns(self, group: CompiledGroup, choice: Choice) -> Iterator[tuple[str, Place]]:
        """Each column that is chosen, with the place that asks for it."""
        asked: dict[str, Place] = {}
        for key in ("only", "all_but"):
            for index, text in enumerate(getattr(choice, key)):
                place = self._place(group.name, key, index)
                found = [column.name for column in group.columns if text in (column.name, column.feature)]
                if not found:
                    self._fail(place, self._unknown(group, text))
                asked |= dict.fromkeys(found, place)
        for column in group.columns:
            if not choice.only and column.name not in asked:
                yield column.name, ("features", group.name)
            elif choice.only and column.name in asked:
                yield column.name, asked[column.name]

    def _place(self, group: str, key: str, index: int) -> Place:
        file = self.catalogue.files.get(f"TrainingSet:{self.spec.name}")
        is_list = file is not None and isinstance(file.data["features"][group], list)
        return ("features", group, index) if is_list else ("features", group, key, index)

    def _unknown(self, group: CompiledGroup, text: str) -> str:
        if any(column.internal and text in (column.name, column.feature) for column in _columns(group).values()):
            return f"'{text}' is internal to {group.name}: for its derived columns only, not published"
        features = dict.fromkeys(column.feature for column in group.columns)
        near = did_you_mean(text, [*features, *(column.name for column in group.columns)])
        return f"{group.name} has no feature '{text}'{near}; features: {', '.join(features)}"

    def _check(self, group: CompiledGroup, name: str, place: Place) -> None:
        """Refuse a column that looks into the target's period or isn't for scoring, or that is made from one."""
        columns = _columns(group)
        ahead = {item.column.name: item.window for item in group.windows if item.ahead}
        for used in _made_from(group, name):
            told = f"{group.name}.{name}" if used == name else f"{group.name}.{name} is made from {used}, which"
            if used in ahead:
                self._fail(place, f"{told} looks at the {ahead[used].count} local days after T, {self._period()}; leave it out")
            if columns[used].scoring == "forbidden":
                self._fail(place, f"{told} is marked `scoring: forbidden`: for reporting, not for models; leave it out")

    def _period(self) -> str:
        if self.spec.target is None:
            return "of which the labels tell"
        horizon = self.spec.target.horizon
        length = f"{horizon.count} {'local days' if horizon.kind == 'days' else 'months'}"
        return f"which lie in the target's period, from T to {length} later"


def _columns(group: CompiledGroup) -> dict[str, Column]:
    """Every column by name, the internal ones too."""
    every = [item.column for item in group.windows] + [item.column for item in group.dailies]
    return {column.name: column for column in every + [item.column for item in group.derived]}


def _made_from(group: CompiledGroup, name: str) -> list[str]:
    """A column and all that it is made from."""
    uses = {item.column.name: item.uses for item in group.derived}
    columns = _columns(group)
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in columns and one not in found:
            found[one] = None
            waiting += uses.get(one, ())
    return list(found)


def _narrowed(group: CompiledGroup, names: Collection[str]) -> CompiledGroup:
    """The group with these columns only, and, as internal ones, what they are made from. Its version stays."""
    blanked = [group.blank_unless] if group.blank_unless else []
    needed = {used for name in (*names, *blanked) for used in _made_from(group, name)}

    def kept(column: Column) -> Column:
        return column if column.name in names else replace(column, internal=True)

    return replace(
        group,
        windows=tuple(replace(item, column=kept(item.column)) for item in group.windows if item.column.name in needed),
        dailies=tuple(replace(item, column=kept(item.column)) for item in group.dailies if item.column.name in needed),
        derived=tuple(replace(item, column=kept(item.column)) for item in group.derived if item.column.name in needed),
    )


def _history(groups: Sequence[CompiledGroup], entity: str) -> CompiledGroup:
    """Columns that tell of each group whether the entity is on its spine, and how old its newest fact of each input is."""
    windows = []
    for number, group in enumerate(groups):
        windows.append(_lifetime(on_spine_name(number), "any", group.spine))
        windows += [_lifetime(recency_name(number, index), "recency", place) for index, place in enumerate(group.presence)]
    presence = tuple(dict.fromkeys(place for group in groups for place in group.presence))
    return CompiledGroup("history", entity, groups[0].spine, presence, tuple(windows), (), "")


def _lifetime(name: str, op: str, place: tuple[str, str, str]) -> WindowColumn:
    operation = build_operation(op, {})
    column = Column(name, name, operation.type_of("boolean"), "", "", False, False, "allowed", op, None, None, "boolean")
    return WindowColumn(column, *place, LIFETIME, 0, False, operation)


def without_grace(catalogue: Catalogue) -> Catalogue:
    """To the microsecond: what became known within a grace after T wasn't known at T."""
    sources = {name: source.model_copy(update={"grace": timedelta()}) for name, source in catalogue.sources.items()}
    return replace(catalogue, sources=sources)


# ---- the target


def _compile_target(spec: TrainingSet, catalogue: Catalogue, zone: str) -> tuple[Outcome | None, Compiled | None]:
    """The target as a group that is answered at the end of the period, with today's knowledge."""
    target = spec.target
    if target is None:
        return None, None
    names = set(_of_the_period(spec, target, catalogue))
    spine = catalogue.group(next(iter(spec.features))).spine
    group = FeatureGroup(
        name=spec.name, record_identifier=spec.record_identifier, spine=spine, inputs=target.inputs, derived=target.derived
    )
    file = catalogue.files.get(f"TrainingSet:{spec.name}")
    files = {f"FeatureGroup:{spec.name}": _inside(file, "target")} if file else {}
    alone = replace(with_hindsight(catalogue), groups={spec.name: group}, files=files)
    compiled = compile_groups(alone, zone)
    made = compiled.groups[spec.name]
    windows = tuple(replace(item, window=SINCE_T) if item.column.feature in names else item for item in made.windows)
    dailies = tuple(replace(item, window=SINCE_T) for item in made.dailies)
    return Outcome(replace(made, windows=windows, dailies=dailies), target.horizon, target.settling), compiled


def _of_the_period(spec: TrainingSet, target: Target, catalogue: Catalogue) -> Iterator[str]:
    """The features whose window is the period: all but states. Raises DefinitionError for one that says a window of its own."""
    places: dict[Place, Aggregate | Daily | Derived] = {("derived", n): item for n, item in enumerate(target.derived)}
    for number, item in enumerate(target.inputs):
        places |= {("inputs", number, "aggregates", n): one for n, one in enumerate(item.aggregates)}
        places |= {("inputs", number, "daily", n): one for n, one in enumerate(item.daily)}
    for place, feature in places.items():
        for key in ("windows", "lag", "ahead"):
            if getattr(feature, key, None):
                told = f"the window of a target is its period, from T to {target.horizon} later; leave `{key}` out"
                raise catalogue.problem(spec, ("target", *place, key), told)
        if not isinstance(feature, Derived):
            yield feature.name


def _inside(file: YamlFile, key: str) -> YamlFile:
    """A part of a file as a file of its own, with the lines of the whole."""
    lines: dict[Place, int] = {place[1:]: line for place, line in file.lines.items() if place[:1] == (key,)}
    return YamlFile(file.name, file.data[key], lines)


# ---- names and days


def _check_names(spec: TrainingSet, catalogue: Catalogue, rows: TrainingRows) -> None:
    taken: dict[str, str] = {}
    for name, what, place in _named(spec, rows):
        if name in taken:
            told = f"'{name}' is {what}, and {taken[name]} too"
            way = "leave it out of one" if place[0] == "features" else "give one another name"
            raise catalogue.problem(spec, place, f"{told}; {way}")
        taken[name] = what


def _named(spec: TrainingSet, rows: TrainingRows) -> Iterator[tuple[str, str, Place]]:
    for field in rows.key_fields:
        yield field.name, "a column that every row has", ("record_identifier",)
    for key, columns in (("targets", spec.label_targets), ("carry", spec.labels.carry)):
        for name in columns:
            yield name, "a column of the labels", ("labels", key, name)
    for column in rows.outcome.group.columns if rows.outcome else ():
        yield column.name, "a column of the target", ("target",)
    for group in rows.groups:
        for field in rows.group_fields(group):
            yield field.name, f"a column of {group.name}", ("features", group.name)


def _check_step(spec: TrainingSet, catalogue: Catalogue) -> None:
    if spec.spine is None:
        return
    try:
        Step.of(spec.spine.every)
    except ValueError as problem:
        raise catalogue.problem(spec, ("spine", "every"), str(problem)) from problem
    if spec.spine.to is not None and spec.spine.to < spec.spine.from_:
        raise catalogue.problem(spec, ("spine", "to"), f"{spec.spine.to} comes before the first day, {spec.spine.from_}")
