"""What the stores can do, and what they hand over: small frozen values that pickle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FeatureType = Literal["Integral", "Fractional", "String"]


@dataclass(frozen=True)
class FeatureDefinition:
    """A feature as SageMaker knows it: a name and one of three types."""

    name: str
    type: FeatureType


@dataclass(frozen=True)
class FeatureGroupDescription:
    """A feature group as it exists; `features` in the order in which they were defined."""

    name: str
    arn: str
    record_identifier: str
    event_time: str
    features: tuple[FeatureDefinition, ...]
    status: str
    online: bool
    offline_uri: str | None
    """Where the offline store's files go: the group's own folder, ending in `/data`; None without an offline store."""

    @property
    def types(self) -> dict[str, FeatureType]:
        return {feature.name: feature.type for feature in self.features}


@dataclass(frozen=True)
class Record:
    """One record as it is written: `values` holds each feature's text, identifier and event time among them.

    A feature that is null is left out.
    """

    identifier: str
    event_time: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class DeadLetter:
    """A record that was not written, with the code and the reason; `identifier` is None where the row had none."""

    group: str
    identifier: str | None
    event_time: str | None
    code: str
    message: str


@dataclass(frozen=True)
class WriteOutcome:
    """What became of the records handed to a writer: `sent = written + skipped + dead`, always."""

    sent: int = 0
    written: int = 0
    skipped: int = 0
    retried: int = 0
    """Records that had to be sent again; they count once in `sent`."""
    dead_letters: tuple[DeadLetter, ...] = ()

    @property
    def dead(self) -> int:
        return len(self.dead_letters)

    def __add__(self, other: WriteOutcome) -> WriteOutcome:
        return WriteOutcome(
            sent=self.sent + other.sent,
            written=self.written + other.written,
            skipped=self.skipped + other.skipped,
            retried=self.retried + other.retried,
            dead_letters=self.dead_letters + other.dead_letters,
        )


class OnlineStore(Protocol):
    """The newest record of each identifier, per feature group."""

    def put_batch(self, group: str, records: Iterable[Record]) -> WriteOutcome:
        """Write records, in any order; of one identifier, the newest event time stays, and an equal one replaces."""

    def get_records(self, group: str, identifiers: Sequence[str]) -> list[dict[str, str]]:
        """Return the records found, in the order asked for: text by feature name; an unknown identifier is absent."""
