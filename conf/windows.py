"""Lengths of time as definitions write them: `7d`, `6mo`, `mtd`, `life`, `36h`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

WindowKind = Literal["days", "months", "month_to_date", "lifetime", "since"]

_LENGTH = re.compile(r"([1-9][0-9]{0,4})(d|mo)")
_DURATION = re.compile(r"([0-9]{1,5})(m|h|d)")
_HELP = "write a whole number and a unit (d or mo), such as '30d' or '6mo', or 'mtd' or 'life'"


@dataclass(frozen=True, order=True)
class Window:
    """A span that ends at the cut-off T, in local days or local calendar months, half-open.

    days: `[local midnight of D - count + 1, T)`. months: the last `count` full calendar months, of which a month that
    ends at T is one. month_to_date: from the first local midnight of D's month to T. lifetime: everything before T. since:
    from a moment that each query brings; no definition writes it.
    """

    kind: WindowKind
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises ValueError when `text` is not a length of time."""
        if text == "mtd":
            return cls("month_to_date")
        if text == "life":
            return cls("lifetime")
        match = _LENGTH.fullmatch(text)
        if match is None:
            raise ValueError(f"window '{text}' is not a length of time; {_HELP}")
        return cls("days" if match[2] == "d" else "months", int(match[1]))

    def __str__(self) -> str:
        if self.kind == "month_to_date":
            return "mtd"
        if self.kind == "lifetime":
            return "life"
        if self.kind == "since":
            return "since"
        return f"{self.count}{'d' if self.kind == 'days' else 'mo'}"

    def describe(self) -> str:
        """In words, as a column's description has it."""
        if self.kind == "month_to_date":
            return "from the start of the local month to the cut-off"
        if self.kind == "lifetime":
            return "in all the history before the cut-off"
        if self.kind == "since":
            return "from the start of the period to the cut-off"
        unit = "local days" if self.kind == "days" else "full calendar months"
        return f"in the {self.count} {unit} to the cut-off"


def parse_duration(text: str) -> timedelta:
    """`90m`, `36h`, `2d` as exact elapsed time (a day is 24 hours here). Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a duration; write a whole number and m, h or d, such as '36h'")
    return timedelta(minutes=int(match[1]) * {"m": 1, "h": 60, "d": 1440}[match[2]])
