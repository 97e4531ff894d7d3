"""How good a score is: Gini, calibration, and how far its distribution has moved. Plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEAST_SHARE = 1e-4  # what an empty band counts as in a stability index, whose logarithm has no answer for 0


@dataclass(frozen=True)
class Band:
    """The rows of one band of the score: how many, what was predicted on average, and how often it came true."""

    rows: int
    predicted: float
    observed: float


def gini(outcome: Floats, score: Floats) -> float:
    """How well `score` puts rows in order: 1 when every 1 of `outcome` scores above every 0, 0 by chance, -1 the wrong way.

    Pairs with equal scores count half. Raises: ValueError without both a 0 and a 1.
    """
    ones = int(np.count_nonzero(outcome == 1))
    zeros = outcome.size - ones
    if not ones or not zeros:
        raise ValueError(f"gini needs outcomes of both kinds; there are {ones} of 1 and {zeros} of 0")
    _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of the rows that share a score
    above = ranks[places][outcome == 1].sum() - ones * (ones + 1) / 2
    return float(2 * above / (ones * zeros) - 1)


def gini_interval(outcome: Floats, score: Floats, *, draws: int = 400, seed: int = 7) -> tuple[float, float]:
    """Between what 95 of 100 Ginis lie when the rows are drawn again with replacement; the same for the same seed."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = chance.integers(0, outcome.size, outcome.size)
        found.append(gini(outcome[drawn], score[drawn]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def band_edges(values: Floats, bands: int) -> Floats:
    """What divides `values` into so many bands of about equal size, lowest first; fewer where values repeat.

    An edge belongs to the band below it.
    """
    ordered = np.sort(values)
    places = [-(-part * values.size // bands) - 1 for part in range(1, bands)]  # in whole numbers: exact
    edges: Floats = np.unique(ordered[places])
    inner: Floats = edges[edges < ordered[-1]]
    return inner


def calibration(outcome: Floats, predicted: Floats, *, bands: int = 10) -> list[Band]:
    """Predicted against observed by decile of what was predicted, lowest first; rows with the same prediction stay together."""
    of_row = np.searchsorted(band_edges(predicted, bands), predicted, side="left")
    return [
        Band(
            int(np.count_nonzero(of_row == band)), float(predicted[of_row == band].mean()), float(outcome[of_row == band].mean())
        )
        for band in np.unique(of_row)
    ]


def calibration_error(bands: list[Band]) -> float:
    """How far predicted and observed lie apart, on average over the rows."""
    return sum(band.rows * abs(band.predicted - band.observed) for band in bands) / sum(band.rows for band in bands)


def population_stability(before: Floats, after: Floats, *, bands: int = 10) -> float:
    """The population stability index of `after` against `before`, over deciles of `before`: the sum of (a - b) * ln(a / b).

    `a` and `b` are a band's shares of their rows: 0 in all when they are alike. A band without rows has a share of 1 in 10,000.
    """
    edges = band_edges(before, bands)
    shares = []
    for values in (before, after):
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=edges.size + 1)
        shares.append(np.maximum(counts / values.size, _LEAST_SHARE))
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
