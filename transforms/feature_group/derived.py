"""Compiles one column made from columns: an expression, a segment, a 0 or 1 of a value, a value's place, or a score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conf.expressions import Expression
from conf.specs import Derived, Score, SegmentBand
from conf.windows import Window
from conf.yaml_file import Place
from transforms.feature_group.checker import Checker
from transforms.operations import NUMBERS

MADE_BY = ("expr", "segment", "one_hot", "label", "score")


@dataclass(frozen=True)
class DerivedDraft:
    """A column of a derived feature; `value` is that of `one_hot`."""

    name: str
    spec: Derived
    place: Place
    window: Window | None
    value: str | None = None


@dataclass(frozen=True)
class Made:
    """A compiled column. `formula`: how it is made, in words; `null_when`: empty when it never is."""

    expression: Expression
    formula: str
    null_when: str


def make(draft: DerivedDraft, checker: Checker, scope: Mapping[str, Expression]) -> Made:
    """`scope`: the columns that it may name. Raises DefinitionError."""
    return _Maker(draft, checker, scope).made()


class _Maker:
    def __init__(self, draft: DerivedDraft, checker: Checker, scope: Mapping[str, Expression]) -> None:
        self.draft, self.checker, self.scope = draft, checker, scope
        self.filled = False

    def made(self) -> Made:
        made = self._by_form()
        if self.draft.window and not self.filled:
            told = "`windows` makes a column a window, so `{w}` must stand for the window's name somewhere, as in count_{w}"
            raise self.checker.problem((*self.draft.place, "windows"), told)
        return made

    def _by_form(self) -> Made:
        spec = self.draft.spec
        if spec.expr is not None:
            expression = self._parse(("expr",), spec.expr)
            return Made(expression, self._fill(spec.expr), self._null_when(expression))
        if spec.segment:
            return self._segment(spec.segment)
        if spec.one_hot is not None:
            return self._one_hot(spec.one_hot)
        if spec.label is not None:
            return self._label(spec.label)
        assert spec.score is not None
        return self._score(spec.score)

    # ---- texts of the definition

    def _fill(self, text: str) -> str:
        if "{w}" not in text:
            return text
        if self.draft.window is None:
            raise self.checker.problem(self.draft.place, f"'{text}': {{w}} stands for a window's name; give `windows`")
        self.filled = True
        return text.replace("{w}", str(self.draft.window))

    def _parse(self, at: Place, text: str, *, condition: bool = False) -> Expression:
        return self.checker.parse((*self.draft.place, *at), self._fill(text), {}, self.scope, condition=condition)

    def _text(self, at: str, text: str) -> Expression:
        """A value to compare with those listed, as text."""
        found = self._parse((at,), text)
        if found.type in ("number", "timestamp"):
            told = f"'{self._fill(text)}' is {found.type}; `{at}` takes text, whole numbers, money, dates or booleans"
            raise self.checker.problem((*self.draft.place, at), told)
        return found if found.type == "string" else self._combine("cast(x as string)", {"x": found})

    def _combine(self, text: str, parts: Mapping[str, Expression]) -> Expression:
        return self.checker.parse(self.draft.place, text, {}, parts)

    def _null_when(self, expression: Expression) -> str:
        """When an expression is null, in words; empty when it never is."""
        if not expression.nullable:
            return ""
        missing = sorted(expression.missing)
        reasons = [f"{' or '.join(missing[:3])} is null" if len(missing) <= 3 else "an input is null"] if missing else []
        for names in expression.missing_together:
            reasons.append(f"{' and '.join(names)} are null" if 0 < len(names) <= 3 else "all its inputs are null")
        reasons += ["a denominator is 0"] if expression.divides else []
        return " or ".join(reasons) or "it has no answer"

    # ---- the forms

    def _segment(self, bands: tuple[SegmentBand, ...]) -> Made:
        parts: dict[str, Expression] = {}
        choices, words = [], []
        rest = None
        for index, band in enumerate(bands):
            if band.when is None:
                rest = band.name
                words.append(f"{band.name} otherwise")
                continue
            parts[f"when_{index}"] = self._parse(("segment", index, "when"), band.when, condition=True)
            choices.append(f"when when_{index} then {quoted(band.name)}")
            words.append(f"{band.name} where {self._fill(band.when)}")
        if not choices:
            told = f"segment '{bands[0].name}' has no `when`: every row would be in it"
            raise self.checker.problem((*self.draft.place, "segment"), told)
        last = f" else {quoted(rest)}" if rest is not None else ""
        expression = self._combine(f"case {' '.join(choices)}{last} end", parts)
        return Made(expression, ", ".join(words), "" if rest is not None else "no segment holds")

    def _one_hot(self, text: str) -> Made:
        value, named = self.draft.value, [one for one in self.draft.spec.values if one != "other"]
        of = self._text("one_hot", text)
        assert value is not None
        if value != "other":
            expression = self._combine(f"case when x = {quoted(value)} then 1 else 0 end", {"x": of})
            return Made(expression, f"1 where {self._fill(text)} is {value}, else 0", "")
        if not named:
            raise self.checker.problem((*self.draft.place, "values"), "`other` alone tells nothing apart: list a value")
        listed = ", ".join(quoted(one) for one in named)
        expression = self._combine(f"case when x in ({listed}) then 0 else 1 end", {"x": of})
        return Made(expression, f"1 where {self._fill(text)} is none of {', '.join(named)}, else 0", "")

    def _label(self, text: str) -> Made:
        values = list(enumerate(self.draft.spec.values, start=1))
        choices = " ".join(f"when x = {quoted(value)} then {place}" for place, value in values)
        of = self._text("label", text)
        expression = self._combine(f"case when x is null then null {choices} else 0 end", {"x": of})
        words = f"the place of {self._fill(text)} in {', '.join(f'{place} {value}' for place, value in values)}; 0 for others"
        return Made(expression, words, f"{self._fill(text)} is null" if of.nullable else "")

    def _score(self, score: Score) -> Made:
        parts: dict[str, Expression] = {}
        points, words = [str(score.base)], [f"{score.base} points"]
        for index, part in enumerate(score.parts):
            at: Place = ("score", "parts", index, "of")
            found = self._parse(at, part.of)
            if found.type not in NUMBERS:
                hint = f"; write if({part.of}, 1, 0)" if found.type == "boolean" else ""
                told = f"'{self._fill(part.of)}' is {found.type}; a score takes numbers and money{hint}"
                raise self.checker.problem((*self.draft.place, *at), told)
            parts[f"of_{index}"] = found
            *limited, last = part.bands
            below = " ".join(f"when of_{index} < {band.below} then {band.points}" for band in limited)
            points.append(f"case when of_{index} is null then {part.missing} {below} else {last.points} end")
            told_bands = [f"{band.points:+} below {band.below}" for band in limited] + [f"{last.points:+} otherwise"]
            words.append(f"by {self._fill(part.of)}: {', '.join(told_bands)}, {part.missing:+} when null")
        text = f"greatest({score.minimum}, least({score.maximum}, {' + '.join(points)}))"
        return Made(self._combine(text, parts), f"{'; '.join(words)}; from {score.minimum} to {score.maximum}", "")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
