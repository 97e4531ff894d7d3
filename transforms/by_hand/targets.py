"""The target of a training set, made again: what happened in the period of a label, with all that is known of it today."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup
from conf.training_sets import Target, TrainingSet
from conf.windows import Window
from transforms.by_hand.moments import Moment
from transforms.by_hand.windows import DAY, ends_month, first_of_month, midnight

FOR_EVER = timedelta(days=10_000 * 365)


def target_group(spec: TrainingSet, target: Target, catalogue: Catalogue) -> FeatureGroup:
    """The target as a group, called like its training set; an aggregate in it has no window but the period."""
    spine = catalogue.group(next(iter(spec.features))).spine
    return FeatureGroup(
        name=spec.name, record_identifier=spec.record_identifier, spine=spine, inputs=target.inputs, derived=target.derived
    )


def knowing_today(catalogue: Catalogue, group: FeatureGroup) -> Catalogue:
    """Of the sources all that is known by now; of the groups the target alone, whose columns may name no others."""
    sources = {name: source.model_copy(update={"grace": FOR_EVER}) for name, source in catalogue.sources.items()}
    return replace(catalogue, sources=sources, groups={group.name: group})


def period_of(target: Target, as_of: date, cut_off: datetime, zone: str) -> Moment:
    """The end of a label's period, which begins at T (`cut_off`).

    It ends with so many local days after D (`as_of`); of months with the day before the same day of a later month as D + 1, or
    before that month's last day where it is shorter.
    """
    last = _last_day(target.horizon, as_of)
    return Moment(last, midnight(last + DAY, zone), zone, since=cut_off)


def _last_day(horizon: Window, as_of: date) -> date:
    if horizon.kind == "days":
        return as_of + horizon.count * DAY
    first = as_of + DAY
    day = first_of_month(first, -horizon.count)
    while day.day < first.day and not ends_month(day):
        day += DAY
    return day - DAY
