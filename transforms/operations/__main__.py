"""Writes the reference of the operations: `python -m transforms.operations > docs/operations.md`."""

from __future__ import annotations

import sys
from importlib.resources import files

from transforms.operations import ANY_TYPE, NUMBERS, OPERATIONS, ORDERED, Operation

_TAKES = {
    NUMBERS: "a number or money",
    ORDERED: "anything but a condition",
    ANY_TYPE: "anything",
    frozenset({"boolean"}): "a condition",
}


def reference() -> str:
    """The page docs/operations.md: reference.md with the table of operations filled in."""
    page = files("transforms.operations").joinpath("reference.md").read_text(encoding="utf-8")
    return page.replace("{operations}", "\n".join(_row(kind) for kind in OPERATIONS.values()))


def _row(kind: type[Operation]) -> str:
    takes = _TAKES[kind.takes] if kind.needs_of else "–" if not kind.judges else "a condition, or `where` as one"
    parameters = [f"`{name}`: {parameter.words}" for name, parameter in kind.parameters.items()]
    parameters += ["`weight`"] if kind.weighs else []
    says = " ".join((kind.__doc__ or "").split())
    says += f" Null where {kind.null_weights}." if kind.null_weights else ""
    says += " Looks back." if kind.looks_back else ""
    cells = (f"`{kind.name}`", takes, "; ".join(parameters), _gives(kind), kind.empty, says)
    return "| " + " | ".join(cells) + " |"


def _gives(kind: type[Operation]) -> str:
    """The type of the answer, for each type that it may take."""
    types = {kind.type_of(type_) for type_ in kind.takes}
    if kind.gives_json:
        return "list" if kind.empty == "[]" else "map"
    if len(types) == 1:
        return types.pop()
    return "the same" if types == set(kind.takes) else "money of money, else number"


if __name__ == "__main__":
    sys.stdout.write(reference())
