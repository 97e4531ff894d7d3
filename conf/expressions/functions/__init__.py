"""The table of functions: what each takes and gives, in both engines, and what its null rule is.

A new function is one entry in the table of its subject; its `example` is documented and run by both engines in the tests. It
uses the columns of EXAMPLE_COLUMNS.
"""

from __future__ import annotations

from conf.expressions.functions.base import Function
from conf.expressions.functions.choices import CHOICES
from conf.expressions.functions.json import JSON
from conf.expressions.functions.numbers import NUMBERS, by_zero, divide
from conf.expressions.functions.text import TEXT
from conf.expressions.functions.time import TIME, add_days
from conf.specs import ColumnType

__all__ = ["EXAMPLE_COLUMNS", "FUNCTIONS", "add_days", "by_zero", "divide"]

EXAMPLE_COLUMNS: dict[str, ColumnType] = {
    "name": "string",
    "code": "string",
    "shares": "string",
    "items": "string",
    "n": "integer",
    "m": "integer",
    "x": "number",
    "y": "number",
    "amount": "money",
    "paid": "money",
    "late": "boolean",
    "due_date": "date",
    "birth_date": "date",
    "created_at": "timestamp",
    "paid_at": "timestamp",
}
FUNCTIONS: dict[str, Function] = {function.name: function for function in (*CHOICES, *NUMBERS, *TEXT, *TIME, *JSON)}
