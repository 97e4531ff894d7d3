"""Finds a target where it stands: what a training set was made to learn, of one label."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC
from typing import TYPE_CHECKING

from conf.errors import InputError, UsageError, did_you_mean
from jobs.explained_number import Number, TrainingRow, find_training_row
from transforms.by_hand.columns import columns_of
from transforms.by_hand.moments import Moment
from transforms.by_hand.targets import period_of, target_group

if TYPE_CHECKING:
    from conf.catalogue import Catalogue
    from conf.settings import Settings
    from conf.training_sets import Target, TrainingSet
    from stores.lake import Lake


def find_target(arguments: Namespace, settings: Settings, catalogue: Catalogue, spec: TrainingSet, lake: Lake) -> Number:
    """The number of a target that the definition says.

    Raises UsageError and InputError for what isn't there, and for a target that came with the labels.
    """
    found = find_training_row(arguments, settings, spec, lake)
    if arguments.feature in (*spec.label_targets, *spec.labels.carry):
        row = found.values["label_row"]
        raise InputError(
            f"training set {spec.name}: '{arguments.feature}' came with the labels, as it stands in their row {row}; "
            "what is made from ledgers can be made again, that can't"
        )
    if spec.target is None:
        raise UsageError(f"training set {spec.name} defines no target, its labels bring it; explain a feature of a group instead")
    group = target_group(spec, spec.target, catalogue)
    if arguments.feature not in columns_of(group):
        near = did_you_mean(arguments.feature, columns_of(group))
        raise UsageError(
            f"the target of training set {spec.name} has no column '{arguments.feature}'{near}; its columns: "
            f"{', '.join(columns_of(group))}"
        )
    if arguments.feature not in found.values:
        raise UsageError(
            f"{spec.name}: '{arguments.feature}' is internal, so that no training row holds it; explain what is made of it"
        )
    return found.number(arguments, group, _period(spec.target, found, settings))


def _period(target: Target, found: TrainingRow, settings: Settings) -> Moment:
    return period_of(target, found.values["as_of"], found.values["cut_off"].astimezone(UTC), settings.time_zone)
