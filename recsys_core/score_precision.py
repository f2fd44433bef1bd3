"""Scores are computed in float32, whatever type a model trains in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_IN_FLOAT32: ContextVar[bool] = ContextVar("in_float32", default=False)
"""Whether a method under `float32_scores` is running in this thread; other threads have values of their own."""


def in_float32() -> bool:
    """Whether a method under `float32_scores` is running in this thread."""
    return _IN_FLOAT32.get()


def float32_scores(method: F) -> F:
    """Have a model's method compute in float32, whatever `compute` the model trains in.

    In bfloat16 a score of 3 has neighbours 0.016 away: items with unlike scores tie, and the tie rule ranks them.
    """

    @functools.wraps(method)
    def computed(self: Any, *args: Any) -> Any:
        before = _IN_FLOAT32.set(True)
        try:
            return method(self, *args)
        finally:
            _IN_FLOAT32.reset(before)

    return computed  # type: ignore[return-value]
