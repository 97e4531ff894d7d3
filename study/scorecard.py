"""A plain scorecard: each feature in bands, and scikit-learn's logistic regression over them."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from study.metrics import Floats, band_edges

BANDS = 5
PENALTY = 0.1  # scikit-learn's C. Chosen before any figure was seen, and tuned on none.


class Scorecard:
    """The probability of a 1, from bands of each feature.

    Bands are fifths of the training rows' values. Missing is a band of its own. A feature that doesn't vary takes no part.
    """

    def __init__(self, features: Floats, outcome: Floats) -> None:
        self._edges = [_edges(column) for column in features.T]
        self._model = LogisticRegression(C=PENALTY, max_iter=2000)
        with threadpool_limits(1):  # sums in the same order whatever the machine
            self._model.fit(self._in_bands(features), outcome)

    def predict(self, features: Floats) -> Floats:
        with threadpool_limits(1):
            predicted: Floats = self._model.predict_proba(self._in_bands(features))[:, 1]
        return np.round(predicted, 9)  # equal rows score equal, however they were summed

    def _in_bands(self, features: Floats) -> Floats:
        """One column of 0 and 1 for each band but the lowest, and for missing."""
        columns = []
        for column, edges in zip(features.T, self._edges, strict=True):
            missing = np.isnan(column)
            band = np.where(missing, -1, np.searchsorted(edges, column, side="left"))
            columns += [missing, *(band == place for place in range(1, edges.size + 1))]
        return np.column_stack(columns).astype(np.float64)


def _edges(column: Floats) -> Floats:
    told = column[~np.isnan(column)]
    return band_edges(told, BANDS) if told.size else np.empty(0)
