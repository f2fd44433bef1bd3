"""The callback through which a training tells the study of its evaluations, and is told to end."""

from __future__ import annotations

from collections.abc import Callable

from recsys_core.training.callbacks import Callback
from recsys_core.training.state import EvalEvent, TrainState


class Prune(Callback):
    """Tells every evaluation, and ends the training when the answer asks for it."""

    def __init__(self, tell: Callable[[float, float], bool] | None) -> None:
        """
        Args:
            tell: (epoch, value) of an evaluation -> whether the trial is to end; None on ranks other than 0, which end
                when rank 0 does.
        """
        self._tell, self.pruned = tell, False

    def on_evaluation(self, event: EvalEvent) -> None:
        (value,) = event.state.history[-1]["validation"].values()
        if self._tell is not None:
            self.pruned = self._tell(float(event.state.history[-1]["epoch"]), float(value))

    def wants_stop(self, state: TrainState) -> bool:
        del state
        return self.pruned
