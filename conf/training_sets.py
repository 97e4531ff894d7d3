"""TrainingSet and its parts: which labels, the features known at each one's time, and what its target is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from conf.specs import ColumnType, Derived, Input, Name, Spec, Zone
from conf.windows import Window

Grain = Literal["day", "event"]

_STEP = r"[1-9][0-9]{0,2}(d|w|mo)"
_DAYS = r"(0|[1-9][0-9]{0,4})d"


def _horizon(value: Any) -> Window:
    window = value if isinstance(value, Window) else Window.parse(str(value))
    if window.kind not in ("days", "months"):
        raise ValueError(f"'{window}' is no length of a period; write days or months, such as '90d' or '12mo'")
    return window


def _whole_days(value: Any) -> int:
    match = re.fullmatch(_DAYS, str(value))
    if match is None:
        raise ValueError(f"'{value}' is not a number of local days; write it as '14d'")
    return int(match[1])


def _step(text: str) -> str:
    if re.fullmatch(_STEP, text) is None:
        raise ValueError(f"'{text}' is not a step; write a number of days, weeks or months, such as 1d, 1w or 1mo")
    return text


Horizon = Annotated[
    Window,
    BeforeValidator(_horizon),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,4}(d|mo)$"}),
]
WholeDays = Annotated[
    int,
    BeforeValidator(_whole_days),
    PlainSerializer(lambda days: f"{days}d"),
    WithJsonSchema({"type": "string", "pattern": f"^{_DAYS}$"}),
]
StepText = Annotated[str, AfterValidator(_step), WithJsonSchema({"type": "string", "pattern": f"^{_STEP}$"})]


class Choice(Spec):
    """Which columns of a feature group a training set takes: those of `only`, or all but those of `all_but`.

    A column is named itself (`pay_late_count_90d`), or by its feature (`pay_late_count`: every window of it). In YAML `all`, a
    list, or `{all_but: [...]}`.
    """

    only: tuple[str, ...] = ()
    all_but: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        if data == "all":
            return {}
        if isinstance(data, list | tuple):
            if not data:
                raise ValueError("an empty list takes no feature; write `all`, names, or {all_but: [names]}")
            return {"only": data}
        if isinstance(data, str):
            raise ValueError(f"'{data}' is not a choice of features; write `all`, a list of names, or {{all_but: [names]}}")
        return data

    @model_validator(mode="after")
    def _one_of_them(self) -> Choice:
        if self.only and self.all_but:
            raise ValueError("write `only` or `all_but`, not both")
        return self


class Labels(Spec):
    """The columns of a labels file.

    `entity`: with the record identifier (default: its name, or `entity`); `time`: when the label holds, a timestamp or a date
    (the start of that local day); `zone`: of times without an offset (default: the environment's). `targets`: what is to be
    learned, with its type; a row without one is refused. `carry`: other columns that stay with the row, null or not. Types are
    those of a source's columns.
    """

    entity: str | None = None
    time: str = "time"
    zone: Zone | None = None
    targets: Mapping[Name, ColumnType] | None = None
    carry: Mapping[Name, ColumnType] = {}
    encoding: str = "utf-8"
    delimiter: str = ","
    null_values: tuple[str, ...] = ("", "NULL", "null", "NA", "N/A", "NaN", "nan")


class Target(Spec):
    """What is to be learned, as what happens in the period from T on: `[T, the end of the local day D + horizon)`.

    `inputs` and `derived` are those of a feature group; an aggregate's window is the period, a state holds at its end. They see
    what is known today of what happened before the period's end. A label is ripe once the period is over and `settling` has
    passed, so that what happened is known.
    """

    horizon: Horizon
    settling: WholeDays = 0
    inputs: tuple[Input, ...] = Field(min_length=1)
    derived: tuple[Derived, ...] = ()


class Spine(Spec):
    """Labels without a file: every entity that has a row as of each day, from one to another in steps.

    `to`: the last day; by default the last one that is ripe.
    """

    every: StepText = "1mo"
    from_: Annotated[date, Field(alias="from")]
    to: date | None = None


class TrainingSet(Spec):
    """Labels joined to the features known at each label's time.

    `features`: what is taken of each feature group; all have the same `record_identifier`. `grain`: `day`: the features of the
    as-of day that lies `days_before` before the label's local day; `event`: those known at the label's time, to the microsecond,
    without grace. `labels`: the file's columns. `target`: where what is to be learned isn't in the file. `spine`: where there
    is no file.
    """

    name: Name
    description: str = ""
    owner: str = ""
    record_identifier: Name
    features: Mapping[str, Choice] = Field(min_length=1)
    grain: Grain = "day"
    days_before: Annotated[int, Field(ge=0)] = 1
    labels: Labels = Labels()
    target: Target | None = None
    spine: Spine | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> TrainingSet:
        if self.days_before == 0:
            raise ValueError(
                "`days_before: 0` would let what happened on the label's own day, after it, into its features; "
                "the least is 1, the day before; or write `grain: event`: what was known at its time"
            )
        if self.grain == "event" and self.days_before != 1:
            raise ValueError("`days_before` goes with `grain: day`; `grain: event` takes what is known at the label's own time")
        if self.spine and not self.target:
            raise ValueError("`spine` needs `target`: without a labels file nothing else says what is to be learned")
        if self.spine and self.grain == "event":
            raise ValueError("`spine` asks for days; it goes with `grain: day`")
        return self

    @property
    def label_targets(self) -> Mapping[str, ColumnType]:
        """The targets that a labels file must have: `target`, a number, where nothing else says what is to be learned."""
        if self.labels.targets is None:
            return {} if self.target else {"target": "number"}
        return self.labels.targets
