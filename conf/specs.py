"""Source, FeatureGroup and their parts: what a definition may say. Frozen; an unknown key is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from conf.naming import NAME_SCHEMA, check_name
from conf.windows import Window, parse_duration

ColumnType = Literal["string", "integer", "number", "money", "boolean", "date", "timestamp"]
Format = Literal["csv", "jsonl", "parquet", "delta"]
PersonalData = Literal["drop", "hmac", "keep"]
Schedule = Literal["daily", "weekly", "monthly"]
Scoring = Literal["allowed", "forbidden"]
TrailingWindow = Annotated[
    Window,
    BeforeValidator(lambda text: text if isinstance(text, Window) else Window.parse(str(text))),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^([1-9][0-9]{0,4}(d|mo)|mtd|life)$"}),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(lambda text: text if isinstance(text, timedelta) else parse_duration(str(text))),
    PlainSerializer(lambda value: f"{int(value.total_seconds() // 60)}m"),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,5}(m|h|d)$"}),
]
Name = Annotated[str, BeforeValidator(lambda text: check_name(str(text))), WithJsonSchema(NAME_SCHEMA)]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as problem:
        raise ValueError(f"'{name}' is not an IANA time zone, such as 'Asia/Kuala_Lumpur' or 'UTC'") from problem
    return name


Zone = Annotated[str, BeforeValidator(_known_zone)]

_TIME_EXPRESSION = re.compile(r"(?:(end_of_day|start_of_day|end_of_month)\()?([A-Za-z_][A-Za-z0-9_]*)\)?")


class Spec(BaseModel):
    """A part of a definition."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Column(Spec):
    """One column of a source. In YAML either its type alone or a mapping.

    `zone`: of timestamps written without an offset, and of dates; the source's when absent. `formats`: Spark date
    patterns tried after ISO-8601. `values`, `minimum`, `maximum`, `required`: row rules. `personal`: what is done with
    personal data: `drop` (never stored), `hmac` (a keyed hash), `keep`.
    """

    type: ColumnType
    description: str = ""
    required: bool = False
    zone: Zone | None = None
    formats: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    personal: PersonalData | None = None

    @model_validator(mode="before")
    @classmethod
    def _type_alone(cls, data: Any) -> Any:
        return {"type": data} if isinstance(data, str) else data


class RowRule(Spec):
    """A SQL condition that every row must meet; a row for which it is false or null goes to quarantine."""

    name: Name
    expr: str


class TimeColumn(Spec):
    """A source's event or known time: a timestamp column, or the start or end of a local date.

    In YAML: `created_at`, `end_of_day(day)`, `start_of_day(due_date)` or `end_of_month(month)`. The end is the last microsecond
    of the local day (or of the month that holds the date), so that what is true at a day's end counts on that day.
    """

    column: str
    of_date: Literal["end_of_day", "start_of_day", "end_of_month"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        match = _TIME_EXPRESSION.fullmatch(data)
        if match is None or ("(" in data) != (")" in data):
            raise ValueError(f"'{data}' is not a time: name a timestamp column, or end_of_day(<date column>)")
        return {"column": match[2], "of_date": match[1]}


class Source(Spec):
    """A raw input: where it lies, what its columns mean, and which rows are fit to keep.

    `location` is a glob below the raw root. `key` and `version` identify a row; every version is kept. `event_time`: when
    the row became true; `known_time`: when we could first have known it (absent: judged on event time alone); a row counts
    when `known_time <= T + grace`. `mutable`: a timestamp and the columns that it settles, all read as null until then.
    `reshape`: one Spark SQL select over the table `raw` (every raw column is text; nested values are JSON text).
    `references`: columns that should be found as the key of another source (counted as orphans when not).
    """

    name: Name
    description: str = ""
    owner: str = ""
    format: Format
    location: str
    encoding: str = "utf-8"
    delimiter: str = ","
    null_values: tuple[str, ...] = ("", "NULL", "null", "NA", "N/A", "NaN", "nan")
    reshape: str | None = None
    zone: Zone = "UTC"
    columns: Mapping[str, Column]
    key: tuple[str, ...] = Field(min_length=1)
    version: str | None = None
    event_time: TimeColumn
    known_time: TimeColumn | None = None
    grace: Duration = timedelta()
    mutable: Mapping[str, tuple[str, ...]] = {}
    references: Mapping[str, str] = {}
    rules: tuple[RowRule, ...] = ()
    layout: Literal["month", "year"] = "month"

    @model_validator(mode="after")
    def _columns_exist(self) -> Source:
        named = [*self.key, self.event_time.column, *self.mutable, *self.references]
        named += [column for settled in self.mutable.values() for column in settled]
        named += [self.version] if self.version else []
        named += [self.known_time.column] if self.known_time else []
        for column in named:
            if column not in self.columns:
                raise ValueError(f"no column named '{column}'; columns: {', '.join(self.columns)}")
        for time in filter(None, (self.event_time, self.known_time)):
            wanted = "timestamp" if time.of_date is None else "date"
            if self.columns[time.column].type != wanted:
                raise ValueError(f"'{time.column}' must be a {wanted} to serve as a time of '{self.name}'")
        for column in self.mutable:
            if self.columns[column].type != "timestamp":
                raise ValueError(f"mutable column '{column}' must be a timestamp; the columns that it settles follow it")
        return self

    def zone_of(self, column: str) -> str:
        """The IANA zone in which a local time or date of `column` is read."""
        return self.columns[column].zone or self.zone


class Aggregate(Spec):
    """One feature per window: an operation over the facts that count at T.

    `of`: the value; `where`: which facts; `at`: when a fact counts (default: its event time); `from` and `until`: since and
    to when it holds, judged at T (`from < T`, and not yet `until < T`); `ahead`: the windows lie after T instead of before it;
    `by`: pivot columns, one a declared value and `other`; `lag`: the window ends so many local days before T.
    `internal`: a column for derived ones only, not published.
    """

    name: str
    op: str
    of: str | None = None
    where: str | None = None
    windows: tuple[TrailingWindow, ...] = ()
    by: Mapping[str, tuple[str, ...]] = {}
    lag: tuple[int, ...] = ()
    at: str | None = None
    from_: Annotated[str | None, Field(alias="from")] = None
    until: str | None = None
    ahead: bool = False
    description: str = ""
    online: bool = True
    internal: bool = False
    scoring: Scoring = "allowed"


class State(Spec):
    """A feature over the facts that hold at T: `from < T` and not yet `until < T`. No window."""

    name: str
    op: str
    of: str | None = None
    where: str | None = None
    by: Mapping[str, tuple[str, ...]] = {}
    from_: Annotated[str, Field(alias="from")]
    until: str | None = None
    description: str = ""
    online: bool = True
    internal: bool = False
    scoring: Scoring = "allowed"


class SettledBy(Spec):
    """Child rows that pay a parent's amount off: adds `paid_amount`, `paid_at` and `last_paid_at` to the parent's columns.

    `on`: child column to an expression over the parent's columns. Of the child rows known and past at T that meet `where`:
    `paid_amount` is the sum of `amount` (0 when there is none), `last_paid_at` the latest event time, `paid_at` the event
    time of the row with which the sum first reached `due`, null until then.
    """

    source: str
    on: Mapping[str, str] = Field(min_length=1)
    amount: str
    due: str
    where: str | None = None


class Input(Spec):
    """A source as one feature group reads it.

    `entity`: the column with the record identifier (default: the record identifier's own name), or `{customer_id: via accounts}`,
    a join to another source that brings it (on that source's key, newest version). `columns`: named expressions that the
    others may use.
    """

    source: str
    entity: str | Mapping[str, str] | None = None
    settled_by: SettledBy | None = None
    columns: Mapping[str, str] = {}
    aggregates: tuple[Aggregate, ...] = ()
    states: tuple[State, ...] = ()


class Derived(Spec):
    """An expression over columns of the group; with `windows`, one column a window, `{w}` in the expression being its name."""

    name: str
    expr: str
    windows: tuple[TrailingWindow, ...] = ()
    description: str = ""
    online: bool = True
    internal: bool = False
    scoring: Scoring = "allowed"


class Example(Spec):
    """A test that an analyst can write: rows of the sources, a day, and what must come out per entity."""

    as_of: date
    expect: Mapping[str, Mapping[str, str | None]]
    rows: Mapping[str, tuple[Mapping[str, str | None], ...]] = {}

    @model_validator(mode="before")
    @classmethod
    def _sources_beside(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "rows" in data:
            return data
        rest = {key: value for key, value in data.items() if key in ("as_of", "expect")}
        return {**rest, "rows": {key: value for key, value in data.items() if key not in rest}}


class FeatureGroup(Spec):
    """Features with one record identifier and one event time, and the sources they are computed from.

    `spine`: the source whose entities must get a row.
    """

    name: Name
    description: str = ""
    owner: str = ""
    schedule: Schedule = "daily"
    record_identifier: Name
    spine: str
    online: bool = True
    inputs: tuple[Input, ...] = ()
    derived: tuple[Derived, ...] = ()
    examples: tuple[Example, ...] = ()
