"""The study's figures on numbers that are made by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from study.metrics import Band, band_edges, calibration, calibration_error, gini, gini_interval, population_stability


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


@pytest.mark.parametrize(
    ("outcome", "score", "expected"),
    [
        (values(0, 0, 1, 1), values(1, 2, 3, 4), 1.0),  # every 1 above every 0
        (values(1, 1, 0, 0), values(1, 2, 3, 4), -1.0),  # the wrong way round
        (values(0, 1, 0, 1), values(5, 5, 5, 5), 0.0),  # all alike
        (values(0, 1, 0, 1), values(1, 2, 3, 4), 0.5),  # pairs: 3 of 4 right, (3 - 1) / 4
        (values(0, 1, 0), values(1, 1, 0), 0.5),  # one pair right, one tie: (1 - 0) / 2
        (values(1, 0, 0, 1, 0), values(0.2, 0.2, 0.1, 0.9, 0.5), 0.5),  # of 6 pairs 4 right, 1 wrong, 1 tie
    ],
)
def test_gini_is_right_less_wrong_pairs(outcome, score, expected):
    assert gini(outcome, score) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("outcome", "told"), [(values(0, 0), "0 of 1 and 2 of 0"), (values(1), "1 of 1 and 0 of 0")])
def test_gini_needs_both_kinds(outcome, told):
    with pytest.raises(ValueError) as error:
        gini(outcome, outcome)
    assert str(error.value) == f"gini needs outcomes of both kinds; there are {told}"


def test_gini_interval_is_around_the_gini_and_the_same_each_time():
    outcome = np.tile(values(0, 1, 0, 0, 1), 40)
    score = np.tile(values(1, 2, 3, 4, 5), 40)
    low, high = gini_interval(outcome, score, draws=100)
    assert low < gini(outcome, score) < high
    assert (low, high) == gini_interval(outcome, score, draws=100)


@pytest.mark.parametrize(
    ("numbers", "bands", "expected"),
    [
        (range(1, 11), 5, [2, 4, 6, 8]),  # an edge belongs to the band below it
        ([0] * 9 + [1], 5, [0]),  # repeated edges are one
        ([3, 3, 3], 5, []),  # nothing to divide
        ([0, 1, 1, 1, 1], 5, [0]),  # no empty band above the greatest
    ],
)
def test_band_edges(numbers, bands, expected):
    assert band_edges(values(*numbers), bands).tolist() == expected


def test_calibration_by_band():
    predicted = values(0.4, 0.1, 0.2, 0.1, 0.3, 0.8)
    outcome = values(1, 0, 0, 1, 0, 1)
    actual = calibration(outcome, predicted, bands=3)
    expected = [
        (2, 0.1, 0.5),  # the rows of 0.1
        (2, 0.25, 0.0),  # 0.2 and 0.3
        (2, 0.6, 1.0),  # 0.4 and 0.8
    ]
    assert [(band.rows, pytest.approx(band.predicted), band.observed) for band in actual] == expected


def test_rows_of_one_prediction_stay_in_one_band():
    actual = calibration(values(0, 1, 1, 0), values(0.5, 0.5, 0.5, 0.5))
    assert actual == [Band(4, 0.5, 0.5)]


def test_calibration_error_weighs_bands_by_their_rows():
    assert calibration_error([Band(3, 0.1, 0.2), Band(1, 0.9, 0.4)]) == pytest.approx((3 * 0.1 + 1 * 0.5) / 4)


def test_population_stability_by_hand():
    """Halves of 1 to 4 become a quarter and three quarters: (1/4 - 1/2) ln(1/2) + (3/4 - 1/2) ln(3/2)."""
    actual = population_stability(values(1, 2, 3, 4), values(2, 3, 3, 9), bands=2)
    assert actual == pytest.approx(-0.25 * log(0.5) + 0.25 * log(1.5))


def test_population_stability_of_the_same_is_nothing():
    assert population_stability(values(1, 2, 3, 4), values(4, 3, 2, 1), bands=4) == 0


def test_an_empty_band_counts_as_one_in_ten_thousand():
    actual = population_stability(values(1, 2), values(2, 2), bands=2)
    assert actual == pytest.approx((0.0001 - 0.5) * log(0.0001 / 0.5) + 0.5 * log(2))
