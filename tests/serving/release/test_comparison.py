"""The paired comparison: the same users for both, items by id, without users that the served version was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from recsys_core.config import ALL_USERS
from recsys_core.dataset import Dataset
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.evaluation.paired import PairedDifference, paired_difference
from serving.export_folder import Arrays, ExportFolder
from serving.release import comparison, evaluate, evaluation_users, ranking_metrics
from serving.release.comparison import Comparison
from serving.release.evaluate import Contender
from serving.release.evaluation_users import EvaluationUsers

TOP_K = 4


def _export(folder: Path, items: Sequence[Any]) -> ExportFolder:
    """An export of a model that takes histories, without a model."""
    folder.mkdir()
    ids = pd.DataFrame({"index": range(len(items)), "item_id": items, "title": [None] * len(items)})
    ids.assign(count=range(len(items), 0, -1)).to_parquet(folder / "items.parquet")
    pd.DataFrame({"row": [0], "user_id": [1]}).to_parquet(folder / "users.parquet")
    np.savez(folder / "histories.npz", indptr=np.array([0, 0]), item_ids=np.zeros(0, np.int32))
    inputs = {"item_ids": {"dtype": "int32", "shape": [None, None]}}
    content = {"n_items": len(items), "top_k": TOP_K, "signatures": {"serving": {"inputs": inputs}}}
    return ExportFolder(folder=folder, content={**content, "history_limits": {}, "test": {}, "data_set": "a"})


class _InOrder:
    """An engine that recommends the items that are not in the history in one order."""

    outputs = frozenset({"items", "scores"})

    def __init__(self, order: Sequence[int]) -> None:
        self._order = order

    def __call__(self, inputs: Mapping[str, npt.NDArray], outputs: Sequence[str] = ("items", "scores")) -> Arrays:
        del outputs
        rows = [[i for i in self._order if i not in set(row.tolist())][:TOP_K] for row in inputs["item_ids"]]
        items = np.array([row + [-1] * (TOP_K - len(row)) for row in rows], np.int32)
        scores = np.where(items >= 0, -np.arange(TOP_K, dtype=np.float32), -np.inf).astype(np.float32)
        return {"items": items, "scores": scores}


def _contender(folder: Path, items: Sequence[Any], order: Sequence[int]) -> Contender:
    return Contender(export=_export(folder, items), open_engine=lambda: _InOrder(order), history_limit=None)


def _users(rows: Sequence[tuple[Sequence[str], Sequence[str]]]) -> EvaluationUsers:
    return EvaluationUsers(
        user_ids=tuple(f"u{k}" for k in range(len(rows))),
        histories=tuple(tuple(history) for history, _ in rows),
        relevant=tuple(frozenset(found) for _, found in rows),
        are_training_users=False,
    )


def test_items_are_matched_by_id_whatever_their_index_and_type(tmp_path: Path) -> None:
    """The same recommendations by two models with other indices, one with ids that are text: equal values."""
    users = _users([(["7"], ["9", "5"]), (["5", "9"], ["7"]), (["unknown", "7"], ["9"])])
    numbers = _contender(tmp_path / "numbers", [5, 7, 9], [0, 1, 2])
    texts = _contender(tmp_path / "texts", ["9", "7", "5", "other"], [2, 1, 0, 3])
    metric = parse_metric("recall@2")
    expected = [1.0, 1.0, 1.0]
    assert evaluate.user_values(numbers, users, metric).tolist() == expected
    assert evaluate.user_values(texts, users, metric).tolist() == expected


def test_an_item_that_a_model_does_not_know_is_missed(tmp_path: Path) -> None:
    users = _users([(["1"], ["2", "3"]), (["1"], [])])
    served = _contender(tmp_path / "old", [1, 2], [0, 1])
    found = evaluate.user_values(served, users, parse_metric("recall@2"))
    assert found[0] == 0.5 and np.isnan(found[1]), "one of two is known; nobody is measured without items to find"
    assert evaluate.unknown_items(served, users) == 1
    with pytest.raises(ValueError, match=r"--metric ndcg@100: .* answers with up to 4 items"):
        evaluate.user_values(served, users, parse_metric("ndcg@100"))


def test_the_metrics_are_those_of_the_evaluator() -> None:
    from recsys_core.evaluation import metrics

    rng = np.random.default_rng(3)
    hits, relevant = rng.random((40, 10)) < 0.3, rng.integers(0, 15, 40)
    hits &= hits.cumsum(axis=1) <= relevant[:, None]
    for name in ranking_metrics.METRICS:
        metric = parse_metric(f"{name}@7")
        expected = metrics.values([metric], hits, relevant.astype(np.int64)).numpy()[:, 0]
        found = ranking_metrics.values(metric, hits, relevant)
        np.testing.assert_allclose(found[relevant > 0], expected[relevant > 0])
        assert np.isnan(found[relevant == 0]).all()


def test_the_metric_that_is_chosen() -> None:
    assert str(ranking_metrics.choose(None, ["auc", "hr@10/sampled", "ndcg@10"])) == "hr@10"
    assert str(ranking_metrics.choose("recall@20", [])) == "recall@20"
    for given, why in (
        ("hr@10/sampled", "versions are compared over the whole catalogue; write hr@10"),
        ("coverage@10", "cannot be compared user by user"),
        ("nonsense", "unknown metric 'nonsense'"),
    ):
        with pytest.raises(ValueError, match=why):
            ranking_metrics.choose(given, [])
    with pytest.raises(ValueError, match="give --metric"):
        ranking_metrics.choose(None, ["auc"])


def _of(differences: Sequence[float], margin: float = 0.01) -> Comparison:
    difference = paired_difference(differences, np.zeros(len(differences)))
    return Comparison(
        served=1, metric="ndcg@100", candidate_mean=0.5, served_mean=0.5, difference=difference, margin=margin, notes=()
    )


def test_non_inferiority() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 10_000)
    noise -= noise.mean()  # the interval of the mean of so many users is +- 0.002
    assert _of(noise).passed, "the same, shown well enough"
    assert not _of(noise[:100] - noise[:100].mean()).passed, "the same, but not shown by 100 users"
    assert "do not show that it is less than 0.01 worse (about" in _of(noise[:100] - noise[:100].mean()).refusal()
    assert _of(noise - 0.005).passed, "worse by less than the margin"
    assert not _of(noise - 0.009).passed, "the interval reaches over the margin"
    assert not _of(noise - 0.02).passed and "it is worse than what is served" in _of(noise - 0.02).refusal()
    assert _of([0.0, 0.0, 0.0]).passed, "the same model"
    assert not _of(noise, margin=0.0).passed, "a margin of 0 asks for a better one"
    assert _of(noise + 0.01, margin=0.0).passed


def test_no_number_does_not_pass() -> None:
    nothing = PairedDifference(mean=np.nan, standard_error=np.nan, low=np.nan, high=np.nan, confidence=0.95, users=2)
    found = Comparison(served=1, metric="m", candidate_mean=0, served_mean=0, difference=nothing, margin=1, notes=())
    assert not found.passed and found.refusal().startswith("not published")


def test_the_users_needed_would_do() -> None:
    rng = np.random.default_rng(1)
    few = _of(rng.normal(0.0, 0.1, 200))
    assert not few.passed and few.users_needed is not None
    many = np.tile(rng.normal(0.0, 0.1, 200), few.users_needed // 200 + 2)
    assert _of(many - many.mean() + few.difference.mean).passed


FRAME = pd.DataFrame(
    [(u, i) for u in range(300) for i in range(40) if (u * 7 + i * 3) % 5 < 2], columns=["user", "item"]
)


def _split(seed: int) -> Dataset:
    return Dataset.from_frame(FRAME).split("users", held_out=100, seed=seed)


def test_users_of_the_served_versions_training_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two splits of the same people: most test users of the new one were training users of the old one."""
    new, old = _split(1), _split(2)
    users = evaluation_users.read_users(new)
    assert len(users) == new.held_out("test").n_users
    table = old.users
    trained = {str(u) for u in table[table["split"] == "train"]["user_id"]}
    monkeypatch.setattr(Dataset, "open", classmethod(lambda cls, folder: old))
    served: dict[str, Any] = {"data_set": old.fingerprint, "data": {"folder": str(tmp_path), "view": ""}}
    seen = evaluation_users.trained_on(users, new.fingerprint, served, None)
    assert seen is not None and seen.tolist() == [u in trained for u in users.user_ids] and seen.any()
    same = {"data_set": new.fingerprint, "data": {"folder": "gone", "view": ""}}
    assert not evaluation_users.trained_on(users, new.fingerprint, same, None).any()  # type: ignore[union-attr]
    fitted = {"data_set": new.fingerprint, "data": {"folder": "gone", "view": ALL_USERS}}
    assert evaluation_users.trained_on(users, new.fingerprint, fitted, None).all()  # type: ignore[union-attr]
    assert evaluation_users.trained_on(users, new.fingerprint, {"data_set": "x"}, None) is None
    with pytest.raises(ValueError, match="--served-data .* is not the data set"):
        evaluation_users.trained_on(users, new.fingerprint, {"data_set": "x"}, tmp_path)


def test_who_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    users = _users([([], ["1"])] * 300)
    for seen, left, said in (
        (None, 300, "is not known, because its data set is not at hand"),
        (0, 300, ""),
        (150, 150, "150 more test users are left out: the served version was trained on them"),
        (250, 300, "trained on 250 of these users; that favours the served version"),
    ):
        mask = None if seen is None else np.arange(300) < seen
        monkeypatch.setattr(evaluation_users, "trained_on", lambda *_, mask=mask: mask)
        found, notes = comparison._users_to_compare(users, "", {}, None)
        assert len(found) == left and said in " ".join(notes)


def test_items_that_were_trained_on_count_where_items_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test item of the new data set was a training item of the old one for some users, and for others not."""
    frame = FRAME.assign(time=FRAME.groupby("user").cumcount())
    new = Dataset.from_frame(frame, time="time").split("leave-one-out", negatives=10)
    more = pd.DataFrame({"user": range(150), "item": 77, "time": 10**6})
    old = Dataset.from_frame(pd.concat([frame, more]), time="time").split("leave-one-out", negatives=10)
    users = evaluation_users.read_users(new)
    assert users.are_training_users
    monkeypatch.setattr(Dataset, "open", classmethod(lambda cls, folder: old))
    served = {"data_set": old.fingerprint, "data": {"folder": "there", "view": "final-fit"}}
    seen = evaluation_users.trained_on(users, new.fingerprint, served, None)
    assert seen is not None
    assert seen.tolist() == [int(u) < 150 for u in users.user_ids]
