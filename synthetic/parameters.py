"""What sample is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from conf.errors import UsageError
from synthetic.clock import day_number, midnight, month_number

GENERATOR_VERSION = 2
BLOCK = 2_000
"""Customers a block. A block's content depends on the seed and its own number alone."""
MOST_CUSTOMERS = 50_000_000
UNKNOWN_FROM = 90_000_000
"""Customer numbers from here on never exist: orphans refer to them."""
EARLIEST = date(1990, 1, 1)


@dataclass(frozen=True)
class Parameters:
    """A sample: `customers` customers from the local day `since` to the end of the local day `until`.

    `only_from`: write just what is delivered from that local day on, to lie beside what was written before.
    """

    customers: int = 10_000
    years: int = 2
    seed: int = 7
    until: date = date(2025, 9, 30)
    since: date | None = None
    only_from: date | None = None

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("customers", self.customers, 1, MOST_CUSTOMERS),
            ("years", self.years, 1, 30),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if not least <= value <= most:
                raise UsageError(f"--{name} {value} is out of range: give a whole number from {least} to {most}")
        if self.first_day < EARLIEST:
            raise UsageError(
                f"a sample of {self.years} years to {self.until} would begin before {EARLIEST}: give a later --until"
            )
        if self.only_from is not None and not self.first_day < self.only_from <= self.until:
            raise UsageError(
                f"--only-from {self.only_from} is not a day of the sample: give one after {self.first_day}, up to {self.until}"
            )

    @property
    def first_day(self) -> date:
        """`since`, or else the first day of the quarter in which `years` years before the end of `until` lies.

        A quarter, so that a sample that ends some days later begins on the same day and repeats the same rows.
        """
        if self.since is not None:
            return self.since
        day = self.until if self.only_from is None else self.only_from - timedelta(days=1)
        after = day + timedelta(days=1)
        return date(after.year - self.years, (after.month - 1) // 3 * 3 + 1, 1)

    @property
    def start(self) -> int:
        """The instant at which the sample begins."""
        return int(midnight(day_number(self.first_day)))

    @property
    def cut_off(self) -> int:
        """The local midnight that ends `until`: nothing is delivered at or after it."""
        return int(midnight(day_number(self.until) + 1))

    @property
    def written_from(self) -> int:
        """What is delivered before this instant isn't written."""
        return self.start if self.only_from is None else int(midnight(day_number(self.only_from)))

    @property
    def months(self) -> range:
        """The months simulated: whole ones, and one more than `until` lies in, for what is agreed or due by then."""
        return range(month_number(self.first_day), month_number(self.until) + 2)

    @property
    def blocks(self) -> int:
        return -(-self.customers // BLOCK)

    def as_json(self) -> dict[str, Any]:
        return {
            "customers": self.customers,
            "years": self.years,
            "seed": self.seed,
            "since": self.first_day.isoformat(),
            "until": self.until.isoformat(),
            "only_from": self.only_from.isoformat() if self.only_from else None,
            "generator_version": GENERATOR_VERSION,
        }
