"""Our engine, through the code of its jobs: curate, prepare, materialize, training set, over a lake in a folder."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.question import GROUP, TRAINING_SET
from conf.settings import load_settings

if TYPE_CHECKING:
    from jobs.progress import Progress
    from jobs.workers import Workers
    from transforms.feature_group import Compiled

SETTINGS = {"time_zone": "UTC", "spark.shuffle_partitions": "8", "spark.driver_memory": "6g"}
Opened = tuple["Compiled", "Workers", "Progress"]


class Ours:
    """The engine as its jobs call it. It always writes and commits its Parquet."""

    name = "ours"
    tuning = (
        "as shipped; definitions in YAML. Facts are prepared once and lie in buckets; a day's snapshot includes finding out what "
        "is due, its Parquet, its commit in Delta."
    )

    def __init__(self, work: Path, conf: Path) -> None:
        self.conf = conf
        self.raw, self.lake_folder = work / "raw", work / "lake"
        self._runs = 0
        self._opened: Opened | None = None

    def open(self) -> None:
        from conf.catalogue import load_catalogue
        from jobs.progress import Progress
        from jobs.workers import open_workers
        from stores.lake import Lake
        from transforms.feature_group import compile_groups

        (self.raw / "events").mkdir(parents=True, exist_ok=True)
        self.settings = load_settings("local", {**SETTINGS, "raw": str(self.raw), "lake": str(self.lake_folder)})
        self.catalogue = load_catalogue(self.conf)
        self.lake = Lake(self.settings.lake)
        compiled = compile_groups(self.catalogue, self.settings.time_zone)
        progress = Progress()
        self._opened = compiled, open_workers(self.settings, progress), progress

    def prepare(self, events: Sequence[Path]) -> None:
        self.curate(events)
        self.prepare_facts()

    def keep_buckets_of(self, work: Path) -> None:
        """As many buckets as another lake of ours has: one that grows keeps them until one has 750,000 rows."""
        for chosen in (work / "lake" / "facts").glob("*/buckets.json"):
            mine = self.lake_folder / "facts" / chosen.parent.name / chosen.name
            mine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(chosen, mine)

    def daily(self, events: Sequence[Path]) -> None:
        self.prepare(events)

    def curate(self, events: Sequence[Path]) -> None:
        """Take new files into the ledger, as the job `curate`."""
        from jobs import curate

        for file in events:
            place = self.raw / "events" / file.name
            if not place.exists():
                os.link(file, place)
        _, workers, progress = self._ready
        told = curate.run(
            sources=self.catalogue.sources,
            raw=self.settings.raw,
            lake=self.lake,
            workers=workers,
            settings=self.settings,
            run_id=self._new_run(),
            progress=progress,
        )
        told.raise_if_failed()

    def prepare_facts(self) -> None:
        """Bring the facts up to the ledger, as `materialize` does before it answers."""
        from jobs.prepare_facts import bring_up_to_date

        compiled, workers, progress = self._ready
        streams = compiled.groups[GROUP].streams
        with self.lake.hold([f"facts/{compiled.groups[GROUP].entity}"], self._new_run()):
            bring_up_to_date(compiled, streams, self.lake, workers, progress)

    def snapshot(self, day: date, rows: Path | None = None) -> None:
        self.backfill([day], rows)

    def backfill(self, days: Sequence[date], rows: Path | None = None) -> None:
        from jobs import materialize

        compiled, workers, progress = self._ready
        made = materialize.run(
            compiled=compiled,
            days={GROUP: tuple(days)},
            lake=self.lake,
            workers=workers,
            run_id=self._new_run(),
            progress=progress,
            days_at_once=self.settings.snapshots.days_at_once,
        )
        if rows is not None:
            files = {self.lake.uri(file.path): snapshot.as_of for snapshot in made.current for file in snapshot.files}
            _copy(files, "as_of", rows)

    def labels(self, labels: Path, rows: Path | None = None) -> None:
        from jobs import training_set_make
        from jobs.training_set_asked import read_arguments

        _, workers, progress = self._ready
        given = {**SETTINGS, "raw": str(self.raw), "lake": str(self.lake_folder)}
        asked = read_arguments(
            Namespace(
                env="local",
                conf=str(self.conf),
                raw=None,
                lake=None,
                set=given,
                name=TRAINING_SET,
                labels=str(labels),
                as_of=None,
            )
        )
        made = training_set_make.run(asked, workers=workers, run_id=self._new_run(), progress=progress)
        if rows is not None:
            _copy({self.lake.uri(file.path): None for file in made.files}, "label_time", rows)

    def forget(self) -> None:
        for answered in ("snapshots", "training_sets"):
            shutil.rmtree(self.lake_folder / answered, ignore_errors=True)

    def forget_everything(self) -> None:
        """Back to nothing but raw files."""
        shutil.rmtree(self.lake_folder, ignore_errors=True)

    def forget_facts(self) -> None:
        """Back to the ledger."""
        self.forget()
        shutil.rmtree(self.lake_folder / "facts", ignore_errors=True)

    def close(self) -> None:
        """Its worker processes end with this one."""

    @property
    def _ready(self) -> Opened:
        if self._opened is None:
            raise RuntimeError("the engine isn't open")
        return self._opened

    def _new_run(self) -> str:
        self._runs += 1
        return f"bench-{os.getpid()}-{self._runs:06d}"


def _copy(files: dict[str, Any], key: str, rows: Path) -> None:
    """The answer of some files, with its key, as other engines write it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bench.question import COLUMNS, ENTITY

    rows.mkdir(parents=True)
    for number, (path, value) in enumerate(files.items()):
        table = pq.ParquetFile(path).read()
        if value is not None:
            table = table.append_column(key, pa.array([value] * len(table)))
        pq.write_table(table.select([ENTITY, key, *COLUMNS]), rows / f"{number:05d}.parquet")
