"""HR@K and NDCG@K among sampled candidates, by hand: ties, repeats, NaN, and how metrics are written."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core.errors import SharedError
from recsys_core.evaluation.evaluator import Evaluation, Evaluator, candidate_scores, hits_among_candidates
from recsys_core.evaluation.metric_names import Metric, parse_metric
from recsys_core.input.batches import EvaluationBatch, Histories
from recsys_core.matrices import Csr, HeldOut
from recsys_core.world import World
from tests.models import Table

ITEMS = 8
NAN, INF = float("nan"), float("inf")
NAMES = ("hr@1/sampled", "hr@2/sampled", "ndcg@2/sampled", "ndcg@10/sampled")


def csr(rows: list[list[int]]) -> Csr:
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Csr(indptr=indptr, indices=np.concatenate([*rows, []]).astype(np.int32), n_items=ITEMS)


def held_out(candidates: npt.ArrayLike) -> HeldOut:
    """Users of whom nothing is known; the first candidate is to be found."""
    lists = np.array(candidates, np.int32)
    return HeldOut(
        fold_in=csr([[]] * len(lists)),
        fold_out=csr([[int(row[0])] for row in lists]),
        train_rows=np.arange(len(lists), dtype=np.int32),
        candidates=lists,
    )


class CandidatesOnly(Table):
    """Scores candidates alone; NaN where there is none."""

    def scores(self, histories: Histories) -> tf.Tensor:
        raise AssertionError("all items were scored")

    def candidate_scores(self, histories: Histories, candidates: tf.Tensor) -> tf.Tensor:
        scores = tf.gather(tf.gather(self.table, histories.train_rows), tf.maximum(candidates, 0), batch_dims=1)
        return tf.where(candidates >= 0, scores, NAN)


def evaluate(
    candidates: npt.ArrayLike,
    scorer: Table,
    names: tuple[str, ...] = NAMES,
    world: World | None = None,
    block: int = 3,
) -> Evaluation:
    metrics = [parse_metric(n) for n in names]
    data = held_out(candidates)
    return Evaluator(data, metrics, world=world or World(), n_items=ITEMS, block_size=block).evaluate(scorer)


def of_one(candidates: list[int], scores: list[float]) -> list[float]:
    """The metrics of NAMES for one user."""
    result = evaluate([candidates], Table([scores]))
    return [result.metrics[name].mean for name in NAMES]


def at(rank: int) -> list[float]:
    """hr@1, hr@2, ndcg@2 and ndcg@10 of an item found at a rank from 0."""
    gain = 1 / math.log2(rank + 2)
    return [float(rank < 1), float(rank < 2), gain if rank < 2 else 0.0, gain if rank < 10 else 0.0]


def test_gains_typed_in() -> None:
    typed = [1.0, 0.6309297535714575, 0.5, 0.43067655807339306]
    assert [at(rank)[3] for rank in range(4)] == pytest.approx(typed)
    found = [of_one([0, 1, 2, 3, 4], [s, 3, 2, 1, 0, 9, 9, 9])[3] for s in (5.0, 2.5, 1.5, 0.5)]
    assert found == pytest.approx(typed)


@pytest.mark.parametrize(
    ("candidates", "scores", "rank"),
    [
        ([2, 0, 1, 3], [1, 2, 5, 3, 9, 9, 9, 9], 0),  # items that are no candidates do not count
        ([2, 0, 1, 3], [1, 2, 2.5, 3, 9, 9, 9, 9], 1),
        ([2, 0, 1, 3], [1, 2, 0, 3, 9, 9, 9, 9], 3),
        ([2, 0, 1, 3], [4, 4, 4, 4, 4, 4, 4, 4], 3),  # it loses every tie
        ([2, 0, 1, 3], [4, 0, 4, 0, 0, 0, 0, 0], 1),
        ([2, 2, 1, 3], [0, 1, 5, 1, 0, 0, 0, 0], 0),  # the item itself is no negative
        ([2, 2, 2, 2], [0, 0, 5, 0, 0, 0, 0, 0], 0),
        ([2, 1, 1, 3], [0, 7, 5, 1, 0, 0, 0, 0], 1),  # a repeated negative stands before it once
        ([2, 1, 3, 1], [0, 7, 5, 8, 0, 0, 0, 0], 2),
        ([0, 1, 1, 1], [5, 1, 0, 0, 0, 0, 0, 0], 0),
        ([2, 0, 1, 3], [-INF, -INF, 0, INF, 0, 0, 0, 0], 1),
        ([2, 0, 1, 3], [-INF] * 8, 3),
    ],
)
def test_one_user_by_hand(candidates: list[int], scores: list[float], rank: int) -> None:
    assert of_one(candidates, scores) == pytest.approx(at(rank))
    with_choice = evaluate([candidates], CandidatesOnly([scores]))
    assert [with_choice.metrics[name].mean for name in NAMES] == pytest.approx(at(rank))


def test_a_constant_scorer_finds_nothing() -> None:
    lists = [[k % ITEMS, *((k + j) % ITEMS for j in range(1, 8))] for k in range(10)]
    result = evaluate(lists, Table(np.zeros((10, ITEMS))), ("hr@7/sampled", "ndcg@7/sampled"))
    assert [e.mean for e in result.metrics.values()] == [0, 0]
    assert evaluate(lists, Table(np.zeros((10, ITEMS))), ("hr@8/sampled",)).metrics["hr@8/sampled"].mean == 1


LISTS = [[2, 0, 1, 3], [0, 7, 7, 5], [4, 4, 1, 2], [6, 1, 2, 3], [3, 5, 6, 7]]
TABLE: list[list[float]] = [
    [1, 2, 5, 3, 9, 9, 9, 9],  # rank 0
    [1, 0, 0, 0, 0, 2, 0, 3],  # 5 and 7 before: rank 2
    [0, 4, 3, 0, 3, 0, 0, 0],  # 1 before, 2 tied: rank 2
    [0, 3, 2, 1, 0, 0, 2.5, 0],  # 1 before: rank 1
    [9, 9, 9, 1, 0, 2, 2, 2],  # rank 3
]
RANKS = [0, 2, 2, 1, 3]


def test_means_and_standard_errors() -> None:
    result = evaluate(LISTS, Table(TABLE))
    each = np.array([at(rank) for rank in RANKS])
    assert [e.mean for e in result.metrics.values()] == pytest.approx(each.mean(axis=0))
    expected = each.std(axis=0, ddof=1) / np.sqrt(5)
    assert [e.standard_error for e in result.metrics.values()] == pytest.approx(expected)
    assert result.metrics["hr@2/sampled"].mean == 0.4
    assert result.metrics["hr@2/sampled"].standard_error == pytest.approx(math.sqrt(0.3 / 5))
    assert (result.users, result.users_without_relevant) == (5, 0)


def test_both_kinds_of_scorer_agree() -> None:
    rng = np.random.default_rng(0)
    lists = rng.integers(0, ITEMS, (40, 6))
    scores = rng.integers(0, 5, (40, ITEMS))
    assert evaluate(lists, Table(scores)) == evaluate(lists, CandidatesOnly(scores))


@pytest.mark.parametrize("block", [1, 2, 100])
def test_block_size_changes_nothing(block: int) -> None:
    assert evaluate(LISTS, Table(TABLE), block=block) == evaluate(LISTS, Table(TABLE))


class Part(World):
    """One rank of several, with the exchange done by the test."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size, self.sent = rank, size, np.zeros(0)

    def sum_array(self, array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        self.sent = array
        return array


@pytest.mark.parametrize("size", [2, 3, 4])
def test_ranks_together_send_exactly_what_one_sends(size: int) -> None:
    alone, parts = Part(0, 1), [Part(rank, size) for rank in range(size)]
    for part in (alone, *parts):
        evaluate(LISTS, CandidatesOnly(TABLE), world=part, block=2)
    assert (np.sum([part.sent for part in parts], axis=0) == alone.sent).all()
    assert alone.sent[:20].any()


def test_both_protocols_in_one_evaluation() -> None:
    names = ("hr@2/sampled", "hr@2", "coverage@1", "ndcg@2/all", "ndcg@2/sampled")
    result = evaluate(LISTS, Table(TABLE), names)
    assert tuple(result.metrics) == names
    assert result.metrics["hr@2/sampled"].mean == 0.4
    # among all items, of equals the lower first: places 4, 2, 2, 1 and 6 from 0
    assert result.metrics["hr@2"].mean == 0.2
    assert result.metrics["ndcg@2/all"].mean == pytest.approx(1 / math.log2(3) / 5)
    assert result.metrics["ndcg@2/sampled"].mean == pytest.approx((1 + 1 / math.log2(3)) / 5)
    assert result.metrics["coverage@1"].mean == 4 / 8  # 4, 7, 1, 1, 0 come first
    assert result.metrics["hr@2/sampled"] == evaluate(LISTS, Table(TABLE)).metrics["hr@2/sampled"]


@pytest.mark.parametrize("kind", [Table, CandidatesOnly])
@pytest.mark.parametrize("item", [2, 3])
def test_scores_that_are_not_numbers_fail(kind: type[Table], item: int) -> None:
    scores = np.array(TABLE)
    scores[0, item] = NAN  # the item to be found, or a negative
    with pytest.raises(SharedError, match="not numbers"):
        evaluate(LISTS, kind(scores))


def test_only_scores_that_count_are_looked_at() -> None:
    scores = np.array(TABLE)
    scores[0, 6] = NAN
    assert evaluate(LISTS, Table(scores)) == evaluate(LISTS, Table(TABLE))
    with pytest.raises(SharedError, match="not numbers"):
        evaluate(LISTS, Table(scores), ("hr@2/sampled", "hr@2/all"))


def test_without_candidates_there_are_no_sampled_metrics() -> None:
    data = HeldOut(fold_in=csr([[]]), fold_out=csr([[1]]))
    with pytest.raises(ValueError, match=r"hr@10/sampled needs candidates.*hr@10/all"):
        Evaluator(data, [parse_metric("hr@5"), parse_metric("hr@10/sampled")], world=World(), n_items=ITEMS)


def test_absent_candidates_score_0() -> None:
    nothing = tf.zeros([0], tf.int64)
    lists = tf.constant([[2, -1, 5], [1, 0, -1]])
    batch = EvaluationBatch(
        nothing, tf.constant([0, 1], tf.int64), nothing, nothing, nothing, nothing, candidates=lists
    )
    scores = np.arange(16).reshape(2, 8) + 0.5
    for scorer in (Table(scores), CandidatesOnly(scores)):
        got = candidate_scores(scorer, batch)
        assert got.dtype == tf.float32
        assert got.numpy().tolist() == [[2.5, 0, 5.5], [9.5, 8.5, 0]]


def test_hits_stand_at_the_rank() -> None:
    scores = tf.constant([[3.0, 1, 2], [3, 4, 2], [3, 3, 3], [-1, 0, -2]])
    present = tf.constant([[True, True, True], [True, True, True], [True, True, True], [True, False, True]])
    got = hits_among_candidates(scores, present, 2).numpy().astype(int).tolist()
    assert got == [[1, 0], [0, 1], [0, 0], [1, 0]]


def test_metrics_are_read() -> None:
    assert parse_metric("hr@10/sampled") == Metric("hr", 10, "sampled")
    assert parse_metric("  NDCG@100/ALL ") == Metric("ndcg", 100, "all")
    assert parse_metric("hr@10") == Metric("hr", 10, "")
    assert [str(parse_metric(t)) for t in ("hr@10", "hr@10/all", "hr@10/sampled")] == [
        "hr@10",
        "hr@10/all",
        "hr@10/sampled",
    ]
    assert [parse_metric(t).is_sampled for t in ("hr@10", "hr@10/all", "hr@10/sampled")] == [False, False, True]


def test_a_protocol_left_unsaid() -> None:
    assert parse_metric("hr@10", "sampled") == Metric("hr", 10, "sampled")
    assert parse_metric("hr@10", "all") == Metric("hr", 10, "all")
    assert parse_metric("hr@10/all", "sampled") == Metric("hr", 10, "all")
    assert parse_metric("hr@10/sampled", "all") == Metric("hr", 10, "sampled")


@pytest.mark.parametrize("text", ["hr@10/some", "hr@10/", "hr@10/sampled/all", "hr/sampled", "hr@0/sampled", "x@1/all"])
def test_what_is_unknown_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unknown metric .*PROTOCOL one of: all, sampled"):
        parse_metric(text)


@pytest.mark.parametrize(("text", "protocol"), [("coverage@5/sampled", ""), ("coverage@5", "sampled")])
def test_coverage_is_of_the_whole_catalogue(text: str, protocol: str) -> None:
    with pytest.raises(ValueError, match="write coverage@5/all"):
        parse_metric(text, protocol)
    assert parse_metric("coverage@5/all", "sampled") == Metric("coverage", 5, "all")
