"""`python -m bench`: measures the engine beside its peers, and writes docs/benchmarks."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.data import Shape
from bench.measurements import MEASUREMENTS
from bench.race import Bench
from bench.report import page, update

_DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
_EVENTS_AN_ENTITY = 40


def main() -> int:
    known = ", ".join(MEASUREMENTS)
    parser = argparse.ArgumentParser(prog="bench", description="CPU seconds of the engine and of what could be picked instead.")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"a measurement, any number of times: {known}")
    parser.add_argument("--events", type=int, default=2_000_000, help="how many events (default: 2,000,000)")
    parser.add_argument("--entities", type=int, help=f"how many entities (default: one for {_EVENTS_AN_ENTITY} events)")
    parser.add_argument("--days", type=int, default=730, help="days of history (default: 730)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each thing is timed (default: 3)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the data here (default: a temporary folder)")
    parser.add_argument("--docs", type=Path, default=_DOCS, metavar="DIR", help="where the results go (default: docs/benchmarks)")
    arguments = parser.parse_args()
    names = tuple(dict.fromkeys(arguments.only or MEASUREMENTS))
    for name in names:
        if name not in MEASUREMENTS:
            parser.error(f"no measurement named '{name}'; known: {known}")
    shape = Shape(arguments.events, arguments.entities or max(arguments.events // _EVENTS_AN_ENTITY, 1), days=arguments.days)
    from bench.plot import draw  # installed by `make bench` only

    arguments.docs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        for name in names:
            bench = Bench(work, shape, arguments.rounds, lambda text, name=name: _say(f"{name}: {text}"))  # type: ignore[misc]
            ratios = MEASUREMENTS[name](bench)
            for ratio in ratios:
                _say(f"{ratio.what} / {ratio.against}: {ratio.ratio:.3g} (at most {ratio.goal:g})")
            results = update(arguments.docs / "engine.json", ratios, [name], bench.agreed)
            (arguments.docs / "engine.md").write_text(page(results, list(MEASUREMENTS)), encoding="utf-8")
            draw(results, list(MEASUREMENTS), arguments.docs / "engine.svg")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
