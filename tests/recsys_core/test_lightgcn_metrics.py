"""Recall@20 and NDCG@20 as LightGCN's authors compute them, by another program, on random data.

Written after the two published programs (kuandeng/LightGCN, gusye1234/LightGCN-PyTorch), with their steps: mask the
training items, take the best 20, mark which are test items, sum over users, divide by the users who have test items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.matrices import HeldOut
from recsys_core.world import World
from tests.item_splits import csr
from tests.models import Table

K, USERS, ITEMS = 20, 70, 90
MASKED = -(2.0**10)


def of_lightgcn(scores: npt.NDArray, trained: list[list[int]], wanted: list[list[int]]) -> tuple[float, float]:
    """Recall@20 and NDCG@20."""
    recall, ndcg, users = 0.0, 0.0, 0
    for row, known, truth in zip(scores, trained, wanted, strict=True):
        if not truth:  # their dictionary of test items has no such user
            continue
        rated = row.astype(np.float64)
        rated[known] = MASKED
        best = np.argsort(-rated, kind="stable")[:K]
        label = np.isin(best, truth).astype(float)
        ideal = np.zeros(K)
        ideal[: min(K, len(truth))] = 1
        gains = 1 / np.log2(np.arange(2, K + 2))
        recall += label.sum() / len(truth)
        ndcg += (label * gains).sum() / (ideal * gains).sum()
        users += 1
    return recall / users, ndcg / users


def random_data() -> tuple[npt.NDArray, list[list[int]], list[list[int]]]:
    """Scores [U, I], training items and test items of each user: none, few, or more than K."""
    rng = np.random.default_rng(8)
    trained, wanted = [], []
    for user in range(USERS):
        items = rng.permutation(ITEMS).tolist()
        cut, count = int(rng.integers(1, 30)), (0, 3, 20, 35)[user % 4]
        trained.append(sorted(items[:cut]))
        wanted.append(sorted(items[cut : cut + count]))
    return rng.normal(size=(USERS, ITEMS)).astype(np.float32), trained, wanted


@pytest.mark.parametrize("device_bytes", [0.0, 1e9])
def test_both_are_lightgcns(device_bytes: float) -> None:
    scores, trained, wanted = random_data()
    held_out = HeldOut(
        fold_in=csr(trained, ITEMS), fold_out=csr(wanted, ITEMS), train_rows=np.arange(USERS, dtype=np.int32)
    )
    names = ("uncapped-recall@20", "ndcg@20", "recall@20")
    evaluator = Evaluator(
        held_out, [parse_metric(n) for n in names], world=World(), n_items=ITEMS, device_bytes=device_bytes
    )
    found = evaluator.evaluate(Table(scores))
    recall, ndcg = of_lightgcn(scores, trained, wanted)
    assert found.users_without_relevant == 18 and found.users == 52
    assert found.metrics["uncapped-recall@20"].mean == pytest.approx(recall, rel=1e-12)
    assert found.metrics["ndcg@20"].mean == pytest.approx(ndcg, rel=1e-12)
    assert found.metrics["recall@20"].mean > recall * 1.05  # users with 35 items to be found
