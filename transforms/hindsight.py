"""Today's knowledge about a past day: the same definitions, as if every row had been known when it happened."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from conf.catalogue import Catalogue

UNLIMITED = timedelta(days=10_000 * 365)


def with_hindsight(catalogue: Catalogue) -> Catalogue:
    """The catalogue with a grace that never ends, so that a row counts at T whenever it became known.

    What happens in the world is judged as ever: event times lie before T, and mutable timestamps at or after T read as null.
    """
    sources = {name: source.model_copy(update={"grace": UNLIMITED}) for name, source in catalogue.sources.items()}
    return replace(catalogue, sources=sources)
