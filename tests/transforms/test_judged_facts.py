"""Facts with a validity of their own, at two cut-offs at once: each edge of it lies on a cut-off."""

from __future__ import annotations

from datetime import timedelta

from tests.transforms.small import DAY, D, T, ask, facts_of, queries_of
from transforms.calendar import FOREVER


def test_a_fact_counts_from_the_cut_off_at_which_it_is_valid_and_not_at_the_one_until_which():
    before = T - DAY
    rows = (
        (0, 2, 1, T, FOREVER),  # known at T
        (0, 2, 2, T + 1, FOREVER),  # and a microsecond later
        (0, 2, 4, before, T),  # amended at T
        (0, 2, 8, before, T + 1),  # and a microsecond later
        (0, 2, 16, before + 1, T + 1),  # known and amended, each a microsecond after a cut-off
        (0, 2, 32, before - 1, before),  # at none
    )
    days = (D - timedelta(days=1), D)
    assert ask("sum", facts_of(*rows), queries=queries_of(0, days=days)) == [4 + 8, 1 + 8 + 16]
    assert ask("count", facts_of(*rows), queries=queries_of(0, days=days)) == [2, 3]
