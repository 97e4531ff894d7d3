"""The groups of a catalogue with the columns that they say, so that one may name another's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from conf.errors import Problems
from conf.expressions import column_of
from conf.specs import Derived, FeatureGroup
from conf.yaml_file import Place
from transforms.feature_group.aggregates import aggregate_columns
from transforms.feature_group.checker import Checker
from transforms.feature_group.daily import daily_columns
from transforms.feature_group.derived import DerivedDraft
from transforms.feature_group.drafts import Draft
from transforms.feature_group.inputs import InputReader, read_input
from transforms.feature_group.names import Names
from transforms.feature_group.sql import Sql
from transforms.feature_group.streams import Placed, StreamKey, Streams
from transforms.feature_group.tables import table_of


@dataclass(frozen=True)
class GroupDraft:
    """A group whose inputs are compiled; its derived columns are when they are used."""

    checker: Checker
    spine: Placed
    presence: tuple[Placed, ...]
    answered: Mapping[str, Draft]
    derived: Mapping[str, DerivedDraft]

    @property
    def group(self) -> FeatureGroup:
        return self.checker.group

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, those of `internal` too."""
        return (*self.answered, *self.derived)


def draft_group(checker: Checker, streams: Streams) -> GroupDraft:
    """Raises DefinitionError for all that of the inputs can't be, and for names that are taken or refused."""
    group, names, problems = checker.group, Names(checker), Problems()
    readers: list[InputReader] = []
    answered: dict[str, Draft] = {}
    derived: dict[str, DerivedDraft] = {}
    for index, item in enumerate(group.inputs):
        with problems.gather():
            readers.append(read_input(checker, streams, ("inputs", index), item))
            for compiled in _answered(index, readers[-1], names):
                with problems.gather():
                    answered |= {draft.column.name: draft for draft in compiled()}
    for index, spec in enumerate(group.derived):
        with problems.gather():
            derived |= {draft.name: draft for draft in _derived(("derived", index), spec, names)}
    problems.raise_all()
    presence = tuple(streams.presence(reader.key) for reader in readers)
    return GroupDraft(checker, streams.presence(_spine(checker, readers)), presence, answered, derived)


def _answered(index: int, reader: InputReader, names: Names) -> Iterator[Callable[[], Iterable[Draft]]]:
    """What compiles each feature's columns."""
    item, place = reader.item, ("inputs", index)
    for number, aggregate in enumerate(item.aggregates):
        yield partial(aggregate_columns, (*place, "aggregates", number), aggregate, reader, names)
    for number, state in enumerate(item.states):
        yield partial(aggregate_columns, (*place, "states", number), state, reader, names)
    for number, daily in enumerate(item.daily):
        yield partial(daily_columns, (*place, "daily", number), daily, reader, names)


def _derived(place: Place, spec: Derived, names: Names) -> Iterator[DerivedDraft]:
    for window in spec.windows or (None,):
        for value in spec.values if spec.one_hot else (None,):
            yield DerivedDraft(names.take(place, spec.name, part=value, window=window), spec, place, window, value)


def _spine(checker: Checker, readers: Sequence[InputReader]) -> StreamKey:
    """The rows whose entities get a row: by the record identifier's column, or as the group's input of that source has them."""
    group = checker.group
    assert group.spine is not None
    table = table_of(group.spine, checker.catalogue, checker.zone)
    identifier = group.record_identifier
    if identifier in table.columns:
        entity = Sql.of(column_of(identifier, table.columns[identifier]))  # as an input of the same rows has it
        return StreamKey(identifier, table.name, entity, members=table.members)
    return next(reader.key for reader in readers if reader.item.source == group.spine and reader.item.entity)
