"""Sends online what changed of a snapshot since it was last sent; a digest of each record says what did."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stores.offline import EVENT_TIME, FitRows, Part, decimal_words
from stores.online import OnlineConfig, write_batches
from stores.protocols import FeatureType, WriteOutcome
from stores.storage import Storage

Digests = NDArray[np.uint64]
"""128 bits a record, as two columns: equal where two records have the same values, whatever their event times."""

_UNCHANGED = "_unchanged"
_NONE = np.empty((0, 2), dtype=np.uint64)
_SCHEMA = pa.schema([("first", pa.uint64()), ("second", pa.uint64())])


@dataclass(frozen=True)
class Sending:
    """A snapshot on its way to the online store; pickles.

    `features`: those that are online, identifier and event time among them. `before`: the digests of what was last sent.
    """

    group: str
    rows: FitRows
    parts: tuple[Part, ...]
    features: Mapping[str, FeatureType]
    config: OnlineConfig
    before: tuple[str, ...]
    digest_folder: str

    def digest_path(self, number: int) -> str:
        return f"{self.digest_folder}/part-{number:05d}.parquet"


def send_part(sending: Sending, number: int) -> WriteOutcome:
    """Send the changed records of one part, and write the digests of all that are online now. Memory: digests, not rows.

    Raises: PublishError when access is denied, the store takes nothing or too many records fail.
    """
    part, columns = sending.parts[number], list(sending.features)
    values = [name for name in columns if name != EVENT_TIME]
    found = [digests(batch, values) for batch in sending.rows.read(part, columns)]
    mine = np.concatenate([_NONE, *found])
    unchanged = _were_sent(sending.rows.storage, sending.before, mine)
    outcome = WriteOutcome(sent=len(mine), skipped=len(mine))
    if not unchanged.all():

        def marked() -> Iterator[pa.RecordBatch]:
            at = 0
            for batch in sending.rows.read(part, columns):
                same = pa.array(unchanged[at : at + len(batch)])
                at += len(batch)
                yield pa.RecordBatch.from_arrays([*batch.columns, same], names=[*columns, _UNCHANGED])

        outcome = write_batches(
            marked(),
            group=sending.group,
            record_identifier=sending.rows.record_identifier,
            event_time=EVENT_TIME,
            features=sending.features,
            config=sending.config,
            skip=_UNCHANGED,
        )
    if outcome.dead_letters:
        mine = mine[~_are_dead(sending, part, outcome)]
    write_digests(sending.rows.storage, sending.digest_path(number), mine)
    return outcome


def digests(batch: pa.RecordBatch, columns: Sequence[str]) -> Digests:
    """A digest of each row's `columns`; one that is null adds nothing, as its feature is not sent."""
    total = np.zeros((len(batch), 2), dtype=np.uint64)
    for name in columns:
        column = batch.column(name)
        seed = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=16).digest(), dtype="<u8")
        present = column.is_valid().to_numpy(zero_copy_only=False)
        words = _words(column)
        for lane in range(2):
            mixed = _mix(words[:, 0] ^ seed[lane])
            for more in words.T[1:]:
                mixed = _mix(mixed + more)
            total[:, lane] += np.where(present, mixed, np.uint64(0))
    return total


def write_digests(storage: Storage, path: str, found: Digests) -> None:
    """Write digests in order of their first half, so that they can be looked up."""
    found = found[np.argsort(found[:, 0], kind="stable")]
    table = pa.table({"first": found[:, 0], "second": found[:, 1]}, schema=_SCHEMA)
    with storage.open_output(path) as stream:
        pq.write_table(table, stream, compression="none", use_dictionary=False)


def _were_sent(storage: Storage, files: Sequence[str], mine: Digests) -> NDArray[np.bool_]:
    """Whether each digest is in one of the files, read one at a time."""
    known = np.zeros(len(mine), dtype=np.bool_)
    for path in files:
        if known.all():
            break
        with storage.open_input(path) as stream:
            table = pq.ParquetFile(stream).read()
        first, second = table["first"].to_numpy(), table["second"].to_numpy()
        if len(first):
            at = np.minimum(np.searchsorted(first, mine[:, 0]), len(first) - 1)
            known |= (first[at] == mine[:, 0]) & (second[at] == mine[:, 1])
    return known


def _are_dead(sending: Sending, part: Part, outcome: WriteOutcome) -> NDArray[np.bool_]:
    identifier = sending.rows.record_identifier
    dead = pa.array([letter.identifier for letter in outcome.dead_letters], pa.string())
    columns = (batch.column(identifier) for batch in sending.rows.read(part, [identifier]))
    found = [pc.is_in(column, value_set=dead).to_numpy(zero_copy_only=False) for column in columns]
    return np.concatenate([np.empty(0, dtype=np.bool_), *found])


def _words(column: pa.Array) -> NDArray[np.uint64]:
    """Each value as one or two 64-bit words; what a null has is not said."""
    kind: Any = column.type
    if pa.types.is_decimal128(kind):
        return decimal_words(column).view(np.uint64)
    if pa.types.is_string(kind):
        distinct = column.dictionary_encode()
        texts = (value.encode() for value in distinct.dictionary.to_pylist())
        hashed = b"".join(hashlib.blake2b(text, digest_size=16).digest() for text in texts)
        pairs = np.frombuffer(hashed, dtype="<u8").reshape(-1, 2)
        return pairs[distinct.indices.fill_null(0).to_numpy()] if len(pairs) else np.zeros((len(column), 2), dtype=np.uint64)
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64()).fill_null(0.0)
    else:
        numbers = (column.cast(pa.int32()) if pa.types.is_date32(kind) else column).cast(pa.int64()).fill_null(0)
    words: NDArray[np.uint64] = numbers.to_numpy().view(np.uint64).reshape(-1, 1)
    return words


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64: every bit of the input changes half of the output's."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed
