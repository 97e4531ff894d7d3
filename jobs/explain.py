"""The raw rows that made one number, and the number made again from them, the slow way."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf.errors import InputError, UsageError, did_you_mean
from jobs.arguments import JobParser, load_settings_for
from jobs.equal import same
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from conf.catalogue import Catalogue
    from conf.settings import Settings
    from conf.specs import ColumnType, FeatureGroup
    from conf.training_sets import TrainingSet
    from jobs.explained_number import Number
    from jobs.explained_rollup import Members
    from transforms.by_hand.columns import Explainer
    from transforms.by_hand.evidence import Evidence, Explained
    from transforms.by_hand.rollups import Member

MEMBERS_TOLD = 1_000
"""Of a rolled-up number, as JSON; the others are counted."""


@dataclass(frozen=True)
class Explanation:
    """A number, and how it came about. `definition_version`: of the feature group; `definition`: the column in words.

    `members`: of a number that is rolled up from other groups' rows.
    """

    number: Number
    definition: str
    definition_version: str
    type: ColumnType
    made_again: Explained
    members: Members | None = None

    @property
    def is_equal(self) -> bool:
        return same(self.number.value, self.made_again.value)

    @property
    def holds(self) -> bool:
        """Whether the number is the same when made again, and so is what was made again of its members."""
        return self.is_equal and not (self.members and self.members.differing)


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("explain", __doc__ or "", common=("env", "conf", "lake", "as_of", "set"))
    parser.add_argument("group", metavar="GROUP", help="the feature group's name; of a target, the training set's")
    parser.add_argument("identifier", metavar="ID", help="the record identifier")
    parser.add_argument("feature", metavar="FEATURE", help="the column's name")
    parser.add_argument("--online", action="store_true", help="of the record in the online store, instead of a snapshot")
    parser.add_argument("--training-set", metavar="NAME", help="of a row of this training set, instead of a snapshot")
    parser.add_argument("--label", metavar="TIME", help="of the label of that time, with --training-set (default: the only one)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="for a person (default), or one line of JSON")
    parser.add_argument("--page", metavar="FILE", help="also write a page to print, as HTML")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary | None:
    settings = load_settings_for(arguments)
    explanation = explain(arguments, settings)
    if arguments.page:
        from jobs.explanation_page import page_of

        _write(Path(arguments.page), page_of(explanation))
    told = as_json(explanation)
    if arguments.format == "text":
        from jobs.explanation_text import show

        show(explanation)
        told = {name: value for name, value in told.items() if name != "rows"}
    if not explanation.is_equal:
        sys.stderr.write(f"{_loudly(explanation)}\n")
    sys.stderr.writelines(f"{line}\n" for line in _members_loudly(explanation))
    members = explanation.members
    every = members.rolled_up.members if members else explanation.made_again.all_evidence()
    counts = {"rows": len(every), "counted": sum(row.counted for row in every)}
    return Summary("explain", run_id, "succeeded" if explanation.holds else "failed", counts, answer=told)


def explain(arguments: Namespace, settings: Settings) -> Explanation:
    """Find the number, and make it again. Raises UsageError and InputError for what isn't there."""
    from conf.catalogue import load_catalogue
    from jobs.explained_number import find_number
    from stores.evidence import LakeLedgers
    from stores.lake import Lake
    from transforms.by_hand.columns import Explainer, columns_of
    from transforms.feature_group import compile_groups
    from transforms.training_sets import without_grace

    catalogue = load_catalogue(arguments.conf)
    if arguments.training_set is not None and arguments.group == arguments.training_set:
        return _explain_target(arguments, settings, catalogue)
    group = catalogue.group(arguments.group)
    if group.function:
        raise UsageError(f"{group.name} is made by the Python function {group.function}; its inputs can be explained, it can't")
    if group.rollup:
        return _explain_rollup(arguments, settings, catalogue, group)
    known = columns_of(group)
    if arguments.feature not in known:
        name = arguments.training_set
        if name is not None and arguments.feature in _targets(catalogue.training_set(name), catalogue):
            way = f"etr explain {name} {arguments.identifier} {arguments.feature} --training-set {name}"
            raise UsageError(f"{group.name} has no feature '{arguments.feature}'; it belongs to the target: {way}")
        nearest = did_you_mean(arguments.feature, known)
        raise UsageError(f"{group.name} has no feature '{arguments.feature}'{nearest}; etr features {group.name} lists them")
    compiled = compile_groups(catalogue, settings.time_zone).groups[group.name]
    column = next((column for column in compiled.columns if column.name == arguments.feature), None)
    if column is None:
        raise UsageError(
            f"{group.name}: '{arguments.feature}' is internal, so that no snapshot holds it; explain what is made of it"
        )
    lake = Lake(settings.lake, settings.s3)
    number = find_number(arguments, settings, catalogue, group, lake)
    knowing = catalogue if number.has_grace else without_grace(catalogue)
    explainer = Explainer(knowing, LakeLedgers(lake), number.entity, number.moment)
    return Explanation(number, column.words, compiled.version, column.type, _made_again(number, explainer))


def _explain_rollup(arguments: Namespace, settings: Settings, catalogue: Catalogue, group: FeatureGroup) -> Explanation:
    """Of a number that is rolled up from other groups' rows of the day."""
    from jobs.explained_number import find_number
    from jobs.explained_rollup import check_feature, explain_rollup
    from stores.lake import Lake
    from transforms.feature_group import compile_groups

    check_feature(group, arguments.feature)
    compiled = compile_groups(catalogue, settings.time_zone).rollups[group.name]
    column = next(column for column in compiled.columns if column.name == arguments.feature)
    lake = Lake(settings.lake, settings.s3)
    number = find_number(arguments, settings, catalogue, group, lake)
    made, members = explain_rollup(number, compiled.groups, catalogue, lake)
    return Explanation(number, column.words, compiled.version, column.type, made, members)


def _targets(spec: TrainingSet, catalogue: Catalogue) -> Collection[str]:
    """What a training set is made to learn: the columns of a target of its own, or what its labels bring."""
    from transforms.by_hand.columns import columns_of
    from transforms.by_hand.targets import target_group

    return [*spec.label_targets, *(columns_of(target_group(spec, spec.target, catalogue)) if spec.target else ())]


def _explain_target(arguments: Namespace, settings: Settings, catalogue: Catalogue) -> Explanation:
    """Of what a training set learns, with the training set's name in the place of the group's."""
    from jobs.explained_target import find_target
    from stores.evidence import LakeLedgers
    from stores.lake import Lake
    from transforms.by_hand.columns import Explainer
    from transforms.by_hand.targets import knowing_today
    from transforms.training_sets import compile_training_set

    spec = catalogue.training_set(arguments.training_set)
    lake = Lake(settings.lake, settings.s3)
    number = find_target(arguments, settings, catalogue, spec, lake)
    compiled = compile_training_set(spec, catalogue, settings.time_zone).rows.outcome
    assert compiled is not None and number.period is not None
    column = next(column for column in compiled.group.columns if column.name == number.feature)
    explainer = Explainer(knowing_today(catalogue, number.group), LakeLedgers(lake), number.entity, number.period)
    return Explanation(number, column.words, compiled.group.version, column.type, explainer.explain(number.group, number.feature))


def _made_again(number: Number, explainer: Explainer) -> Explained:
    """A snapshot has rows of its spine only; a training set has every label, with nothing of whom the spine doesn't have."""
    made = explainer.explain(number.group, number.feature)
    if number.label_time is None:
        return made
    spine = explainer.on_spine(number.group)
    if spine.value:
        return made
    note = f"null: no row of {number.group.spine}, the spine of {number.group.name}, counts; it would else be {made.value}"
    return replace(made, value=None, parts=(*made.parts, spine), note=note)


def as_json(explanation: Explanation) -> dict[str, Any]:
    """What a program reads: the number, the number made again, and every row with its verdict."""
    number, made = explanation.number, explanation.made_again
    return {
        "group": number.group.name,
        "identifier": number.entity,
        "feature": number.feature,
        "as_of": number.moment.as_of.isoformat(),
        "cut_off": plain(number.moment.cut_off),
        "label_time": plain(number.label_time),
        "period_end": plain(number.period.cut_off) if number.period else None,
        "definition": explanation.definition,
        "definition_version": explanation.definition_version,
        "where": number.where,
        "value": plain(number.value),
        "recomputed": plain(made.value),
        "equal": explanation.is_equal,
        "note": made.note,
        **_rows(explanation),
    }


def _rows(explanation: Explanation) -> dict[str, Any]:
    """Every raw row; of a number that is rolled up the first members, and how many more there are."""
    members = explanation.members
    if members is None:
        return {"rows": [_row_as_json(row) | {"counted": row.counted} for row in explanation.made_again.all_evidence()]}
    every = members.rolled_up.members
    checked = [one for some in members.checked.values() for one in some]
    return {
        "members": len(every),
        "left_out": max(len(every) - MEMBERS_TOLD, 0),
        "members_made_again": {"members": len(members.checked), "values": len(checked), "differ": len(members.differing)},
        "rows": [_member_as_json(member, members) for member in every[:MEMBERS_TOLD]],
    }


def _member_as_json(member: Member, members: Members) -> dict[str, Any]:
    made = {one.read: {"recomputed": plain(one.made), "equal": one.is_equal} for one in members.of(member)}
    read = [{**{name: plain(told) for name, told in vars(one).items()}, **made.get(one, {})} for one in member.read]
    return {
        "group": member.group,
        "identifier": member.identifier,
        "counted": member.counted,
        "reason": member.reason,
        "value": plain(member.value),
        "said": {name: plain(value) for name, value in member.said.items()},
        "read": read,
        "look_further": members.look_further(member),
    }


def _row_as_json(row: Evidence) -> dict[str, Any]:
    told = {field.name: plain(getattr(row, field.name)) for field in fields(row)}
    return told | {"beside": [_row_as_json(one) for one in row.beside]}


def plain(value: Any) -> Any:
    """A value as JSON has it: money as text, times in ISO-8601, UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    return str(value) if isinstance(value, (Decimal, date)) else value


def _loudly(explanation: Explanation) -> str:
    number, made = explanation.number, explanation.made_again
    return (
        f"NOT EQUAL: {number.group.name}.{number.feature} of '{number.entity}' {number.when} is {plain(number.value)} in "
        f"{number.where}, and {plain(made.value)} when made again from today's ledgers and definitions. Either something that it "
        f"should have known came later ({number.remedy}), or one of the two ways is wrong: report it"
    )


def _members_loudly(explanation: Explanation) -> list[str]:
    """A line for each value of a member that isn't what its raw rows say."""
    told = []
    for one in explanation.members.differing if explanation.members else ():
        read = one.read
        told.append(
            f"NOT EQUAL: {read.group}.{read.column} of '{read.identifier}', of a member, is {plain(read.value)} in the snapshot, "
            f"and {plain(one.made)} when made again from today's ledgers and definitions ({explanation.number.remedy})"
        )
    return told


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}; give a file that can be written") from problem


if __name__ == "__main__":
    sys.exit(main())
