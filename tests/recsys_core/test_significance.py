"""Paired comparison: intervals against typed values and an independent formula, and models compared by user."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from recsys_core import Dataset
from recsys_core.errors import UserError
from recsys_core.evaluation.baselines import Ease, Popularity
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.evaluation.significance import compare, paired_difference, per_user
from recsys_core.matrices import Csr, HeldOut, csr_from_scipy, item_table, user_table
from recsys_core.world import World


def test_typed_values() -> None:
    """Differences 0.1, 0.2, 0.3, 0.4: standard deviation 0.12910, t of 3 degrees 3.18245 (from a printed table)."""
    found = paired_difference([0.2, 0.4, 0.6, 0.8], [0.1, 0.2, 0.3, 0.4])
    assert found.mean == pytest.approx(0.25)
    assert found.standard_error == pytest.approx(0.0645497, abs=1e-7)
    assert (found.low, found.high) == (pytest.approx(0.0445739, abs=1e-6), pytest.approx(0.4554261, abs=1e-6))
    assert (found.users, found.confidence) == (4, 0.95)


@pytest.mark.parametrize(("confidence", "quantile"), [(0.90, 1.833113), (0.95, 2.262157), (0.99, 3.249836)])
def test_confidences(confidence: float, quantile: float) -> None:
    """Ten users, so 9 degrees of freedom; quantiles from a printed table of Student's t."""
    found = paired_difference(np.arange(10) / 10, np.zeros(10), confidence=confidence)
    assert found.high - found.mean == pytest.approx(quantile * found.standard_error, rel=1e-6)


def test_the_interval_agrees_with_a_bootstrap() -> None:
    rng = np.random.default_rng(3)
    easy = rng.random(400)  # users differ far more than models do
    first, second = easy + rng.normal(0.02, 0.1, 400), easy
    found = paired_difference(first, second)
    means = (first - second)[rng.integers(0, 400, (4000, 400))].mean(axis=1)
    assert (found.low, found.high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=1e-3)
    apart = math.hypot(first.std(ddof=1), second.std(ddof=1)) / 20
    assert found.standard_error < apart / 3  # what pairing is for


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    intervals = [paired_difference(rng.normal(0.1, 1, 30), np.zeros(30)) for _ in range(2000)]
    assert np.mean([i.low <= 0.1 <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.02)


def test_exchanged_models_have_the_opposite_interval() -> None:
    first, second = np.random.default_rng(5).random((2, 20))
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))


def test_a_user_without_a_value_is_left_out() -> None:
    found = paired_difference([0.2, np.nan, 0.6], [0.1, np.nan, 0.1])
    assert (found.users, found.mean) == (2, pytest.approx(0.3))


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = paired_difference([0.5, 0.7], [0.5, 0.7])
    assert (found.mean, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("values", "reference", "confidence", "message"),
    [
        ([0.1, 0.2], [0.1, 0.2, 0.3], 0.95, r"shape \(2,\) and \(3,\), expected one of each of the same users"),
        ([[0.1, 0.2]], [[0.1, 0.2]], 0.95, r"shape \(1, 2\) and \(1, 2\)"),
        ([0.1, np.nan], [0.1, 0.2], 0.95, "a user has a value of one model only"),
        ([0.1], [0.2], 0.95, "1 users have a value, expected two or more"),
        ([0.1, 0.2], [0.1, 0.2], 95, "confidence is 95, expected a share between 0 and 1, as 0.95"),
    ],
)
def test_what_cannot_be_compared(values: list, reference: list, confidence: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(values, reference, confidence=confidence)


def table() -> pd.DataFrame:
    """80 users with eight of 15 items of their own third."""
    rng = np.random.default_rng(0)
    pairs = [(f"u{u:02d}", f"i{3 * i + u % 3}") for u in range(80) for i in rng.choice(15, 8, replace=False)]
    return pd.DataFrame(pairs, columns=["user", "item"])


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(table()).split("users", held_out=16)


def solved(kind: type, data: Dataset, **settings: float) -> Ease | Popularity:
    model = kind(data, **settings)
    model.solve()
    return model


def test_values_of_users_are_those_behind_the_mean(data: Dataset) -> None:
    model = solved(Ease, data, regularization=5.0)
    for split in ("valid", "test"):
        found = per_user(model, data, "recall@5", split=split)
        users = data.users[data.users["split"] == split].sort_values("index")
        assert found.index.tolist() == users["user_id"].tolist()
        evaluator = Evaluator(data.held_out(split), [parse_metric("recall@5")], world=World(), n_items=data.n_items)
        wanted = evaluator.evaluate(model).metrics["recall@5"]
        assert found.mean() == pytest.approx(wanted.mean)
        assert found.sem() == pytest.approx(wanted.standard_error)


def test_values_by_hand() -> None:
    """Training users have item 1 three times, 2 and 3 twice, 0 once."""

    def rows(matrix: list[list[int]]) -> Csr:
        return csr_from_scipy(sp.csr_matrix(np.array(matrix, np.float32)))

    train = rows([[0, 1, 1, 0], [0, 1, 1, 1], [1, 1, 0, 1]])
    test = HeldOut(fold_in=rows([[0, 1, 0, 0], [0, 0, 1, 0]]), fold_out=rows([[1, 0, 1, 0], [0, 0, 0, 1]]))
    ids = {"train": np.array(["x", "y", "z"]), "valid": np.array(["v", "w"]), "test": np.array(["ann", "bob"])}
    items = item_table(np.array(["a", "b", "c", "d"]), None, train)
    data = Dataset(train=train, valid=test, test=test, item_frame=items, user_frame=user_table(ids))
    found = per_user(solved(Popularity, data), data, "ndcg@3")
    # ann: items 2, 3, 0 are recommended, the first and the third are right: (1 + 0.5) / (1 + 0.63093).
    # bob: items 1, 3, 0, and the second is right: 0.63093 / 1.
    assert found.to_dict() == {"ann": pytest.approx(0.919721, abs=1e-6), "bob": pytest.approx(0.630930, abs=1e-6)}


def test_users_with_nothing_to_find_have_no_value() -> None:
    frame = pd.concat([table(), pd.DataFrame({"user": [f"few{n}" for n in range(40)], "item": "i0"})])
    data = Dataset.from_frame(frame).split("users", held_out=30, min_user_items=1)
    found = per_user(solved(Popularity, data), data)
    few = found.index.str.startswith("few")
    assert few.any() and found[few].isna().all() and found[~few].notna().all()


def test_models_are_compared_with_the_reference(data: Dataset) -> None:
    models = {"popularity": solved(Popularity, data), "ease": solved(Ease, data, regularization=5.0)}
    found = compare(models, data, "ndcg@10", reference="popularity")
    assert found.index.tolist() == ["popularity", "ease"]
    assert found.columns.tolist() == ["mean", "standard_error", "difference", "low", "high", "users"]
    assert found.loc["popularity", ["difference", "low", "high"]].isna().all()
    ease = found.loc["ease"]
    assert ease["difference"] == pytest.approx(ease["mean"] - found.loc["popularity", "mean"])
    assert 0 < ease["low"] < ease["difference"] < ease["high"]  # the thirds can be learnt
    wider = compare(models, data, "ndcg@10", reference="popularity", confidence=0.99)
    assert wider.loc["ease", "low"] < ease["low"]


def test_sampled_metrics_of_leave_one_out() -> None:
    data = Dataset.from_frame(table()).split("leave-one-out", negatives=10)
    model = solved(Ease, data, regularization=5.0)
    found = per_user(model, data, "hr@3/sampled")
    assert set(found) <= {0.0, 1.0} and found.mean() > 0.4
    assert found.index.tolist() == [f"u{u:02d}" for u in range(80)]


def test_what_is_refused(data: Dataset) -> None:
    with pytest.raises(UserError, match="Ease has no parameters yet; fit it first"):
        per_user(Ease(data), data)
    popularity = solved(Popularity, data)
    with pytest.raises(UserError, match="unknown metric 'auc@5'"):
        per_user(popularity, data, "auc@5")
    with pytest.raises(UserError, match="coverage@5 is one value of all users"):
        per_user(popularity, data, "coverage@5")
    with pytest.raises(UserError, match="hr@3/sampled needs candidates"):
        per_user(popularity, data, "hr@3/sampled")
    with pytest.raises(UserError, match="unknown split 'train'"):
        per_user(popularity, data, split="train")
    with pytest.raises(UserError, match="reference is 'ease', expected one of the models: popularity"):
        compare({"popularity": popularity}, data, reference="ease")
