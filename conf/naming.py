"""What an output column is called, and which names SageMaker and the Spark connector refuse."""

from __future__ import annotations

import re

from conf.windows import Window

_ALLOWED = re.compile(r"[A-Za-z0-9](?:[-_]*[A-Za-z0-9]){0,63}")
RESERVED = frozenset(
    {
        "is_deleted", "write_time", "api_invocation_time",  # the offline store's own columns
        "year", "month", "day", "hour", "temp_event_time_col",  # the Spark connector's
    }
)  # fmt: skip
NAME_SCHEMA = {
    "type": ["string", "integer"],  # YAML's 2025 is read as the text that was written
    "pattern": f"^{_ALLOWED.pattern}$",
    "maxLength": 64,
    "not": {"enum": sorted(RESERVED)},
}
SNAPSHOT_COLUMNS = ("event_time", "as_of", "time_zone", "snapshot_version", "has_history")


def check_name(name: str) -> str:
    """Return `name`, or raise ValueError saying which rule of SageMaker it breaks."""
    if name.lower() in RESERVED:
        raise ValueError(f"'{name}' is reserved by the Feature Store; reserved: {', '.join(sorted(RESERVED))}")
    if len(name) > 64:
        raise ValueError(f"'{name}' has {len(name)} characters; SageMaker allows 64")
    if _ALLOWED.fullmatch(name) is None:
        raise ValueError(f"'{name}' is not a name SageMaker takes: letters, digits, '-' and '_', a letter or digit at both ends")
    return name


def column_name(feature: str, *, by_value: str | None = None, window: Window | None = None, lag_days: int = 0) -> str:
    """`<feature>[_<value>]_<window>[_lag<N>d]`, refused when SageMaker would refuse it."""
    name = feature
    if by_value is not None:
        name += "_" + re.sub(r"[^A-Za-z0-9]+", "_", by_value).strip("_").lower()
    if window is not None:
        name += f"_{window}"
    if lag_days:
        name += f"_lag{lag_days}d"
    return check_name(name)
