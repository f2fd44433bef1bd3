"""The progress of a training run on the screen. Rank 0 only."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import notebook
from tqdm.auto import tqdm

SECONDS_BETWEEN_LINES = 5.0
"""Time between lines where the output is neither a terminal nor a notebook (horovodrun's is not): no bar there."""


def _in_notebook() -> bool:
    """Whether tqdm shows its bars as widgets of a notebook."""
    return issubclass(tqdm, notebook.tqdm_notebook)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


class ProgressReport:
    """Progress of a training run: a bar on a terminal, else lines."""

    def __init__(
        self, *, total_steps: int, steps_per_epoch: int, start_step: int, enabled: bool, unit: str = "users"
    ) -> None:
        self._total, self._per_epoch, self._enabled = total_steps, steps_per_epoch, enabled
        self._unit = unit
        self._first: tuple[int, float] | None = None
        """Step and time after the first inner loop, which compiled the graph and says nothing about the rest."""
        self._last_line = 0.0
        self._lines = enabled and not sys.stderr.isatty() and not _in_notebook()
        self._bar = tqdm(
            total=total_steps, initial=start_step, unit="step", disable=not enabled or self._lines, dynamic_ncols=True
        )

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show the mean loss and the rate (examples/s) of the last inner loop."""
        if not self._enabled:
            return
        rate = values[f"{self._unit}_per_second"]
        shown = f"loss {values['loss']:.{3 if values['loss'] >= 10 else 4}f}  {rate:,.0f} {self._unit}/s"
        self._bar.set_postfix_str(shown, refresh=False)
        self._bar.update(step - self._bar.n)
        now = time.monotonic()
        self._first = self._first or (step, now)
        if self._lines and (now - self._last_line >= SECONDS_BETWEEN_LINES or step == self._total):
            self._last_line = now
            done, seconds = step - self._first[0], now - self._first[1]
            left = f"ETA {_clock(seconds / done * (self._total - step))}" if done else "compiled"
            epoch = f"epoch {step / self._per_epoch:.1f}/{self._total / self._per_epoch:.0f}"
            self.say(f"{epoch}  step {step}/{self._total}  {shown}  {left}")

    def say(self, text: str) -> None:
        """Print a line without tearing the bar."""
        if self._enabled:
            tqdm.write(text, file=sys.stderr)
            sys.stderr.flush()

    def close(self) -> None:
        self._bar.close()
