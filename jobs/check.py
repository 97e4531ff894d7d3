"""`etr check`: whether the definitions are right, and their examples come out as they say; without Spark and Java."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from conf.errors import Problems
from jobs.arguments import JobParser, load_settings_for
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from conf.catalogue import Catalogue
    from transforms.examples import Cell, Examples, Outcome


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser(
        "check",
        "Check the definitions, and run the examples that feature groups give; without Spark and Java.",
        common=("env", "conf", "groups", "set"),
    )
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    zone = load_settings_for(arguments).time_zone
    from conf.catalogue import load_catalogue

    catalogue = load_catalogue(arguments.conf)
    groups = [group.name for group in catalogue.select(arguments.groups)]
    checked = _checked(catalogue, groups, zone)
    definitions = {
        "sources": len(catalogue.sources) + len(catalogue.unions),
        "groups": len(catalogue.groups),
        "training_sets": len(catalogue.training_sets),
    }
    found = ", ".join(_number(count, name.replace("_", " ")) for name, count in definitions.items())
    sys.stdout.write(f"the definitions are right: {found}\n")
    tables = {name: _run(examples) for name, examples in checked.items()}
    told = {kind: sum(table[kind] for table in tables.values()) for kind in ("examples", "failed")}
    return Summary(
        "check",
        run_id,
        "failed" if told["failed"] else "succeeded",
        counts=definitions | told,
        tables=tables,
        error=f"{told['failed']} of {told['examples']} examples failed" if told["failed"] else None,
        answer=told,
    )


def _checked(catalogue: Catalogue, groups: Sequence[str], zone: str) -> dict[str, Examples]:
    """The examples of the groups, once everything compiles. Raises DefinitionError with everything that doesn't."""
    from transforms.examples import examples_of
    from transforms.feature_group import compile_groups
    from transforms.training_sets import compile_training_set

    compiled = compile_groups(catalogue, zone)
    problems, examples = Problems(), {}
    for training_set in catalogue.training_sets.values():
        with problems.gather():
            compile_training_set(training_set, catalogue, zone)
    with problems.gather():
        examples = examples_of(catalogue, compiled, groups)
    problems.raise_all()
    return examples


def _run(examples: Examples) -> dict[str, int]:
    """Run a group's examples; those that fail are told as they do."""
    failed, count = 0, len(examples.cases)
    for outcome in examples.run():
        if not outcome.holds:
            failed += 1
            sys.stdout.writelines(line + "\n" for line in failure_lines(outcome))
    held = f", {failed} failed" if failed else ", as expected" if count else ""
    sys.stdout.write(f"{examples.group.name}: {_number(count, 'examples')}{held}\n")
    return {"examples": count, "failed": failed}


def _number(count: int, things: str) -> str:
    return f"{count or 'no'} {things.removesuffix('s') if count == 1 else things}"


def failure_lines(outcome: Outcome) -> Iterator[str]:
    """What was given, what is expected and what came out, side by side; the line of each that differs."""
    title = f": {outcome.description}" if outcome.description else ""
    yield f"{outcome.where}: example {outcome.number} of {outcome.group} failed{title}"
    for source, rows in outcome.given.items():
        yield f"  given, {source}:"
        names = list(dict.fromkeys(name for row in rows for name in row))
        yield from _aligned([names, *([_text(row, name) for name in names] for row in rows)])
    for day, cells in groupby(outcome.cells, key=lambda cell: cell.as_of):
        yield f"  as of {day}:"
        told = [(f"{cell.entity} {cell.column}".strip(), cell.expected, cell.got, _mark(cell)) for cell in cells]
        yield from _aligned([("", "expected", "got", ""), *told])
    yield ""


def _mark(cell: Cell) -> str:
    return "" if cell.holds else f"<- {cell.where}"


def _text(row: Mapping[str, str | None], name: str) -> str:
    return str(row[name]) if row.get(name) is not None else "null" if name in row else ""


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
