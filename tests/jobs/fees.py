"""A small source of fees, and what its files hold: for tests of curate and of what it sets aside."""

from __future__ import annotations

from conf.specs import Source

HEADER = "account_id,amount,at,recorded_at\n"
GOOD = "a1,1.50,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z\n"


def fees(**changes):
    """A source of fees with an id, an amount and both clocks."""
    columns = {"account_id": "string", "amount": "money", "at": "timestamp", "recorded_at": "timestamp"}
    return Source(**{
        "name": "fees", "format": "csv", "location": "fees/*.csv", "columns": columns, "key": ["account_id"],
        "event_time": "at", "known_time": "recorded_at", **changes,
    })  # fmt: skip
