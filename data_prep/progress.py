"""What the command is doing: a line for each step, and a bar or lines on long ones.

Nothing is shown in the first moments, so that a short run prints its summary only; nothing on ranks other than 0, and
nothing outside of `shown`, so that library calls are silent. Imports nothing that takes long.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

FIRST_AFTER_S = 0.7
"""Steps that begin earlier are shown only if the command is still running then."""
LINE_EVERY_S = 10.0
"""Seconds between the lines of a long step where there is no terminal."""
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Bar(Protocol):
    """Progress of one step."""

    def update(self, amount: int) -> object:
        """Add what was done since the last call."""


class _Steps:
    """The lines of one run; those of the first moments wait for a timer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[str] | None = []
        self._timer = threading.Timer(FIRST_AFTER_S, self._show)
        self._timer.daemon = True
        self._timer.start()

    def add(self, text: str) -> None:
        with self._lock:
            if self._waiting is None:
                print(text, flush=True)
            else:
                self._waiting.append(text)

    def _show(self) -> None:
        with self._lock:
            for text in self._waiting or ():
                print(text, flush=True)
            self._waiting = None

    def stop(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._waiting = []


_steps: _Steps | None = None


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show the steps of what runs inside, on rank 0."""
    global _steps
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") != "0":
        yield
        return
    _steps = _Steps()
    try:
        yield
    finally:
        _steps.stop()
        _steps = None


def step(text: str) -> None:
    """Say in a line what is done next."""
    if _steps is not None:
        _steps.add(text)


def tell(text: str) -> None:
    """Say something that has to be seen also in a short run."""
    if _steps is not None:
        print(text, flush=True)


@contextlib.contextmanager
def bar(what: str, total: int | None, unit: str, done: int = 0) -> Iterator[Bar]:
    """A bar on a terminal, a line every `LINE_EVERY_S` elsewhere.

    Args:
        total: how much there is to do, None or 0 where it is not known.
        unit: "B" for bytes, or the name of one thing.
        done: how much was done before.
    """
    if _steps is None or not sys.stderr.isatty():
        yield _Lines(what, total or 0, unit, done)
        return
    from tqdm import tqdm  # late: not needed for the help

    options: dict[str, Any] = {"unit": unit, "unit_scale": True, "leave": False, "mininterval": 0.5, "delay": 1}
    with tqdm(total=total or None, initial=done, desc=what, **options) as shown_bar:
        yield shown_bar


class _Lines:
    """A `Bar` for files and pipes."""

    def __init__(self, what: str, total: int, unit: str, done: int) -> None:
        self._what, self._total, self._unit, self._done = what, total, unit, done
        self._began = self._said = time.monotonic()
        self._before = done

    def update(self, amount: int) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._said >= LINE_EVERY_S:
            self._said = now
            step(self._line(now - self._began))

    def _line(self, seconds: float) -> str:
        shown_done = amount_text(self._done, self._unit)
        if not self._total:
            return f"{self._what}: {shown_done} in {seconds:.0f} s"
        rate = (self._done - self._before) / seconds
        left = f", about {max(self._total - self._done, 0) / rate:.0f} s left" if rate else ""
        share = min(100, round(100 * self._done / self._total))
        return f"{self._what}: {shown_done} of {amount_text(self._total, self._unit)} ({share} %{left})"


def amount_text(amount: float, unit: str) -> str:
    """ "533.4 MB" or "20.1 M rows"."""
    named = unit if unit == "B" else f" {unit}s"
    for size, letter in _UNITS:
        if amount >= size:
            return f"{amount / size:.1f} {letter}{named}"
    return f"{amount:.0f}{' B' if unit == 'B' else named}"
