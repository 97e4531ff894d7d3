"""Source, FeatureGroup and their parts: what a definition may say. Frozen; an unknown key is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from conf.naming import NAME_SCHEMA, check_name
from conf.windows import Window, parse_duration

ColumnType = Literal["string", "integer", "number", "money", "boolean", "date", "timestamp"]
Format = Literal["csv", "jsonl", "parquet", "delta", "set_aside"]
PersonalData = Literal["drop", "hmac", "keep"]
Schedule = Literal["daily", "weekly", "monthly"]
Scoring = Literal["allowed", "forbidden"]
Every = Literal["day", "month_end"]
RollupOp = Literal["count", "sum", "mean", "min", "max", "share"]
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


def _pivot(values: Any) -> tuple[str, ...] | str:
    """Declared values, or `map`."""
    if values == "map":
        return "map"
    if isinstance(values, list | tuple) and values and all(isinstance(value, str) for value in values):
        if len(set(values)) < len(values):
            raise ValueError(f"a value is written twice: {', '.join(values)}")
        return tuple(values)
    raise ValueError("`by` takes a list of values, such as [atome, grab, other], or `map`: one JSON column for all of them")


Pivot = Annotated[
    tuple[str, ...] | Literal["map"],
    PlainValidator(_pivot),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "map"},
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]

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


SET_ASIDE_COLUMNS: Mapping[str, ColumnType] = {
    "row_id": "string",
    "source": "string",
    "kind": "string",
    "rule": "string",
    "event_time": "timestamp",
    "known_time": "timestamp",
}
"""What curate says of every row that it set aside; a source of format `set_aside` declares them all."""


class Source(Spec):
    """A raw input: where it lies, what its columns mean, and which rows are fit to keep.

    `location` is a glob below the raw root. `format: set_aside` has none: its rows are those of all other sources that
    curate didn't keep, with SET_ASIDE_COLUMNS and, as far as they could be read, its other columns from those of the same
    names. `key` and `version` identify a row; every version is kept. `event_time`: when the row became true; `known_time`:
    when we could first have known it (absent: judged on event time alone); a row counts when `known_time <= T + grace`.
    `mutable`: a timestamp and the columns that it settles, all read as null until then. `reshape`: one Spark SQL select
    over the table `raw` (every raw column is text; nested values are JSON text). `references`: columns that should be found
    as the key of another source (counted as orphans when not).
    """

    name: Name
    description: str = ""
    owner: str = ""
    format: Format
    location: str = ""
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
    union_of: ClassVar[Mapping[str, Mapping[str, str]]] = {}  # of a source that is delivered: none

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

    @model_validator(mode="after")
    def _fits_its_format(self) -> Source:
        if self.is_delivered:
            if not self.location:
                raise ValueError("'location' is missing: where its files lie, a glob below the raw root")
            return self
        said = [key for key in ("location", "reshape", "version", "mutable", "references", "rules") if getattr(self, key)]
        if said:
            raise ValueError(f"`{said[0]}` goes with files that are delivered; curate writes the rows of `format: set_aside`")
        found = {name: column.type for name, column in self.columns.items() if name in SET_ASIDE_COLUMNS}
        if found != SET_ASIDE_COLUMNS:
            wanted = ", ".join(f"{name}: {type_}" for name, type_ in SET_ASIDE_COLUMNS.items())
            raise ValueError(f"`format: set_aside` has these columns, which curate fills: {wanted}")
        clocks = (TimeColumn(column="event_time"), TimeColumn(column="known_time"))
        if self.key != ("row_id",) or (self.event_time, self.known_time) != clocks:
            raise ValueError("`format: set_aside` has `key: [row_id]`, `event_time: event_time` and `known_time: known_time`")
        if personal := [name for name, column in self.columns.items() if column.personal]:
            raise ValueError(f"'{personal[0]}': `personal` is said by the sources that the rows come from")
        return self

    @property
    def is_delivered(self) -> bool:
        """Whether its rows come in raw files; those of the others curate writes itself."""
        return self.format != "set_aside"

    @property
    def carried(self) -> tuple[str, ...]:
        """Of a ledger of set-aside rows: the columns that are taken over from the rows."""
        return tuple(name for name in self.columns if name not in SET_ASIDE_COLUMNS)

    def zone_of(self, column: str) -> str:
        """The IANA zone in which a local time or date of `column` is read."""
        return self.columns[column].zone or self.zone


class UnionSource(Spec):
    """Curated rows of other sources side by side, read as a source of their own; nothing is delivered for it.

    `union_of`: for each member, the union's columns as expressions over the member's; null where a member doesn't say one. Each
    row keeps the clocks of its own source.
    """

    name: Name
    description: str = ""
    owner: str = ""
    union_of: Mapping[str, Mapping[str, str]]

    @model_validator(mode="after")
    def _of_several(self) -> UnionSource:
        if len(self.union_of) < 2:
            raise ValueError("`union_of` takes two sources or more, each with its columns")
        return self


class Feature(Spec):
    """What every feature says of itself. `internal`: a column for derived ones only, not published."""

    name: str
    description: str = ""
    online: bool = True
    internal: bool = False
    scoring: Scoring = "allowed"


class Aggregate(Feature):
    """One feature per window: an operation over the facts that count at T.

    `of`: the value; `where`: which facts; `at`: when a fact counts (default: its event time); `from` and `until`: since and
    to when it holds, judged at T (`from < T`, and not yet `until < T`); `ahead`: the windows lie after T instead of before it;
    `by`: pivot columns, one a declared value and `other`, or `map`; `lag`: the window ends so many local days before T; `with`:
    the operation's parameters; `weight`: a second value for operations that weigh; `newest_per`: of the facts that count, only
    the newest of each value of that column does.
    """

    op: str
    of: str | None = None
    where: str | None = None
    windows: tuple[TrailingWindow, ...] = ()
    by: Mapping[str, Pivot] = {}
    lag: tuple[int, ...] = ()
    at: str | None = None
    from_: Annotated[str | None, Field(alias="from")] = None
    until: str | None = None
    ahead: bool = False
    with_: Annotated[Mapping[str, str], Field(alias="with")] = {}
    weight: str | None = None
    newest_per: str | None = None

    @property
    def parameters(self) -> Mapping[str, str]:
        """Those of the operation, as written."""
        return self.with_


class State(Feature):
    """A feature over the facts that hold at T: `from < T` and not yet `until < T`. No window."""

    op: str
    of: str | None = None
    where: str | None = None
    by: Mapping[str, Pivot] = {}
    from_: Annotated[str, Field(alias="from")]
    until: str | None = None
    with_: Annotated[Mapping[str, str], Field(alias="with")] = {}
    weight: str | None = None
    newest_per: str | None = None

    @property
    def parameters(self) -> Mapping[str, str]:
        """Those of the operation, as written."""
        return self.with_


class Daily(Feature):
    """A value of every day, and an operation over the days of a window.

    `value`: an expression over operations of the facts that hold at a day's end (`from` before it, by default the event time,
    and not `until` before it), such as `sum(balance) / sum(credit_limit)`, and `day`. `within`: instead, over the facts whose
    `from` lies in that window ending with the day. `every`: each day, or only the last of each month. `days_where`: a condition
    over `value` and `day` that a day must meet. `op` runs over the days that are left, oldest first; a day whose value is null
    is ignored.
    """

    value: str
    op: str
    where: str | None = None
    from_: Annotated[str | None, Field(alias="from")] = None
    until: str | None = None
    newest_per: str | None = None
    every: Every = "day"
    within: TrailingWindow | None = None
    days_where: str | None = None
    windows: tuple[TrailingWindow, ...] = ()
    lag: tuple[int, ...] = ()
    with_: Annotated[Mapping[str, str], Field(alias="with")] = {}

    @property
    def parameters(self) -> Mapping[str, str]:
        """Those of the operation, as written."""
        return self.with_


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


class ParentJoin(Spec):
    """Another source's row of the same key: `columns` are brought under the given names, null where there is no such row.

    `on`: for each column of the parent's key an expression over the row's own columns; by default the column of the same name.
    """

    source: str
    columns: Mapping[str, str] = {}
    on: Mapping[str, str] = {}


class Input(Spec):
    """A source as one feature group reads it.

    `entity`: the record identifier: a column (default: the one of that name), `{customer_id: via accounts}`, a join to another
    source that brings it (on that source's key; `via accounts on customer_id`: on another column, one row for each that
    matches), or `{portfolio_id: <expression>}`. `parent`: a join that brings columns. `columns`: named expressions that the
    others may use.
    """

    source: str
    entity: str | Mapping[str, str] | None = None
    parent: ParentJoin | None = None
    settled_by: SettledBy | None = None
    columns: Mapping[str, str] = {}
    aggregates: tuple[Aggregate, ...] = ()
    states: tuple[State, ...] = ()
    daily: tuple[Daily, ...] = ()


class SegmentBand(Spec):
    """A named segment: of the rows for which `when` is true; without it, of all that are left."""

    name: str
    when: str | None = None


class ScoreBand(Spec):
    """Points for values below a limit, exclusive; without one, for all that are left."""

    points: int
    below: Decimal | None = None


class ScorePart(Spec):
    """Points by the band that a value lies in; `missing`: where it is null."""

    of: str
    bands: tuple[ScoreBand, ...]
    missing: int = 0

    @model_validator(mode="after")
    def _bands_ascend(self) -> ScorePart:
        *limited, last = [band.below for band in self.bands] or [Decimal(0)]
        if last is not None:
            raise ValueError("the last band of a part takes every value that is left: write it without `below`")
        if any(below is None for below in limited):
            raise ValueError("only the last band of a part goes without `below`")
        for one, next_ in pairwise(below for below in limited if below is not None):
            if one >= next_:
                raise ValueError(f"bands ascend: `below: {next_}` comes after `below: {one}`")
        return self


class Score(Spec):
    """A scorecard: `base` and the points of each part, not below `minimum` and not above `maximum`."""

    base: int
    minimum: int
    maximum: int
    parts: tuple[ScorePart, ...]

    @model_validator(mode="after")
    def _has_a_range(self) -> Score:
        if not self.parts:
            raise ValueError("a score needs `parts`: what gives points")
        if self.minimum > self.maximum:
            raise ValueError(f"the minimum, {self.minimum}, is above the maximum, {self.maximum}")
        return self


class Derived(Feature):
    """A column made from columns, by one of `expr`, `segment`, `one_hot`, `label` and `score`.

    They may name columns of the group, and of other groups with its record identifier. With `windows`, one column a window,
    `{w}` in the texts being its name. `values`: those of `one_hot` (a column each, 0 or 1) and of `label` (their places in the
    list, from 1). `null_when`: what a null means, where the words made from the definition would name internal columns.
    """

    null_when: str = ""
    expr: str | None = None
    segment: tuple[SegmentBand, ...] = ()
    one_hot: str | None = None
    label: str | None = None
    values: tuple[str, ...] = ()
    score: Score | None = None
    windows: tuple[TrailingWindow, ...] = ()

    @model_validator(mode="after")
    def _one_form(self) -> Derived:
        forms = {"expr": self.expr, "segment": self.segment, "one_hot": self.one_hot, "label": self.label, "score": self.score}
        said = [name for name, form in forms.items() if form]
        if len(said) != 1:
            told = f"it says {' and '.join(said)}" if said else "it says none"
            raise ValueError(f"'{self.name}' is made by one of {', '.join(forms)}; {told}")
        if bool(self.values) != (said[0] in ("one_hot", "label")):
            told = f"`{said[0]}` needs `values`" if not self.values else f"`values` goes with one_hot and label, not {said[0]}"
            raise ValueError(f"'{self.name}': {told}")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"'{self.name}': a value is written twice: {', '.join(self.values)}")
        for band in self.segment[:-1]:
            if band.when is None:
                raise ValueError(f"'{self.name}': segment '{band.name}' has no `when`, so none after it can hold; put it last")
        return self


class Reads(Spec):
    """What a group's Python function reads: curated sources, and the day's snapshots of other groups."""

    sources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class FunctionColumn(Spec):
    """A column that a group's Python function gives. In YAML either its type alone or a mapping."""

    type: ColumnType
    description: str = ""
    null_when: str = "the function gives none"
    online: bool = True
    scoring: Scoring = "allowed"

    @model_validator(mode="before")
    @classmethod
    def _type_alone(cls, data: Any) -> Any:
        return {"type": data} if isinstance(data, str) else data


class RollupMembers(Spec):
    """Rows of another group's snapshot of the day, each a member of at most one entity.

    `group`: whose rows. `entity`: an expression over their columns, whose value says of which entity a row is a member; null: of
    none. `beside`: other groups, and for each an expression that gives the record identifier of the row of it that is read with
    a member; its columns are null where there is no such row. `columns`: what a rollup's columns name, as expressions; null of
    members that don't say one which others do.
    """

    group: str
    entity: str
    beside: Mapping[str, str] = {}
    columns: Mapping[str, str] = {}


class RollupColumn(Spec):
    """One column over the members of an entity.

    `op`: what is made of them. `of`: the value, an expression over what the members say in `columns`; of `share` a condition.
    `where`: of which members, by default all.
    """

    name: str
    op: RollupOp
    of: str | None = None
    where: str | None = None
    description: str = ""
    online: bool = True
    scoring: Scoring = "allowed"

    @model_validator(mode="after")
    def _has_a_value(self) -> RollupColumn:
        if self.of is None and self.op != "count":
            raise ValueError(f"'{self.name}': `{self.op}` needs `of`: {'a condition' if self.op == 'share' else 'the value'}")
        return self


class Rollup(Spec):
    """One row for each entity that has a member. `members`: rows of the day; `columns`: what is made of those of an entity."""

    members: Annotated[tuple[RollupMembers, ...], Field(min_length=1)]
    columns: Annotated[tuple[RollupColumn, ...], Field(min_length=1)]


Expected = str | None | tuple[str | None, ...] | Mapping[str, str | None]
ExpectedRows = Mapping[str, Mapping[str, Expected] | None]


class Example(Spec):
    """A test that an analyst can write: rows of the sources, a day, and what must come out for each entity.

    `as_of`: the day. `expect`: for each entity some of its columns and their values, or null where it must have no row.
    `days`: instead of both, what is expected on each of several days. `description`: what the example shows. The rows of a
    source stand beside these under its name, or under `rows`.
    """

    description: str = ""
    as_of: date | None = None
    expect: ExpectedRows = {}
    days: Mapping[date, ExpectedRows] = {}
    rows: Mapping[str, tuple[Mapping[str, str | None], ...]] = {}

    @model_validator(mode="before")
    @classmethod
    def _sources_beside(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "rows" in data:
            return data
        rest = {key: value for key, value in data.items() if key in cls.model_fields}
        return {**rest, "rows": {key: value for key, value in data.items() if key not in rest}}

    @model_validator(mode="after")
    def _expects_something(self) -> Example:
        if bool(self.days) == bool(self.as_of or self.expect):
            raise ValueError("an example needs `as_of` and `expect`, or `days` with what is expected on each")
        if not self.days and not (self.as_of and self.expect):
            raise ValueError(f"an example needs `{'expect' if self.as_of else 'as_of'}`, too")
        return self

    @property
    def expected(self) -> Mapping[date, ExpectedRows]:
        """Day -> entity -> column -> value."""
        return self.days or ({self.as_of: self.expect} if self.as_of else {})


class FeatureGroup(Spec):
    """Features with one record identifier and one event time, and the sources they are computed from.

    `spine`: the source whose entities must get a row. `blank_unless`: a boolean column of this group or of another with the
    same record identifier; in a row for which it isn't true every published feature but it is null. `rollup`: instead of inputs
    and derived columns, what is made of the rows of other groups' snapshots of the day. `function`: `package.module:name`, a
    Python function that gives `columns` from what it `reads`, instead of either.
    """

    name: Name
    description: str = ""
    owner: str = ""
    schedule: Schedule = "daily"
    record_identifier: Name
    spine: str | None = None
    online: bool = True
    blank_unless: str | None = None
    inputs: tuple[Input, ...] = ()
    derived: tuple[Derived, ...] = ()
    rollup: Rollup | None = None
    function: str | None = None
    reads: Reads = Reads()
    columns: Mapping[str, FunctionColumn] = {}
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def _of_one_kind(self) -> FeatureGroup:
        if self.function is None and (self.columns or self.reads != Reads()):
            raise ValueError("`reads` and `columns` go with `function`; a group without one has `inputs` and `derived`")
        if self.function is None and self.rollup is None:
            if self.spine is None:
                raise ValueError("'spine' is missing: the source whose entities get a row")
            return self
        if self.spine or self.inputs or self.derived or self.blank_unless:
            told = "function" if self.function else "rollup"
            raise ValueError(f"`{told}` takes the place of `spine`, `inputs`, `derived` and `blank_unless`")
        if self.function is None:
            return self
        if self.rollup:
            raise ValueError("a group is made by a `rollup` or by a `function`, not by both")
        if not self.columns:
            raise ValueError("a group with a `function` needs `columns`: the names and types that it gives")
        if not (self.reads.sources or self.reads.groups):
            raise ValueError("a group with a `function` needs `reads`: the sources and groups that the function is given")
        return self

    @property
    def is_later(self) -> bool:
        """Whether it is made after the groups whose snapshots of the day it reads."""
        return self.function is not None or self.rollup is not None
