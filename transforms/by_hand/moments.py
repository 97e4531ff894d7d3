"""As of which day and instant a number is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from transforms.by_hand.windows import DAY, local_day, midnight

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Moment:
    """As-of day, cut-off T and the zone of local days. T is the midnight that ends the day, or a moment of it.

    `since`: where windows begin that the definition leaves open, as those of a target's period; None is all history.
    """

    as_of: date
    cut_off: datetime
    zone: str
    since: datetime | None = None

    @classmethod
    def end_of(cls, as_of: date, zone: str) -> Moment:
        """The cut-off that ends a local day."""
        return cls(as_of, midnight(as_of + DAY, zone), zone)

    @classmethod
    def to_the_microsecond(cls, cut_off: datetime, zone: str) -> Moment:
        """A cut-off at any time; its as-of day is the local day of the microsecond before."""
        return cls(local_day(cut_off - MICROSECOND, zone), cut_off, zone)

    @property
    def name(self) -> str:
        """What T is to a reader: of a target it ends the period."""
        return "the period's end" if self.since else "the cut-off"

    def end_of_day(self, day: date) -> datetime:
        """When a local day ends; T where that comes first."""
        return min(midnight(day + DAY, self.zone), self.cut_off)
