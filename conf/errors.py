"""Everything a user can get wrong, under one base class, with the exit code that a job ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class EtrError(Exception):
    """A failure that a user can understand and mend: the message says what, where and what next."""

    exit_code = 1


class UsageError(EtrError):
    """A wrong argument, option or setting."""

    exit_code = 2


class DefinitionError(EtrError):
    """A wrong source, feature group or training set."""

    exit_code = 2


class Problems:
    """Collects what is wrong with definitions, so that all of it is told at once."""

    def __init__(self) -> None:
        self.found: list[DefinitionError] = []

    @contextmanager
    def gather(self) -> Iterator[None]:
        """A DefinitionError ends the block, and is kept."""
        try:
            yield
        except DefinitionError as problem:
            self.found.append(problem)

    def raise_all(self) -> None:
        """Raises one DefinitionError with everything that was found, each once; nothing when nothing was."""
        if self.found:
            lines = (line for problem in self.found for line in str(problem).splitlines())
            raise DefinitionError("\n".join(dict.fromkeys(lines)))


class InputError(EtrError):
    """Raw data that can't be read at all."""


class EnvironmentProblem(EtrError):  # noqa: N818 - EnvironmentError is the builtin OSError
    """Something that the machine or platform lacks."""


class PublishError(EtrError):
    """Counts that don't add up, or a store that refused what it was given."""


class LeaseError(EtrError):
    """Another run writes the same tables."""


class HeldBack(EtrError):  # noqa: N818 - a verdict, not an error
    """A table rule failed: the day is not published, what was served before stays served."""

    exit_code = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
