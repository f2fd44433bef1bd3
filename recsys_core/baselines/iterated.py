"""What baselines share that are fitted in epochs: they tell how far they are."""

from __future__ import annotations

from collections.abc import Callable

from recsys_core.model import Recommender

Report = Callable[[int, int], None]
"""Called with the epochs that are done and the epochs in all."""


def _silent(done: int, total: int) -> None:
    """Tell nothing."""


class IteratedBaseline(Recommender):
    """A baseline whose `solve` takes epochs of its own, without the trainer's steps."""

    is_closed_form = True
    report: Report = staticmethod(_silent)
    """Set it on the model to be told after each epoch."""
