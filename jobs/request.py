"""What a job was asked for: definitions, groups, their days, and the lake. One opening for every job that works on days."""

from __future__ import annotations

import logging
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from conf.errors import InputError, UsageError
from jobs.arguments import JobParser, load_settings_for
from jobs.arguments import day as as_day

if TYPE_CHECKING:
    from conf.catalogue import Catalogue
    from conf.settings import Settings
    from stores.lake import Lake
    from stores.snapshots import Kind
    from transforms.feature_group import Compiled
    from transforms.schedule import Step

Days = Mapping[str, tuple[date, ...]]
"""The days of each group, oldest first."""

Restating = Literal["holes", "asked", "all"]
"""Which days that were made are made again where they should be restated: none, those asked for, or any."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a job was asked for.

    `days`: of each group that has any on its schedule; `left_out`: the other groups, each with the reason. `last`: the as-of
    day, or the last day of the range.
    """

    settings: Settings
    catalogue: Catalogue
    compiled: Compiled
    lake: Lake
    days: Days
    left_out: Mapping[str, str]
    last: date
    is_range: bool
    restating: Restating
    hindsight: bool

    @property
    def groups(self) -> tuple[str, ...]:
        """Those that have a day, in order of their definitions."""
        return tuple(self.days)

    @property
    def kind(self) -> Kind:
        """The tables that are meant."""
        return "hindsight" if self.hindsight else "snapshots"

    @property
    def horizon(self) -> timedelta:
        """How far back late rows of a source without a known time make a day worth restating."""
        return timedelta(days=self.settings.snapshots.restatement_horizon_days)

    def say_who_is_left_out(self) -> None:
        for group, why in self.left_out.items():
            _log.warning("%s is left out: %s", group, why)

    def tables_left_out(self) -> dict[str, dict[str, Any]]:
        """The groups left out, as a job's summary tells them."""
        return {f"{self.kind}/{group}": {"left_out": why} for group, why in self.left_out.items()}


def add_days(parser: JobParser, *, restate: bool = False) -> None:
    """The arguments that ask for days: a range and its step, and `--restate` where the job computes them."""
    parser.add_argument("--from", dest="first", type=as_day, metavar="YYYY-MM-DD", help="the first day of a range")
    parser.add_argument("--to", dest="last", type=as_day, metavar="YYYY-MM-DD", help="its last day (default: the as-of day)")
    parser.add_argument("--every", type=_step, metavar="STEP", help="its step: 1d, 1w or 1mo and so on (default: 1d)")
    if restate:
        parser.add_argument(
            "--restate",
            action="store_true",
            help="make days again that were made without what they should have known: of the range, or any",
        )


def refuse_hindsight(parser: JobParser) -> None:
    """Take `--hindsight` only to say why not."""
    parser.add_argument("--hindsight", action="store_true", help="refused: hindsight is never judged or published")
    parser.set_defaults(never_hindsight=parser.job)


def read_request(arguments: Namespace, *, now: datetime | None = None) -> Request:
    """Load and check everything that the arguments name. No Spark.

    Raises: UsageError for days that don't make sense, or an unknown group; DefinitionError for a wrong definition.
    """
    hindsight = bool(getattr(arguments, "hindsight", False))
    if hindsight and (job := getattr(arguments, "never_hindsight", None)):
        raise UsageError(
            f"etr {job}: hindsight is for study and is never judged or published; "
            "make it with etr materialize --hindsight and read it in the lake's hindsight/<group>"
        )
    _check_days(arguments)
    settings = load_settings_for(arguments)
    from conf.catalogue import load_catalogue  # what follows takes longer than a wrong argument should
    from stores.lake import Lake
    from transforms.feature_group import compile_groups
    from transforms.hindsight import with_hindsight

    catalogue = load_catalogue(arguments.conf)
    compiled = compile_groups(with_hindsight(catalogue) if hindsight else catalogue, settings.time_zone)
    groups = [group.name for group in catalogue.select(arguments.groups)]
    lake = Lake(settings.lake, settings.s3)
    last = _last_day(arguments, catalogue, settings.time_zone, now)
    asked = _days_asked(arguments, groups, last, lake)
    days, left_out = _on_schedule(catalogue, asked, last)
    is_range = arguments.first is not None
    return Request(
        settings=settings,
        catalogue=catalogue,
        compiled=compiled,
        lake=lake,
        days=days,
        left_out=left_out,
        last=last,
        is_range=is_range,
        restating=_restating(arguments, is_range=is_range),
        hindsight=hindsight,
    )


def made_days(request: Request) -> Days:
    """The days asked for that were made; of a single day, that day whether or not it was.

    Raises: InputError when none of a range was.
    """
    from stores.snapshots import SnapshotTable

    if not request.is_range:
        return request.days
    found: dict[str, tuple[date, ...]] = {}
    for group, asked in request.days.items():
        made = set(SnapshotTable(request.lake.storage, group).days())
        if days := tuple(day for day in asked if day in made):
            found[group] = days
        if missing := len(asked) - len(days):
            _log.warning("%s: %s of %s days were never made; the others are taken", group, f"{missing:,}", f"{len(asked):,}")
    if request.days and not found:
        every = sorted(day for asked in request.days.values() for day in asked)
        raise InputError(
            f"no snapshot of {', '.join(request.days)} from {every[0]} to {every[-1]} in {request.lake.uri()}; "
            f"make them: etr materialize --from {every[0]} --to {every[-1]}"
        )
    return found


def as_of_day(
    asked: date | None, catalogue: Catalogue, zone: str, now: datetime | None = None, *, option: str = "--as-of"
) -> date:
    """The day asked for, or the last whose cut-off plus the largest grace has passed. Raises UsageError for a later one."""
    from transforms.calendar import last_complete_day

    grace = max((source.grace for source in catalogue.sources.values()), default=timedelta())
    latest = last_complete_day(now or datetime.now(UTC), zone, grace)
    if asked is not None and asked > latest:
        raise UsageError(
            f"{option} {asked}: that day isn't over yet in {zone}"
            + (f" with a grace of {grace}" if grace else "")
            + f"; the latest is {latest}"
        )
    return asked or latest


def _check_days(arguments: Namespace) -> None:
    """What is wrong with the days whatever is defined. Raises UsageError."""
    first, last = arguments.first, arguments.last or arguments.as_of
    if first is None and (arguments.last or arguments.every):
        option = "--to" if arguments.last else "--every"
        raise UsageError(f"{option} belongs to a range of days: say where it begins, too: --from YYYY-MM-DD")
    if arguments.last and arguments.as_of:
        raise UsageError("--as-of names one day and --to the last of a range; give one of them")
    if first and getattr(arguments, "catch_up", False):
        raise UsageError("--catch-up finds the days by itself; give it or --from, not both")
    if first and last:
        _check_order(first, last)


def _check_order(first: date, last: date) -> None:
    if first > last:
        raise UsageError(f"--from {first} is later than the range's last day, {last}")


def _last_day(arguments: Namespace, catalogue: Catalogue, zone: str, now: datetime | None) -> date:
    last = as_of_day(arguments.last or arguments.as_of, catalogue, zone, now, option="--to" if arguments.last else "--as-of")
    if arguments.first:
        _check_order(arguments.first, last)
    return last


def _days_asked(arguments: Namespace, groups: Iterable[str], last: date, lake: Lake) -> dict[str, tuple[date, ...]]:
    """The days of each group, whatever its schedule."""
    from transforms.schedule import DAILY, days_of_range

    if arguments.first:
        return dict.fromkeys(groups, tuple(days_of_range(arguments.first, last, arguments.every or DAILY)))
    if getattr(arguments, "catch_up", False):
        return {group: _missed(group, last, lake) for group in groups}
    return dict.fromkeys(groups, (last,))


def _missed(group: str, last: date, lake: Lake) -> tuple[date, ...]:
    """The days after the last one that is done with, up to the as-of day; that one alone where none was made, or a later one.

    A day is done with when it is published or held back: one that was made by a run that died is among the days missed.
    """
    from stores.snapshots import SnapshotTable
    from transforms.schedule import days_of_range

    made = [day for day in SnapshotTable(lake.storage, group).days() if day <= last]
    if not made:
        return (last,)
    done = next((day for day in reversed(made) if _is_done_with(group, day, lake)), made[-1] - timedelta(days=1))
    return tuple(days_of_range(done + timedelta(days=1), last)) or (last,)


def _is_done_with(group: str, day: date, lake: Lake) -> bool:
    from jobs.validate import verdict_of
    from stores.published import Published
    from stores.snapshots import SnapshotTable

    snapshot = SnapshotTable(lake.storage, group).current(day)
    verdict = verdict_of(lake, snapshot) if snapshot else None
    if snapshot is None or verdict is None:
        return False
    return not verdict.passed or any(found.version == snapshot.version for found in Published(lake.storage, group).versions(day))


def _on_schedule(catalogue: Catalogue, asked: Mapping[str, tuple[date, ...]], last: date) -> tuple[Days, dict[str, str]]:
    from transforms.schedule import WORDS, is_due, next_due

    days: dict[str, tuple[date, ...]] = {}
    left_out = {}
    for name, found in asked.items():
        schedule = catalogue.group(name).schedule
        if due := tuple(day for day in found if is_due(schedule, day)):
            days[name] = due
        else:
            which = f"{found[0]} isn't" if len(found) == 1 else f"none of the days from {found[0]} to {found[-1]} is"
            left_out[name] = f"it is made {schedule} ({WORDS[schedule]}), and {which} one; the next is {next_due(schedule, last)}"
    return days, left_out


def _restating(arguments: Namespace, *, is_range: bool) -> Restating:
    if getattr(arguments, "restate", False):
        return "asked" if is_range else "all"
    return "holes" if is_range else "asked"


def _step(text: str) -> Step:
    from transforms.schedule import Step

    try:
        return Step.of(text)
    except ValueError as problem:
        raise ArgumentTypeError(str(problem)) from problem
