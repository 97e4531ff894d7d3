"""Many as-of days at once, against a loop of one-pass queries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from bench.data import LAST_DAY
from bench.engines import OURS
from bench.race import Bench, Ratio, again, cpu

_ONE_PASS = "one-pass PySpark"
_SAMPLED = 3


def backfills(bench: Bench) -> Sequence[Ratio]:
    """The loop is run for a few of the days, spread over all, and multiplied."""
    data = bench.data()
    found = []
    with bench.sessions([OURS, _ONE_PASS], data) as sessions:
        for what, days, goal in (
            ("backfill of 24 month ends", _month_ends(24), 0.15),
            ("backfill of 90 days", [LAST_DAY - timedelta(days=back) for back in reversed(range(90))], 0.05),
        ):
            sampled = [days[len(days) * (2 * number + 1) // (2 * _SAMPLED)] for number in range(_SAMPLED)]
            bench.agree(sessions, "backfill", sampled, key="as_of")
            costs = bench.race(
                {
                    OURS: again(sessions[OURS], "backfill", days),
                    _ONE_PASS: again(sessions[_ONE_PASS], "backfill", sampled),
                }
            )
            found.append(
                Ratio(
                    "backfill",
                    what,
                    f"a loop of {_ONE_PASS}",
                    goal,
                    cpu(costs[OURS]),
                    cpu(costs[_ONE_PASS]),
                    {**bench.sizes, "as_of_days": len(days)},
                    scale=len(sampled) / len(days),
                    note=f"the loop was run for {len(sampled)} of the {len(days)} days and scaled",
                )
            )
    return found


def _month_ends(count: int) -> list[date]:
    ends = [LAST_DAY]
    while len(ends) < count:
        ends.append(ends[-1].replace(day=1) - timedelta(days=1))
    return ends[::-1]
