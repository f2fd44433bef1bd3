"""A callback of your own: it sees each evaluation, may stop the training, and gets the export.

    python -m examples.own_callback

Takes about 15 seconds on 2 CPU cores. Expect the training to end before its 100 epochs, with NDCG@100 of about 0.49.
"""

from __future__ import annotations

from pathlib import Path

from examples.shop import purchases
from recsys_core import Dataset, Trainer
from recsys_core.training.callbacks import Callback
from recsys_core.training.state import EvalEvent, TrainState
from vaecf import MultVae


class StopWhenItGainsLittle(Callback):
    """Ends training when an evaluation is not better by `least` than the one before it."""

    def __init__(self, metric: str, least: float) -> None:
        self._metric, self._least = metric, least
        self._values: list[float] = []

    def on_evaluation(self, event: EvalEvent) -> None:
        self._values.append(event.evaluation.metrics[self._metric].mean)
        print(f"step {event.state.step}: {self._metric} {self._values[-1]:.3f}")

    def wants_stop(self, state: TrainState) -> bool:
        return len(self._values) > 1 and self._values[-1] < self._values[-2] + self._least

    def on_export(self, folder: Path) -> bool:
        print("exported:", ", ".join(sorted(path.name for path in folder.iterdir())))
        return True


def main() -> None:
    """Train with the callback."""
    data = Dataset.from_frame(purchases(), user="customer", item="article").split("users", held_out=0.15)
    callback = StopWhenItGainsLittle("ndcg@100", least=0.002)
    trainer = Trainer(epochs=100, callbacks=[callback])
    run = trainer.fit(MultVae(data, preset="shallow"), data)
    epochs = run.history["epoch"].iloc[-1]
    print(f"stopped after {epochs:.0f} epochs; test NDCG@100 {run.test['ndcg@100'].value:.3f}")


if __name__ == "__main__":
    main()
