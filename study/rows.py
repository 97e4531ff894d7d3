"""From raw files to rows of a case: the engine's training set, and what a join on today's state would have put in its place."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from deltalake import DeltaTable

from study.cases import Case
from study.metrics import Floats

ROOT = Path(__file__).resolve().parents[1]


class StudyError(Exception):
    """The data isn't what the study is of, or a job of the engine failed."""


@dataclass(frozen=True)
class Rows:
    """The labels of one side of the cut: what came of each, and its features, known then and known today. Missing is NaN."""

    entities: frozenset[str]
    outcome: Floats
    known_then: Floats
    known_today: Floats


@dataclass(frozen=True)
class CaseRows:
    features: tuple[str, ...]
    counts: dict[str, int]
    train: Rows
    test: Rows


def read_case(case: Case, *, data: Path, work: Path) -> CaseRows:
    """Make the case's training set and newest snapshot with the engine, in lakes below `work`, and read them.

    Cases of the same data share a lake. Rows are in the training set's order, which is the same each time.
    """
    files = {name: _checked(data / case.data / name, digest) for name, digest in case.files.items()}
    lake, conf = work / case.example, ROOT / "examples" / case.example
    common = ["--conf", str(conf), "--lake", str(lake)]
    _etr("curate", *common, "--raw", str(data / case.data))
    _etr("materialize", *common, "--as-of", case.as_of)
    asked = ["training_set", case.name, *common, "--as-of", case.as_of]
    if case.labels is not None:
        labels = work / f"{case.name}.csv"
        _write_labels(case.labels, files, labels)
        asked += ["--labels", str(labels)]
    counts = _etr(*asked)["counts"]
    told = _etr("features", case.group, "--conf", str(conf), "--format", "json")["features"]
    features = tuple(feature["name"] for feature in told)

    then = DeltaTable(str(lake / "training_sets" / case.name)).to_pyarrow_table()
    then = then.sort_by([(case.entity, "ascending"), ("label_time", "ascending")])
    today = DeltaTable(str(lake / "snapshots" / case.group)).to_pyarrow_table()
    place_of = {entity: place for place, entity in enumerate(today[case.entity].to_pylist())}
    if len(place_of) != today.num_rows:
        raise StudyError(
            f"{case.group}: {today.num_rows:,} rows of {len(place_of):,} entities as of {case.as_of}; expected one of each"
        )
    joined = today.take(pa.array([place_of.get(entity) for entity in then[case.entity].to_pylist()], pa.int64()))

    times = np.array([time.timestamp() for time in then["label_time"].to_pylist()])
    sides = (
        times < datetime.fromisoformat(case.train_until).timestamp(),
        times >= datetime.fromisoformat(case.test_from).timestamp(),
    )
    outcome, known_then, known_today = _matrix(then, [case.target])[:, 0], _matrix(then, features), _matrix(joined, features)
    entities = np.array(then[case.entity].to_pylist())
    train, test = (Rows(frozenset(entities[side]), outcome[side], known_then[side], known_today[side]) for side in sides)
    return CaseRows(features, counts, train, test)


def _matrix(table: pa.Table, columns: Sequence[str]) -> Floats:
    found = [table[name].combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False) for name in columns]
    return np.column_stack(found).astype(np.float64)


def _checked(path: Path, digest: str) -> Path:
    """The file, or the same packed with gzip. Raises: StudyError when it is missing or another one."""
    found = next((place for place in (path, path.with_name(path.name + ".gz")) if place.is_file()), None)
    if found is None:
        raise StudyError(f"{path}: there is no such file, nor {path.name}.gz; docs/your_own_data.md says what the data sets are")
    content = found.read_bytes()
    told = hashlib.sha256(gzip.decompress(content) if found.suffix == ".gz" else content).hexdigest()
    if told != digest:
        raise StudyError(f"{found}: SHA-256 of its content is {told}; the study is of {digest}")
    return found


def _write_labels(sql: str, files: dict[str, Path], to: Path) -> None:
    for name, path in files.items():
        sql = sql.replace(f"{{{name}}}", str(path).replace("'", "''"))
    target = str(to).replace("'", "''")
    duckdb.execute(f"copy ({sql}) to '{target}' (format csv, header)")


def _etr(*arguments: str) -> dict:  # type: ignore[type-arg]  # a job's summary: JSON
    """Run a job as a user does, its progress on our stderr; return its summary."""
    run = subprocess.run([sys.executable, "-m", "jobs.cli", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise StudyError(f"etr {' '.join(arguments)}: ended with exit code {run.returncode}; what it said is above")
    return json.loads(run.stdout.splitlines()[-1])  # type: ignore[no-any-return]
