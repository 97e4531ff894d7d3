"""The moment that is asked about: its as-of day, its cut-off T, what is known by then, and the spans of windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from conf.windows import Window
from tests.oracle.values import first_of_month, local_date, start_of_day, step

MICROSECOND = timedelta(microseconds=1)
ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Moment:
    """One cut-off T in a zone. `at`: to the microsecond (grain event) instead of the end of a day.

    `now`: hindsight; what is known by `now` counts, whenever that was, and T stays where it is.
    """

    as_of: date
    zone: str
    at: datetime | None = None
    now: datetime | None = None

    @classmethod
    def of_event(cls, at: datetime, zone: str) -> Moment:
        """The moment of a grain-event query: D is the local day of T - 1 µs."""
        return cls(local_date(at - MICROSECOND, zone), zone, at)

    @property
    def cutoff(self) -> datetime:
        return self.at or start_of_day(step(self.as_of, 1), self.zone)

    def known_by(self, grace: timedelta) -> datetime:
        """The last known time that counts. A query to the microsecond has no grace."""
        if self.now is not None:
            return self.now
        return self.cutoff if self.at else self.cutoff + grace

    def end_of(self, day: date) -> datetime:
        """When a local day ends, or T where that comes first: the day of a query to the microsecond isn't over."""
        return min(start_of_day(step(day, 1), self.zone), self.cutoff)

    def of_day(self, day: date) -> Moment:
        """The same knowledge, looked at from the end of an earlier day."""
        return self if day == self.as_of else Moment(day, self.zone, None, self.now)

    def span(self, window: Window | None, *, lag: int = 0, ahead: bool = False) -> tuple[datetime, datetime]:
        """The first instant of a window and the first after it; None is everything before T. With `ahead` it begins at T.

        A window that lags ends with the local day D - lag.
        """
        day = step(self.as_of, -lag)
        after = step(day, 1)
        end = self.cutoff if lag == 0 else start_of_day(after, self.zone)
        if ahead:
            if window is None or window.kind != "days":
                raise ValueError(f"a window ahead is a number of days, not '{window}'")
            return end, start_of_day(step(after, window.count), self.zone)
        if window is None or window.kind == "lifetime":
            return ALWAYS, end
        if window.kind == "days":
            return start_of_day(step(after, -window.count), self.zone), end
        if window.kind == "month_to_date":
            return start_of_day(first_of_month(day), self.zone), end
        first = first_of_month(after)  # months are full: one that ends at T, and not later, is one of them
        if start_of_day(first, self.zone) > end:
            first = first_of_month(day)
        return start_of_day(first_of_month(first, -window.count), self.zone), start_of_day(first, self.zone)


def span(window: Window | None, *, as_of: date, zone: str, lag: int = 0, ahead: bool = False) -> tuple[datetime, datetime]:
    """The span of a window as of a day."""
    return Moment(as_of, zone).span(window, lag=lag, ahead=ahead)
