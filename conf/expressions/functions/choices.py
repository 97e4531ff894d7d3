"""Functions of nulls and choices."""

from __future__ import annotations

from collections.abc import Sequence

from conf.expressions.functions.base import Builder, Function, Parameter
from conf.expressions.values import ALL_OF, BY_ZERO, NO_ANSWER, ORDERED, Value, build, common_type, convert, finite

OF_ARGUMENTS = "the arguments' common type"


def alike(name: str, template: str, *, also: str | None = None) -> Builder:
    """All arguments are read as their common type, which is the result's; it is null where all are, and `also` else."""

    def built(args: Sequence[Value], zone: str) -> Value:
        type_ = common_type(args, what=f"{name}()")
        same = [convert(arg, type_) for arg in args]
        places = ", ".join(f"{{{place}}}" for place in range(len(same)))
        finites = [finite(arg) for arg in same]
        if also or len(args) == 1 or not all(arg.nullable for arg in args):
            nulls = finites if also or len(args) == 1 else []
            return build(type_, name, finites, template.format(places), nulls=nulls, also=also)
        return build(type_, name, finites, template.format(places), nulls=[], also=_all_of(finites))

    return built


def _all_of(values: Sequence[Value]) -> str:
    """Why the first that isn't null is null: where each is for one reason, a column's name, these."""
    reasons = sorted(frozenset().union(*(value.nulls for value in values)))
    if any(len(value.nulls) > 1 for value in values) or any(r in (BY_ZERO, NO_ANSWER) or r.startswith(ALL_OF) for r in reasons):
        return ALL_OF + NO_ANSWER
    return reasons[0] if len(reasons) == 1 else ALL_OF + ", ".join(reasons)


def _if(args: Sequence[Value], zone: str) -> Value:
    condition, *branches = args
    type_ = common_type(branches, what="if()")
    same = [finite(convert(branch, type_)) for branch in branches]
    values = [convert(condition, "boolean"), *same]
    return build(type_, "if", values, "CASE WHEN {0} THEN {1} ELSE {2} END", nulls=branches)


CHOICES = (
    Function(
        "coalesce",
        (Parameter("a"), Parameter("b", repeated=True)),
        OF_ARGUMENTS,
        "The first argument that isn't null.",
        "when all are null",
        "coalesce(amount, paid, 0)",
        alike("coalesce", "coalesce({})"),
    ),
    Function(
        "nullif",
        (Parameter("a", ORDERED), Parameter("b", ORDERED)),
        OF_ARGUMENTS,
        "`a`, or null where it equals `b`.",
        "when `a` is null or equals `b`",
        "nullif(n, 0)",
        alike("nullif", "nullif({})", also=NO_ANSWER),
    ),
    Function(
        "if",
        (Parameter("condition", ("boolean",)), Parameter("a"), Parameter("b")),
        "the common type of `a` and `b`",
        "`a` where the condition is true, otherwise (false or null) `b`.",
        "when the one chosen is null",
        "if(late, amount, 0)",
        _if,
    ),
    Function(
        "greatest",
        (Parameter("a", ORDERED), Parameter("b", ORDERED, repeated=True)),
        OF_ARGUMENTS,
        "The greatest of the arguments that aren't null.",
        "when all are null",
        "greatest(created_at, paid_at)",
        alike("greatest", "greatest({})"),
    ),
    Function(
        "least",
        (Parameter("a", ORDERED), Parameter("b", ORDERED, repeated=True)),
        OF_ARGUMENTS,
        "The least of the arguments that aren't null.",
        "when all are null",
        "least(amount, paid)",
        alike("least", "least({})"),
    ),
)
