"""The published format of NGCF and LightGCN: one line a user, train and test, evaluated over the whole catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recsys_core import Dataset, Trainer
from recsys_core.evaluation.baselines import Popularity
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.input.batches import Histories
from recsys_core.world import World
from tests.conftest import Command
from vaecf import MultVae

# Users and their items. User 4 has no training items, user 5 no test items; item 9 is in no training list.
TRAIN = "0 1 2 3\n1 1 2\n2 1 4\n3 2 5 6\n5 1 7\n"
TEST = "0 4 5\n1 3 4 9\n2 2\n3 1\n4 1 2\n5\n"


def prepared(folder: Path, train: str, test: str, python: Command, *words: str) -> Path:
    (folder / "train.txt").write_text(train)
    (folder / "test.txt").write_text(test)
    files = ("--train", folder / "train.txt", "--test", folder / "test.txt")
    done = python("data_prep", "table", *files, "--protocol", "given", *words, "--out", folder / "data")
    assert done.returncode == 0, done.stderr
    return folder / "data"


def test_hand_computed_values(tmp_path: Path, python: Command) -> None:
    """Popularity of training and validation lists: item 1 has 4 users, 2 has 3, the others 1 (9 none)."""
    data = Dataset.open(prepared(tmp_path, TRAIN, TEST, python, "--validation-share", "0.4"))
    assert data.items["item_id"].tolist() == [1, 2, 3, 4, 5, 6, 7, 9]
    assert data.manifest["counts"]["new_users_in_test"] == 1
    test = data.held_out("test")
    assert test.train_rows is not None
    users = data.users["user_id"].to_numpy()[test.train_rows].tolist()
    assert users == [0, 1, 2, 3]
    known = {u: sorted(test.fold_in.rows(np.array([k]))[0].tolist()) for k, u in enumerate(users)}
    assert known == {0: [0, 1, 2], 1: [0, 1], 2: [0, 3], 3: [1, 4, 5]}  # all of a user's training file is masked
    popularity = Popularity(data)
    popularity.allocate()
    popularity.counts.assign(np.array([4, 3, 1, 2, 1, 1, 1, 0], np.float32))
    metrics = [parse_metric(text) for text in ("uncapped-recall@2", "ndcg@2", "uncapped-recall@20", "ndcg@20")]
    found = Evaluator(test, metrics, world=World(), n_items=data.n_items).evaluate(popularity).metrics
    # Ranked: user 0: 4, 5 (both right). User 1: 4, 3 (two of three). User 2: 2 (right), 3. User 3: 1 (right), 4.
    assert found["uncapped-recall@2"].mean == pytest.approx((1 + 2 / 3 + 1 + 1) / 4)
    assert found["ndcg@2"].mean == pytest.approx(1.0)
    # With 20 all items of the catalogue are ranked: user 1 finds item 9 last of six (3, 4, 5, 6, 7, 9 by popularity).
    assert found["uncapped-recall@20"].mean == pytest.approx(1.0)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert found["ndcg@20"].mean == pytest.approx((3 + (1 + 1 / np.log2(3) + 1 / np.log2(7)) / ideal) / 4)


def of_lightgcn(scores: np.ndarray, trained: dict[int, list[int]], wanted: dict[int, list[int]], k: int) -> list[float]:
    """Recall@k and NDCG@k as the published programs compute them, from the lists of the files."""
    recalls, ndcgs = [], []
    for row, user in enumerate(wanted):
        rated = scores[row].astype(float)
        rated[trained[user]] = -1024.0
        best = np.argsort(-rated, kind="stable")[:k]
        hits = np.isin(best, wanted[user]).astype(float)
        gains = 1 / np.log2(np.arange(2, k + 2))
        recalls.append(hits.sum() / len(wanted[user]))
        ndcgs.append((hits * gains).sum() / gains[: min(k, len(wanted[user]))].sum())
    return [float(np.mean(recalls)), float(np.mean(ndcgs))]


def lists_as_text(lists: dict[int, list[int]]) -> str:
    return "".join(f"{' '.join(map(str, [user, *items]))}\n" for user, items in lists.items())


@pytest.mark.slow
def test_a_trained_model_is_judged_as_they_do(tmp_path: Path, python: Command) -> None:
    rng = np.random.default_rng(4)
    items = np.arange(60)
    taste = {u: rng.permutation(items[(items + u) % 3 > 0]).tolist()[: 12 + u % 20] for u in range(150)}
    wanted = {u: own[: 2 + len(own) // 5] for u, own in taste.items()}
    trained = {u: own[len(wanted[u]) :] for u, own in taste.items()}
    data = Dataset.open(prepared(tmp_path, lists_as_text(trained), lists_as_text(wanted), python))
    assert data.items["item_id"].tolist() == items.tolist()
    model = MultVae(data, preset="quick")
    metrics = ("uncapped-recall@20", "ndcg@20")
    run = Trainer(run_dir=tmp_path / "run", epochs=6, metrics=metrics, primary=metrics[0], gate=()).fit(model, data)
    test = data.held_out("test")
    assert test.train_rows is not None and data.users["user_id"].tolist() == list(range(150)) == list(test.train_rows)
    histories = Histories(
        tf.constant(test.fold_in.indices), tf.constant(test.fold_in.indptr), tf.range(150, dtype=tf.int64)
    )
    theirs = of_lightgcn(model.scores(histories).numpy(), trained, wanted, 20)
    assert [run.test[name].value for name in metrics] == pytest.approx(theirs, rel=1e-6)
