"""Moments as text, many at once."""

import random

import numpy as np
import pytest

from transforms.arrow import utc_texts
from transforms.calendar import iso_utc

EDGES = [0, -1, -1_000_000, 1, 999_999, 1_000_000, -62_135_596_800_000_000, 253_402_300_799_999_999]


@pytest.mark.parametrize("step", [1, 1_000_000])
def test_moments_are_written_as_one_is(step):
    chance = random.Random(step)
    moments = [*EDGES[:: 1 if step == 1 else 99], *(chance.randrange(-(10**9), 10**9) * step for _ in range(200))]
    assert utc_texts(np.array(moments)).to_pylist() == list(map(iso_utc, moments))


def test_no_moments():
    assert utc_texts(np.array([], dtype=np.int64)).to_pylist() == []
