"""As of which day and instant a number is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from transforms.by_hand.windows import DAY, midnight


@dataclass(frozen=True)
class Moment:
    """As-of day, cut-off T and the zone of local days."""

    as_of: date
    cut_off: datetime
    zone: str

    @classmethod
    def end_of(cls, as_of: date, zone: str) -> Moment:
        """The cut-off that ends a local day."""
        return cls(as_of, midnight(as_of + DAY, zone), zone)
