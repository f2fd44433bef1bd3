"""What all models of VAE-CF share: a first layer over the items of a history, logits over all items by the last layer,
both kinds of training step, and the forms in which scores are asked for.

A model says what lies between (`_hidden`), and what it minimises (`loss`).

Shape legend: B users, N interactions, I items, H width of the first or of the last hidden layer, L code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import tensorflow as tf

from recsys_core.axes import ITEMS, OTHER, Axes
from recsys_core.baselines import gram
from recsys_core.config import EvaluationConfig, TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.input import noise
from recsys_core.input.batches import Batch, Histories, rows_of
from recsys_core.input.chunks import (
    DATA_SHARE,
    WIDTH,
    ChunkPart,
    ChunkTable,
    HistoryPart,
    chunk_batches,
    chunk_table,
)
from recsys_core.model import Recommender, float32_scores
from recsys_core.seeding import key64
from recsys_core.sparse_products import sparse_product
from recsys_core.world import World
from vaecf import dense, item_start
from vaecf.first_layer import check_gradients, goes_by_rows
from vaecf.layers import Layer
from vaecf.layers import dense as dense_layer
from vaecf.losses import multinomial_nll
from vaecf.run_config import EARLIER, FirstLayerConfig, StartConfig

Likelihood: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
"""The last hidden layer [B, H] -> [] negative log-likelihood, summed over users."""
TrainBatch: TypeAlias = Batch | ChunkPart
"""The users of a training step: of the sparse step, or of the compiled one."""


@dataclass(frozen=True, kw_only=True)
class CompiledInput:
    """What the compiled step needs besides the parameters."""

    plan: dense.DensePlan
    table: ChunkTable


class Autoencoder(Recommender):
    """Reads a history by one layer, and gives logits over all items by another."""

    family = "vaecf"
    loss_names = ("loss", "nll", "kl")
    has_compiled_step = True
    earlier_runs = EARLIER
    reads_rows_only: ClassVar[bool] = True
    """Whether `loss` reads the trained first layer's kernel by `first_layer` only: the rows of the batch's items."""

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """See `Recommender`."""
        super().__init__(data, preset=preset, seed=seed, **changes)
        self._compiled: CompiledInput | None = None
        self._by_rows = False
        self.has_compiled_step = self._gradients != "rows"
        self._dropout_key = key64(self.seed, "dropout")

    @property
    def first(self) -> Layer:
        """Kernel [I, H] and bias [H] of the first layer."""
        raise NotImplementedError

    @property
    def last(self) -> Layer:
        """Kernel [H, I] and bias [I] of the last layer."""
        raise NotImplementedError

    @property
    def axes(self) -> Sequence[Axes]:
        """The first layer has a row for each item, the last one a column and a bias."""
        (first, _), (last, bias) = self.first, self.last
        return [Axes(first, (ITEMS, OTHER)), Axes(last, (OTHER, ITEMS)), Axes(bias, (ITEMS,), is_bias=True)]

    def _hidden(self, first: tf.Tensor) -> tf.Tensor:
        """[B, H] what the last layer reads, from the first layer's output [B, H]; no dropout, no noise."""
        raise NotImplementedError

    def item_vectors(self) -> tf.Tensor:
        """[I, H] the columns of the output layer."""
        return tf.transpose(self.last[0])

    # Training

    @property
    def _gradients(self) -> str:
        """--embedding-gradients"""
        return self.settings["first_layer"].embedding_gradients if "first_layer" in self.settings else "auto"

    @property
    def sparse_tables(self) -> list[tf.Variable]:
        return [self.first[0]] if self._by_rows else []

    @property
    def resolved_settings(self) -> Mapping[str, Any]:
        chosen = FirstLayerConfig(embedding_gradients="rows" if self._by_rows else "dense")
        start = StartConfig(items_from="ease" if self._starts_from_ease else "random")
        return {**self.settings, "first_layer": chosen, "start": start}

    @property
    def _starts_from_ease(self) -> bool:
        """--items-from"""
        asked = self.settings["start"].items_from if "start" in self.settings else "random"
        return asked == "ease" or (asked == "auto" and self.n_items <= item_start.AUTO_ITEMS)

    def check_training(self, training: TrainingConfig, evaluation: EvaluationConfig, ranks: int) -> None:
        super().check_training(training, evaluation, ranks)
        name = type(self).__name__
        check_gradients(self._gradients, training, reads_rows_only=self.reads_rows_only, model=name)
        if self._starts_from_ease and not gram.is_solved_on_gpu(self.n_items):
            needed = gram.solve_bytes(self.data.train)
            gram.require_memory("--items-from ease", needed, self.n_items, "--items-from random")

    def initialise(self, trainer: Any) -> bool:
        """Start the item matrices on rank 0, which sends what differs to the others."""
        if self._starts_from_ease and not trainer.warm_start:
            trainer.announce(f"computing the item matrices to start from, of {self.n_items:,} items ...")
            trainer.world.run_on_rank0(self._start_items)
        return super().initialise(trainer)

    def _start_items(self) -> None:
        item_start.assign(self._item_weights(), self.first[0], self.last[0], self.seed)

    def _item_weights(self) -> item_start.Matrix:
        """[I, I] weights of a linear model of the training users."""
        return item_start.weights_of_ease(self.data.train)

    def prepare_training(self, training: TrainingConfig, world: World, *, step_bytes: float = 0.0) -> None:
        by_rows = goes_by_rows(self._gradients, training, self.data, reads_rows_only=self.reads_rows_only)
        self._by_rows, self._compiled = by_rows and not step_bytes, None
        if step_bytes:
            table = chunk_table(self.data.train, DATA_SHARE * step_bytes)
            users = -(-min(training.batch_size, self.data.n_users) // world.size)
            looked_up = 4.0 * WIDTH * self.first[0].shape[1] * table.mean_chunks
            plan = dense.plan(self.n_items, users, self.compute.size, step_bytes, looked_up)
            self._compiled = CompiledInput(plan=plan, table=table)

    @property
    def parts_per_step(self) -> int:
        return self._compiled.plan.parts if self._compiled else 1

    def batches(self, training: TrainingConfig, world: World, start_step: int, total_steps: int) -> tf.data.Dataset:
        if self._compiled is None:
            return super().batches(training, world, start_step, total_steps)
        return chunk_batches(
            self.data.train,
            self._compiled.table,
            seed=self.seed,
            batch_size=training.batch_size,
            parts=self._compiled.plan.parts,
            world=world,
            start_step=start_step,
            total_steps=total_steps,
        )

    def item_counts(self, batch: TrainBatch) -> tf.Tensor:
        """[B] float32 items of each user."""
        if isinstance(batch, ChunkPart):
            return batch.counts
        return tf.cast(batch.row_splits[1:] - batch.row_splits[:-1], tf.float32)

    def first_layer(self, batch: TrainBatch, of: Layer, dropout: float) -> tf.Tensor:
        """[B, H] a first layer of the histories, each of length 1, of which dropout hides a share; in the compute type.

        Args:
            dropout: share of the items that is hidden; the others weigh 1 / (1 - dropout) as much.
        """
        if isinstance(batch, ChunkPart):
            return self._compiled_first_layer(batch, of, dropout)
        rows = rows_of(batch.row_splits)
        kept = self._kept(batch.step, tf.gather(batch.users, rows), batch.item_ids, dropout)
        scale, by_rows = self._row_scale(self.item_counts(batch), dropout), self._by_rows and of[0] is self.first[0]
        return self._summed(batch.item_ids, rows, scale, kept, of, by_rows=by_rows)

    def likelihood(self, batch: TrainBatch) -> Likelihood:
        """The function of the last hidden layer that gives the sum of the negative log-likelihoods."""
        kernel, bias = self.last
        if not isinstance(batch, ChunkPart):
            return lambda hidden: multinomial_nll(hidden, kernel, bias, batch.item_ids, batch.row_splits)
        plan, found = self._compiled_plan.plan, self._entries(batch)
        if plan.is_dense:
            return lambda hidden: dense.dense_nll(hidden, kernel, bias, found, batch.counts)
        return lambda hidden: dense.blocked_nll(hidden, kernel, bias, found, batch.counts, plan.block)

    @staticmethod
    def mean_over_users(values: tf.Tensor, batch: TrainBatch) -> tf.Tensor:
        """[] this rank's share of the mean of values [B]; a place without a user counts as 0."""
        return tf.reduce_sum(tf.where(batch.users >= 0, values, 0.0)) / batch.global_users

    def _kept(self, step: tf.Tensor, users: tf.Tensor, item_ids: tf.Tensor, dropout: float) -> tf.Tensor | None:
        """Which entries dropout leaves, None for all; users and item_ids of any shape."""
        return noise.keep_mask(self._dropout_key, step, users, item_ids, dropout) if dropout else None

    @staticmethod
    def _row_scale(counts: tf.Tensor, dropout: float = 0.0) -> tf.Tensor:
        """[B] the value of each item of a user: the history has length 1, with dropout's correction."""
        return tf.math.rsqrt(tf.maximum(counts, 1.0)) / (1.0 - dropout)

    def _summed(
        self,
        item_ids: tf.Tensor,
        rows: tf.Tensor,
        row_scale: tf.Tensor,
        kept: tf.Tensor | None,
        of: Layer,
        *,
        by_rows: bool = False,
    ) -> tf.Tensor:
        """[B, H] sum of the kernel's rows of each user's items, times the user's scale, plus bias.

        Args:
            row_scale: [B] what the value 1 of an item becomes.
            kept: [N] bool, the entries that dropout leaves, None for all.
            by_rows: see `sparse_product`.
        """
        if kept is not None:
            item_ids, rows = tf.boolean_mask(item_ids, kept), tf.boolean_mask(rows, kept)
        kernel, bias = of
        values, users = tf.gather(row_scale, rows), tf.size(row_scale, tf.int64)
        summed = sparse_product(item_ids, rows, values, users, kernel, by_rows=by_rows)
        return tf.cast(summed + bias, self.compute)

    @property
    def _compiled_plan(self) -> CompiledInput:
        assert self._compiled is not None, "prepare_training comes first"
        return self._compiled

    def _entries(self, part: ChunkPart) -> dense.Entries:
        """The items of the users of a part, one by one."""
        rows = tf.cast(part.rows, tf.int32)
        return dense.entries(self._compiled_plan.table.items_of(part.chunks), rows, tf.size(part.users), self.n_items)

    def _compiled_first_layer(self, part: ChunkPart, of: Layer, dropout: float) -> tf.Tensor:
        found, (kernel, bias) = self._entries(part), of
        users = tf.gather(part.users, tf.minimum(tf.cast(part.rows, tf.int32), found.n_rows - 1))
        kept = self._kept(part.step, users[:, None], found.items, dropout)
        sums = dense.first_layer(kernel, found, kept, self.compute)
        return tf.cast(sums * self._row_scale(part.counts, dropout)[:, None] + bias, self.compute)

    # Scores

    def _logits(self, first: tf.Tensor) -> tf.Tensor:
        """[B, I] float32 from the first layer [B, H]. Called under `float32_scores`."""
        return dense_layer(self._hidden(first), self.last)

    @float32_scores
    def scores(self, histories: Histories) -> tf.Tensor:
        """[B, I] float32 logits; no dropout, no noise."""
        splits = histories.row_splits
        scale = self._row_scale(tf.cast(splits[1:] - splits[:-1], tf.float32))
        return self._logits(self._summed(histories.item_ids, rows_of(splits), scale, None, self.first))

    def _padded_weights(self, item_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[B, L] the value of each item, 0 for padding, and the items [B, L] with padding at the last item."""
        present = tf.cast(item_ids < self.n_items, tf.float32)
        counts = tf.reduce_sum(present, axis=1, keepdims=True)
        return present * self._row_scale(counts), tf.minimum(item_ids, self.n_items - 1)

    @float32_scores
    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[B, I] `scores` of histories int32 [B, L] padded with I, in operators that inference engines take.

        The first layer is a gather and a batched product, which takes [B, L, H] numbers of memory.
        """
        (weights, items), (kernel, bias) = self._padded_weights(item_ids), self.first
        return self._logits(tf.matmul(weights[:, None, :], tf.gather(kernel, items))[:, 0, :] + bias)

    @float32_scores
    def compiled_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[B, I] `padded_scores`, whose first layer XLA computes in one pass that stores no [B, L, H]."""
        (weights, items), (kernel, bias) = self._padded_weights(item_ids), self.first
        return self._logits(tf.reduce_sum(weights[:, :, None] * tf.gather(kernel, items), axis=1) + bias)

    @float32_scores
    def part_scores(self, part: HistoryPart) -> tf.Tensor:
        """[P, I] `scores`, by the first layer of the compiled step."""
        found = dense.entries(part.items, part.rows, tf.size(part.train_rows), self.n_items)
        kernel, bias = self.first
        sums = dense.first_layer(kernel, found, None, self.compute)
        return self._logits(sums * self._row_scale(part.counts)[:, None] + bias)
