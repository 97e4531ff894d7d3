"""A row set aside has a place in time: the edges of what can be read as one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conf.specs import SET_ASIDE_COLUMNS, Source
from tests.rows import rows
from transforms.set_aside import SetAside

TAKEN = "2025-03-01 12:00:00"
SOURCE = Source(
    name="fees", format="csv", location="fees/*.csv", key=["id"], event_time="at", known_time="seen",
    columns={"id": "string", "at": "timestamp", "seen": "timestamp"},
)  # fmt: skip
LEDGER = Source(
    name="aside", format="set_aside", key=["row_id"], event_time="event_time", known_time="known_time", grace="2h",
    columns={**SET_ASIDE_COLUMNS, "id": "string"}, layout="year",
)  # fmt: skip
MADE = SetAside(LEDGER, SOURCE, "r1", datetime.fromisoformat(TAKEN).replace(tzinfo=UTC))


def made(event, known, *, source=SOURCE):
    work = SetAside(LEDGER, source, "r1", MADE.taken_at)
    ddl = ", ".join(f"{name} {kind}" for name, kind in work.columns.items())
    given = rows(ddl, ("a", event, known, "f.csv", 2, "hash", None, "duplicate", 1))
    (row,) = [row for batch in work(given.to_batches()) for row in batch.to_pylist()]
    return row


@pytest.mark.parametrize(
    ("event", "known", "happened", "noticed"),
    [
        ("2025-01-01 00:00:00", "2025-01-02 00:00:00.000001", "2025-01-01 00:00:00", "2025-01-02 00:00:00.000001"),
        ("1900-01-01 00:00:00", "2199-12-31 23:59:59.999999", "1900-01-01 00:00:00", "2199-12-31 23:59:59.999999"),
        ("1899-12-31 23:59:59.999999", "2025-01-02 00:00:00", "2025-01-02 00:00:00", "2025-01-02 00:00:00"),
        ("2200-01-01 00:00:00", "2025-01-02 00:00:00", "2025-01-02 00:00:00", "2025-01-02 00:00:00"),
        ("2025-01-01 00:00:00", "2200-01-01 00:00:00", "2025-01-01 00:00:00", TAKEN),
        ("2025-01-01 00:00:00", None, "2025-01-01 00:00:00", TAKEN),
        (None, "2025-01-02 00:00:00", "2025-01-02 00:00:00", "2025-01-02 00:00:00"),
        (None, None, TAKEN, TAKEN),
    ],
)
def test_when_it_happened_and_when_it_was_known(event, known, happened, noticed):
    row = made(event, known)
    assert tuple(str(row[name]).removesuffix("+00:00") for name in ("_event_time", "_known_time")) == (happened, noticed)
    assert (row["event_time"], row["known_time"], row["_month"]) == (row["_event_time"], row["_known_time"], happened[:4])


def test_no_cut_off_before_its_effect_sees_it():
    """A microsecond after its event, and the ledger's grace before it was known, whichever is later."""
    hour = 3_600_000_000
    event = 1735689600_000_000
    assert made("2025-01-01 00:00:00", "2025-01-01 03:00:00")["_effect"] == event + hour
    assert made("2025-01-01 00:00:00", "2025-01-01 02:00:00")["_effect"] == event + 1


def test_a_source_without_a_known_time_is_known_when_it_happens():
    row = made("2025-01-01 00:00:00", None, source=SOURCE.model_copy(update={"known_time": None}))
    assert row["_known_time"] == row["_event_time"]


def test_a_row_is_named_after_its_source_and_place_and_content():
    one = made("2025-01-01 00:00:00", "2025-01-02 00:00:00")["row_id"]
    assert made("2025-01-03 00:00:00", None)["row_id"] == one  # the hash says the content
    assert made(None, None, source=SOURCE.model_copy(update={"name": "charges"}))["row_id"] != one
    assert len(one) == 32
