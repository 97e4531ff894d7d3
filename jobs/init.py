"""`etr init FILE`: draft a source's definition from a file, for review."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from conf.errors import UsageError
from jobs.arguments import JobParser
from jobs.summary import Summary, run_job


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("init", "Draft the YAML of a source from a CSV, JSON lines or Parquet file (also .gz).", common=())
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--to", metavar="DIR", type=Path, help="write it to DIR/sources/NAME.yaml instead of showing it")
    return run_job(parser, _draft, argv)


def _draft(arguments: Namespace, run_id: str) -> Summary | None:
    path: Path = arguments.file
    if not path.is_file():
        raise UsageError(f"etr init: no file '{path}'; name a CSV, JSON lines or Parquet file")
    from jobs.draft import draft_source, source_name  # pyarrow takes longer than a wrong argument should

    draft = draft_source(path)
    if arguments.to is None:
        sys.stdout.write(draft.yaml)
        return None
    target = arguments.to / "sources" / f"{source_name(path)}.yaml"
    if target.exists():
        raise UsageError(f"etr init: {target} is there already; remove it, or draft to another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(draft.yaml, encoding="utf-8")
    _write_schemas(arguments.to / "schemas")
    sys.stderr.write(f"{target}\n" + "".join(f"  - {line}\n" for line in draft.to_review))
    return Summary("init", run_id, tables={"source": str(target)})


def _write_schemas(folder: Path) -> None:
    """The JSON Schemas that definitions name, so that an editor finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for schema in (resources.files("conf") / "schemas").iterdir():
        (folder / schema.name).write_bytes(schema.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
