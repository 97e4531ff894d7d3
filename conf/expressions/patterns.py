"""Regular expressions that Java (Spark) and RE2 (DuckDB) read alike."""

from __future__ import annotations

import re

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t\\n\\r\\f"}
_REPEAT = re.compile(r"\{([0-9]{1,3})(,([0-9]{1,3})?)?\}")


def portable(pattern: str) -> str:
    """Rewrite `pattern` into the part that both engines share.

    Literal characters, `.`, `^` and `$` (of the whole text), classes, `\\d \\w \\s` (ASCII), groups, `|`, `* + ? {m,n}`.
    Raises ValueError for what they read differently or not at all: look-around, back-references, flags.
    """
    result = ""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            result += _escape(pattern[at + 1 : at + 2])
            at += 2
        elif char == "[":
            piece, at = _character_class(pattern, at)
            result += piece
        elif char == "(" and pattern[at + 1 : at + 2] == "?" and pattern[at + 1 : at + 3] != "?:":
            raise ValueError(f"'{pattern[at : at + 3]}' is not supported; groups are (…) or (?:…)")
        elif char in "*+?{":
            repeat = _REPEAT.match(pattern, at) if char == "{" else None
            if char == "{" and repeat is None:
                raise ValueError("'{' starts a repetition such as {2} or {2,5}; write \\{ for the character")
            piece = repeat[0] if repeat else char
            if pattern[at + len(piece) : at + len(piece) + 1] in ("*", "+", "?", "{"):
                raise ValueError(f"'{pattern[at : at + len(piece) + 1]}' repeats a repetition")
            result += piece
            at += len(piece)
        else:
            result += {".": "[^\\n]", "$": "\\z"}.get(char, char)
            at += 1
            if char == "(" and pattern[at : at + 2] == "?:":
                result += "?:"
                at += 2
    try:
        re.compile(result.replace("\\z", "\\Z"))
    except re.error as problem:
        raise ValueError(problem.msg) from problem
    return result


def _escape(char: str) -> str:
    if char in _CLASSES and char:
        return f"[{_CLASSES[char]}]"
    if char.lower() in _CLASSES and char:
        return f"[^{_CLASSES[char.lower()]}]"
    if not char or char.isalnum():
        raise ValueError(f"'\\{char}' is not supported; \\d, \\w, \\s and escaped punctuation are")
    return f"\\{char}"


def _character_class(pattern: str, start: int) -> tuple[str, int]:
    """The class that opens at `start`, and the place after it."""
    at, result = start + 1, "["
    if pattern[at : at + 1] == "^":
        at, result = at + 1, "[^"
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        char = pattern[at]
        if char == "[" or (char == "]" and at == first):
            raise ValueError(f"write \\{char} for '{char}' inside a class")
        if char == "\\":
            escaped = pattern[at + 1 : at + 2]
            result += _CLASSES.get(escaped) or _escape(escaped)
            if escaped.isalpha() and escaped not in _CLASSES:
                raise ValueError(f"'\\{escaped}' is not supported inside a class")
            at += 2
        else:
            result += "\\&" if char == "&" else char
            at += 1
    if at >= len(pattern):
        raise ValueError("a class '[' is not closed")
    return result + "]", at + 1
