"""Judges curated rows and snapshots: a row that breaks a rule goes to quarantine, a failed table rule holds the day back."""

from __future__ import annotations

import hashlib
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from conf.errors import HeldBack, InputError, PublishError
from jobs.arguments import JobParser
from jobs.request import Days, add_days, made_days, read_request, refuse_hindsight
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset
    from pyspark.sql import DataFrame, SparkSession

    from conf.catalogue import Catalogue
    from conf.settings import Settings
    from conf.specs import ColumnType, FeatureGroup
    from expectations.hand_written import TableName
    from expectations.rules import Profile, Rule, Suite
    from expectations.tables import JudgedTable
    from expectations.validate import Failure, Report
    from jobs.progress import Progress
    from stores.lake import CurateCommit, Lake
    from stores.snapshots import Snapshot
    from transforms.feature_group import AnyGroup, Compiled

EXAMPLES_OF_A_HELD_BACK_DAY = 1_000
IN_PROCESS_ROWS = 50_000_000
"""Of a table: up to so many are judged without Spark; memory is bounded."""
_AT_ONCE = 3  # tables judged at the same time: while some are planned, others are counted
Written = Mapping["TableName", tuple["Rule", ...]]


@dataclass(frozen=True)
class Broken:
    """A rule that didn't hold."""

    rule: str
    severity: str
    expected: str
    found: str
    count: int


@dataclass(frozen=True)
class Verdict:
    """What was decided about one version of a group's day, or of a source's newest rows.

    `name`: the group or source; `as_of` and `version`: of the snapshot, or the curated version alone. `asked`: the hash of what
    was asked; another question about the same version is asked anew. `quarantine_file`: relative to the lake, its `key` holds the
    identifiers that aren't published (a null identifier never is); None when there are none. `result_file`: Great
    Expectations' own result. `non_null`: how many rows have a value, by column.
    """

    name: str
    as_of: str
    version: str
    asked: str
    status: Literal["passed", "held_back"]
    rows: int
    quarantined: int
    quarantine_file: str | None
    result_file: str
    run_id: str
    broken: tuple[Broken, ...]
    non_null: Mapping[str, int]

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def published(self) -> int:
        """Rows that are fit to publish."""
        return self.rows - self.quarantined if self.passed else 0

    @property
    def held_back(self) -> int:
        """Rows that are neither published nor quarantined."""
        return 0 if self.passed else self.rows - self.quarantined

    @property
    def critical(self) -> tuple[Broken, ...]:
        return tuple(broken for broken in self.broken if broken.severity == "critical")

    @classmethod
    def from_json(cls, data: bytes) -> Verdict:
        told = json.loads(data)
        return cls(**{**told, "broken": tuple(Broken(**broken) for broken in told["broken"])})


@dataclass(frozen=True)
class ValidateSummary:
    """`verdicts`: of every snapshot asked about, found or made now; `sources`: of the sources they read; `made`: how many now."""

    verdicts: tuple[Verdict, ...]
    sources: tuple[Verdict, ...]
    made: int

    @property
    def passed(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.passed)


def load_rules(folder: str | Path | None, catalogue: Catalogue, compiled: Compiled) -> Written:
    """The rules written by hand beside the definitions. Raises DefinitionError. No Spark."""
    from expectations.hand_written import Table, load_written
    from expectations.suites import kept_columns

    tables = []
    for group in map(compiled.group, [*compiled.groups, *compiled.later]):
        columns: dict[str, ColumnType] = {group.entity: "string", "has_history": "boolean"}
        columns |= {column.name: column.type for column in group.columns}
        tables.append(Table("group", group.name, columns, _null_in_blank_rows(group, catalogue.groups[group.name])))
    for source in catalogue.sources.values():
        tables.append(Table("source", source.name, kept_columns(source)))
    return load_written(folder, tables, zone=compiled.zone)


def _null_in_blank_rows(group: AnyGroup, definition: FeatureGroup) -> str | None:
    """A column that is null where the group's consent is missing, and nowhere else."""
    blank = f"{definition.blank_unless} is not true"
    return next((column.name for column in group.columns if definition.blank_unless and column.null_when == blank), None)


def pending(
    snapshots: Sequence[Snapshot], *, catalogue: Catalogue, compiled: Compiled, written: Written, lake: Lake, settings: Settings
) -> list[Snapshot]:
    """The snapshots without a verdict on what is asked today. No Spark."""
    judge = _Judge(catalogue, compiled, written, lake, settings)
    return [snapshot for snapshot in snapshots if judge.verdict(snapshot) is None]


def verdict_of(lake: Lake, snapshot: Snapshot) -> Verdict | None:
    """The newest verdict on a version of a group's day, whatever was asked; None when it was never judged."""
    return _read(lake, _snapshot_path(snapshot))


def run(
    *,
    snapshots: Sequence[Snapshot],
    catalogue: Catalogue,
    compiled: Compiled,
    written: Written,
    lake: Lake,
    spark: Callable[[], SparkSession],
    settings: Settings,
    run_id: str,
    progress: Progress,
    now: datetime | None = None,
    in_process_rows: int = IN_PROCESS_ROWS,
) -> ValidateSummary:
    """Judge what has no verdict yet: the newest rows of the sources that the snapshots read, then each day, oldest first.

    `spark` is called only for a table of more than `in_process_rows` rows; `now` is aware.
    """
    from transforms.calendar import cut_off, moment

    for hindsight in (asked for asked in snapshots if asked.kind == "hindsight"):
        raise InputError(f"{hindsight.group} as of {hindsight.as_of} is hindsight: for study, never judged or published")
    judge = _Judge(catalogue, compiled, written, lake, settings, spark, in_process_rows)
    when = now or datetime.now(UTC)
    ordered = sorted(snapshots, key=lambda snapshot: (snapshot.as_of, snapshot.group))
    names = sorted({name for s in ordered for name in compiled.sources_of(compiled.group(s.group))})
    newest_cut_off = max((moment(cut_off(s.day, compiled.zone)) for s in ordered), default=when)
    made = 0
    sources: list[Verdict] = []
    verdicts: list[Verdict] = []

    def source(name: str) -> tuple[Verdict | None, bool]:
        return judge.source(name, run_id, when, cut_off=newest_cut_off)

    def snapshot(asked: Snapshot) -> tuple[Verdict, bool]:
        found = judge.verdict(asked)
        return (found, False) if found else (judge.snapshot(asked, run_id, when), True)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        with progress.step("expectations of the sources", total=len(names)) as step:
            for name, (verdict, new) in zip(names, pool.map(source, names), strict=True):
                sources += [verdict] if verdict else []
                made += new
                step.advance(note=name)
        with progress.step("expectations of the snapshots", total=len(ordered)) as step:
            for _, day in groupby(ordered, key=lambda snapshot: snapshot.as_of):  # a day is held against the one before
                for judged, new in pool.map(snapshot, day):
                    made += new
                    verdicts.append(judged)
                    step.advance(note=f"{judged.name} {judged.as_of}: {judged.status.replace('_', ' ')}")
    return ValidateSummary(tuple(verdicts), tuple(sources), made)


def held_back_message(verdicts: Sequence[Verdict], lake: Lake) -> str | None:
    """What was held back, why, and what to do; None when nothing was."""
    held = [verdict for verdict in verdicts if not verdict.passed]
    if not held:
        return None
    lines = []
    for verdict in held:
        lines.append(f"{verdict.name} as of {verdict.as_of} is held back; what was served before stays served")
        lines += [f"  {broken.rule}: expected: {broken.expected}; found: {broken.found}" for broken in verdict.critical]
        lines.append(f"  every result: {lake.uri(verdict.result_file)}")
        if verdict.quarantine_file:
            lines.append(f"  quarantined rows: {lake.uri(verdict.quarantine_file)}")
    lines.append(
        "what to do: mend the raw files or the definition and run the same command again; where the data are right, change the "
        "rule in expectations/, or its limit for this run: --set validation.max_quarantined_share=SHARE, "
        "--set validation.max_row_count_drop=SHARE"
    )
    return "\n".join(lines)


@dataclass(frozen=True)
class _Judge:
    """Suites and verdicts of one catalogue's tables. `spark`: for tables that are too large to be judged in this process."""

    catalogue: Catalogue
    compiled: Compiled
    written: Written
    lake: Lake
    settings: Settings
    spark: Callable[[], SparkSession] | None = None
    in_process_rows: int = IN_PROCESS_ROWS

    # ---- snapshots

    def verdict(self, snapshot: Snapshot) -> Verdict | None:
        """The verdict on what would be asked today."""
        found = verdict_of(self.lake, snapshot)
        if found is None:
            return None
        asked = self._asked(self._suite(snapshot, None), self._source_failures(snapshot.group))
        return found if found.asked == asked else None

    def snapshot(self, snapshot: Snapshot, run_id: str, now: datetime) -> Verdict:
        from expectations.validate import validate
        from stores.snapshots import SnapshotTable

        suite = self._suite(snapshot, self._before(snapshot))
        sources = self._source_failures(snapshot.group)
        table = SnapshotTable(self.lake.storage, snapshot.group)
        rows = self._judged(snapshot.rows, partial(table.dataset, snapshot), lambda spark: table.read(spark, snapshot))
        asset = f"snapshots/{snapshot.group}"
        report = validate(rows, suite=suite, run_id=run_id, asset=asset, as_of=snapshot.as_of, now=now)
        what = f"{snapshot.group}-{snapshot.as_of}"
        self.lake.write_run(run_id, f"expectations/{what}", report.result)
        broken = (*(_broken(failure) for failure in report.failures), *sources)
        held_back = any(item.severity == "critical" for item in broken)
        verdict = Verdict(
            name=snapshot.group,
            as_of=snapshot.as_of,
            version=snapshot.version,
            asked=self._asked(suite, sources),
            status="held_back" if held_back else "passed",
            rows=report.rows,
            quarantined=report.quarantined,
            quarantine_file=self._quarantine(report, rows, run_id, what, held_back=held_back),
            result_file=f"runs/{run_id}/expectations/{what}.json",
            run_id=run_id,
            broken=broken,
            non_null=report.profile.non_null,
        )
        self._write(_snapshot_path(snapshot), verdict)
        return verdict

    def _suite(self, snapshot: Snapshot, before: Profile | None) -> Suite:
        from expectations.suites import group_suite
        from transforms.calendar import cut_off, iso_utc

        return group_suite(
            self.compiled.group(snapshot.group),
            self.catalogue.group(snapshot.group),
            self.catalogue.sources,
            event_time=iso_utc(cut_off(snapshot.day, self.compiled.zone)),
            time_zone=self.compiled.zone,
            rows=snapshot.rows,
            limits=self.settings.validation,
            before=before,
            written=self.written.get(("group", snapshot.group), ()),
        )

    def _before(self, snapshot: Snapshot) -> Profile | None:
        """The nearest earlier day that passed."""
        from expectations.rules import Profile
        from stores.snapshots import SnapshotTable

        table = SnapshotTable(self.lake.storage, snapshot.group)
        for day in reversed([day for day in table.days() if day < snapshot.day]):
            earlier = table.current(day)
            verdict = verdict_of(self.lake, earlier) if earlier else None
            if verdict is not None and verdict.passed:
                return Profile(verdict.rows, verdict.non_null)
        return None

    def _judged(
        self, rows: int, dataset: Callable[[], Dataset | None], frame: Callable[[SparkSession], DataFrame | None]
    ) -> JudgedTable:
        """So many rows as what is judged: here while there are few, else in Spark."""
        from expectations.tables import ArrowTable, SparkTable

        if rows <= self.in_process_rows:
            here = dataset()
            assert here is not None
            return ArrowTable(here)
        there = frame(self.spark()) if self.spark else None
        assert there is not None
        return SparkTable(there)

    def _quarantine(self, report: Report, rows: JudgedTable, run_id: str, what: str, *, held_back: bool) -> str | None:
        """Write the rows that break a rule; of a day that is held back some, since none of it is published."""
        from expectations.quarantine import quarantine_rows

        if not report.quarantined:
            return None
        limit = EXAMPLES_OF_A_HELD_BACK_DAY if held_back else None
        found = rows.failing(report.suite, report.quarantine_rules, limit)
        count = self.lake.write_quarantine(run_id, what, quarantine_rows(found, suite=report.suite))
        if not held_back and count != report.quarantined:
            raise PublishError(f"{what}: {report.quarantined:,} rows break a rule, {count:,} went to quarantine; run it again")
        return self.lake.quarantine_path(run_id, what)

    def _source_failures(self, group: str) -> tuple[Broken, ...]:
        """Critical rules that the newest rows of a source break which the group reads."""
        found = []
        for name in self.compiled.sources_of(self.compiled.group(group)):
            verdict = _read(self.lake, _source_path(name))
            if verdict is not None:
                found += [Broken(f"source {name}, {b.rule}", b.severity, b.expected, b.found, b.count) for b in verdict.critical]
        return tuple(found)

    # ---- sources

    def source(self, name: str, run_id: str, now: datetime, *, cut_off: datetime) -> tuple[Verdict | None, bool]:
        """The verdict on a source's newest commit, and whether it was made now; None for a source without rows."""
        from expectations.validate import validate

        table = self.lake.curated(name)
        commits = table.commits()
        if not commits:
            return None, False
        newest = commits[-1]
        suite = self._source_suite(name, newest, now, cut_off)
        found = _read(self.lake, _source_path(name))
        asked = self._asked(suite, ())
        if found is not None and found.version == str(newest.version) and found.asked == asked:
            return found, False
        judged = int(found.version) if found is not None and found.asked == asked else -1
        asked_about = [commit for commit in commits if commit.version > judged]
        runs = [commit.run_id for commit in asked_about]
        months = sorted({month for commit in asked_about for month in commit.partitions})
        new = sum(commit.counts.get("kept", 0) for commit in asked_about)
        everything = sum(commit.counts.get("kept", 0) for commit in commits)
        report = validate(
            self._judged(new, partial(table.dataset, months=months, runs=runs), partial(table.read, months=months, runs=runs)),
            suite=suite,
            run_id=run_id,
            asset=f"curated/{name}",
            as_of=f"version {newest.version}",
            now=now,
            keys=self._judged(everything, partial(table.dataset, months=months), partial(table.read, months=months)),
        )
        self.lake.write_run(run_id, f"expectations/{name}", report.result)
        verdict = Verdict(
            name=name,
            as_of="",
            version=str(newest.version),
            asked=asked,
            status="held_back" if report.held_back else "passed",
            rows=report.rows,
            quarantined=0,
            quarantine_file=None,
            result_file=f"runs/{run_id}/expectations/{name}.json",
            run_id=run_id,
            broken=tuple(_broken(failure) for failure in report.failures),
            non_null=report.profile.non_null,
        )
        self._write(_source_path(name), verdict)
        return verdict, True

    def _source_suite(self, name: str, commit: CurateCommit, now: datetime, cut_off: datetime) -> Suite:
        from expectations.suites import source_suite

        counts = commit.counts
        return source_suite(
            self.catalogue.source(name),
            limits=self.settings.validation,
            read=counts.get("read", 0),
            quarantined=counts.get("quarantined", 0),
            now=now,
            cut_off=cut_off,
            written=self.written.get(("source", name), ()),
        )

    def _asked(self, suite: Suite, sources: Sequence[Broken]) -> str:
        limits = self.settings.validation.model_dump()
        text = json.dumps([suite.version, limits, *(asdict(broken) for broken in sources)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _write(self, path: str, verdict: Verdict) -> None:
        self.lake.storage.write(path, json.dumps(asdict(verdict), indent=1).encode())


def _broken(failure: Failure) -> Broken:
    return Broken(failure.rule, failure.severity, failure.expected, failure.found, failure.count)


def _snapshot_path(snapshot: Snapshot) -> str:
    return f"snapshots/_verdicts/{snapshot.group}/{snapshot.as_of}/{snapshot.version}.json"


def _source_path(name: str) -> str:
    return f"curated/_verdicts/{name}.json"


def _read(lake: Lake, path: str) -> Verdict | None:
    return Verdict.from_json(lake.storage.read(path)) if lake.storage.exists(path) else None


# ---- the job


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("validate", "Hold the snapshots of a day, or of every day of a range, against their expectations.")
    add_days(parser)
    refuse_hindsight(parser)
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    request = read_request(arguments)
    request.say_who_is_left_out()
    written = load_rules(arguments.conf, request.catalogue, request.compiled)
    snapshots = _current(made_days(request), request.lake)
    judge: dict[str, Any] = {
        "snapshots": snapshots,
        "catalogue": request.catalogue,
        "compiled": request.compiled,
        "written": written,
        "lake": request.lake,
        "settings": request.settings,
    }
    left_out = request.tables_left_out()
    if arguments.dry_run:
        would = {"would": [f"judge {snapshot.group} as of {snapshot.as_of}" for snapshot in pending(**judge)]}
        return Summary("validate", run_id, tables=would | left_out)
    from jobs.progress import Progress
    from jobs.workers import open_workers

    tables = [f"snapshots/{group}" for group in request.groups]
    with request.lake.hold(tables, run_id), Progress() as progress:
        summary = run(**judge, spark=open_workers(request.settings, progress).spark, run_id=run_id, progress=progress)
    message = held_back_message(summary.verdicts, request.lake)
    if message:
        raise HeldBack(message)
    return Summary(
        "validate",
        run_id,
        counts={"judged": summary.made, "rows": sum(verdict.rows for verdict in summary.verdicts)},
        tables=table_summaries(summary.verdicts) | left_out,
    )


def table_summaries(verdicts: Sequence[Verdict]) -> dict[str, dict[str, Any]]:
    """What was judged of each group, as a job's summary tells it; `as_of` and `status` are the newest day's."""
    told: dict[str, dict[str, Any]] = {}
    for verdict in sorted(verdicts, key=lambda verdict: verdict.as_of):
        table = told.setdefault(
            f"snapshots/{verdict.name}", {"days": 0, "rows": 0, "quarantined": 0, "held_back": 0, "broken": []}
        )
        table["days"] += 1
        for name in ("rows", "quarantined", "held_back"):
            table[name] += getattr(verdict, name)
        table["broken"] = sorted({*table["broken"], *(broken.rule for broken in verdict.broken)})
        table |= {"as_of": verdict.as_of, "status": verdict.status}
    return told


def _current(days: Days, lake: Lake) -> list[Snapshot]:
    from stores.snapshots import SnapshotTable

    found = [(group, day, SnapshotTable(lake.storage, group).current(day)) for group, some in days.items() for day in some]
    if missing := [(group, day) for group, day, snapshot in found if snapshot is None]:
        groups, day = ", ".join(group for group, _ in missing), missing[0][1]
        raise InputError(f"no snapshot of {groups} as of {day} in {lake.uri()}; make it: etr materialize --as-of {day}")
    return [snapshot for _, _, snapshot in found if snapshot is not None]


if __name__ == "__main__":
    sys.exit(main())
