"""Records of the online store, as any client of the Feature Store reads them."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from conf.errors import InputError, UsageError, did_you_mean
from jobs.arguments import JobParser, load_settings_for
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from stores.protocols import FeatureGroupDescription

NULL = "-"


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("get", "Read records of a feature group from the online store.", common=("env", "conf", "lake", "set"))
    parser.add_argument("group", metavar="GROUP", help="the feature group's name")
    parser.add_argument("identifiers", metavar="ID", nargs="+", help="record identifiers")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="a table (default), or one line of JSON")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary | None:
    settings = load_settings_for(arguments)
    from jobs.feature_store import feature_store

    identifiers = list(dict.fromkeys(arguments.identifiers))
    with feature_store(settings, must_exist=True) as address:
        from stores.feature_groups import describe_feature_group
        from stores.online import OnlineConfig, SageMakerOnlineStore

        control_plane = address.control_plane()
        group = describe_feature_group(control_plane, arguments.group)
        if group is None:
            raise _no_such_group(arguments.group, control_plane, arguments.conf)
        records = SageMakerOnlineStore(OnlineConfig(address)).get_records(group.name, identifiers)
    found = {record[group.record_identifier]: record for record in records}
    missing = [identifier for identifier in identifiers if identifier not in found]
    if missing:
        sys.stderr.write(f"{group.name}: no record of {', '.join(missing)}\n")
    if arguments.format == "json":
        answer: dict[str, Any] = {"job": "get", "status": "succeeded", "group": group.name}
        sys.stdout.write(json.dumps(answer | {"records": records, "missing": missing}, ensure_ascii=False) + "\n")
        return None
    for line in table_lines(group, list(found.values())):
        sys.stdout.write(line + "\n")
    return Summary("get", run_id, counts={"records": len(records), "missing": len(missing)})


def table_lines(group: FeatureGroupDescription, records: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """A line a feature, a column a record, identifiers on top; a feature that a record lacks is null."""
    names = [group.record_identifier, *(feature.name for feature in group.features if feature.name != group.record_identifier)]
    columns = [names, *([record.get(name, NULL) for name in names] for record in records)]
    widths = [max(map(len, column)) for column in columns]
    if records:
        for row in zip(*columns, strict=True):
            yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _no_such_group(name: str, control_plane: Any, conf: str | None) -> InputError | UsageError:
    """Say whether the group is only not published yet, or not known at all."""
    from conf.catalogue import load_catalogue
    from stores.feature_groups import list_feature_groups

    published, defined = list_feature_groups(control_plane), load_catalogue(conf).groups
    if name in defined:
        return InputError(f"{name}: defined, but nothing of it was published yet; run etr pipeline --groups {name}")
    known = sorted({*published, *defined})
    return UsageError(f"no feature group named '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}")


if __name__ == "__main__":
    sys.exit(main())
