"""What is asked of a selection: operations on its facts, answered in slices of the queries so that memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.kernel import Selection, Values
from transforms.operations import Answer, Operation
from transforms.operations.json_text import json_items, json_maps
from transforms.picked import apart, newest_of_each

MAXIMUM_LOOKS = 2_000_000  # at a fact for a query, together: bounds memory whatever the number of facts that a query has


@dataclass(frozen=True)
class Asked:
    """An operation on the values of facts.

    `newest_per`: only the newest fact of each of its values counts, one that `values` leave out among them; it is null of facts
    that don't count. `map_by`: an answer for each of its values, as a JSON map.
    """

    operation: Operation
    values: Values
    weights: Values | None = None
    newest_per: Values | None = None
    map_by: Values | None = None

    def walks(self, facts: Selection) -> bool:
        """Whether every fact of every window is looked at."""
        wrapped = self.weights is not None or self.newest_per is not None or self.map_by is not None
        eased = facts.knows_runs and self.operation.takes_runs(self.values)
        return wrapped or (self.operation.walks(self.values) and not eased)

    @property
    def history(self) -> bool:
        """Whether the facts before each window are looked at, too."""
        return self.map_by is not None and self.operation.looks_back

    def of(self, facts: Selection) -> Answer:
        """The answer for each query."""
        if self.newest_per is not None:
            facts = newest_of_each(facts, self.newest_per)
        if self.map_by is None:
            return self.operation.answer(facts, self.values, self.weights)
        parts = apart(facts, self.map_by, self.values, self.weights, history=self.history)
        answer = self.operation.answer(parts.facts, self.values, self.weights)
        type_ = self.operation.type_of(self.values.type)
        words = self.values.words if answer.words is None else answer.words
        items = json_items(answer, type_, words, already=self.operation.gives_json)
        starts = np.searchsorted(parts.whole, np.arange(len(facts) + 1))
        return json_maps(starts, self.map_by.words, parts.code, items)


def answer_each(facts: Selection, asked: Sequence[Asked]) -> list[Answer]:
    """Each one's answers, one a query."""
    answers: list[list[Answer]] = [[] for _ in asked]
    kinds = [(one.walks(facts), one.history) for one in asked]
    for walks, history in sorted(set(kinds)):
        for part in _slices(facts, walks=walks, history=history):
            for number, one in enumerate(asked):
                if kinds[number] == (walks, history):
                    answers[number].append(one.of(part))
    return [Answer.joined(parts) for parts in answers]


def _slices(facts: Selection, *, walks: bool, history: bool) -> Iterator[Selection]:
    """The queries in runs that look at no more than MAXIMUM_LOOKS facts together; one query that has more is alone."""
    for start, end in runs_within(facts.cost(walks=walks, history=history), MAXIMUM_LOOKS):
        yield facts if end - start == len(facts) else facts.slice(start, end)


def runs_within(cost: NDArray[np.int64], limit: int) -> Iterator[tuple[int, int]]:
    """Consecutive runs whose costs add up to `limit` at most, or of one; one empty run of nothing."""
    running = np.cumsum(cost)
    start = 0
    while start < len(cost) or start == 0:
        spent = running[start - 1] if start else 0
        end = max(int(np.searchsorted(running, spent + limit, side="right")), min(start + 1, len(cost)))
        yield start, end
        start = max(end, 1)
