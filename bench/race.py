"""What measurements share: data of a size, engines in sessions, and races in which they are called in turn."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from bench.agree import check_agreement
from bench.data import Data, Shape, generate
from bench.definitions import CONF
from bench.engines import NEEDED, OURS
from bench.session import Cost, Session


@dataclass(frozen=True)
class Ratio:
    """A figure and its goal: the CPU seconds of `what` over those of `against`, each the median of its runs.

    `of`, `against_of`: every run's CPU seconds. `scale`: what the quotient is multiplied with, where the two are of different
    amounts of work. `note`: what a reader must know of the figure.
    """

    measurement: str
    what: str
    against: str
    goal: float
    of: tuple[float, ...]
    against_of: tuple[float, ...]
    sizes: Mapping[str, int | float]
    scale: float = 1.0
    note: str = ""
    unit: str = "CPU seconds"

    @property
    def ratio(self) -> float:
        return self.scale * median(self.of) / median(self.against_of)

    @property
    def reached(self) -> bool:
        return self.ratio <= self.goal


@dataclass
class Bench:
    """The size of everything that is measured, and where its files go.

    `rounds`: how often each thing is timed, after one discarded round. `say`: tells a person how it goes.
    """

    work: Path
    shape: Shape
    rounds: int
    say: Callable[[str], None]
    agreed: list[str] = field(default_factory=list)
    """Which answers were compared before anything was timed."""

    def data(self, shape: Shape | None = None) -> Data:
        return generate(shape or self.shape, self.work / "data")

    @property
    def sizes(self) -> dict[str, int | float]:
        return sizes_of(self.shape)

    @contextmanager
    def sessions(self, engines: Sequence[str], data: Data, *, new_days: int = 0) -> Iterator[dict[str, Session]]:
        """Engines, opened, with all events taken in but those of the last `new_days` days. Those not installed are left out."""
        with ExitStack() as stack:
            opened = {}
            for engine in engines:
                if engine in NEEDED and find_spec(NEEDED[engine]) is None:
                    self.say(f"{engine} is left out: {NEEDED[engine]} is not installed")
                    continue
                opened[engine] = stack.enter_context(self.session(engine, data, new_days=new_days))
            yield opened

    @contextmanager
    def session(
        self, engine: str, data: Data, *, conf: Path = CONF, new_days: int = 0, take_in: bool = True, called: str = ""
    ) -> Iterator[Session]:
        """One engine; its files are removed at the end. `called`: what sets it apart from others of the same data."""
        name = "-".join(filter(None, (engine, called, data.shape.folder)))
        folder = self.work / "engines" / name.replace(" ", "_").replace(",", "")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with Session(engine, folder, conf) as session:
                if take_in:
                    files = data.files[: len(data.files) - new_days]
                    cost = session.call("prepare", files)
                    self.say(f"{engine}: {data.shape.events:,} events taken in for {cost.cpu:.1f} CPU s")
                yield session
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def agree(self, sessions: Mapping[str, Session], method: str, *arguments: object, key: str) -> None:
        """Let every engine answer, and compare each answer with ours."""
        folder = self.work / "answers"
        shutil.rmtree(folder, ignore_errors=True)
        ordered = sorted(sessions, key=lambda name: name != OURS)
        for name in ordered:
            rows = folder / name.replace(" ", "_")
            sessions[name].call(method, *arguments, rows=rows)
            sessions[name].call("forget")
            if name != ordered[0]:
                count = check_agreement(folder / ordered[0], rows, key=key, names=(ordered[0], name))
                told = f"{ordered[0]} and {name}: the same {method}, {count:,} rows"
                self.agreed.append(told)
                self.say(told)
        shutil.rmtree(folder, ignore_errors=True)

    def race(self, runners: Mapping[str, Callable[[], Cost]]) -> dict[str, list[Cost]]:
        """Call each in turn, a discarded round and then `rounds` rounds: A B C, A B C."""
        costs: dict[str, list[Cost]] = {name: [] for name in runners}
        for number in range(self.rounds + 1):
            for name, run in runners.items():
                cost = run()
                self.say(f"{name}: {cost.cpu:.2f} CPU s{'' if number else ', to warm up'}")
                if number:
                    costs[name].append(cost)
        return costs


def again(session: Session, method: str, *arguments: object) -> Callable[[], Cost]:
    """A call that is made anew each time."""

    def run() -> Cost:
        session.call("forget")
        return session.call(method, *arguments)

    return run


def cpu(costs: Sequence[Cost]) -> tuple[float, ...]:
    return tuple(round(cost.cpu, 2) for cost in costs)


def sizes_of(shape: Shape, **others: int | float) -> dict[str, int | float]:
    return {"events": shape.events, "entities": shape.entities, "days": shape.days, **others}


def tenth(shape: Shape) -> Shape:
    return replace(shape, events=shape.events // 10, entities=shape.entities // 10)
