"""Puts a compiled group together: its own columns, and those of other groups that they are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from conf.errors import Problems, did_you_mean
from conf.expressions import Expression, ExpressionError, UnknownColumnError, column_of
from conf.specs import FeatureGroup
from conf.yaml_file import Place
from transforms.feature_group import words
from transforms.feature_group.compiled import Column, CompiledGroup, DerivedColumn
from transforms.feature_group.derived import DerivedDraft, make
from transforms.feature_group.drafts import DailyDraft, Draft, StreamsByKey, WindowDraft
from transforms.feature_group.library import GroupDraft
from transforms.feature_group.names import OF_THE_ROW
from transforms.feature_group.sql import Sql
from transforms.feature_group.streams import Placed

Library = Mapping[str, GroupDraft]


class Assembly:
    """One group. `column` compiles a column when something is made from it, whichever group says it."""

    def __init__(self, draft: GroupDraft, library: Library, later: Mapping[str, FeatureGroup]) -> None:
        self.draft = draft
        self.library = library
        self.later = later
        self.answered: dict[str, Draft] = dict(draft.answered)
        self.derived: dict[str, DerivedColumn] = {}
        self._making: list[str] = []
        problems = Problems()
        for name in draft.derived:
            with problems.gather():
                self.column(draft, name)
        problems.raise_all()
        self.blank_unless = self._blank_unless()

    def column(self, home: GroupDraft, name: str) -> Expression:
        """A column of `home` by the name that it has here, compiled into this group. Raises DefinitionError for a cycle."""
        here = name if home is self.draft else f"{home.group.name}.{name}"
        if name in home.answered:
            if here not in self.answered:
                self.answered[here] = home.answered[name].renamed(here)
            return _reference(self.answered[here].column)
        if here not in self.derived:
            self._derive(home, home.derived[name], here)
        return _reference(self.derived[here].column)

    def finish(self, streams: StreamsByKey) -> CompiledGroup:
        """The group without its version."""
        windows = [draft.finish(streams) for draft in self.answered.values() if isinstance(draft, WindowDraft)]
        dailies = [draft.finish(streams) for draft in self.answered.values() if isinstance(draft, DailyDraft)]
        own = [self.derived[name] for name in self.draft.derived]
        others = [column for name, column in self.derived.items() if name not in self.draft.derived]

        def place(placed: Placed) -> tuple[str, str, str]:
            return streams[placed.key].name, placed.clock.name, placed.value.name

        return CompiledGroup(
            name=self.draft.group.name,
            entity=self.draft.group.record_identifier,
            spine=place(self.draft.spine),
            presence=tuple(dict.fromkeys(place(placed) for placed in self.draft.presence)),
            windows=tuple(replace(item, column=self._blanked(item.column)) for item in windows),
            dailies=tuple(replace(item, column=self._blanked(item.column)) for item in dailies),
            derived=tuple(replace(item, column=self._blanked(item.column)) for item in (*own, *others)),
            version="",
            blank_unless=self.blank_unless,
        )

    def _derive(self, home: GroupDraft, draft: DerivedDraft, here: str) -> None:
        if here in self._making:
            path = " <- ".join([*self._making[self._making.index(here) :], here])
            raise home.checker.problem(draft.place, f"'{draft.name}' is made from itself: {path}")
        self._making.append(here)
        try:
            made = make(draft, home.checker, Scope(self, home))
        finally:
            self._making.pop()
        if draft.spec.null_when and not made.null_when:
            raise home.checker.problem((*draft.place, "null_when"), f"'{draft.name}' is never null, so `null_when` is never true")
        column = Column(
            name=here,
            feature=draft.spec.name,
            type=made.expression.type,
            words=words.of_derived(draft.spec, draft.window, made.formula),
            null_when=draft.spec.null_when or made.null_when,
            online=draft.spec.online and home.group.online,
            internal=draft.spec.internal or home is not self.draft,
            scoring=draft.spec.scoring,
            window=draft.window,
            by_value=draft.value,
        )
        self.derived[here] = DerivedColumn(column, Sql.of(made.expression), tuple(sorted(made.expression.columns)))

    def _blank_unless(self) -> str | None:
        name, checker = self.draft.group.blank_unless, self.draft.checker
        if name is None:
            return None
        place: Place = ("blank_unless",)
        try:
            found = Scope(self, self.draft)[name]
        except ExpressionError as problem:
            raise checker.problem(place, str(problem)) from problem
        if found.type != "boolean":
            raise checker.problem(place, f"'{name}' is {found.type}; `blank_unless` takes a boolean column")
        return found.text

    def _blanked(self, column: Column) -> Column:
        if self.blank_unless is None or column.internal or column.name == self.blank_unless:
            return column
        rules = filter(None, (column.null_when, f"{self.draft.group.blank_unless} is not true"))
        return replace(column, null_when="; or ".join(rules))


def _reference(column: Column) -> Expression:
    return column_of(column.name, column.type, nullable=column.nullable)


class Scope(Mapping[str, Expression]):
    """The columns that derived columns of `home` may name, compiled into a group when they are.

    A plain name is a column of `home`, of the row itself, or of the one other group with the same record identifier that has it;
    `group.column` says which. Raises UnknownColumnError for a name that isn't there.
    """

    def __init__(self, assembly: Assembly, home: GroupDraft) -> None:
        self._assembly = assembly
        self._home = home

    def __getitem__(self, name: str) -> Expression:
        if name in OF_THE_ROW:
            return column_of(name, OF_THE_ROW[name], nullable=False)
        home, column = self._find(name)
        return self._assembly.column(home, column)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in OF_THE_ROW or self._find(name) is not None)

    def __iter__(self) -> Iterator[str]:
        yield from self._home.columns
        yield from OF_THE_ROW

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _find(self, name: str) -> tuple[GroupDraft, str]:
        group, _, column = name.rpartition(".")
        if not group and name in self._home.columns:
            return self._home, name
        others = [other for other in self._same_entity() if column in other.columns and group in ("", other.group.name)]
        if len(others) == 1:
            return others[0], column
        if others:
            places = " or ".join(f"{other.group.name}.{name}" for other in others)
            raise ExpressionError(f"'{name}' is a column of several groups; write {places}")
        raise self._unknown(name, group, column)

    def _same_entity(self) -> list[GroupDraft]:
        identifier = self._home.group.record_identifier
        return [draft for draft in self._assembly.library.values() if draft.group.record_identifier == identifier]

    def _unknown(self, name: str, group: str, column: str) -> ExpressionError:
        for later in self._assembly.later.values():
            if group not in ("", later.name):
                continue
            if column in later.columns:
                told = "which a function makes after the others; give the function what it needs (`reads: {groups: …}`) instead"
                return ExpressionError(f"'{name}' is a column of {later.name}, {told}")
            if later.rollup and column in [one.name for one in later.rollup.columns]:
                told = "which is made of other groups' snapshots, after them; name what it is made of instead"
                return ExpressionError(f"'{name}' is a column of {later.name}, {told}")
        for other in self._assembly.library.values():
            if column in other.columns and group in ("", other.group.name):
                mine, its = self._home.group.record_identifier, other.group.record_identifier
                return ExpressionError(
                    f"'{name}' is a column of {other.group.name}, whose rows are one a {its}, not one a {mine}"
                )
        same = self._same_entity()
        if group:
            known = [f"{other.group.name}.{told}" for other in same for told in other.columns]
        else:
            known = [told for other in same for told in other.columns]
        nearest = did_you_mean(name, known) or did_you_mean(name.lower(), known)
        return UnknownColumnError(name, f"no column named '{name}'{nearest}; columns: {', '.join(self)}")
