"""The evaluator against a slow one in plain Python, on any number of ranks."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core.evaluation import user_table
from recsys_core.evaluation.evaluator import Evaluation, Evaluator, in_flight, users_of_block
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.matrices import Csr, HeldOut
from recsys_core.world import World
from tests.models import Table

ITEMS, USERS = 40, 53
NAMES = ("ndcg@10", "recall@5", "map@7", "hr@3", "precision@5", "coverage@2")


def csr(rows: list[npt.NDArray]) -> Csr:
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Csr(indptr=indptr, indices=np.concatenate(rows).astype(np.int32), n_items=ITEMS)


def held(fold_in: Csr, fold_out: Csr) -> HeldOut:
    """Held-out users, numbered by `train_rows`."""
    return HeldOut(fold_in=fold_in, fold_out=fold_out, train_rows=np.arange(fold_in.n_users, dtype=np.int32))


def data() -> tuple[HeldOut, npt.NDArray]:
    """Held-out users (some with nothing to find, some with nothing seen) and fixed scores with many ties."""
    rng = np.random.default_rng(2)
    seen, wanted = [], []
    for k in range(USERS):
        items = rng.choice(ITEMS, rng.integers(2, 14), replace=False)
        cut = 0 if k % 11 == 0 else len(items) if k % 9 == 0 else len(items) // 2
        seen.append(np.sort(items[:cut]))
        wanted.append(np.sort(items[cut:]))
    return held(csr(seen), csr(wanted)), rng.integers(0, 6, (USERS, ITEMS)).astype(np.float32)


class Part(World):
    """One rank of several, with the exchange done by the test."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.sent: list[npt.NDArray[np.float64]] = []

    def sum_array(self, array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        self.sent.append(array)
        return array


def evaluate(world: World, block: int = 8) -> Evaluation:
    held_out, scores = data()
    evaluator = Evaluator(held_out, [parse_metric(n) for n in NAMES], world=world, n_items=ITEMS, block_size=block)
    return evaluator.evaluate(Table(scores))


def slow() -> tuple[dict[str, float], int]:
    """Means over users with something to find, from sorted lists."""
    held_out, scores = data()
    sums: dict[str, list[float]] = {n: [] for n in NAMES[:-1]}
    shown: set[int] = set()
    for u in range(USERS):
        seen = set(held_out.fold_in.indices[held_out.fold_in.indptr[u] : held_out.fold_in.indptr[u + 1]].tolist())
        wanted = set(held_out.fold_out.indices[held_out.fold_out.indptr[u] : held_out.fold_out.indptr[u + 1]].tolist())
        ranking = sorted((i for i in range(ITEMS) if i not in seen), key=lambda i: (-scores[u, i], i))
        shown |= set(ranking[:2])
        if not wanted:
            continue
        hits = [i in wanted for i in ranking]
        ideal = sum(1 / math.log2(r + 2) for r in range(min(10, len(wanted))))
        sums["ndcg@10"].append(sum(1 / math.log2(r + 2) for r in range(10) if hits[r]) / ideal)
        sums["recall@5"].append(sum(hits[:5]) / min(5, len(wanted)))
        sums["precision@5"].append(sum(hits[:5]) / 5)
        sums["hr@3"].append(float(any(hits[:3])))
        sums["map@7"].append(sum(sum(hits[: r + 1]) / (r + 1) for r in range(7) if hits[r]) / min(7, len(wanted)))
    return {n: float(np.mean(v)) for n, v in sums.items()} | {"coverage@2": len(shown) / ITEMS}, len(sums["ndcg@10"])


def test_equals_a_slow_evaluation() -> None:
    result, (expected, users) = evaluate(World()), slow()
    assert {n: e.mean for n, e in result.metrics.items()} == pytest.approx(expected, abs=1e-12)
    assert (result.users, result.users_without_relevant) == (users, USERS - users)


@pytest.mark.parametrize("size", [2, 3, 5, 9])
def test_ranks_together_send_exactly_what_one_sends(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_table, "BLOCK_BYTES", 8 * 5 * 7)  # blocks of 7 users
    alone = Part(0, 1)
    found = evaluate(alone)
    parts = [Part(rank, size) for rank in range(size)]
    results = [evaluate(part) for part in parts]
    assert results[1:] == [None] * (size - 1)  # what rank 0 would have sent them
    assert results[0].users == found.users
    shown, *tables = alone.sent
    assert [len(table) for table in tables] == [7] * (USERS // 7) + [USERS % 7] * (USERS % 7 > 0)
    for k, table in enumerate(tables, start=1):
        assert (sum(part.sent[k] for part in parts) == table).all()
    together = sum(part.sent[0] for part in parts)
    assert ((together[:-1] > 0) == (shown[:-1] > 0)).all()
    assert together[-1] == shown[-1] == 0


@pytest.mark.parametrize(
    ("most", "items", "expected"), [(512, 20_000, 512), (512, 65_536, 512), (512, 1_000_000, 33), (512, 10**9, 1)]
)
def test_blocks_of_a_large_catalogue_are_smaller(most: int, items: int, expected: int) -> None:
    assert users_of_block(most, items) == expected


def test_a_model_is_traced_once() -> None:
    held_out, scores = data()
    model = Table(scores)
    evaluator = Evaluator(held_out, [parse_metric("hr@1")], world=World(), n_items=ITEMS)
    assert evaluator.evaluate(model) == evaluator.evaluate(model)
    assert model.calls == 1


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_block_size_changes_nothing(block: int) -> None:
    assert evaluate(World(), block) == evaluate(World())


def test_standard_error_by_hand() -> None:
    rows = [np.array([], int)] * 4
    held_out = held(csr(rows), csr([np.array([0]), np.array([0]), np.array([1]), np.array([0])]))
    evaluator = Evaluator(held_out, [parse_metric("hr@1")], world=World(), n_items=ITEMS)
    scores = tf.one_hot([0, 0, 0, 0], ITEMS)
    estimate = evaluator.evaluate(Table(scores)).metrics["hr@1"]
    assert estimate.mean == 0.75
    assert estimate.standard_error == pytest.approx(0.5 / 2)  # sample deviation of 1, 1, 0, 1 is 0.5; n is 4


def test_a_list_longer_than_the_catalogue() -> None:
    held_out, scores = data()
    evaluator = Evaluator(held_out, [parse_metric("recall@100")], world=World(), n_items=ITEMS)
    assert evaluator.evaluate(Table(scores)).metrics["recall@100"].mean == pytest.approx(1.0)


def test_scores_that_are_not_numbers_fail() -> None:
    held_out, _ = data()
    evaluator = Evaluator(held_out, [parse_metric("hr@1")], world=World(), n_items=ITEMS)
    with pytest.raises(ValueError, match="not numbers"):
        evaluator.evaluate(Table(np.full((USERS, ITEMS), np.nan)))


def test_nobody_with_anything_to_find_is_an_error() -> None:
    nothing = csr([np.array([], int)] * 3)
    evaluator = Evaluator(held(nothing, nothing), [parse_metric("hr@1")], world=World(), n_items=ITEMS)
    with pytest.raises(ValueError, match="anything to find"):
        evaluator.evaluate(Table(np.zeros((3, ITEMS))))


def test_blocks_in_flight_keep_their_order() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(k: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02 * (k % 3 == 0))
        with lock:
            running -= 1
        return k * k

    assert list(in_flight(work, range(9), 2)) == [(k, k * k) for k in range(9)]
    assert most == 2
    assert list(in_flight(work, [], 2)) == []


def test_a_failure_in_flight_is_raised() -> None:
    def work(k: int) -> int:
        if k == 3:
            raise ValueError("three")
        return k

    with pytest.raises(ValueError, match="three"):
        list(in_flight(work, range(9), 2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_score_that_is_no_number_is_found(bad: float) -> None:
    """Of one user, at an item that is not hidden, beside the minus infinity of those that are."""
    held_out, scores = data()
    user = int(np.flatnonzero(np.diff(held_out.fold_in.indptr))[0])
    item = next(i for i in range(ITEMS) if i not in held_out.fold_in.rows(np.array([user]))[0])
    scores[user, item] = bad
    evaluator = Evaluator(held_out, [parse_metric("hr@1")], world=World(), n_items=ITEMS)
    with pytest.raises(ValueError, match="not numbers"):
        evaluator.evaluate(Table(scores))


def test_minus_infinity_is_a_score() -> None:
    """It comes last, and nothing is refused: one user who wants item 7, where it alone is minus infinity, and one who
    wants item 3."""
    held_out = held(csr([np.array([], int)] * 2), csr([np.array([7]), np.array([3])]))
    scores = np.zeros((2, ITEMS), np.float32)
    scores[:, 7] = -np.inf
    metrics = [parse_metric(f"hr@{ITEMS - 1}"), parse_metric(f"hr@{ITEMS}")]
    found = Evaluator(held_out, metrics, world=World(), n_items=ITEMS).evaluate(Table(scores))
    assert found.metrics[f"hr@{ITEMS - 1}"].mean == 0.5
    assert found.metrics[f"hr@{ITEMS}"].mean == 1.0
