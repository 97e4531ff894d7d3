"""What every engine is asked: sixty features, twelve of each of five windows of whole UTC days that end with the as-of day."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "customer_activity"
TRAINING_SET = "activity_at_label"
ENTITY = "customer_id"
WINDOWS = (7, 30, 90, 180, 365)
LONGEST = max(WINDOWS)
MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Feature:
    """`exact`: equal to the last digit, being made of whole numbers; else a quotient or a root of such, to one part in 1e9.

    `empty`: what it is where the window has no event.
    """

    name: str
    exact: bool
    empty: int | None = None


FEATURES = (
    Feature("event_count", exact=True, empty=0),
    Feature("amount_sum", exact=True, empty=0),
    Feature("amount_mean", exact=False),
    Feature("amount_min", exact=True),
    Feature("amount_max", exact=True),
    Feature("amount_std", exact=False),
    Feature("provider_count", exact=True, empty=0),
    Feature("late_ratio", exact=False),
    Feature("days_since_last", exact=True),
    Feature("days_past_due_max", exact=True),
    Feature("amount_slope", exact=False),
    Feature("late_amount_sum", exact=True, empty=0),
)


def column(feature: str, window: int) -> str:
    return f"{feature}_{window}d"


COLUMNS = tuple(column(feature.name, window) for window in WINDOWS for feature in FEATURES)
