"""A labels file: found, its columns told apart, read in batches of checked labels. No Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from conf.errors import InputError, UsageError, did_you_mean
from conf.specs import Format
from stores.lake import QUARANTINE_SCHEMA
from stores.raw import FileOutcome, RawFile, RawFormat, names_in, read_file
from stores.storage import Storage, open_storage
from transforms.label_sql import LabelColumns
from transforms.labels import CheckedLabels, LabelChecker, RejectedLabel

if TYPE_CHECKING:
    from conf.catalogue import Catalogue
    from conf.settings import Settings
    from conf.training_sets import TrainingSet

_FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
_ENTITY = "entity"


@dataclass(frozen=True)
class LabelsFile:
    """A file of labels. `uri`: as the user named it."""

    uri: str
    storage: Storage
    file: RawFile
    how: RawFormat
    columns: LabelColumns

    @cached_property
    def fingerprint(self) -> str:
        """What identifies its content."""
        return self.storage.fingerprint(self.file.path)

    def read(self, notes: list[str] | None = None) -> Iterator[CheckedLabels]:
        """Every row, in batches; `notes` takes what a person should know of the file.

        Raises: InputError when the file can't be read, or not to its end.
        """
        with LabelChecker(self.columns) as checker:
            for batch in read_file(self.storage, self.file, self.how):
                is_status = batch["_line"].is_null().to_numpy(zero_copy_only=False)
                if is_status.any():
                    outcome = FileOutcome.of(self.file.path, batch["_unreadable"][0].as_py())
                    if outcome.problem:
                        raise InputError(f"{self.uri}: {outcome.problem}")
                    if notes is not None:
                        notes += [note.replace("the source", "the training set") for note in outcome.notes]
                elif batch.num_rows:
                    yield checker.check(batch)


def open_labels(uri: str, spec: TrainingSet, catalogue: Catalogue, settings: Settings) -> LabelsFile:
    """Raises: UsageError for a file of no known kind; InputError when there is none, or it lacks a column."""
    folder, _, name = uri.rpartition("/")
    storage = open_storage(folder or ("/" if uri.startswith("/") else "."), settings.s3)
    format_ = _format_of(uri)
    stored = storage.stat(name)
    if stored is None:
        raise InputError(f"--labels {uri}: there is no such file")
    file = RawFile(name, stored.size, stored.tag)
    labels = spec.labels
    bare = RawFormat(format_, labels.encoding, labels.delimiter, (), frozenset())
    header = names_in(bare, storage, file)
    entity = labels.entity or (spec.record_identifier if spec.record_identifier in header or _ENTITY not in header else _ENTITY)
    columns = _columns(entity, spec, catalogue, settings)
    required = frozenset({columns.entity, columns.time, *columns.targets})
    nulls = tuple(columns.null_values)
    how = RawFormat(format_, labels.encoding, labels.delimiter, columns.names, required, columns.types, nulls)
    return LabelsFile(uri, storage, file, how, columns)


def _format_of(uri: str) -> Format:
    plain = uri.removesuffix(".gz")
    ending = "." + plain.rpartition(".")[2] if "." in plain.rpartition("/")[2] else ""
    if ending not in _FORMATS or (plain != uri and _FORMATS[ending] == "parquet"):
        known = "CSV (.csv), JSON lines (.jsonl, .ndjson, .json), each also .gz, and Parquet (.parquet)"
        raise UsageError(f"--labels {uri}: its name doesn't say what it is{did_you_mean(ending, _FORMATS)}; known: {known}")
    return _FORMATS[ending]


def _columns(entity: str, spec: TrainingSet, catalogue: Catalogue, settings: Settings) -> LabelColumns:
    """The entity is read as the ledgers have it: an integer as one, and hashed where they know it by its hash only."""
    spine = catalogue.group(next(iter(spec.features))).spine
    sources = sorted(catalogue.sources.values(), key=lambda source: source.name != spine)  # a union has none of its own
    known = next((s.columns[spec.record_identifier] for s in sources if spec.record_identifier in s.columns), None)
    is_hashed = known is not None and known.personal == "hmac"
    return LabelColumns(
        entity=entity,
        time=spec.labels.time,
        targets=spec.label_targets,
        carry=spec.labels.carry,
        zone=spec.labels.zone or settings.time_zone,
        null_values=spec.labels.null_values,
        entity_type="integer" if known is not None and known.type == "integer" else "string",
        hmac_key=settings.personal_data_key() if is_hashed else None,
    )


def quarantine_rows(name: str, file: str | None, rejected: Sequence[RejectedLabel]) -> pa.RecordBatch:
    """Rejected labels as the quarantine has them."""
    rows = [
        {
            "source_or_group": name,
            "file": file,
            "line": one.line,
            "key": one.key,
            "rule": "; ".join(one.rules),
            "reason": "; ".join(one.reasons),
            "row": one.row,
        }
        for one in rejected
    ]
    return pa.RecordBatch.from_pylist(rows, schema=QUARANTINE_SCHEMA)
