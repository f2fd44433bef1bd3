"""Queries, their targets, and the callback of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Query:
    """One request to score `size` items."""

    number: int
    """Counts the queries of one load from 0."""
    due: float
    """When it should be sent, by the clock of the load."""
    size: int
    part: int = 0
    """Counts the parts of a query that was split, from 0."""


AnswerCallback = Callable[[Query, float, "str | None"], None]
"""Called once for every query: (query, finish time by the clock of the load, error text or None)."""


class Target(Protocol):
    """An engine, or a dispatcher in front of engines."""

    is_simulated: bool
    """True if times are simulated and not measured; every result is labelled with it."""

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        """Take the query and return at once; `on_answer` may be called from any thread, also before this returns."""
        ...
