"""Joins labels to the features known at each label's time: one row a label, in Parquet and Delta."""

from __future__ import annotations

import logging
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from conf.errors import InputError
from jobs.arguments import JobParser, day
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from jobs.training_set_asked import Asked
    from stores.training_sets import TrainingSetVersion

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser(
        "training_set",
        "Labels to training rows: each joined to the features known at its time.",
        common=("env", "conf", "lake", "set", "dry_run", "writer"),
    )
    parser.add_argument("name", metavar="NAME", help="the training set's name, as in conf/training_sets/")
    parser.add_argument("--labels", metavar="FILE", help="labels as CSV, JSON lines or Parquet (default: the definition's spine)")
    parser.add_argument(
        "--as-of",
        type=day,
        metavar="YYYY-MM-DD",
        help="the newest complete local day; a label that needs a later one isn't ripe (default: as clock and ledgers tell)",
    )
    parser.add_argument("--wait", type=int, default=60, metavar="SECONDS", help="how long to wait for another run (default: 60)")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    from jobs.training_set_asked import read_arguments  # takes longer than a wrong argument should

    started = time.monotonic()
    asked = read_arguments(arguments)
    for note in asked.survey.notes:
        _log.warning("%s: %s", asked.labels.uri if asked.labels else asked.name, note)
    if asked.labels and not asked.survey.labels:
        raise InputError(f"--labels {asked.labels.uri}: there is no label in it")
    current = asked.table.current()
    if current is not None and current.version != asked.version(asked.curated()):
        current = None
    if arguments.dry_run:
        return _would(asked, current, run_id)
    from jobs.training_set_closing import show_result

    if current is not None:
        show_result(asked, current, time.monotonic() - started, is_new=False)
        return _summary(asked, current, run_id, made=0)
    from jobs.progress import Progress
    from jobs.training_set_make import run
    from jobs.workers import open_workers

    with Progress() as progress:
        workers = open_workers(asked.settings, progress)
        made = run(asked, workers=workers, run_id=run_id, progress=progress, wait_seconds=arguments.wait)
    show_result(asked, made, time.monotonic() - started, is_new=True)
    return _summary(asked, made, run_id, made=1)


def _would(asked: Asked, current: TrainingSetVersion | None, run_id: str) -> Summary:
    survey = asked.survey
    what = f"of {survey.ripe:,} labels" if asked.labels else f"of every entity as of {len(survey.days):,} days"
    told = {
        "would": f"make {asked.name} anew {what}" if current is None else "change nothing",
        "columns": len(asked.made.rows.schema),
        "newest_day": asked.newest,
    }
    counts = {"labels": survey.labels, "unripe": survey.unripe, "rejected": survey.rejected}
    if not asked.labels:
        counts = {"days": len(survey.days), "unripe_days": survey.unripe_days}
    return Summary("training_set", run_id, counts=counts, tables={f"training_sets/{asked.name}": told})


def _summary(asked: Asked, current: TrainingSetVersion, run_id: str, *, made: int) -> Summary:
    table, lake = asked.table, asked.lake
    told = {
        "uri": lake.uri(table.path),
        "version": current.version,
        "rows": current.rows,
        "files": len(current.files),
        "newest_day": current.newest_day,
        "targets": current.targets,
        "groups": {name: {"version": current.groups[name], **counts} for name, counts in current.of_groups.items()},
        "report": lake.uri(table.report),
        "without_history": lake.uri(table.history_path) if current.without_history else None,
        "quarantine": lake.uri("quarantine", current.run_id) if current.counts["rejected"] else None,
    }
    return Summary("training_set", run_id, counts={"made": made, **current.counts}, tables={table.path: told})


if __name__ == "__main__":
    sys.exit(main())
