"""Ranking all items, or sampled candidates, for held-out users: in the graph, sharded over ranks, one exchange in all.

Each rank fills in the rows of its own users in a table of zeros; the sum over ranks is then exact, so the result does
not depend on how many ranks there were.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core import numerics, topk
from recsys_core.errors import SharedError
from recsys_core.evaluation.compiled_ranking import Block, CompiledRanking, blocks_of, fits, ranked, users_at_once
from recsys_core.evaluation.metrics import COVERAGE, Metric, hits_among_candidates, values
from recsys_core.input.batches import EvaluationBatch, Histories, evaluation_batches
from recsys_core.matrices import HeldOut
from recsys_core.world import World

T = TypeVar("T")
R = TypeVar("R")


class Scorer(Protocol):
    """The part of a `Recommender` that evaluation asks."""

    def scores(self, histories: Histories) -> tf.Tensor:
        """[B, I] scores of every item."""
        ...

    def candidate_scores(self, histories: Histories, candidates: tf.Tensor) -> tf.Tensor:
        """[B, C] scores of candidates (any value where a candidate is -1)."""
        ...


def candidate_scores(model: Scorer, batch: EvaluationBatch) -> tf.Tensor:
    """[B, C] float32 scores of the candidates, 0 where there is none."""
    scores = model.candidate_scores(batch.histories, batch.candidates)
    return tf.where(batch.candidates >= 0, tf.cast(scores, tf.float32), 0.0)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over users and its standard error (None where there is no spread to take it from)."""

    mean: float
    standard_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics of one model on one set of users."""

    metrics: Mapping[str, Estimate]
    users: int
    """Users in the means."""
    users_without_relevant: int
    """Users left out because there was nothing to find."""

    def as_json(self) -> dict[str, object]:
        """Plain values, for result files."""
        metrics = {n: {"mean": e.mean, "standard_error": e.standard_error} for n, e in self.metrics.items()}
        return {"metrics": metrics, "users": self.users, "users_without_relevant": self.users_without_relevant}


IN_FLIGHT = 2
"""Blocks ranked at one time: sparse products and exclusion of one block, on one core, run beside the matrix products of
another, on all cores."""


def in_flight(work: Callable[[T], R], parts: Iterable[T], count: int = IN_FLIGHT) -> Iterator[tuple[T, R]]:
    """Each part with its result, in order, `count` of them being worked on at a time."""
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        for part in parts:
            waiting.append((part, pool.submit(work, part)))
            if len(waiting) == count:
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()


def _no_nan(scores: tf.Tensor) -> tf.Tensor:
    return tf.logical_not(tf.reduce_any(tf.math.is_nan(scores)))


class Evaluator:
    """Evaluates models on one set of held-out users."""

    def __init__(
        self,
        held_out: HeldOut,
        metrics: Sequence[Metric],
        *,
        world: World,
        n_items: int,
        block_size: int = 512,
        device_bytes: float = 0.0,
    ) -> None:
        """
        Args:
            block_size: users ranked at once; the scores of `IN_FLIGHT` blocks take block_size x I x 4 bytes each.
            device_bytes: memory for the temporary arrays of models that XLA compiles, which are ranked in blocks of as
                many users as fit it; 0 to rank all models by TensorFlow's own operators.
        """
        self._held_out, self._metrics, self._world, self._n_items = held_out, tuple(metrics), world, n_items
        self._block_size, self._device_bytes = block_size, device_bytes
        self._sampled = [m for m in self._metrics if m.is_sampled]
        self._over_all = [m for m in self._metrics if not m.is_sampled and m.name != COVERAGE]
        self._per_user = [*self._sampled, *self._over_all]
        self._coverage = [m for m in self._metrics if m.name == COVERAGE]
        if self._sampled and not held_out.n_candidates:
            raise ValueError(
                f"{self._sampled[0]} needs candidates, which this data set has not; prepare one with --protocol "
                f"leave-one-out, or ask for {self._sampled[0].name}@{self._sampled[0].k}/all"
            )
        self._batches = evaluation_batches(held_out, block_size=block_size, world=world)
        self._compiled: dict[Scorer, Callable] = {}
        self._compiled_rankings: dict[Scorer, CompiledRanking] = {}
        self._blocks: dict[int, Block | None] = {}
        """Users of a block -> this rank's blocks, on the device."""

    def without_ranks(self) -> Evaluator:
        """The same evaluator for one rank, which evaluates all users without the others."""
        return self._sharing_graphs(self._held_out, World())

    def of(self, held_out: HeldOut) -> Evaluator:
        """The same metrics on other users."""
        return self._sharing_graphs(held_out, self._world)

    def _sharing_graphs(self, held_out: HeldOut, world: World) -> Evaluator:
        """An evaluator of the same metrics that uses the graphs of this one, where batches have the same form."""
        other = Evaluator(
            held_out,
            self._metrics,
            world=world,
            n_items=self._n_items,
            block_size=self._block_size,
            device_bytes=self._device_bytes,
        )
        if other._batches.element_spec == self._batches.element_spec:
            other._compiled, other._compiled_rankings = self._compiled, self._compiled_rankings
        return other

    def _sampled_block(self, model: Scorer, batch: EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """Values [B, M] of the sampled metrics, and whether all scores are numbers."""
        scores = candidate_scores(model, batch)
        hits = hits_among_candidates(scores, batch.candidates >= 0, max(m.k for m in self._sampled))
        return values(self._sampled, hits, tf.ones_like(batch.users)), _no_nan(scores)

    def _whole_block(self, model: Scorer, batch: EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Values [B, M] of the whole-catalogue metrics, top items [B, K], and whether all scores are numbers."""
        depth = max(m.k for m in (*self._over_all, *self._coverage))
        scores = tf.ensure_shape(tf.cast(model.scores(batch.histories), tf.float32), [None, self._n_items])
        scores = topk.exclude(scores, batch.item_ids, batch.row_splits)
        # One pass, and after the exclusion, which else would have to copy what is still to be read. Minus infinity
        # stays; what comes to NaN holds a NaN, or infinite scores, which are no better.
        sound = tf.logical_not(tf.math.is_nan(tf.reduce_sum(scores)))
        _, items = topk.top_k_of_many(scores, min(depth, self._n_items))
        hits = topk.is_member(items, batch.wanted_ids, batch.wanted_splits, self._n_items)
        hits = tf.pad(hits, [[0, 0], [0, depth - min(depth, self._n_items)]])
        hits.set_shape([None, depth])
        relevant = batch.wanted_splits[1:] - batch.wanted_splits[:-1]
        nothing = tf.zeros([tf.size(relevant), 0], tf.float64)
        return values(self._over_all, hits, relevant) if self._over_all else nothing, items, sound

    def _block_function(self, model: Scorer) -> Callable:
        """The graph for one model: batch -> (values [B, M], top items [B, K], whether all scores are numbers)."""

        @tf.function(input_signature=[self._batches.element_spec], autograph=False)
        def rank_block(batch: EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            tables, sound = [], tf.constant(True)
            items = tf.zeros([tf.size(batch.users), 0], tf.int32)
            if self._sampled:
                table, sound = self._sampled_block(model, batch)
                tables.append(table)
            if self._over_all or self._coverage:
                table, items, also_sound = self._whole_block(model, batch)
                sound &= also_sound
                tables.append(table)
            return tf.concat(tables, axis=1), items, sound

        rank_block.get_concrete_function()  # traced here, not by two threads at once
        return rank_block

    def evaluate(self, model: Scorer) -> Evaluation:
        """Rank all items for every user and average.

        Raises:
            SharedError: a score is NaN (a ranking of NaN would pass for a result), or nobody has relevant items.
        """
        return self._summary(*self._ranked(model))

    def per_user(self, model: Scorer) -> dict[str, npt.NDArray[np.float64]]:
        """Metric -> [S] its value for each held-out user, NaN where there is nothing to find; without coverage@K.

        Raises:
            SharedError: a score is NaN.
        """
        table, _ = self._ranked(model)
        table[~self._has_relevant()] = np.nan
        return {str(m): table[:, column] for column, m in enumerate(self._per_user)}

    def _has_relevant(self) -> npt.NDArray[np.bool_]:
        """[S] whether a user has anything to find."""
        return np.diff(self._held_out.fold_out.indptr) > 0

    def _ranked(self, model: Scorer) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Per-user metrics [S, M] of all ranks' users, and for each coverage metric which items appear [C, I].

        Raises:
            SharedError: a score is NaN, or the model scores training users only and these are others.
        """
        if getattr(model, "needs_known_users", False) and self._held_out.train_rows is None:
            raise SharedError(
                f"{type(model).__name__} scores only users that it was trained on, and this data set holds out users"
            )
        numerics.use_float32_products()
        is_compiled = self._device_bytes and getattr(model, "has_compiled_step", False)
        is_compiled = is_compiled and fits(self._held_out, self._device_bytes)
        table, seen, unsound = self._ranked_on_device(model) if is_compiled else self._ranked_in_blocks(model)
        total = self._world.sum_array(np.concatenate([table.ravel(), seen.ravel(), [unsound]]))
        if total[-1]:  # known to every rank only now
            raise SharedError("the model gives scores that are not numbers (NaN); its parameters are damaged")
        return total[: table.size].reshape(table.shape), total[table.size : -1].reshape(seen.shape)

    def _ranked_in_blocks(self, model: Scorer) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
        """This rank's part of `_ranked`, and how many blocks have scores that are not numbers."""
        if model not in self._compiled:
            self._compiled[model] = self._block_function(model)
        table, seen, unsound = *self._nothing(), 0.0
        for batch, (block, items, sound) in in_flight(self._compiled[model], self._batches):
            unsound += not sound
            table[batch.users.numpy()] = block.numpy()
            for row, metric in enumerate(self._coverage):
                seen[row, items.numpy()[:, : metric.k].ravel()] = 1
        return table, seen, unsound

    def _ranked_on_device(self, model: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
        """`_ranked_in_blocks` by compiled programs, on data that stay on the device between evaluations."""
        if model not in self._compiled_rankings:
            metrics = (*self._per_user, *self._coverage)
            candidates = self._held_out.n_candidates
            self._compiled_rankings[model] = CompiledRanking(model, metrics, self._n_items, candidates)
        size = users_at_once(model.score_bytes, self._device_bytes, self._held_out.n_users)
        if size not in self._blocks:
            arrays = blocks_of(self._held_out, self._world, size)
            self._blocks[size] = None if arrays is None else tf.nest.map_structure(tf.constant, arrays)
        blocks = self._blocks[size]
        if blocks is None:
            return *self._nothing(), 0.0
        table, seen, sound = ranked(self._compiled_rankings[model], blocks, self._held_out.n_users)
        return table, seen, float(not sound)

    def _nothing(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The result of a rank without users."""
        return np.zeros((self._held_out.n_users, len(self._per_user))), np.zeros((len(self._coverage), self._n_items))

    def _summary(self, table: npt.NDArray[np.float64], seen: npt.NDArray[np.float64]) -> Evaluation:
        has_relevant = self._has_relevant()
        users = int(has_relevant.sum())
        if not users:
            raise SharedError("no held-out user has anything to find; prepare the data set with more items a user")
        kept = table[has_relevant]
        means = kept.mean(axis=0)
        errors = kept.std(axis=0, ddof=1) / math.sqrt(users) if users > 1 else [None] * len(means)
        found = {
            str(m): Estimate(mean=float(v), standard_error=None if e is None else float(e))
            for m, v, e in zip(self._per_user, means, errors, strict=True)
        }
        found |= {str(m): Estimate(mean=float((row > 0).mean())) for m, row in zip(self._coverage, seen, strict=True)}
        return Evaluation(
            metrics={str(m): found[str(m)] for m in self._metrics},
            users=users,
            users_without_relevant=len(has_relevant) - users,
        )
