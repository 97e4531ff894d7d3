"""Lists and maps as JSON: compact, keys sorted; money as text, numbers as Python writes a double, dates and instants in ISO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.calendar import EPOCH, moment
from transforms.kernel import Members, Positions
from transforms.operations.base import Answer


def json_lists(members: Members, items: NDArray[Any], type_: ColumnType, words: Sequence[str] = ()) -> Answer:
    """For each query the list of its members' items, in order. `items`: in the units of `Values`, one a member."""
    return _joined("[", _texts(items, type_, words), members.starts, "]")


def json_maps(starts: Positions, keys: Sequence[str], key: Positions, items: pa.Array) -> Answer:
    """For each query a map: `key[starts[i] : starts[i + 1]]` are places in `keys`, ascending as texts; `items` JSON texts."""
    quoted = pa.array([json.dumps(text, ensure_ascii=False) + ":" for text in keys], pa.string())
    return _joined("{", pc.binary_join_element_wise(quoted.take(pa.array(key)), items, ""), starts, "}")


def json_items(answer: Answer, type_: ColumnType, words: Sequence[str], *, already: bool) -> pa.Array:
    """Answers as JSON texts, null as `null`. `already`: the words are JSON."""
    if already:
        texts = pa.array(words, pa.string()).take(pa.array(answer.data.astype(np.int64)))
    else:
        texts = _texts(answer.data, type_, words)
    return pc.if_else(pa.array(answer.present), texts, "null")


def key_texts(values: NDArray[Any], type_: ColumnType, words: Sequence[str]) -> list[str]:
    """Values as the keys of a map: as in JSON, without quotes."""
    texts = (json_text(value, type_, words) for value in values.tolist())
    return [json.loads(text) if text.startswith('"') else text for text in texts]


def json_text(value: Any, type_: ColumnType, words: Sequence[str] = ()) -> str:
    """A value in the units of `Values` as JSON."""
    match type_:
        case "string":
            return json.dumps(words[value], ensure_ascii=False)
        case "money":
            return f'"{"-" if value < 0 else ""}{abs(value) // 100}.{abs(value) % 100:02d}"'
        case "boolean":
            return "true" if value else "false"
        case "date":
            return f'"{EPOCH + timedelta(days=value)}"'
        case "timestamp":
            return f'"{moment(value):%Y-%m-%dT%H:%M:%S.%fZ}"'  # as `cast(… as string)` has it
        case "number":
            return repr(float(value) + 0.0)  # never -0.0
        case _:
            return str(int(value))


def _texts(items: NDArray[Any], type_: ColumnType, words: Sequence[str]) -> pa.Array:
    different, place = np.unique(items, return_inverse=True)
    return pa.array([json_text(item, type_, words) for item in different.tolist()], pa.string()).take(pa.array(place))


def _joined(opening: str, texts: pa.Array, starts: Positions, closing: str) -> Answer:
    lists = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), texts)
    whole = pc.binary_join_element_wise(opening, pc.binary_join(lists, ","), closing, "").dictionary_encode()
    return Answer.always(whole.indices.to_numpy().astype(np.int64), tuple(whole.dictionary.to_pylist()))
