"""Writes the reference of the expression language: `python -m conf.expressions > docs/expressions.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files

from conf.expressions.functions import FUNCTIONS
from conf.expressions.values import CASTS, EVERY


def reference() -> str:
    """The page docs/expressions.md: reference.md with the tables of casts and functions filled in."""
    page = files("conf.expressions").joinpath("reference.md").read_text(encoding="utf-8")
    return page.replace("{casts}", "\n".join(_casts())).replace("{functions}", "\n".join(_functions()))


def _casts() -> Iterator[str]:
    for source in EVERY:
        targets = [to for to in EVERY if (source, to) in CASTS]
        if targets:
            yield f"| {source} | {', '.join(targets)} |"


def _functions() -> Iterator[str]:
    for function in FUNCTIONS.values():
        cells = (f"`{function.signature()}`", function.gives, function.says, function.nulls, f"`{function.example}`")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(reference())
