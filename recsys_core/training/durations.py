"""Where the time of a run went: seconds of each part, for the summary and `result.json`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class Durations:
    """Seconds of the parts of a run. Parts may lie inside each other; each second counts for the innermost one."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = clock()

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Count the time of the block for a part."""
        self._charge()
        self._open.append(part)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def seconds(self) -> dict[str, float]:
        """Part -> seconds, in the order in which the parts were first counted."""
        self._charge()
        return dict(self._seconds)

    def _charge(self) -> None:
        now = self._clock()
        part = self._open[-1] if self._open else "other"
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._since
        self._since = now


class CompileTime:
    """Estimates how long a function was compiled: how much longer its first call took than later ones."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._later = [0, 0.0]

    def note(self, count: int, seconds: float) -> None:
        """One call that took `count` steps."""
        if self._first is None:
            self._first = (count, seconds)
        else:
            self._later[0] += count
            self._later[1] += seconds

    @property
    def seconds(self) -> float:
        """0 while there was one call at most."""
        if self._first is None or not self._later[0]:
            return 0.0
        count, seconds = self._first
        return max(seconds - count * self._later[1] / self._later[0], 0.0)


def told_apart(durations: Durations, compile_time: CompileTime) -> dict[str, float]:
    """Part of a run -> seconds, compiling told apart from the steps."""
    seconds, compiling = durations.seconds(), compile_time.seconds
    return seconds | {"steps": seconds["steps"] - compiling, "compiling": compiling} if compiling else seconds


def line(seconds: Mapping[str, float]) -> str:
    """One line for the user: every part of at least a hundredth of the whole, the longest first."""
    total = sum(seconds.values())
    shown = {part: value for part, value in seconds.items() if value >= total / 100}
    listed = ", ".join(f"{part} {value:.1f}" for part, value in sorted(shown.items(), key=lambda item: -item[1]))
    return f"time: {total:.1f} s ({listed})"
