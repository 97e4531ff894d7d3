"""`etr features`: every published column in words, and which columns a change of the definitions changes."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from conf.errors import DefinitionError, UsageError
from jobs.arguments import JobParser, load_settings_for
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from conf.catalogue import Catalogue
    from transforms.describe import Difference, Feature
    from transforms.feature_group import Compiled

_NARROWEST, _WIDEST = 60, 160


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("features", "List and describe features; say what a change of the definitions changes.",
                       common=("env", "conf", "set"))  # fmt: skip
    parser.add_argument("groups", metavar="GROUP", nargs="*", help="feature groups (default: all)")
    parser.add_argument("--name", metavar="PATTERN", help="only columns whose name matches, such as '*_30d'")
    parser.add_argument(
        "--format", choices=("table", "json", "markdown"), default="table",
        help="a table (default); one line of JSON; or a page with each column's formula",
    )  # fmt: skip
    parser.add_argument(
        "--diff", metavar="OLD", type=Path,
        help="say what changed since OLD: a folder of definitions, or what --format json wrote then",
    )  # fmt: skip
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary | None:
    if arguments.diff and not arguments.diff.exists():
        raise UsageError(f"--diff {arguments.diff}: no such file or folder; name definitions, or what --format json wrote")
    if arguments.diff and arguments.format == "markdown":
        raise UsageError("--diff tells a change as a table or as JSON; --format markdown is a page of what is there")
    zone = load_settings_for(arguments).time_zone
    from transforms.describe import difference, features_of

    catalogue, compiled = _compiled(arguments.conf, zone)
    groups = [group.name for group in catalogue.select(arguments.groups or None)]
    features = _named(features_of(catalogue, compiled, groups), arguments.name)
    if arguments.format == "markdown":
        from transforms.catalogue_page import page

        sys.stdout.write(page(catalogue, compiled, features))
        return None
    counts = {"groups": len(groups), "features": len(features)}
    if arguments.diff:
        before = [feature for feature in _old(arguments.diff, zone) if not arguments.groups or feature.group in groups]
        changed = difference(_named(before, arguments.name), features)
        if arguments.format == "table":
            sys.stdout.writelines(line + "\n" for line in difference_lines(changed))
        return Summary("features", run_id, counts=counts, answer={"diff": changed.as_json()})
    if arguments.format == "json":
        return Summary("features", run_id, counts=counts, answer={"features": [feature.as_json() for feature in features]})
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((120, 0)).columns))
    sys.stdout.writelines(line + "\n" for line in table_lines(catalogue, features, width))
    return Summary("features", run_id, counts=counts)


def _compiled(folder: str | Path | None, zone: str) -> tuple[Catalogue, Compiled]:
    from conf.catalogue import load_catalogue
    from transforms.feature_group import compile_groups

    catalogue = load_catalogue(folder)
    return catalogue, compile_groups(catalogue, zone)


def _named(features: Iterable[Feature], pattern: str | None) -> list[Feature]:
    return [feature for feature in features if pattern is None or fnmatchcase(feature.name, pattern)]


def _old(place: Path, zone: str) -> list[Feature]:
    """What was there: definitions compiled as of today, or what an earlier `--format json` said."""
    from transforms.describe import Feature, features_of

    if place.is_dir():
        try:
            catalogue, compiled = _compiled(place, zone)
        except DefinitionError as problem:
            raise DefinitionError(f"--diff {place}: these definitions are wrong themselves:\n{problem}") from problem
        return features_of(catalogue, compiled, catalogue.groups)
    try:
        last = place.read_text(encoding="utf-8").strip().rpartition("\n")[2]
        return [Feature.from_json(told) for told in json.loads(last)["features"]]
    except (ValueError, KeyError, TypeError) as problem:
        raise UsageError(f"--diff {place}: not what etr features --format json writes, nor a folder of definitions") from problem


def table_lines(catalogue: Catalogue, features: Sequence[Feature], width: int) -> Iterator[str]:
    """A heading a group; a line a column, and below it what it is, when it is null and what it is made from, wrapped."""
    for name, found in groupby(features, key=lambda feature: feature.group):
        group, members = catalogue.group(name), list(found)
        owner = f"; owner {group.owner}" if group.owner else ""
        yield from _wrapped(f"{name}: {group.description}".rstrip(": "), width, "")
        columns = "1 column" if len(members) == 1 else f"{len(members)} columns"
        yield f"  one row a {group.record_identifier}, {group.schedule}{owner}; {columns}"
        yield ""
        headings = ("NAME", "TYPE", "WINDOW", "ONLINE", "SCORING", "VERSION")
        rows = [headings, *(_cells(feature) for feature in members)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row, feature in zip(rows, [None, *members], strict=True):
            yield "  " + "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()
            if feature:
                yield from _wrapped(feature.description, width, "      ")
                yield from _wrapped(f"{feature.null_rule}; from {', '.join(feature.inputs) or 'the row itself'}", width, "      ")
        yield ""


def _cells(feature: Feature) -> tuple[str, ...]:
    online = "online" if feature.online else "offline"
    return feature.name, feature.type, feature.window or "-", online, feature.scoring, feature.version


def difference_lines(changed: Difference) -> Iterator[str]:
    """A line a column that is new, gone, renamed, or changed; of a change what was, and what is."""
    if not changed:
        yield "no column is new, gone or changed in meaning"
    for feature in changed.new:
        yield f"new      {feature.group}.{feature.name} ({feature.type}): {feature.description}"
    for feature in changed.gone:
        yield f"gone     {feature.group}.{feature.name} ({feature.type}): {feature.description}"
    for was, now in changed.renamed:
        yield f"renamed  {was.group}.{was.name}: is {now.name}, with the same meaning"
    for was, now in changed.changed_meaning:
        yield f"changed  {was.group}.{was.name}"
        told = [(was.type, now.type), (was.description, now.description), (was.null_rule, now.null_rule),
                (", ".join(was.inputs), ", ".join(now.inputs))]  # fmt: skip
        different = [pair for pair in told if pair[0] != pair[1]]
        for before, after in different or [(f"version {was.version}", f"version {now.version}, by what it is made from")]:
            yield f"           was  {before}"
            yield f"           is   {after}"


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


if __name__ == "__main__":
    sys.exit(main())
