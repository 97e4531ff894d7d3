"""Which values occur, how often or with what weight: the most frequent, their shares, how evenly they are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.kernel import Members, Selection, Values, narrowed, picked
from transforms.operations.base import ANY_TYPE, Answer, Operation, Parameter, declared
from transforms.operations.json_text import json_lists, json_maps, json_text, key_texts
from transforms.operations.parameters import whole_number
from transforms.operations.reducing import Tally, divided, tally


class Mode(Operation):
    """The most frequent value, or that of most weight; of several the least."""

    name, takes, weighs, in_words = "mode", ANY_TYPE, True, "most frequent"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        found = tally(facts, values, weights)
        ranked = _ranked(found, 1, -_sortable(found.weight))
        return Answer(picked(found.value[ranked.positions], ranked.starts[:-1]), ranked.some)


@dataclass(frozen=True)
class TopK(Operation):
    """The n most frequent values, or those of most weight, as a JSON list; ties by value, ascending."""

    name, takes, empty, weighs, in_words = "top_k", ANY_TYPE, "[]", True, "{n} most frequent"
    gives, gives_json = "string", True
    parameters = declared(n=Parameter("how many values", whole_number))

    n: int

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        found = tally(facts, values, weights)
        ranked = _ranked(found, self.n, -_sortable(found.weight))
        return json_lists(ranked, found.value[ranked.positions], values.type, values.words)


@dataclass(frozen=True)
class BottomK(Operation):
    """The n least frequent values of those that occur, or those of least weight, as a JSON list; ties by value, ascending."""

    name, takes, empty, weighs, in_words = "bottom_k", ANY_TYPE, "[]", True, "{n} least frequent"
    gives, gives_json = "string", True
    parameters = declared(n=Parameter("how many values", whole_number))

    n: int

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        found = tally(facts, values, weights)
        ranked = _ranked(found, self.n, _sortable(found.weight))
        return json_lists(ranked, found.value[ranked.positions], values.type, values.words)


class Share(Operation):
    """Each value's share of the facts, or of their weight, as a JSON map."""

    name, takes, empty, weighs, in_words = "share", ANY_TYPE, "{}", True, "share of each"
    gives, gives_json = "string", True
    null_weights = "the weights add up to 0"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        found = tally(facts, values, weights)
        whole = _whole(found)
        present = (whole != 0) | ~found.members.some
        share = divided(found.weight, whole[found.query], present[found.query])
        maps = _by_value(found, values, [json_text(number, "number") for number in share.tolist()])
        return Answer(maps.data, present, maps.words)


class Frequency(Operation):
    """How often each value occurs, or what its facts weigh together, as a JSON map."""

    name, takes, empty, weighs, in_words = "frequency", ANY_TYPE, "{}", True, "number of each"
    gives, gives_json = "string", True

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        found = tally(facts, values, weights)
        type_ = "integer" if weights is None else weights.type
        return _by_value(found, values, [json_text(weight, type_) for weight in found.weight.tolist()])


class Entropy(Operation):
    """Entropy, -sum of p ln p, of the shares p of each value by count or weight."""

    name, takes, weighs, in_words = "entropy", ANY_TYPE, True, "entropy of"
    gives = "number"
    null_weights = "the weights add up to 0, or a value's are negative"

    def answer(self, facts: Selection, values: Values, weights: Values | None = None) -> Answer:
        found = tally(facts, values, weights)
        whole = _whole(found)
        present = (whole > 0) & (found.members.reduce(np.minimum, found.weight) >= 0)
        share = divided(found.weight, whole[found.query], present[found.query])
        parts = np.where(share > 0, -share * np.log(np.where(share > 0, share, 1)), 0)
        return Answer(np.where(present, found.members.reduce(np.add, parts) + 0.0, 0), present)


def _by_value(found: Tally, values: Values, items: Sequence[str]) -> Answer:
    """A JSON map for each query, of its different values; keys ascend as texts."""
    different, value = np.unique(found.value, return_inverse=True)
    texts = key_texts(different, values.type, values.words)
    rank = np.argsort(np.argsort(np.array(texts, dtype=object), kind="stable"), kind="stable")
    order = np.lexsort((rank[value] if len(texts) else value, found.query))
    return json_maps(found.members.starts, texts, value[order], pa.array(items, pa.string()).take(pa.array(order)))


def _ranked(found: Tally, n: int, rank: NDArray[Any]) -> Members:
    """The n places of each query with the least `rank`, in its order; ties by value, ascending."""
    order = np.lexsort((np.arange(len(rank)), rank, found.query))
    ranked = Members(found.query, order, found.members.starts)
    return ranked.keep(np.arange(len(order)) - ranked.starts[ranked.query] < n)


def _sortable(weight: NDArray[Any]) -> NDArray[Any]:
    """Weights beyond 64 bits as their ranks."""
    return weight if weight.dtype != object else np.unique(weight, return_inverse=True)[1]


def _whole(found: Tally) -> NDArray[Any]:
    """The weight of each query's values together."""
    most = int(np.abs(found.weight).max(initial=0)) if found.weight.dtype.kind == "i" else 0
    weight = found.weight.astype(object) if most * len(found.weight) >= 2**63 else found.weight
    return narrowed(found.members.reduce(np.add, weight))
