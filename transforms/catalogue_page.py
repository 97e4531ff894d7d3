"""The page docs/catalogue.md: every column with its formula, from the definitions. `make docs` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup
from transforms.describe import Feature
from transforms.feature_group import Compiled
from transforms.feature_group.meaning import answered_columns
from transforms.feature_group.rollups import formula as rollup_formula
from transforms.formulas import formulas, joins

HEAD = """\
# Feature catalogue

<!-- Written by `make docs` from the definitions in conf/feature_groups/; edit those, not this page. -->

Every published column, its formula and when it is null. `T` is the cut-off, the local midnight that ends the as-of day; `30d`
are the 30 local days that end there, `6mo` the last six full calendar months; without a window all history before T counts.
Operations are described in [definitions.md](definitions.md), expressions in [expressions.md](expressions.md). `etr features`
lists the same with owner, version and inputs; `etr features --conf DIR --format markdown` writes this page of other definitions.
"""


def page(catalogue: Catalogue, compiled: Compiled, features: Sequence[Feature]) -> str:
    """The page of the groups that `features` are of, in Markdown."""
    names = list(dict.fromkeys(feature.group for feature in features))
    lines = [
        HEAD,
        *_table(("group", "one row a", "columns", "what"), (_overview(catalogue.group(name), features) for name in names)),
    ]
    for name in names:
        lines += _group(catalogue.group(name), compiled, [feature for feature in features if feature.group == name])
    return "\n".join(lines) + "\n"


def _overview(group: FeatureGroup, features: Iterable[Feature]) -> tuple[str, ...]:
    count = sum(feature.group == group.name for feature in features)
    return f"[{group.name}](#{group.name})", f"`{group.record_identifier}`", str(count), group.description


def _group(group: FeatureGroup, compiled: Compiled, features: Sequence[Feature]) -> Iterator[str]:
    yield f"\n## {group.name}\n"
    yield " ".join(_about(group)) + "\n"
    ours = _formulas(group, compiled)
    yield from _table(
        ("column", "type", "what it is", "formula", "null"),
        ((f"`{f.name}`", f.type, _what(f, ours), _code(ours.get(f.name, "")), _null(f, group)) for f in features),
    )
    hidden = {name: text for name, text in ours.items() if name in _internal(compiled, group)}
    if hidden:
        yield "\nNot published, for the formulas above:\n"
        yield from _table(("column", "formula"), ((f"`{name}`", _code(text)) for name, text in hidden.items()))
    named = [(f"`{name}`", f"`{item.source}`", _code(text)) for item in group.inputs for name, text in item.columns.items()]
    members = group.rollup.members if group.rollup else ()
    named += [(f"`{name}`", f"`{item.group}`", _code(text)) for item in members for name, text in item.columns.items()]
    if named:
        yield "\nNamed expressions:\n"
        yield from _table(("name", "of", "expression"), named)
    joined = [(f"`{item.source}`", how) for item in group.inputs for how in joins(item)]
    if joined:
        yield "\nJoins:\n"
        yield from _table(("source", "how"), joined)


def _formulas(group: FeatureGroup, compiled: Compiled) -> Mapping[str, str]:
    if group.function:
        return dict.fromkeys(group.columns, group.function)
    if group.rollup:
        return {column.name: rollup_formula(column) for column in group.rollup.columns}
    return formulas(group, compiled.groups[group.name])


def _about(group: FeatureGroup) -> Iterator[str]:
    if group.description:
        yield group.description
    of = f" of `{group.spine}`" if group.spine else ""
    yield f"One row a `{group.record_identifier}`{of}, {group.schedule}" + (f"; owner {group.owner}." if group.owner else ".")
    if group.blank_unless:
        yield f"Where `{group.blank_unless}` isn't true, every column but that one is null."
    if group.function:
        read = [f"`{name}`" for name in (*group.reads.sources, *group.reads.groups)]
        yield f"Made by the Python function `{group.function}` from {', '.join(read)}."
    for members in group.rollup.members if group.rollup else ():
        beside = [f"the row of `{name}` for its `{key}`" for name, key in members.beside.items()]
        read_with = f", each read with {' and '.join(beside)}" if beside else ""
        yield f"Members: the rows of `{members.group}` as of the day, by their `{members.entity}`{read_with}."


def _internal(compiled: Compiled, group: FeatureGroup) -> set[str]:
    found = compiled.groups.get(group.name)
    if found is None:
        return set()
    columns = [item.column for item in answered_columns(found)] + [item.column for item in found.derived]
    return {column.name for column in columns if column.internal}


def _what(feature: Feature, formula: Mapping[str, str]) -> str:
    marks = ([] if feature.online else ["offline only"]) + (["not for scoring"] if feature.scoring == "forbidden" else [])
    words = feature.description.removesuffix(f": {formula.get(feature.name)}")
    return words + (f" ({', '.join(marks)})" if marks else "")


def _null(feature: Feature, group: FeatureGroup) -> str:
    """Without what the group says of all its columns."""
    rule = feature.null_rule.removeprefix("null: ")
    for blank in (f"; or {group.blank_unless} is not true", f"{group.blank_unless} is not true"):
        rule = rule.replace(blank, "never null" if rule.startswith(blank) else "")
    return rule


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(heading)
    yield "|" + "---|" * len(heading)
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
