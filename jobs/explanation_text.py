"""An explanation for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.explain import Explanation, plain

if TYPE_CHECKING:
    from jobs.explained_rollup import Members
    from transforms.by_hand.evidence import Evidence, Explained
    from transforms.by_hand.rollups import Member

MEMBERS = 10
"""Members shown, of each kind of verdict."""
NEAR = 5
"""Rows that did not count, shown for each kind of reason."""
WIDTH = 180
"""Of what is written to a file or another program."""


def show(explanation: Explanation) -> None:
    """Print to stdout: the number, how it is made, the rows that count, and those nearby that don't, with the reason."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    number, made = explanation.number, explanation.made_again
    when = f"{number.when} ({number.moment.zone})"
    console.print(f"[bold]{number.group.name}.{number.feature}[/] of {escape(number.entity)}, {when}")
    console.print(f"  {escape(explanation.definition)}")
    console.print(f"  definition {explanation.definition_version}, {number.where}")
    verdict = "[green]equal[/]" if explanation.is_equal else "[bold red]NOT EQUAL[/]"
    console.print(
        f"  value [bold]{escape(told(number.value))}[/], made again from the rows: [bold]{escape(told(made.value))}[/]: {verdict}"
    )
    if made.note:
        console.print(f"  {escape(made.note)}")
    for part in steps(made):
        _show_step(console, part)
    if explanation.members:
        _show_members(console, explanation.members)


def steps(made: Explained) -> Iterator[Explained]:
    """A column and everything that it is made of, each once, what is derived before what it is derived from."""
    seen: set[str] = set()
    waiting = [made]
    while waiting:
        step = waiting.pop(0)
        if step.column not in seen:
            seen.add(step.column)
            yield step
            waiting += step.parts


def _show_step(console: Console, step: Explained) -> None:
    console.print(f"\n[bold]{escape(step.column)}[/] = {escape(told(step.value))}")
    if step.definition:
        console.print(f"  from {escape(step.definition)}")
    if step.points:
        kept = [point for point in step.points if not point.reason]
        console.print(f"  {len(kept)} of {len(step.points)} days count: {escape(spans(step))}")
    counted = [row for row in step.evidence if row.counted]
    if counted:
        console.print(_table("rows that count", counted, with_reason=False))
    near = list(nearest(step.evidence))
    if near:
        console.print(_table("rows that don't, and why", near, with_reason=True))
    left = len(step.evidence) - len(counted) - len(near)
    if left:
        console.print(f"  and {left:,} more that don't; --format json has them all")


def _show_members(console: Console, members: Members) -> None:
    for title, lines_of_members, more in member_tables(members):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in MEMBER_COLUMNS:
            table.add_column(name, overflow="fold")
        for cells in lines_of_members:
            table.add_row(*map(escape, cells))
        console.print(table)
        if more:
            console.print(f"  {more}")
    console.print(f"  {checked_words(members)}")


MEMBER_COLUMNS = ("group", "identifier", "says", "value", "made again", "look further")


def member_tables(members: Members) -> Iterator[tuple[str, list[list[str]], str]]:
    """Of each kind of verdict the title, the lines of the first members, and how many more there are."""
    every = members.rolled_up.members
    for _, kind in groupby(every, key=lambda member: member.kind):
        some = list(kind)
        first, number = some[0], f"{len(some):,} of {len(every):,}"
        value = f", {str(first.value).lower()}" if isinstance(first.value, bool) else ""
        title = (
            f"members that count{value} ({number})" if first.counted else f"members that don't count, {first.reason} ({number})"
        )
        shown = [_member_line(member, members) for member in some[:MEMBERS]]
        yield title, shown, f"and {len(some) - MEMBERS:,} more" if len(some) > MEMBERS else ""


def _member_line(member: Member, members: Members) -> list[str]:
    said = ", ".join(f"{name} {told(value)}" for name, value in member.said.items())
    checked = members.of(member)
    differ = [
        f"NOT EQUAL: {one.read.column} {told(one.read.value)}, from raw rows {told(one.made)}"
        for one in checked
        if not one.is_equal
    ]
    made = "; ".join(differ) if differ else "equal" if checked else "-"
    return [member.group, member.identifier, said, told(member.value), made, members.look_further(member)]


def checked_words(members: Members) -> str:
    """Of how many members their own values were made again, and what came of it."""
    values = sum(len(some) for some in members.checked.values())
    differ = f"{len(members.differing):,} NOT EQUAL" if members.differing else "all equal"
    return (
        f"made again from raw rows, of {len(members.checked):,} members, the {values:,} values of snapshots behind them: {differ}"
    )


def nearest(evidence: Sequence[Evidence]) -> Iterator[Evidence]:
    """Of each kind of reason the rows nearest to counting: the newest."""
    shown: Counter[str] = Counter()
    for row in sorted((row for row in evidence if not row.counted), key=lambda row: row.at or row.event_time, reverse=True):
        kind = row.reason.partition(":")[0].partition(" by version ")[0]
        shown[kind] += 1
        if shown[kind] <= NEAR:
            yield row


def spans(step: Explained) -> str:
    """The values of the days that count; equal ones that follow each other are told once."""
    runs = groupby((point for point in step.points if not point.reason), key=lambda point: point.value)
    return ", ".join(_span([point.day for point in run], value) for value, run in runs)


def _span(days: Sequence[date], value: object) -> str:
    return f"{days[0]} to {days[-1]}: {told(value)}" if len(days) > 1 else f"{days[0]}: {told(value)}"


def _table(title: str, rows: Sequence[Evidence], *, with_reason: bool) -> Table:
    table = Table(title=f"{title} ({len(rows):,})", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    names = ["source", "key", "version", "happened", "known", "why not" if with_reason else "value", "raw row", "hash"]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        for cells in lines(row):
            table.add_row(*map(escape, cells))
    return table


def lines(row: Evidence) -> Iterator[list[str]]:
    """The cells of a row, and of each that was read beside it."""
    last = row.reason or told(row.value)
    for one, source, said in ((row, row.source, last), *((one, f"  with {one.source}", "") for one in row.beside)):
        yield [
            source,
            one.key,
            one.version,
            told(one.event_time),
            told(one.known_time),
            said,
            f"{one.file}:{one.line}",
            one.row_hash[:12],
        ]


def told(value: object) -> str:
    """A value for a person; null as `-`."""
    return "-" if value is None else str(plain(value))
