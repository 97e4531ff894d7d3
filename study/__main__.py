"""`python -m study --data DIR`: makes the study's rows with the engine, and writes docs/study.md and its pictures."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from study.cases import read_cases
from study.page import page
from study.plots import draw
from study.results import solve
from study.rows import ROOT, StudyError, read_case


def main() -> int:
    parser = argparse.ArgumentParser(prog="study", description="What point-in-time features are worth, on real data.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data sets")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep the lakes here, and go on from them (default: a temporary folder)"
    )
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", metavar="DIR", help="where study.md and study/ go (default: docs)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        try:
            results = [solve(case, read_case(case, data=arguments.data.resolve(), work=work)) for case in read_cases()]
        except StudyError as error:
            sys.stderr.write(f"study: {error}\n")
            return 1
    pictures = arguments.docs / "study"
    pictures.mkdir(parents=True, exist_ok=True)
    for result in results:
        draw(result, pictures / f"{result.case.name}.svg")
    (arguments.docs / "study.md").write_text(page(results), encoding="utf-8")
    sys.stderr.write(f"study: {arguments.docs / 'study.md'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
