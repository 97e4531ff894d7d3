"""Changes the engine at each of its edges in time, in a copy of the tree, and says which test notices: `make mutate`.

To stdout a table in Markdown; exit code 1 where a mutant survives. `python -m tests.mutation WORD` takes those whose edge or file
has the word.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutants import MUTANTS, Mutant, Tests

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("conf", "transforms", "stores", "expectations", "jobs", "synthetic", "study", "examples", "tests")
FILES = ("setup.cfg", "pyproject.toml")
# Imported once, before each mutant gets a process of its own: half of what a small test costs.
LIBRARIES = ("pytest", "hypothesis", "numpy", "pyarrow.compute", "pyarrow.parquet", "duckdb", "sqlglot", "pydantic", "yaml")


def main(words: Sequence[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if all(word in f"{mutant.edge} {mutant.file}" for word in words)]
    for name in LIBRARIES:
        importlib.import_module(name)
    survivors = 0
    sys.stdout.write("| edge | in | was | becomes | noticed by |\n|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory(prefix="etr-mutants-") as folder:
        tree = copy_of_the_tree(Path(folder))
        for tests in dict.fromkeys(mutant.tests for mutant in chosen):
            if failed := first_failure(tree, tests):
                raise SystemExit(f"{failed} fails without any change; mend it first")
        for number, mutant in enumerate(chosen):
            noticed = noticed_by(mutant, tree, number)
            survivors += not noticed
            cells = (mutant.edge, mutant.file, code(mutant.before), code(mutant.after), noticed or "**nothing**")
            sys.stdout.write(f"| {' | '.join(cells)} |\n")
            sys.stdout.flush()
    sys.stderr.write(f"{len(chosen)} mutants, {survivors} of them not noticed\n")
    return 1 if survivors else 0


def copy_of_the_tree(folder: Path) -> Path:
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)
    return folder


def noticed_by(mutant: Mutant, tree: Path, number: int) -> str:
    """The first test that fails of a mutant; empty where all pass."""
    path = tree / mutant.file
    text, written = path.read_text(encoding="utf-8"), path.stat()
    if text.count(mutant.before) != 1:
        raise SystemExit(f"{mutant.file}: '{mutant.before}' is there {text.count(mutant.before)} times; write the mutant anew")
    path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
    os.utime(path, (number + 1, number + 1))  # a time of its own, so that no other text's bytecode is taken for it
    try:
        return first_failure(tree, mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))


def first_failure(tree: Path, tests: Tests) -> str:
    """Run some tests of a tree in a process of its own; the first that fails, or nothing."""
    arguments = [*tests.files, *(("-k", tests.picked) if tests.picked else ())]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        told = _run_tests(tree, arguments)
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    if not answer:
        raise SystemExit(f"the tests of {' '.join(arguments)} ended without an answer")
    code_, failed = json.loads(answer)
    if code_ not in (0, 1) or (code_ == 1 and not failed):
        raise SystemExit(f"pytest {' '.join(arguments)} ended with {code_}")
    return str(failed)


class _FirstFailure:
    """A pytest plugin."""

    name = ""

    def pytest_runtest_logreport(self, report: object) -> None:
        if getattr(report, "failed", False) and not self.name:
            self.name = str(report.nodeid)  # type: ignore[attr-defined]


def _run_tests(tree: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code, and the first test that failed, with the modules of the copy."""
    import pytest

    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    for name in [name for name in sys.modules if name.partition(".")[0] in FOLDERS]:
        del sys.modules[name]
    os.chdir(tree)
    sys.path[:] = [str(tree), *(place for place in sys.path if Path(place or ".").resolve() != ROOT)]
    import transforms

    if not str(transforms.__file__).startswith(str(tree)):
        return 99, ""
    seen = _FirstFailure()
    options = ["-x", "-q", "-p", "no:cacheprovider", f"--rootdir={tree}"]
    return int(pytest.main([*options, *arguments], plugins=[seen])), seen.name


def code(text: str) -> str:
    """For a cell of a table."""
    escaped = text.strip().replace("|", "\\|")
    return f"`` {escaped} ``" if "`" in escaped else f"`{escaped}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
