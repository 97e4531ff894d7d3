"""How many buckets an entity's facts lie in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jobs.prepare_facts import ROWS_A_BUCKET, _bucket_bits
from stores.storage import open_storage


@pytest.fixture
def bits(tmp_path):
    """The bits that are chosen for a customer's rows in the ledgers of two of three sources, one of another entity."""

    def chosen(orders, payments=0, *, at_once=1):
        kept = {"orders": [orders, 0], "payments": [payments], "shops": [10**9]}
        commits = {source: [SimpleNamespace(counts={"kept": rows}) for rows in some] for source, some in kept.items()}
        commits["orders"].append(SimpleNamespace(counts={}))  # a delivery of which nothing was kept
        streams = {
            "orders": SimpleNamespace(entity="customer_id", sources=("orders", "payments")),
            "payments": SimpleNamespace(entity="customer_id", sources=("payments",)),
            "shops": SimpleNamespace(entity="shop_id", sources=("shops",)),
        }
        lake = SimpleNamespace(
            storage=open_storage(str(tmp_path)), curated=lambda source: SimpleNamespace(commits=lambda: commits[source])
        )
        return _bucket_bits(SimpleNamespace(streams=streams), "customer_id", lake, at_once)

    return chosen


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(0, 0), (ROWS_A_BUCKET, 0), (ROWS_A_BUCKET + 1, 1), (8 * ROWS_A_BUCKET, 3), (8 * ROWS_A_BUCKET + 1, 4)],
)
def test_a_bucket_holds_no_more_rows_than_a_task_should_hold(bits, rows, expected):
    assert bits(rows) == expected


def test_rows_of_a_source_count_once_whatever_number_of_streams_read_it(bits):
    assert bits(ROWS_A_BUCKET, ROWS_A_BUCKET) == 1


@pytest.mark.parametrize(("at_once", "expected"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_there_is_a_bucket_for_each_core(bits, at_once, expected):
    assert bits(1, at_once=at_once) == expected


def test_a_number_once_chosen_stays_until_a_bucket_holds_three_times_as_many(bits):
    assert [bits(times * ROWS_A_BUCKET) for times in (4, 12, 1)] == [2, 2, 2]
    assert bits(12 * ROWS_A_BUCKET + 1) == 4
    assert bits(4 * ROWS_A_BUCKET) == 4


def test_a_number_once_chosen_stays_until_there_are_four_times_as_many_cores(bits):
    assert [bits(1, at_once=cores) for cores in (2, 4, 5, 16)] == [1, 1, 3, 3]
