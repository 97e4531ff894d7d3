"""Failures on purpose, for tests of whoever calls: what the service does on a bad day, off by default."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from stores.embedded.errors import ServiceError, group_not_found, validation_error


@dataclass(frozen=True)
class Faults:
    """Shares are between 0 and 1, of runtime calls unless said otherwise; the same seed gives the same sequence."""

    latency_ms: float = field(default=0.0, metadata={"help": "milliseconds added to every runtime call"})
    unavailable: float = field(default=0.0, metadata={"help": "share answered ServiceUnavailable (503)"})
    throttled: float = field(default=0.0, metadata={"help": "share answered ThrottlingException (400)"})
    not_found: float = field(
        default=0.0, metadata={"help": "share answered ValidationError 'Resource Not Found' though the group is there"}
    )
    cut: float = field(default=0.0, metadata={"help": "share whose connection breaks after the work was done"})
    unprocessed: float = field(default=0.0, metadata={"help": "share of batch entries given back unprocessed"})
    creating: int = field(default=0, metadata={"help": "times a new group is described as Creating"})
    seed: int = field(default=0, metadata={"help": "seed of the random numbers"})


class FaultDice:
    """Draws which calls fail."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)
        self._descriptions: dict[str, int] = {}

    def refuse_call(self) -> None:
        """Raises: ServiceError when this call is one of those that fail as a whole."""
        faults = self.faults
        if self._hits(faults.unavailable):
            raise ServiceError("ServiceUnavailable", 503, "The service is currently unavailable")
        if self._hits(faults.throttled):
            raise ServiceError("ThrottlingException", 400, "Rate exceeded")
        if self._hits(faults.not_found):
            raise validation_error(group_not_found("(not found on purpose)"))

    def leaves_unprocessed(self) -> bool:
        return self._hits(self.faults.unprocessed)

    def cuts_connection(self) -> bool:
        return self._hits(self.faults.cut)

    def still_creating(self, arn: str) -> bool:
        """True for the first `creating` descriptions of a group."""
        seen = self._descriptions[arn] = self._descriptions.get(arn, 0) + 1
        return seen <= self.faults.creating

    def _hits(self, share: float) -> bool:
        return share > 0 and self._random.random() < share
