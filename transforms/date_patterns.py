"""Spark's date patterns (`dd/MM/yyyy HH:mm`) as DuckDB reads them: which texts fit, and what they say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from conf.errors import DefinitionError
from conf.expressions.values import duckdb_text

YEAR = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
"""1 to 9999: Python knows no year 0."""
# Pattern letters -> what fits them, and how strptime calls it. Spark takes exactly as many digits as there are letters, or one or
# two where there is one; of a fraction at most as many.
_FIELDS: Mapping[str, tuple[str, str]] = {
    "y": (YEAR, "%Y"),
    "yyyy": (YEAR, "%Y"),
    "yy": ("[0-9]{2}", "%y"),
    "M": ("[0-9]{1,2}", "%m"),
    "MM": ("[0-9]{2}", "%m"),
    "MMM": ("[A-Za-z]{3}", "%b"),
    "MMMM": ("[A-Za-z]+", "%B"),
    "d": ("[0-9]{1,2}", "%d"),
    "dd": ("[0-9]{2}", "%d"),
    "H": ("[0-9]{1,2}", "%H"),
    "HH": ("[0-9]{2}", "%H"),
    "h": ("[0-9]{1,2}", "%I"),
    "hh": ("[0-9]{2}", "%I"),
    "m": ("[0-9]{1,2}", "%M"),
    "mm": ("[0-9]{2}", "%M"),
    "s": ("[0-9]{1,2}", "%S"),
    "ss": ("[0-9]{2}", "%S"),
    **{"S" * digits: (f"[0-9]{{1,{digits}}}", "%n") for digits in range(1, 10)},
    "a": ("[AaPp][Mm]", "%p"),
    "X": ("(Z|[+-][0-9]{2}([0-9]{2})?)", "%z"),
    "XX": ("(Z|[+-][0-9]{4})", "%z"),
    "XXX": ("(Z|[+-][0-9]{2}:[0-9]{2})", "%z"),
    "x": ("[+-][0-9]{2}([0-9]{2})?", "%z"),
    "xx": ("[+-][0-9]{4}", "%z"),
    "xxx": ("[+-][0-9]{2}:[0-9]{2}", "%z"),
    "Z": ("[+-][0-9]{4}", "%z"),
}
_PIECES = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|'")


@dataclass(frozen=True)
class DatePattern:
    """`regex` fits the whole text; `strptime` reads what fits. With `has_offset` the text itself says how far it is from UTC."""

    regex: str
    strptime: str
    has_offset: bool
    short_year: bool
    """A year of two digits is one of 2000 to 2099."""

    def sql(self, text: str) -> str:
        """The timestamp that SQL `text` says: in UTC where it has an offset, else local; null where it doesn't fit."""
        source = f"regexp_replace({text}, 'Z$', '+00:00')" if self.has_offset else text
        value = f"try_strptime({source}, {duckdb_text(self.strptime)})"
        if self.has_offset:
            value = f"timezone('UTC', {value})"
        if self.short_year:
            value = f"if(year({value}) < 2000, {value} + interval 100 year, {value})"
        return f"if(regexp_full_match({text}, {duckdb_text(self.regex)}), {value}, null)"


@lru_cache(maxsize=256)
def date_pattern(written: str) -> DatePattern:
    """A pattern as Spark writes it. Raises DefinitionError for letters that aren't known, and without a year and a month."""
    regex, strptime, fields = "", "", set[str]()
    for piece in _PIECES.finditer(written):
        text, quoted, letter = piece[0], piece[1], piece[2]
        if letter is not None:
            if text not in _FIELDS:
                raise DefinitionError(f"date pattern '{written}': '{text}' isn't known; known: {', '.join(_FIELDS)}")
            fits, directive = _FIELDS[text]
            regex, strptime = regex + fits, strptime + directive
            fields.add(directive)
            continue
        if text == "'":
            raise DefinitionError(f"date pattern '{written}': a quote isn't closed; text in quotes stands for itself")
        literal = (quoted.replace("''", "'") or "'") if quoted is not None else text
        regex, strptime = regex + re.escape(literal), strptime + literal.replace("%", "%%")
    if not (fields & {"%Y", "%y"} and fields & {"%m", "%b", "%B"}):
        raise DefinitionError(f"date pattern '{written}' needs a year and a month, such as dd/MM/yyyy")
    return DatePattern(regex, strptime, "%z" in fields, "%y" in fields)
