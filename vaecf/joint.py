"""A joint model of a VAE and a linear auto-encoder: the logits of RecVAE plus the scores of EDLAE.

The two rank unlike items well, so that their sum ranks better than either. EDLAE has a closed form: it is computed
before the first step and stays as it is. Validation sees the sum, so the epoch is chosen for it.

Shape legend: B users, I items, L longest history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from recsys_core.axes import ITEMS, Axes
from recsys_core.baselines import gram
from recsys_core.baselines.edlae import Edlae
from recsys_core.config import EvaluationConfig, TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.input.batches import Histories
from recsys_core.input.chunks import HistoryPart
from recsys_core.score_precision import float32_scores
from vaecf import dense
from vaecf.joint_config import PRESETS, JointConfig
from vaecf.recvae import RecVae
from vaecf.run_config import FirstLayerConfig, StartConfig

INSTEAD = "the preset recvae, which needs no matrix of items x items"
"""What a message names where the memory is too small."""


class JointVae(RecVae):
    """RecVAE + `linear_weight` x EDLAE."""

    presets = PRESETS
    configs = {"model": JointConfig, "first_layer": FirstLayerConfig, "start": StartConfig}

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """See `Recommender`; the settings are those of `vaecf.joint_config.JointConfig`."""
        super().__init__(data, preset=preset, seed=seed, **changes)
        self.linear = self._edlae()
        gram.require_memory("the preset joint", 4 * self.n_items**2, self.n_items, INSTEAD)
        self.linear.allocate()

    def _edlae(self) -> Edlae:
        config: JointConfig = self.settings["model"]
        return Edlae(
            self.data,
            regularization=config.linear_regularization,
            dropout=config.linear_dropout,
            user_weighting=config.linear_user_weighting,
        )

    @property
    def parameters(self) -> list[tf.Variable]:
        return [*super().parameters, self.linear.weights]

    @property
    def axes(self) -> Sequence[Axes]:
        """EDLAE's weights have a row and a column for each item; a run computes them anew in `initialise`."""
        return [*super().axes, Axes(self.linear.weights, (ITEMS, ITEMS))]

    def check_training(self, training: TrainingConfig, evaluation: EvaluationConfig, ranks: int) -> None:
        super().check_training(training, evaluation, ranks)
        if not gram.is_solved_on_gpu(self.n_items):
            gram.require_memory("the preset joint", gram.solve_bytes(self.data.train), self.n_items, INSTEAD)

    @property
    def weight(self) -> float:
        """What EDLAE's scores are multiplied with."""
        return self.settings["model"].linear_weight

    def initialise(self, trainer: Any) -> bool:
        """Compute EDLAE on rank 0, which sends it to the others with all other variables."""
        trainer.announce(f"computing EDLAE of {self.n_items:,} items ...")
        trainer.world.run_on_rank0(self._solve)
        return super().initialise(trainer)

    def _solve(self) -> None:
        solved = self._edlae()
        solved.solve()
        self.linear.weights.assign(solved.weights)

    @float32_scores
    def scores(self, histories: Histories) -> tf.Tensor:
        """[B, I] float32 scores; no dropout, no noise."""
        return super().scores(histories) + self.weight * self.linear.scores(histories)

    @float32_scores
    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[B, I] `scores` of histories int32 [B, L] padded with I, in operators that inference engines take."""
        return super().padded_scores(item_ids) + self.weight * self.linear.padded_scores(item_ids)

    @float32_scores
    def compiled_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[B, I] `padded_scores` for XLA."""
        return super().compiled_scores(item_ids) + self.weight * self.linear.compiled_scores(item_ids)

    @float32_scores
    def part_scores(self, part: HistoryPart) -> tf.Tensor:
        """[P, I] `scores` of the users of a part, for XLA."""
        found = dense.entries(part.items, part.rows, tf.size(part.train_rows), self.n_items)
        return super().part_scores(part) + self.weight * dense.first_layer(
            self.linear.weights, found, None, self.compute
        )
