"""The progress of a batch: a bar with users/s and the time left on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0


class BatchProgress:
    """Counts users that were answered."""

    def __init__(self, total: int, *, shown: bool = True) -> None:
        """
        Args:
            total: users that are to be answered now.
        """
        self._total, self._done, self._start = total, 0, time.monotonic()
        self._last = self._start
        self._lines = shown and not sys.stderr.isatty()
        self._bar = tqdm(
            total=total, unit="users", unit_scale=True, disable=not shown or self._lines, dynamic_ncols=True
        )

    def add(self, users: int) -> None:
        self._done += users
        self._bar.update(users)
        now = time.monotonic()
        if self._lines and now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            left = (self._total - self._done) / max(self.users_per_second, 1e-9)
            print(f"{self._done:,} of {self._total:,} users  {self.users_per_second:,.0f} users/s  {clock(left)} left",
                  file=sys.stderr, flush=True)  # fmt: skip

    @property
    def users_per_second(self) -> float:
        return self._done / max(time.monotonic() - self._start, 1e-9)

    def close(self) -> None:
        self._bar.close()


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:05:00 or 2:30."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
