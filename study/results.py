"""One case, three ways: what leakage promised, what it delivered, and what features of their time gave."""

from __future__ import annotations

from dataclasses import dataclass

from study.cases import Case
from study.metrics import Band, Floats, calibration, calibration_error, gini, gini_interval, population_stability
from study.rows import CaseRows
from study.scorecard import Scorecard


@dataclass(frozen=True)
class Result:
    """A model on test rows: how well it orders, what it predicted on average and what came, by decile, and its error over them.

    `stability` is the PSI of the score, test against training rows.
    """

    gini: float
    interval: tuple[float, float]
    predicted: float
    observed: float
    bands: list[Band]
    error: float
    stability: float


@dataclass(frozen=True)
class CaseResult:
    """A model of features of today, tested on such (`promised`) and on those known then, which is all that it would get in use
    (`delivered`); and one trained and tested on what was known then (`ours`)."""

    case: Case
    rows: CaseRows
    promised: Result
    delivered: Result
    ours: Result

    @property
    def three(self) -> tuple[tuple[str, Result], ...]:
        return (
            ("leaking, as promised", self.promised),
            ("leaking, as delivered", self.delivered),
            ("point in time", self.ours),
        )


def solve(case: Case, rows: CaseRows) -> CaseResult:
    """Train two scorecards, one on features of today and one on those of then, and judge them on the test rows."""
    train, test = rows.train, rows.test
    leaking = Scorecard(train.known_today, train.outcome)
    honest = Scorecard(train.known_then, train.outcome)
    before = leaking.predict(train.known_today)
    return CaseResult(
        case,
        rows,
        promised=_judge(test.outcome, leaking.predict(test.known_today), before),
        delivered=_judge(test.outcome, leaking.predict(test.known_then), before),
        ours=_judge(test.outcome, honest.predict(test.known_then), honest.predict(train.known_then)),
    )


def _judge(outcome: Floats, predicted: Floats, in_training: Floats) -> Result:
    bands = calibration(outcome, predicted)
    return Result(
        gini=gini(outcome, predicted),
        interval=gini_interval(outcome, predicted),
        predicted=float(predicted.mean()),
        observed=float(outcome.mean()),
        bands=bands,
        error=calibration_error(bands),
        stability=population_stability(in_training, predicted),
    )
