"""Lines that tell how far a long fit is."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 10.0


class Lines:
    """A `Report` that says a line every ten seconds: what is done of what, and how long the rest will take."""

    def __init__(self, what: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._say, self._clock = what, say, clock
        self._began = self._said = clock()

    def __call__(self, done: int, total: int) -> None:
        now = self._clock()
        if now - self._said < SECONDS_BETWEEN_LINES or done >= total:
            return
        self._said = now
        minutes, seconds = divmod(round((now - self._began) / done * (total - done)), 60)
        self._say(f"{self._what}: {done} of {total} epochs, {minutes}:{seconds:02d} left")
