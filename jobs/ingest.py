"""Publishes snapshots that passed: every version of a day to the offline store, the newest day's changes to the online store."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from conf.errors import EtrError, HeldBack, PublishError
from jobs.arguments import COMMON, JobParser
from jobs.feature_groups import features_of, online_features, wanted_feature_group
from jobs.feature_store import feature_store
from jobs.request import Days, add_days, made_days, read_request, refuse_hindsight
from jobs.summary import Summary, run_job
from jobs.unpublished import Day, GroupWork, target_of, targets
from jobs.unpublished import pending as pending
from jobs.validate import held_back_message

if TYPE_CHECKING:
    from conf.settings import Settings
    from jobs.progress import Progress
    from jobs.workers import Workers
    from jobs.writers import Writer
    from stores.aws import FeatureStoreAddress
    from stores.lake import Lake
    from stores.offline import FitRows, OfflineDay, OfflineFile
    from stores.protocols import FeatureType, WriteOutcome
    from stores.sending import Sending
    from transforms.feature_group import AnyGroup, Compiled

MOST_DEAD_LETTERS = 0.0
"""The share of the records sent beyond which a run with dead letters fails."""
ROWS_A_SENDING = 250_000
LEAST_ROWS_A_SENDING = 2_000
_AT_ONCE = 2
"""Groups under way at the same time: while the driver notes one, workers write another."""
DAYS_AT_ONCE = 31

Standing = Literal["published", "there", "held_back"]


@dataclass(frozen=True)
class DaySummary:
    """One day of a group: `rows = published + quarantined + held_back`, all 0 where it was there before."""

    as_of: str
    standing: Standing
    rows: int = 0
    published: int = 0
    quarantined: int = 0
    held_back: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class OnlineSummary:
    """What was sent of a group: `sent = written + skipped + dead_lettered`."""

    as_of: str
    sent: int
    written: int
    skipped: int
    retried: int
    dead_lettered: int
    dead_letters: str | None = None
    """The file that has them, relative to the lake."""


@dataclass(frozen=True)
class GroupSummary:
    """What became of a group's days; `online` is None where nothing was to be sent."""

    group: str
    days: tuple[DaySummary, ...]
    online: OnlineSummary | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Rows of the days asked for, and what this run did."""
        summed = ("rows", "published", "quarantined", "held_back", "files", "bytes")
        told = {name: sum(getattr(day, name) for day in self.days) for name in summed}
        sent = ("sent", "written", "skipped", "retried", "dead_lettered")
        return told | {name: getattr(self.online, name) if self.online else 0 for name in sent}


@dataclass(frozen=True)
class IngestSummary:
    """What a run published, by group."""

    run_id: str
    groups: Mapping[str, GroupSummary] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """The groups' counts, summed up."""
        total: dict[str, int] = {}
        for group in self.groups.values():
            for name, count in group.counts.items():
                total[name] = total.get(name, 0) + count
        return total

    @property
    def changed(self) -> bool:
        """Whether this run wrote anything, offline or online."""
        return any(group.online or any(day.standing == "published" for day in group.days) for group in self.groups.values())

    def raise_if_failed(self, lake: Lake) -> None:
        """Raises PublishError when too many records were dead-lettered; they are sent again by the next run."""
        lines = []
        for group in self.groups.values():
            online = group.online
            if online and online.dead_lettered > MOST_DEAD_LETTERS * online.sent:
                where = f": {lake.uri(online.dead_letters)}" if online.dead_letters else ""
                lines.append(f"  {group.group}: {online.dead_lettered:,} of {online.sent:,} records, each with its reason{where}")
        if lines:
            listed = "\n".join(lines)
            raise PublishError(
                f"records that the online store did not take; all others are written:\n{listed}\n"
                "Mend what the reasons say and run again: only what is missing is sent"
            )


def run(
    *,
    compiled: Compiled,
    days: Days,
    lake: Lake,
    workers: Workers,
    settings: Settings,
    run_id: str,
    progress: Progress,
    now: datetime | None = None,
) -> IngestSummary:
    """Publish what is missing of `days`; doing it again changes nothing. Days that are held back are counted, not published.

    `now` (aware) becomes the rows' write time. Dead letters don't raise: call the summary's `raise_if_failed` when all is done.
    Raises: InputError for a day not computed or not judged; PublishError when counts don't add up, or a store refuses.
    """
    there = targets(settings, list(days))
    works = [GroupWork.of(compiled.group(name), asked, lake, there.get(name)) for name, asked in days.items()]
    for work in works:
        work.check()
    if not any(work.has_work() for work in works):
        return IngestSummary(run_id, {work.group.name: GroupSummary(work.group.name, _untouched(work)) for work in works})
    with feature_store(settings) as address:
        works = [_with_feature_group(work, address, settings) if work.has_work() else work for work in works]
        writer = _writer(works, lake, settings, workers, progress)
        publisher = _Publisher(lake, workers, settings, address, run_id, now or datetime.now(UTC), writer)
        with progress.step("publish", total=len(works)) as step, ThreadPoolExecutor(_AT_ONCE) as pool:

            def publish(work: GroupWork) -> GroupSummary | EtrError:
                try:
                    summary = publisher.publish(work)
                except EtrError as problem:  # the other groups go on
                    return problem
                online = f", {summary.online.written:,} online" if summary.online else ""
                step.advance(note=f"{work.group.name}: {summary.counts['published']:,} rows offline{online}")
                return summary

            done = list(pool.map(publish, works))
    problems = [problem for problem in done if isinstance(problem, EtrError)]
    summary = IngestSummary(run_id, {found.group: found for found in done if isinstance(found, GroupSummary)})
    lake.write_run(run_id, "ingest", {"counts": summary.counts, "groups": {k: asdict(v) for k, v in summary.groups.items()}})
    if problems:
        raise PublishError("\n".join(map(str, problems))) from problems[0]
    return summary


def _writer(works: Sequence[GroupWork], lake: Lake, settings: Settings, workers: Workers, progress: Progress) -> Writer:
    """Who writes the offline store."""
    from jobs.writers import choose_writer

    target = next(work.target for work in works if work.target is not None)
    return choose_writer(settings.writer, workers, lake.storage.elsewhere(target.table), "", progress)


def _untouched(work: GroupWork) -> tuple[DaySummary, ...]:
    """Of days that aren't published now: each is there already, or held back."""
    return tuple(_untouched_day(work, day) for day in work.days)


def _untouched_day(work: GroupWork, day: date) -> DaySummary:
    known = work.found[day]
    if work.is_published(day):
        return DaySummary(known.snapshot.as_of, "there")
    _, quarantined, held_back = known.counts
    return DaySummary(known.snapshot.as_of, "held_back", known.snapshot.rows, quarantined=quarantined, held_back=held_back)


def _with_feature_group(work: GroupWork, address: FeatureStoreAddress, settings: Settings) -> GroupWork:
    """The work with its feature group created, or extended, where it had to be."""
    from stores.feature_groups import ensure_feature_group

    client, name = address.control_plane(), work.group.name
    ensure_feature_group(client, wanted_feature_group(work.group, settings))
    target = target_of(client, name)
    if target is None:
        raise PublishError(f"{name}: the feature group has no offline store; publish under a new group name")
    return GroupWork.of(work.group, work.days, work.lake, target)


@dataclass(frozen=True)
class _Publisher:
    """Publishes one group after the other, or two at once."""

    lake: Lake
    workers: Workers
    settings: Settings
    address: FeatureStoreAddress
    run_id: str
    now: datetime
    writer: Writer

    def publish(self, work: GroupWork) -> GroupSummary:
        if not work.has_work():
            return GroupSummary(work.group.name, _untouched(work))
        work.log.remove_leftovers()
        due = [day for day in work.due_offline() if work.is_fit(day)]
        done: dict[date, DaySummary] = {}
        for start in range(0, len(due), DAYS_AT_ONCE):
            done |= self._offline(work, due[start : start + DAYS_AT_ONCE])
        newest = work.due_online()
        online = self._online(work, newest) if newest is not None else None
        return GroupSummary(
            work.group.name, tuple(done[day] if day in done else _untouched_day(work, day) for day in work.days), online
        )

    # ---- offline

    def _offline(self, work: GroupWork, days: Sequence[date]) -> dict[date, DaySummary]:
        """Write some days' files, a task a file, then note each day that is whole."""
        assert work.target is not None
        offline = {day: self._offline_day(work, day) for day in days}
        tasks = [(day, number) for day in days for number in range(len(offline[day].parts))]
        for day in days:
            work.log.begin(day, work.target, [offline[day].path(number) for number in range(len(offline[day].parts))])
        written = self.writer.offline_parts([(offline[day], number) for day, number in tasks])
        files: dict[date, list[OfflineFile]] = {day: [] for day in days}
        for (day, _), file in zip(tasks, written, strict=True):
            files[day].append(file)
        return {day: self._note(work, day, offline[day], files[day]) for day in days}

    def _offline_day(self, work: GroupWork, day: date) -> OfflineDay:
        from stores.offline import OfflineDay, plan_parts

        assert work.target is not None
        snapshot = work.found[day].snapshot
        rows = self._fit_rows(work.group, work.found[day])
        parts = plan_parts(snapshot.files)
        event_time = rows.event_time(parts)
        return OfflineDay(
            group=work.group.name,
            version=snapshot.version,
            event_time=event_time or "",
            written=work.log.next_write_time(day, self.now),
            rows=rows,
            table=self.lake.storage.elsewhere(work.target.table),
            types=features_of(work.group),
            told={"as_of": snapshot.as_of, "snapshot_version": snapshot.version},
            parts=tuple(parts) if event_time else (),
            before=work.log.times_before(day, snapshot.version, work.target),
        )

    def _note(self, work: GroupWork, day: date, offline: OfflineDay, files: Sequence[OfflineFile]) -> DaySummary:
        """All files of a version are there: check that they hold every row that is fit, then call it published."""
        from stores.published import PublishedVersion

        assert work.target is not None
        snapshot = work.found[day].snapshot
        fit, quarantined, _ = work.found[day].counts
        rows = sum(file.rows for file in files)
        if rows != fit:
            raise PublishError(
                f"{work.group.name}: {fit:,} rows are fit to publish as of {day}, {rows:,} were written to {work.target.table}; "
                "they don't count as published. Run again; if it stays so, the quarantine file of the verdict is not whole"
            )
        written = tuple(file for file in files if file.rows)
        version = PublishedVersion(
            version=snapshot.version,
            table=work.target.table,
            event_time=offline.event_time,
            write_time=offline.written.isoformat(),
            rows=rows,
            quarantined=quarantined,
            files=written,
            run_id=self.run_id,
        )
        work.log.add(day, version)
        size = sum(file.size for file in written)
        return DaySummary(snapshot.as_of, "published", snapshot.rows, rows, quarantined, files=len(written), bytes=size)

    # ---- online

    def _online(self, work: GroupWork, newest: Day) -> OnlineSummary:
        """Send what changed since it was last sent, a connection pool a task."""
        from stores.protocols import WriteOutcome
        from stores.published import SentOnline
        from stores.sending import send_part

        assert work.target is not None
        snapshot = newest.snapshot
        features = online_features(work.group)
        note = SentOnline(
            arn=work.target.arn,
            created=work.target.created,
            as_of=snapshot.as_of,
            version=snapshot.version,
            features=tuple(features),
            ended=False,
            dead_lettered=0,
            digests=(),
            run_id=self.run_id,
        )
        sending = self._sending(work, newest, features, work.log.begin_sending(note))
        calls = [partial(send_part, sending, number) for number in range(len(sending.parts))]
        outcomes = [WriteOutcome(**{**told, "dead_letters": _letters(told)}) for told in self.writer.run(calls)]
        outcome = sum(outcomes, WriteOutcome())
        fit, _, _ = newest.counts
        if not outcome.sent == fit == outcome.written + outcome.skipped + outcome.dead:
            raise PublishError(
                f"{work.group.name}: {fit:,} records are fit to send as of {snapshot.as_of}, {outcome.sent:,} were sent, "
                f"{outcome.written:,} written, {outcome.skipped:,} skipped and {outcome.dead:,} dead-lettered; run again"
            )
        dead_letters = self._write_dead_letters(work.group.name, outcome)
        digests = tuple(sending.digest_path(number) for number in range(len(sending.parts)))
        work.log.finish_sending(note.finished(outcome.dead, digests))
        return OnlineSummary(
            as_of=snapshot.as_of,
            sent=outcome.sent,
            written=outcome.written,
            skipped=outcome.skipped,
            retried=outcome.retried,
            dead_lettered=outcome.dead,
            dead_letters=dead_letters,
        )

    def _sending(self, work: GroupWork, newest: Day, features: Mapping[str, FeatureType], before: tuple[str, ...]) -> Sending:
        from stores.offline import plan_parts
        from stores.online import OnlineConfig
        from stores.sending import Sending

        at_once = self.workers.at_once
        most_rows = min(ROWS_A_SENDING, max(LEAST_ROWS_A_SENDING, math.ceil(newest.snapshot.rows / at_once)))
        parts = plan_parts(newest.snapshot.files, most_rows=most_rows)
        limit = self.settings.online_store.records_per_second
        share = limit / min(at_once, max(len(parts), 1) * _AT_ONCE) if limit else None
        return Sending(
            group=work.group.name,
            rows=self._fit_rows(work.group, newest),
            parts=tuple(parts),
            features=features,
            config=OnlineConfig(self.address, self.settings.online_store.concurrency, share),
            before=before,
            digest_folder=work.log.digest_folder(self.run_id),
        )

    def _write_dead_letters(self, group: str, outcome: WriteOutcome) -> str | None:
        """Put them in the run's quarantine: the code as the rule, the message as the reason."""
        if not outcome.dead_letters:
            return None
        import pyarrow

        from stores.lake import QUARANTINE_SCHEMA

        rows = [
            {
                "source_or_group": group,
                "file": None,
                "line": None,
                "key": letter.identifier,
                "rule": letter.code,
                "reason": letter.message,
                "row": json.dumps({"event_time": letter.event_time}),
            }
            for letter in outcome.dead_letters
        ]
        self.lake.write_quarantine(
            self.run_id, f"online_{group}", [pyarrow.RecordBatch.from_pylist(rows, schema=QUARANTINE_SCHEMA)]
        )
        return self.lake.quarantine_path(self.run_id, f"online_{group}")

    # ---- both

    def _fit_rows(self, group: AnyGroup, day: Day) -> FitRows:
        from stores.offline import FitRows

        return FitRows(self.lake.storage, group.entity, day.verdict.quarantine_file if day.verdict else None)


def _letters(told: Mapping[str, Any]) -> tuple[Any, ...]:
    from stores.protocols import DeadLetter

    return tuple(DeadLetter(**letter) for letter in told["dead_letters"])


# ---- the job


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser(
        "ingest", "Publish snapshots to the offline store, and the newest day to the online store.", common=(*COMMON, "writer")
    )
    add_days(parser)
    refuse_hindsight(parser)
    parser.add_argument("--wait", type=int, default=60, metavar="SECONDS", help="how long to wait for another run (default: 60)")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    request = read_request(arguments)
    request.say_who_is_left_out()
    days, left_out = made_days(request), request.tables_left_out()
    compiled, lake, settings = request.compiled, request.lake, request.settings
    unpublished = pending(compiled, days, lake, settings)
    if arguments.dry_run:
        return Summary("ingest", run_id, tables={"would": [f"publish {item}" for item in unpublished]} | left_out)
    if not unpublished:
        return Summary("ingest", run_id, counts={"published": 0, "written": 0}, tables=left_out)
    works = [GroupWork.of(compiled.group(name), asked, lake, None) for name, asked in days.items()]
    for work in works:
        work.check()
    verdicts = [known.verdict for work in works for known in work.found.values() if known.verdict is not None]
    if all(item.held_back for item in unpublished):
        raise HeldBack(held_back_message(verdicts, lake))
    from jobs.progress import Progress
    from jobs.workers import open_workers

    with lake.hold([f"published/{group}" for group in days], run_id, arguments.wait), Progress() as progress:
        summary = run(
            compiled=compiled,
            days=days,
            lake=lake,
            workers=open_workers(settings, progress),
            settings=settings,
            run_id=run_id,
            progress=progress,
        )
    summary.raise_if_failed(lake)
    held_back = held_back_message(verdicts, lake)
    if held_back:
        raise HeldBack(held_back)
    return Summary("ingest", run_id, counts=summary.counts, tables=table_summaries(summary) | left_out)


def table_summaries(summary: IngestSummary) -> dict[str, dict[str, Any]]:
    """What was published of each group, as a job's summary tells it."""
    return {f"snapshots/{name}": {**group.counts, "days": len(group.days)} for name, group in summary.groups.items()}


if __name__ == "__main__":
    sys.exit(main())
