"""Command-line arguments, the same on a laptop, on EMR and on Glue."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NoReturn

from conf.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from conf.settings import Settings

COMMON = ("env", "conf", "raw", "lake", "as_of", "groups", "set", "dry_run")

# What Glue hands to every script, beside the job's own arguments. Each comes with a value, which may be empty.
_GLUE = """
    JOB_ID JOB_NAME JOB_RUN_ID RedshiftTempDir SECURITY_CONFIGURATION TempDir additional-python-modules
    auto-scale-within-microbatch class continuous-log-conversionPattern continuous-log-logGroup
    continuous-log-logStreamPrefix customer-driver-env-vars customer-executor-env-vars datalake-formats disable-proxy-v2
    enable-auto-scaling enable-continuous-cloudwatch-log enable-continuous-log-filter enable-data-lineage
    enable-glue-datacatalog enable-job-insights enable-lakeformation-fine-grained-access enable-metrics
    enable-observability-metrics enable-rename-algorithm-v2 enable-s3-parquet-optimized-committer enable-spark-ui
    encryption-type execution-class extra-files extra-jars extra-py-files job-bookmark-from job-bookmark-option
    job-bookmark-to job-language python-modules-installer-option scriptLocation spark-event-logs-path user-jars-first
    write-shuffle-files-to-s3 write-shuffle-spills-to-s3
"""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class JobParser(argparse.ArgumentParser):
    """A job's arguments: no abbreviations, and an unknown option is an error that names the nearest known one.

    `parse` raises UsageError and doesn't end the process; only `--help` does.
    """

    def __init__(self, job: str, description: str, *, common: Collection[str] = COMMON, **options: Any) -> None:
        super().__init__(prog=f"etr {job}", description=description, allow_abbrev=False, **options)
        self.job = job
        for name in common:
            _add_common(self, name)

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse `argv`, or the command line; Glue's own arguments are passed over."""
        arguments, unknown = self.parse_known_args(_without_glue(sys.argv[1:] if argv is None else argv))
        if unknown:
            self._refuse(unknown[0].partition("=")[0])
        if "set" in arguments:
            arguments.set = dict(arguments.set or ())
        return arguments

    def _refuse(self, argument: str) -> NoReturn:
        if not argument.startswith("-"):
            self.error(f"'{argument}' is one argument too many")
        known = sorted(text for action in self._actions for text in action.option_strings if text.startswith("--"))
        raise UsageError(f"etr {self.job}: no option '{argument}'{did_you_mean(argument, known)}; known: {', '.join(known)}")

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"etr {self.job}: {message}; see etr {self.job} --help")


def load_settings_for(arguments: argparse.Namespace) -> Settings:
    """The settings of the arguments' environment, with `--set`, `--raw`, `--lake` and `--writer` laid over."""
    from conf.settings import load_settings  # pydantic takes longer than a wrong argument should

    given = {name: getattr(arguments, name, None) for name in ("raw", "lake", "writer")}
    return load_settings(arguments.env, {**arguments.set, **{name: text for name, text in given.items() if text}})


def day(text: str) -> date:
    """A day as YYYY-MM-DD. Raises: argparse's ArgumentTypeError."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"'{text}' is not a day; write YYYY-MM-DD, such as 2025-09-30")


def names(text: str) -> tuple[str, ...]:
    """Names between commas, each once, in the order given. Raises: argparse's ArgumentTypeError."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' names nothing; write names with commas between them")
    return found


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"'{text}' is not key=value, such as spark.shuffle_partitions=64")
    return key, value


def _add_common(parser: argparse.ArgumentParser, name: str) -> None:
    known: dict[str, dict[str, Any]] = {
        "env": {"default": "local", "metavar": "NAME", "help": "environment: local, glue, emr or yarn (default: local)"},
        "conf": {"metavar": "DIR", "help": "definitions of your own, in the place of the shipped ones"},
        "raw": {"metavar": "URI", "help": "where the raw files are"},
        "lake": {"metavar": "URI", "help": "where the tables are"},
        "as_of": {"type": day, "metavar": "YYYY-MM-DD", "help": "the local day to compute (default: the last one that is over)"},
        "groups": {"type": names, "metavar": "A,B", "help": "only these feature groups"},
        "set": {"type": _pair, "action": "append", "metavar": "KEY=VALUE", "help": "one setting, for this run"},
        "writer": {
            "choices": ("auto", "workers", "jvm"),
            "help": "who writes files: Spark's workers, or the JVM where these may not (default: auto, a worker tries)",
        },
        "dry_run": {"action": "store_true", "help": "say what would be done and do nothing"},
    }
    parser.add_argument(f"--{name.replace('_', '-')}", **known[name])


def _without_glue(argv: Sequence[str]) -> list[str]:
    glue = frozenset(_GLUE.split())
    kept: list[str] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in glue:
            kept.append(argument)
        elif not equals and rest and not rest[0].startswith("--"):
            rest.pop(0)  # its value
    return kept
