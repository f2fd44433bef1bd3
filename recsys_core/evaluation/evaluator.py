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
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core import topk
from recsys_core.dataset import HeldOut
from recsys_core.distributed import World
from recsys_core.errors import SharedError
from recsys_core.evaluation.metrics import COVERAGE, Metric, values
from recsys_core.pipeline import EvaluationBatch, evaluation_batches

T = TypeVar("T")
R = TypeVar("R")
Scorer = Callable[[EvaluationBatch], tf.Tensor]
"""Scores [B, I] for every item, from the fold-in items of B users."""


@runtime_checkable
class CandidateScorer(Protocol):
    """A scorer that can score candidates without scoring all items."""

    def __call__(self, batch: EvaluationBatch) -> tf.Tensor:
        """Scores [B, I] for every item."""
        ...

    def candidates(self, batch: EvaluationBatch) -> tf.Tensor:
        """Scores [B, C] for `batch.candidates`; whatever it likes where that is -1."""
        ...


def candidate_scores(scorer: Scorer, batch: EvaluationBatch) -> tf.Tensor:
    """[B, C] float32 scores of the candidates, 0 where there is none."""
    if isinstance(scorer, CandidateScorer):
        scores = scorer.candidates(batch)
    else:
        scores = tf.gather(scorer(batch), tf.maximum(batch.candidates, 0), batch_dims=1)
    return tf.where(batch.candidates >= 0, tf.cast(scores, tf.float32), 0.0)


def hits_among_candidates(scores: tf.Tensor, present: tf.Tensor, depth: int) -> tf.Tensor:
    """[B, depth] bool: at which rank the item to be found stands. It loses every tie.

    Args:
        scores: [B, C] of the item to be found, then of the others.
        present: [B, C] bool, False for those that do not count.
    """
    others = present[:, 1:] & (scores[:, 1:] >= scores[:, :1])
    return tf.equal(tf.reduce_sum(tf.cast(others, tf.int32), axis=1)[:, None], tf.range(depth)[None, :])


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over users and its standard error (None where there is no spread to take it from)."""

    mean: float
    standard_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one scorer reached on one set of users."""

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
"""Blocks ranked at one time: what one core does in a block (sparse products, exclusion) goes on beside the other's
products of all cores."""


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


def _all_numbers(scores: tf.Tensor) -> tf.Tensor:
    return tf.logical_not(tf.reduce_any(tf.math.is_nan(scores)))


class Evaluator:
    """Evaluates scorers on one set of held-out users."""

    def __init__(
        self, held_out: HeldOut, metrics: Sequence[Metric], *, world: World, n_items: int, block_size: int = 512
    ) -> None:
        """
        Args:
            block_size: users ranked at once; the scores of `IN_FLIGHT` blocks take block_size x I x 4 bytes each.
        """
        self._held_out, self._metrics, self._world, self._n_items = held_out, tuple(metrics), world, n_items
        self._block_size = block_size
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

    def alone(self) -> Evaluator:
        """The same evaluator for a rank that works without the others."""
        return Evaluator(
            self._held_out, self._metrics, world=World(), n_items=self._n_items, block_size=self._block_size
        )

    def _sampled_block(self, scorer: Scorer, batch: EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """Values [B, M] of the sampled metrics, and whether all scores are numbers."""
        scores = candidate_scores(scorer, batch)
        hits = hits_among_candidates(scores, batch.candidates >= 0, max(m.k for m in self._sampled))
        return values(self._sampled, hits, tf.ones_like(batch.users)), _all_numbers(scores)

    def _whole_block(self, scorer: Scorer, batch: EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Values [B, M] of the whole-catalogue metrics, top items [B, K], and whether all scores are numbers."""
        depth = max(m.k for m in (*self._over_all, *self._coverage))
        scores = tf.ensure_shape(tf.cast(scorer(batch), tf.float32), [None, self._n_items])
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

    def _block_function(self, scorer: Scorer) -> Callable:
        """The graph for one scorer: batch -> (values [B, M], top items [B, K], whether all scores are numbers)."""

        @tf.function(input_signature=[self._batches.element_spec])
        def rank_block(batch: EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            tables, sound = [], tf.constant(True)
            items = tf.zeros([tf.size(batch.users), 0], tf.int32)
            if self._sampled:
                table, sound = self._sampled_block(scorer, batch)
                tables.append(table)
            if self._over_all or self._coverage:
                table, items, also_sound = self._whole_block(scorer, batch)
                sound &= also_sound
                tables.append(table)
            return tf.concat(tables, axis=1), items, sound

        rank_block.get_concrete_function()  # traced here, not by two threads at once
        return rank_block

    def evaluate(self, scorer: Scorer) -> Evaluation:
        """Rank all items for every user and average.

        Raises:
            SharedError: a score is NaN (a ranking of NaN would pass for a result), or nobody has relevant items.
        """
        if scorer not in self._compiled:
            self._compiled[scorer] = self._block_function(scorer)
        rank_block = self._compiled[scorer]
        table = np.zeros((self._held_out.n_users, len(self._per_user)))
        seen = np.zeros((len(self._coverage), self._n_items))
        unsound = 0.0
        for batch, (block, items, sound) in in_flight(rank_block, self._batches):
            unsound += not sound
            table[batch.users.numpy()] = block.numpy()
            for row, metric in enumerate(self._coverage):
                seen[row, items.numpy()[:, : metric.k].ravel()] = 1
        total = self._world.sum_array(np.concatenate([table.ravel(), seen.ravel(), [unsound]]))
        if total[-1]:  # known to every rank only now
            raise SharedError("the model gives scores that are not numbers (NaN); its parameters are damaged")
        return self._summary(total[: table.size].reshape(table.shape), total[table.size : -1].reshape(seen.shape))

    def _summary(self, table: npt.NDArray[np.float64], seen: npt.NDArray[np.float64]) -> Evaluation:
        has_relevant = np.diff(self._held_out.fold_out.indptr) > 0
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
