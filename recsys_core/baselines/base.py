"""What all baselines share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from recsys_core.model import Recommender

Report = Callable[[int, int], None]
"""Called with the epochs that are done and the epochs in all."""


def _silent(done: int, total: int) -> None:
    """Tell nothing."""


class Baseline(Recommender):
    """A recommender that `solve` fits, in closed form or in epochs of its own, without the trainer's steps."""

    is_closed_form = True
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {}
    """Setting -> the values that `python -m recsys_core.baselines --tune` tries, in every combination."""
    report: Report = staticmethod(_silent)
    """Set it on the model to be told after each epoch, where there are any."""

    def take_over(self, other: Baseline) -> None:
        """Use what a fitted model of the same class computed from the data alone, whatever its settings."""
        del other
