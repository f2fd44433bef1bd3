"""NCF as a `Recommender`: negatives, batches and loss of a training step, scores, export.

Shape legend: P positives of this rank's part of a batch or users, N negatives of each, C candidates, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ncf_tf.config import SamplingConfig, check_together
from ncf_tf.dropout import Dropping
from ncf_tf.embedding_placement import SamplingPlan, choose_projected, choose_sparse_tables
from ncf_tf.export import ncf_signatures
from ncf_tf.losses import binary_cross_entropy
from ncf_tf.negatives import NegativeSampler, check_negatives_left
from ncf_tf.network import NeuMfNetwork
from ncf_tf.pretraining import pretrain
from recsys_core.config import FINAL_FIT, EvaluationConfig, TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.errors import SharedError, UserError
from recsys_core.input.batches import Histories, PairBatch, pair_batches, steps_per_epoch
from recsys_core.input.chunks import DATA_SHARE, HistoryPart, parts_within
from recsys_core.input.pair_parts import PairPart, pair_part_batches, pair_table
from recsys_core.known_users import check_held_out
from recsys_core.signatures import Exported
from recsys_core.world import World


class NeuMf(NeuMfNetwork):
    """GMF, MLP or NeuMF, trained by positives against sampled negatives."""

    unit = "samples"
    loss_names = ("loss", "cross_entropy", "embedding_penalty")
    has_compiled_step = True
    needs_known_users = True

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """See `Recommender`; the settings are those of the three configurations in `configs`."""
        super().__init__(data, preset=preset, seed=seed, **changes)
        self._plan = SamplingPlan()

    @property
    def sparse_tables(self) -> list[tf.Variable]:
        return self._plan.sparse_tables

    @property
    def examples_per_epoch(self) -> int:
        return self.ordered_per_epoch * (1 + self._negatives)

    @property
    def ordered_per_epoch(self) -> int:
        return len(self.data.train.indices)

    @property
    def _negatives(self) -> int:
        return self.settings["sampling"].negatives

    def pairs_per_step(self, training: TrainingConfig) -> int:
        """Positives in a global batch."""
        return max(1, training.batch_size // (1 + self._negatives))

    def steps_per_epoch(self, training: TrainingConfig) -> int:
        return steps_per_epoch(len(self.data.train.indices), self.pairs_per_step(training))

    def check_training(self, training: TrainingConfig, evaluation: EvaluationConfig, ranks: int) -> None:
        try:
            check_together(self.settings["model"], self.settings["pretraining"], training, evaluation)
        except ValueError as error:
            raise UserError(str(error)) from None
        if not self.data.holds_out_items:
            raise UserError(
                f"--data {self.data.name} holds out users, and NCF knows only users that it trained on; prepare it "
                "with --protocol leave-one-out, time or per-user"
            )
        if self.pairs_per_step(training) < ranks:
            raise UserError(
                f"--batch-size is {training.batch_size} samples, {self.pairs_per_step(training)} positives "
                f"with {self._negatives} negatives each, expected at least one positive for each of the {ranks} ranks"
            )
        if getattr(training, "final_fit", False) != (self.data.view == FINAL_FIT):
            raise UserError("--final-fit and the view of the data set differ; use data.viewed('final-fit') with it")
        check_held_out(self.data)
        check_negatives_left(self.data.train, self.settings["sampling"].verify_negatives)

    def prepare_training(self, training: TrainingConfig, world: World, *, step_bytes: float = 0.0) -> None:
        sampling: SamplingConfig = self.settings["sampling"]
        pairs = self.pairs_per_step(training)
        tables = choose_sparse_tables(self, pairs, self._negatives, sampling.embedding_gradients)
        l2 = self.settings["model"].embedding_l2
        share = -(-min(pairs, len(self.data.train.indices)) // world.size)
        self._plan = SamplingPlan(
            sampler=NegativeSampler(
                self.data.train,
                self._negatives,
                seed=self.seed,
                verified=sampling.verify_negatives,
                fixed_shapes=step_bytes > 0,
            ),
            sparse_tables=tables,
            projected=choose_projected(self, pairs // world.size, self._negatives, tables, l2),
            pairs=pair_table(self.data.train, DATA_SHARE * step_bytes) if step_bytes else None,
            # What is found row by row is not added up over parts.
            parts=1 if tables or not step_bytes else parts_within(share, self._pair_bytes, step_bytes),
        )

    @property
    def _pair_bytes(self) -> int:
        """Bytes of the arrays that a compiled step makes for a pair and its negatives: embeddings and hidden layers in
        float32, their gradients, and a copy of what is looked up."""
        widths = sum(self.resolved_settings["model"].layers) if self.mlp is not None else 0
        return 12 * (1 + self._negatives) * (widths + (self.gmf.width if self.gmf is not None else 0) + 1)

    @property
    def parts_per_step(self) -> int:
        return self._plan.parts

    def initialise(self, trainer: Any) -> bool:
        """Pre-train both towers where the configuration says so.

        Raises:
            SharedError: the trainer has given it the parameters of an older run.
        """
        if not self.settings["pretraining"].pretrain:
            return True
        if trainer.warm_start:
            raise SharedError("warm_start and pretrain both give the initial parameters; leave one of them out")
        return pretrain(self, trainer)

    def batches(self, training: TrainingConfig, world: World, start_step: int, total_steps: int) -> tf.data.Dataset:
        options: dict[str, Any] = {
            "seed": self.seed,
            "pairs": self.pairs_per_step(training),
            "world": world,
            "start_step": start_step,
            "total_steps": total_steps,
        }
        if self._plan.pairs is not None:
            return pair_part_batches(self._plan.pairs, parts=self._plan.parts, **options)
        return pair_batches(self.data.train, **options)

    def loss(self, batch: PairBatch | PairPart, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """This rank's share of the terms; shares add up over ranks to the mean over the samples of the global batch.

        The loss is the sum over the ensemble (each member learns by its own), the cross-entropy is their mean.

        Args:
            batch: for the sparse step a `PairBatch`, for the compiled one a `PairPart`.
        """
        del progress
        assert self._plan.sampler is not None, "prepare_training comes first"
        weights = None
        if isinstance(batch, PairPart):
            assert self._plan.pairs is not None, "prepare_training was told of a sparse step"
            batch, weights = self._plan.pairs.batch_of(batch)
        drawn = self._plan.sampler.draw(batch.epoch, batch.positions, batch.users)
        items = tf.concat([batch.items[:, None], drawn], axis=1)
        samples = batch.positions[:, None] * (1 + self._negatives) + tf.range(1 + self._negatives, dtype=tf.int64)
        lookup = self.look_up(batch.users, items, self._plan.projected)
        logits = self.ensemble_logits(lookup, Dropping(batch.step, samples))
        count = batch.global_pairs * (1.0 + self._negatives)
        entropy = binary_cross_entropy(logits, weights) / count
        penalty = tf.constant(0.0)
        if l2 := self.settings["model"].embedding_l2:
            penalty = l2 * lookup.squared_norms(weights) / count
        return {
            "loss": entropy + penalty,
            "cross_entropy": entropy / self.ensemble_size,
            "embedding_penalty": penalty,
        }

    def scores(self, histories: Histories) -> tf.Tensor:
        """[B, I] float32 logits of the whole catalogue; the users are told by their training rows."""
        return self.catalogue(tf.cast(histories.train_rows, tf.int32))

    @property
    def score_bytes(self) -> int:
        hidden = sum(self.resolved_settings["model"].layers[1:]) if self.mlp is not None else 0
        return 4 * self.n_items * (4 + 2 * hidden)

    def part_scores(self, part: HistoryPart) -> tf.Tensor:
        return self.catalogue_at_once(_users_of(part))

    def part_candidate_scores(self, part: HistoryPart, candidates: tf.Tensor) -> tf.Tensor:
        return self.pair_scores(_users_of(part), candidates)

    def candidate_scores(self, histories: Histories, candidates: tf.Tensor) -> tf.Tensor:
        return self.pair_scores(tf.cast(histories.train_rows, tf.int32), tf.maximum(candidates, 0))

    def item_vectors(self) -> tf.Tensor:
        """[I, D] the embeddings of the items, those of both towers side by side."""
        return tf.concat([part.items for part in (self.gmf, self.mlp) if part is not None], axis=1)

    def exported(self, data: Dataset, top_k: int) -> Exported:
        return ncf_signatures(self, data, top_k, with_users=self.exports_users)


def _users_of(part: HistoryPart) -> tf.Tensor:
    """[P] int32 rows in the training matrix; any row where there is no user."""
    return tf.cast(tf.maximum(part.train_rows, 0), tf.int32)
