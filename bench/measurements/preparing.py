"""Preparing: a new day, and the whole history once."""

from __future__ import annotations

from collections.abc import Sequence

from bench.data import LAST_DAY
from bench.engines import OURS
from bench.race import Bench, Ratio, again, cpu
from bench.session import Cost, Session

_NEW_DAY_GOAL, _WHOLE_GOAL = 0.05, 3.0
_ONE_PASS = "one-pass PySpark"


def new_day(bench: Bench) -> Sequence[Ratio]:
    """Of the last days' files some, each taken in and prepared on top of what is there; the first to warm up."""
    data = bench.data()
    with bench.sessions([OURS, _ONE_PASS], data, new_days=len(data.new)) as sessions:
        ours, one_pass = sessions[OURS], sessions[_ONE_PASS]
        days, answered = [], []
        for number, file in enumerate(data.new[: bench.rounds + 1]):
            one_pass.call("daily", [file])
            theirs = one_pass.call("snapshot", LAST_DAY)
            day = ours.call("daily", [file])
            bench.say(f"a new day: {day.cpu:.2f} CPU s, {_ONE_PASS} over everything: {theirs.cpu:.2f}")
            if number:
                days.append(day)
                answered.append(theirs)
    note = "the day's file checked and typed into the ledger, its facts prepared and committed"
    what = "a new day prepared"
    return [
        Ratio("new_day", what, f"{_ONE_PASS} over everything", _NEW_DAY_GOAL, cpu(days), cpu(answered), bench.sizes, note=note)
    ]


def whole_history(bench: Bench) -> Sequence[Ratio]:
    """From the ledger to facts at rest, against Spark that reads the same columns, shuffles and sorts them."""
    data = bench.data()
    with bench.session(OURS, data, take_in=False) as ours, bench.session(_ONE_PASS, data) as spark:
        ours.call("curate", data.files)
        costs = bench.race({OURS: lambda: _prepare(ours), "Spark": again(spark, "shuffle_and_sort")})
    return [
        Ratio(
            "prepare",
            "preparing the whole history once",
            "a Spark scan, shuffle and sort of the same columns",
            _WHOLE_GOAL,
            cpu(costs[OURS]),
            cpu(costs["Spark"]),
            bench.sizes,
            note="from the ledger; Spark drops what it sorted",
        )
    ]


def _prepare(ours: Session) -> Cost:
    ours.call("forget_facts")
    return ours.call("prepare_facts")
