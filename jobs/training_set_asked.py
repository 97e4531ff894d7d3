"""A training set that was asked for: its definition, its labels, the newest complete day; and a first look at it. No Spark."""

from __future__ import annotations

import hashlib
import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np

from conf.catalogue import Catalogue, load_catalogue
from conf.errors import InputError, UsageError
from conf.settings import Settings
from jobs.arguments import load_settings_for
from jobs.due import ENGINE
from jobs.labels_file import LabelsFile, open_labels
from jobs.request import as_of_day
from stores.lake import Lake
from stores.training_sets import TrainingSetTable
from transforms.calendar import EPOCH, day_number, local_days_of
from transforms.schedule import Step, days_of_range
from transforms.training_sets import CompiledTrainingSet, compile_training_set


@dataclass(frozen=True)
class Asked:
    """A training set to be made. `labels`: None where they are those of its spine. `newest`: the newest complete local day."""

    made: CompiledTrainingSet
    settings: Settings
    lake: Lake
    labels: LabelsFile | None
    newest: date

    @property
    def name(self) -> str:
        return self.made.spec.name

    @property
    def table(self) -> TrainingSetTable:
        return TrainingSetTable(self.lake.storage, self.name)

    @property
    def tables_written(self) -> list[str]:
        """On which a run holds the lease."""
        return [f"facts/{self.made.rows.entity}", f"training_sets/{self.name}"]

    @property
    def ledgers_read(self) -> list[str]:
        """Which stand still while facts are prepared."""
        return [f"curated/{source}" for source in self.made.sources]

    def curated(self) -> dict[str, int]:
        """The newest commit of each source that is read; -1 where there is none."""
        commits = {source: self.lake.curated(source).commits() for source in self.made.sources}
        return {source: max((commit.version for commit in some), default=-1) for source, some in commits.items()}

    def version(self, curated: Mapping[str, int]) -> str:
        """The hash of what its rows depend on: the definition, the labels, the newest day as far as it matters, the ledgers."""
        labels = self.labels.fingerprint if self.labels else [one.isoformat() for one in self.survey.days]
        newest = min(self.newest, self.survey.needed) if self.survey.needed else None
        meaning = [ENGINE, self.made.version, labels, str(newest), sorted(curated.items())]
        return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16]

    @cached_property
    def survey(self) -> Survey:
        """What a first look at the labels, or the spine's days, finds. Raises InputError for a file that can't be read."""
        return _survey_file(self, self.labels) if self.labels else _survey_spine(self)


@dataclass(frozen=True)
class Survey:
    """What a first look found. `labels`: of a file, read; `days`: of a spine, those that are ripe.

    `needed`: the last local day that any label needs to be complete, ripe or not; None where there is no label. `notes`: what a
    person should know of the file.
    """

    labels: int = 0
    rejected: int = 0
    unripe: int = 0
    needed: date | None = None
    days: tuple[date, ...] = ()
    unripe_days: int = 0
    notes: tuple[str, ...] = ()

    @property
    def ripe(self) -> int:
        return self.labels - self.rejected - self.unripe


def read_arguments(arguments: Namespace) -> Asked:
    """Load and check all that the arguments name.

    Raises: UsageError, DefinitionError; InputError for a labels file or a ledger that isn't there.
    """
    settings = load_settings_for(arguments)
    catalogue = load_catalogue(arguments.conf)
    spec = catalogue.training_set(arguments.name)
    if arguments.labels is None and spec.spine is None:
        raise UsageError(f"etr training_set {spec.name}: say where the labels are: --labels FILE; its definition has no spine")
    made = compile_training_set(spec, catalogue, settings.time_zone)
    lake = Lake(settings.lake, settings.s3)
    labels = open_labels(arguments.labels, spec, catalogue, settings) if arguments.labels is not None else None
    return Asked(made, settings, lake, labels, newest_day(arguments.as_of, made, catalogue, settings, lake))


def newest_day(asked: date | None, made: CompiledTrainingSet, catalogue: Catalogue, settings: Settings, lake: Lake) -> date:
    """The newest complete day: the one asked for, or the last that is over.

    Of a target, not later than the last day before the newest row of each ledger that tells what happened: that row's own day
    may not be over, and where a ledger stops, what happens goes unseen.
    """
    newest = as_of_day(asked, catalogue, settings.time_zone)
    for source in () if asked else made.outcome_sources:
        moment = lake.curated(source).newest_moment()
        if moment is None:
            raise InputError(
                f"{source}: its ledger doesn't tell how new its newest row is, so nobody knows which labels are ripe; curate it, "
                "or say which day is complete: --as-of YYYY-MM-DD"
            )
        own = int(local_days_of(np.array([moment]), settings.time_zone)[0])
        newest = min(newest, EPOCH + timedelta(days=own - 1))
    return newest


def _survey_file(asked: Asked, file: LabelsFile) -> Survey:
    rows, newest = asked.made.rows, day_number(asked.newest)
    labels = rejected = unripe = 0
    needed: list[int] = []
    notes: list[str] = []
    for checked in file.read(notes):
        known_on = rows.known_on(rows.moments(checked.labels["_time"].to_numpy()).as_of)
        labels += len(checked.labels) + len(checked.rejected)
        rejected += len(checked.rejected)
        unripe += int((known_on > newest).sum())
        needed += [int(known_on.max())] if len(known_on) else []
    last = EPOCH + timedelta(days=max(needed)) if needed else None
    return Survey(labels, rejected, unripe, last, notes=tuple(notes))


def _survey_spine(asked: Asked) -> Survey:
    spine = asked.made.spec.spine
    assert spine is not None
    wanted = days_of_range(spine.from_, spine.to or asked.newest, Step.of(spine.every))
    known_on = asked.made.rows.known_on(np.array([day_number(one) for one in wanted], dtype=np.int64))
    ripe = [(one, int(known)) for one, known in zip(wanted, known_on, strict=True) if known <= day_number(asked.newest)]
    needed = EPOCH + timedelta(days=ripe[-1][1]) if ripe else None
    return Survey(needed=needed, days=tuple(one for one, _ in ripe), unripe_days=len(wanted) - len(ripe) if spine.to else 0)
