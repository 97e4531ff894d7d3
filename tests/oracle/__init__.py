"""The slow, obvious answer: what a feature group says of each entity as of a day, in plain Python.

Written from DESIGN's rules of time, nulls and money, docs/definitions.md and docs/expressions.md, sharing no code with the engine but the
definitions' own models (conf). T is the cut-off: the local midnight that ends the as-of day D. Times are compared in UTC, half-open: an
event at T - 1 µs is in, at T out. Each module says which decisions it took where the rules are silent:

- `moment`: cut-offs, windows, what is known by T
- `ledger`: which rows count, and how they read (versions, two clocks, mutable timestamps, unions)
- `inputs`: whose facts they are, and what parents and payments bring
- `aggregates`, `operations`: a feature over the facts of a window
- `daily`: a value of every day, and an operation over days
- `derived`, `groups`: columns made from columns, the spine, consent
- `sql`, `sql_types`, `values`: expressions, text, money
"""

from tests.oracle.groups import answer, answer_event, column_types
from tests.oracle.moment import Moment, span
from tests.oracle.operations import OPERATIONS
from tests.oracle.sql import Expression
from tests.oracle.values import OracleError, disagreements, local_date, start_of_day

__all__ = [
    "OPERATIONS", "Expression", "Moment", "OracleError", "answer", "answer_event", "column_types", "disagreements", "local_date", "span",
    "start_of_day",
]  # fmt: skip
