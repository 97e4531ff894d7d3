"""What a function takes, gives and says of itself; and how most are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conf.expressions.values import EVERY, ExpressionError, Value, build, convert, finite
from conf.specs import ColumnType

Builder = Callable[[Sequence[Value], str], Value]  # checked arguments and the zone
ANY_NULL = "when an argument is null"


@dataclass(frozen=True)
class Parameter:
    """`types`: any of these. `constant`: written out, not computed. `repeated`: once or more (the last one only)."""

    name: str
    types: tuple[ColumnType, ...] = EVERY
    constant: bool = False
    optional: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class Function:
    """`gives`: its type, in words where it depends. `nulls`: when the result is null."""

    name: str
    parameters: tuple[Parameter, ...]
    gives: str
    says: str
    nulls: str
    example: str
    build: Builder

    def signature(self) -> str:
        texts = []
        for parameter in self.parameters:
            text = parameter.name + (", …" if parameter.repeated else "")
            texts.append(f"[{text}]" if parameter.optional else text)
        return f"{self.name}({', '.join(texts)})"

    def call(self, args: Sequence[Value], zone: str) -> Value:
        """Raises ExpressionError for a wrong number of arguments, or one of a wrong type."""
        self._check_count(len(args))
        for place, arg in enumerate(args):
            parameter = self.parameters[min(place, len(self.parameters) - 1)]
            if parameter.constant and not arg.is_constant:
                kind = " or ".join(parameter.types)
                raise ExpressionError(f"{arg.shown} is computed; {parameter.name} of {self.name}() must be written out ({kind})")
            if arg.type != "null" and arg.type not in parameter.types:
                raise ExpressionError(f"{arg.shown} is {arg.type}, {self.name}() takes {_one_of(parameter.types)}")
        return self.build([finite(arg) for arg in args], zone)

    def _check_count(self, count: int) -> None:
        least = sum(not parameter.optional for parameter in self.parameters)
        most = None if self.parameters[-1].repeated else len(self.parameters)
        if count >= least and (most is None or count <= most):
            return
        wanted = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        raise ExpressionError(f"{self.name}() takes {wanted} arguments, here it has {count}: {self.signature()}")


def _one_of(types: Sequence[str]) -> str:
    return types[0] if len(types) == 1 else f"{', '.join(types[:-1])} or {types[-1]}"


def simple(
    name: str, gives: ColumnType, takes: ColumnType, spark: str, duckdb: str | None = None, *, also: str | None = None
) -> Builder:
    """Every argument is read as `takes`; one template for each engine."""

    def built(args: Sequence[Value], zone: str) -> Value:
        return build(gives, name, [convert(arg, takes) for arg in args], spark, duckdb, also=also)

    return built


def texts(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, ("string",)) for name in names)


ANY_NULL = "when an argument is null"
