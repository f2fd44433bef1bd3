"""The progress of a training run on the screen. Rank 0 only."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TextIO

from tqdm import TqdmWarning, notebook

with warnings.catch_warnings():  # without ipywidgets a notebook gets lines, which need no warning
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

SECONDS_BETWEEN_LINES = 10.0
"""Time between lines where the output is neither a terminal nor a notebook (horovodrun's is not): no bar there."""


def _in_notebook() -> bool:
    """Whether tqdm shows its bars as widgets of a notebook."""
    return issubclass(tqdm, notebook.tqdm_notebook)


def screen() -> TextIO:
    """Where progress is shown: a notebook shows the standard error as if it were an error."""
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python is not None else None
    return sys.stdout if hasattr(shell, "kernel") else sys.stderr


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


class ProgressReport:
    """Progress of a training run: a bar on a terminal, else lines."""

    def __init__(
        self,
        *,
        total_steps: int,
        steps_per_epoch: int,
        start_step: int,
        enabled: bool,
        unit: str = "users",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._total, self._per_epoch, self._enabled = total_steps, steps_per_epoch, enabled
        self._unit = unit
        self._first: tuple[int, float] | None = None
        """Step and time after the first inner loop, which compiled the graph and says nothing about the rest."""
        self._last_line = 0.0
        self._loss = ""
        self._lines = enabled and not sys.stderr.isatty() and not _in_notebook()
        self._bar = tqdm(
            total=total_steps, initial=start_step, unit="step", disable=not enabled or self._lines, dynamic_ncols=True
        )

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show the mean loss and the rate (examples/s) of the last inner loop."""
        if not self._enabled:
            return
        self._loss = f"loss {values['loss']:.{2 if values['loss'] >= 10 else 4}f}"
        shown = f"{self._loss}  {values[f'{self._unit}_per_second']:,.0f} {self._unit}/s"
        self._bar.set_postfix_str(shown, refresh=False)
        self._bar.set_description_str("training", refresh=False)
        self._bar.update(step - self._bar.n)
        now = self._clock()
        if self._first is None:
            self._first = (step, now)
            self._last_line = now
        if self._lines and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self.say(f"{self._place(step)}  step {step:,}/{self._total:,}  {shown}  {self._left(step)}")

    def evaluating(self) -> None:
        """Show that an evaluation is under way."""
        self._bar.set_description_str("evaluating")

    def evaluated(self, step: int, metrics: str) -> None:
        """Show the result of an evaluation."""
        parts = (self._place(step), metrics, *((self._loss, self._left(step)) if self._lines else ()))
        self.say("  ".join(part for part in parts if part))

    def _place(self, step: int) -> str:
        epoch = step / self._per_epoch
        return f"epoch {epoch:.{0 if step % self._per_epoch == 0 else 1}f}/{self._total / self._per_epoch:.0f}"

    def _left(self, step: int) -> str:
        """The time that the rest of the run takes at the rate so far, evaluations included."""
        if self._first is None or step <= self._first[0] or step >= self._total:
            return ""
        seconds = (self._clock() - self._first[1]) / (step - self._first[0]) * (self._total - step)
        return f"{_clock(seconds)} left"

    def say(self, text: str) -> None:
        """Print a line without tearing the bar."""
        if self._enabled:
            self._last_line = self._clock()
            tqdm.write(text, file=screen())
            screen().flush()

    def close(self) -> None:
        self._bar.close()
