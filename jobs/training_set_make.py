"""Makes a training set: facts brought up to date, labels beside them, rows in tasks, one commit for the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from conf.errors import InputError, PublishError
from jobs.labels_file import LabelsFile, quarantine_rows
from jobs.prepare_facts import bring_up_to_date
from jobs.progress import Progress
from jobs.training_set_asked import Asked
from jobs.training_set_tasks import LabelTask, Written, write_buckets
from jobs.workers import Workers
from jobs.writers import choose_writer
from stores.facts import BucketReader
from stores.training_sets import FOLDER, LabelSource, LabelStage, TrainingSetVersion
from transforms.calendar import day_number

FATES = {"rows": "became rows", "unripe": "aren't ripe", "rejected": "were rejected", "duplicates": "are there twice"}
"""What becomes of a label; together they are all."""


def run(asked: Asked, *, workers: Workers, run_id: str, progress: Progress, wait_seconds: float = 0.0) -> TrainingSetVersion:
    """Make the training set anew and put it in the place of the one before.

    Raises: LeaseError when another run writes the same tables; InputError when no label can be used, PublishError when the counts
    don't add up. The training set before stays then.
    """
    if not asked.labels and not asked.survey.days:
        raise InputError(f"{asked.name}: none of the spine's days is ripe; the newest complete day is {asked.newest}")
    table = asked.table
    with asked.lake.hold(asked.tables_written, run_id, wait_seconds) as held:
        lease = next(lease for lease in held if lease.table == table.path)
        table.remove_leftovers()
        with asked.lake.hold(asked.ledgers_read, run_id, wait_seconds):
            curated = asked.curated()
            readers = _Readers.prepare(asked, workers, progress)
        labels = {}
        if asked.labels:
            with progress.step("labels", total=asked.survey.labels):
                labels = _stage(asked, asked.labels, run_id, readers.bucket_bits)
        with progress.step("rows", total=1 << readers.bucket_bits):
            written = _write(asked, readers, labels, workers, run_id, progress)
        made = _told(asked, run_id, curated, written)
        _check(asked, made)
        table.commit(made, asked.made.rows.schema, lease)
    return made


@dataclass(frozen=True)
class _Readers:
    """The facts of the features; and those of the target, with today's knowledge."""

    features: Mapping[str, BucketReader]
    outcomes: Mapping[str, BucketReader]
    bucket_bits: int

    @classmethod
    def prepare(cls, asked: Asked, workers: Workers, progress: Progress) -> _Readers:
        made = asked.made
        features = bring_up_to_date(made.features, made.feature_streams, asked.lake, workers, progress)
        outcomes: Mapping[str, BucketReader] = {}
        if made.outcomes:
            outcomes = bring_up_to_date(made.outcomes, made.outcome_streams, asked.lake, workers, progress)
        bits = {layer.bucket_bits for reader in (*features.values(), *outcomes.values()) for layer in reader.layers}
        if len(bits) > 1:
            raise PublishError(f"{asked.name}: facts lie in different numbers of buckets; remove the lake's facts/ and run again")
        return cls(features, outcomes, bits.pop())


# ---- labels


def _stage(asked: Asked, file: LabelsFile, run_id: str, bits: int) -> dict[int, tuple[str, ...]]:
    """The labels that are ripe, as files by the bucket of their entity. What is rejected goes to quarantine."""
    rows, newest, survey = asked.made.rows, day_number(asked.newest), asked.survey
    stage = LabelStage(asked.lake.storage, asked.table.staging(run_id), bits)
    seen = ripe = 0

    def sorted_out() -> Iterator[pa.RecordBatch]:
        nonlocal seen, ripe
        for checked in file.read():
            known_on = rows.known_on(rows.moments(checked.labels["_time"].to_numpy()).as_of)
            kept = checked.labels.filter(pa.array(known_on <= newest))
            stage.add(kept)
            ripe += len(kept)
            seen += len(checked.labels) + len(checked.rejected)
            if checked.rejected:
                yield quarantine_rows(asked.name, file.uri, checked.rejected)
        stage.flush()

    rejected = asked.lake.write_quarantine(run_id, _quarantine(asked), sorted_out())
    if (seen, rejected, ripe) != (survey.labels, survey.rejected, survey.ripe):
        raise InputError(f"{file.uri}: it changed while it was read; run again")
    return stage.files


def _quarantine(asked: Asked, number: int | None = None) -> str:
    """How a training set's quarantine is called: of the file's rows, and of the contradictions that each task found."""
    return f"training_set.{asked.name}" + ("" if number is None else f".{number:05d}")


# ---- rows


def _write(
    asked: Asked,
    readers: _Readers,
    labels: Mapping[int, tuple[str, ...]],
    workers: Workers,
    run_id: str,
    progress: Progress,
) -> list[Written]:
    """Every bucket's rows; each task a run of buckets, and a file."""
    columns = asked.labels.columns if asked.labels else None
    task = LabelTask(
        storage=asked.lake.storage,
        name=asked.name,
        rows=asked.made.rows,
        readers=readers.features,
        outcome_readers=readers.outcomes,
        labels=labels,
        days=tuple(map(day_number, asked.survey.days)),
        file=asked.labels.uri if asked.labels else None,
        names={"_entity": columns.entity, "_time": columns.time} if columns else {},
    )
    buckets = 1 << readers.bucket_bits
    tasks = min(buckets, 4 * workers.at_once)
    calls = []
    for number in range(tasks):
        mine = range(number * buckets // tasks, (number + 1) * buckets // tasks)
        quarantine = asked.lake.quarantine_path(run_id, _quarantine(asked, number))
        calls.append(partial(write_buckets, task, number, mine, quarantine))
    writer = choose_writer(asked.settings.writer, workers, asked.lake.storage, FOLDER, progress)
    return [Written.of(told) for told in writer.run(calls)]


def _told(asked: Asked, run_id: str, curated: Mapping[str, int], written: Sequence[Written]) -> TrainingSetVersion:
    survey, rows = asked.survey, asked.made.rows
    files = tuple(one.file for one in written if one.file)
    unknown = tuple(one.unknown for one in written if one.unknown)
    conflicts = sum(one.conflicts for one in written)
    counts = {
        "labels": survey.labels if asked.labels else sum(one.labels for one in written),
        "rows": sum(file.rows for file in files),
        "unripe": survey.unripe,
        "rejected": survey.rejected + conflicts,
        "conflicts": conflicts,
        "duplicates": sum(one.duplicates for one in written),
        "without_history": sum(file.rows for file in unknown),
        "columns": len(rows.schema),
    }
    if not asked.labels:
        counts |= {"days": len(survey.days), "unripe_days": survey.unripe_days}
    return TrainingSetVersion(
        name=asked.name,
        version=asked.version(curated),
        definition=asked.made.version,
        run_id=run_id,
        labels=LabelSource(
            asked.labels.uri if asked.labels else None,
            asked.labels.fingerprint if asked.labels else None,
            tuple(one.isoformat() for one in survey.days),
        ),
        newest_day=asked.newest.isoformat(),
        groups={group.name: group.version for group in rows.groups},
        curated=curated,
        counts=counts,
        of_groups={
            group.name: {
                "columns": len(group.columns),
                "not_on_spine": sum(one.off_spine.get(group.name, 0) for one in written),
                "without_history": sum(one.no_history.get(group.name, 0) for one in written),
            }
            for group in rows.groups
        },
        targets={field.name: _of_target(field.name, written) for field in rows.target_fields},
        files=files,
        without_history=unknown,
    )


def _of_target(name: str, written: Sequence[Written]) -> dict[str, float | None]:
    present = sum(one.present.get(name, 0) for one in written)
    sums = [one.sums[name] for one in written if name in one.sums]
    return {"present": present, "mean": sum(sums) / present if sums and present else None}


def _check(asked: Asked, made: TrainingSetVersion) -> None:
    """Every label is accounted for, and some can be used."""
    counts = made.counts
    told = ", ".join(f"{counts[name]:,} {words}" for name, words in FATES.items())
    if counts["labels"] != sum(counts[name] for name in FATES):
        raise PublishError(f"{asked.name}: of {counts['labels']:,} labels {told}, which isn't all; nothing was committed")
    if not made.rows:
        source = asked.labels.uri if asked.labels else "its spine"
        newest = f"; the newest complete day is {asked.newest}" if counts["unripe"] else ""
        raise InputError(f"{asked.name}: no label of {source} can be used: of {counts['labels']:,} {told}{newest}")
