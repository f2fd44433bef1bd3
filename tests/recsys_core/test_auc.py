"""The area under the curve: values typed by hand, and all pairs compared on random scores with many ties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.evaluation.auc import auc, auc_among_candidates
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.evaluation.user_table import whole_table
from recsys_core.matrices import HeldOut
from recsys_core.world import World
from tests.models import Table
from tests.recsys_core.test_evaluator import ITEMS, USERS, Part, csr, data

NAMES = (
    "auc", "mrr@5", "ndcg@10", "novelty@7", "tail-share@7", "ils@3", "popularity-lift@7", "popularity-divergence@7",
    "gini@7", "coverage@7", "auc/all",
)  # fmt: skip
TRAIN = csr([np.flatnonzero(row) for row in np.random.default_rng(8).random((30, ITEMS)) < 0.3])


def area(scores: list[float], relevant: list[int], hidden: int = 0) -> float:
    """Of one user; the last `hidden` columns are not ranked."""
    row = np.array([*scores, *([-np.inf] * hidden)], np.float32)[None]
    rows = tf.zeros([len(relevant)], tf.int64)
    found = auc(tf.constant(row), tf.constant([hidden], tf.int64), rows, tf.constant(relevant, tf.int64))
    return float(found[0])


@pytest.mark.parametrize("hidden", [0, 3])
@pytest.mark.parametrize(
    ("scores", "relevant", "expected"),
    [
        ([4, 3, 2, 1], [0], 1.0),
        ([4, 3, 2, 1], [3], 0.0),
        ([4, 3, 2, 1], [0, 3], 0.5),  # above both, above none
        ([4, 3, 2, 1], [0, 2], 0.75),  # 2 + 1 of 4 pairs
        ([2, 2, 2, 2], [1], 0.5),  # ties count half
        ([4, 2, 2, 1], [1], 0.5),  # above 1, level with 1, below 1: 1.5 of 3
        ([4, 2, 2, 1], [1, 2], 0.5),  # two that tie with each other
        ([4, -math.inf, 2], [1], 0.0),
        ([4, -math.inf, -math.inf], [1], 0.25),  # minus infinity is a score
        ([4, 3], [0, 1], math.nan),  # no other item
        ([4, 3], [], math.nan),
    ],
)
def test_value_by_hand(scores: list[float], relevant: list[int], expected: float, hidden: int) -> None:
    assert area(scores, relevant, hidden) == pytest.approx(expected, nan_ok=True)


def test_candidates_by_hand() -> None:
    """The first is to be found: above 1, level with 1, below 1; the last does not count. Then: no other candidate."""
    scores = tf.constant([[3.0, 1.0, 3.0, 5.0, 0.0], [3.0, 1.0, 1.0, 1.0, 1.0]])
    present = tf.constant([[True, True, True, True, False], [True, False, False, False, False]])
    assert auc_among_candidates(scores, present).numpy().tolist() == pytest.approx([0.5, math.nan], nan_ok=True)


def evaluator(block: int = 8, device_bytes: float = 0.0, world: World | None = None) -> Evaluator:
    return Evaluator(
        data()[0],
        [parse_metric(name) for name in NAMES],
        world=world or World(),
        n_items=ITEMS,
        block_size=block,
        device_bytes=device_bytes,
        train=TRAIN,
    )


def test_against_all_pairs() -> None:
    held_out, scores = data()
    found = evaluator().per_user(Table(scores))["auc"]
    for user in range(USERS):
        known, wanted = (set(m.rows(np.array([user]))[0].tolist()) for m in (held_out.fold_in, held_out.fold_out))
        others = [scores[user, i] for i in range(ITEMS) if i not in known | wanted]
        pairs = [(scores[user, r] > o) + 0.5 * (scores[user, r] == o) for r in wanted for o in others]
        assert found[user] == pytest.approx(np.mean(pairs) if pairs else math.nan, abs=1e-12, nan_ok=True)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return evaluator().per_user(Table(data()[1]))


@pytest.mark.parametrize(("block", "device_bytes"), [(19, 0.0), (8, 9_000.0)])
def test_the_way_of_ranking_changes_nothing(
    block: int, device_bytes: float, expected: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By TensorFlow's operators in blocks of another size, and by compiled programs in several blocks."""
    monkeypatch.setattr("recsys_core.evaluation.evaluator.fits", lambda held_out, budget: True)
    found = evaluator(block, device_bytes)
    values = found.per_user(Table(data()[1]))
    assert list(values) == list(expected) and len(values) == len(NAMES) - 2  # two are of the system
    for name, column in expected.items():
        if device_bytes and name in ("mrr@5", "ndcg@10"):  # XLA adds up in another order
            assert values[name] == pytest.approx(column, rel=1e-12, nan_ok=True)
        else:
            assert np.array_equal(values[name], column, equal_nan=True), name
    assert np.array_equal(values["auc"], values["auc/all"], equal_nan=True)
    system = found.evaluate(Table(data()[1])).metrics
    reference = evaluator().evaluate(Table(data()[1])).metrics
    assert all(system[name].mean == reference[name].mean for name in ("gini@7", "coverage@7"))


def test_ranks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranks use compiled programs, the one that is alone does not."""
    monkeypatch.setattr("recsys_core.evaluation.evaluator.fits", lambda held_out, budget: True)
    model, shared = Table(data()[1]), evaluator(device_bytes=9_000.0)
    table, seen = evaluator()._ranked(model)
    parts = [shared._sharing_graphs(data()[0], Part(rank, 3))._own(model) for rank in range(3)]
    together = sum(whole_table(own, USERS, World()) for own, _, _ in parts)
    assert together == pytest.approx(table, rel=1e-12, nan_ok=True)
    assert (sum(shown for _, shown, _ in parts) == seen).all()


def test_values_are_those_behind_the_means() -> None:
    found = evaluator().evaluate(Table(data()[1]))
    assert set(found.values) == {name for name in found.metrics if not name.startswith(("gini", "coverage"))}
    for name, column in found.values.items():
        assert len(column) == USERS
        assert found.metrics[name].mean == pytest.approx(np.nanmean(column))
        known = found.known_values(name)
        assert found.metrics[name].standard_error == pytest.approx(known.std(ddof=1) / math.sqrt(len(known)))
    assert np.isnan(found.values["ndcg@10"]).sum() == found.users_without_relevant
    assert np.isnan(found.values["popularity-lift@7"]).sum() > found.users_without_relevant  # users without history


def test_hidden_items_are_no_recommendations() -> None:
    """A user has 38 of 40 items: a list of 7 holds the two that are left, and so does one of the compiled ranking."""
    fold_in, fold_out = csr([np.arange(38)]), csr([np.array([39])])
    held_out = HeldOut(fold_in=fold_in, fold_out=fold_out, train_rows=np.zeros(1, np.int32))
    for device_bytes in (0.0, 1e9):
        metrics = [parse_metric(name) for name in ("coverage@7", "gini@7", "mrr@5", "auc")]
        own = Evaluator(held_out, metrics, world=World(), n_items=ITEMS, device_bytes=device_bytes)
        found = own.evaluate(Table(np.zeros((1, ITEMS)))).metrics
        assert found["coverage@7"].mean == 2 / ITEMS
        assert found["gini@7"].mean == pytest.approx(38 / 39)  # (37 x 1 + 39 x 1) / (39 x 2)
        assert found["mrr@5"].mean == 0.5 and found["auc"].mean == 0.5


def test_auc_alone_ranks_without_lists() -> None:
    held_out, scores = data()
    for device_bytes in (0.0, 9_000.0):
        alone = Evaluator(
            held_out, [parse_metric("auc")], world=World(), n_items=ITEMS, device_bytes=device_bytes
        )  # fmt: skip
        assert np.nanmean(alone.per_user(Table(scores))["auc"]) == pytest.approx(
            evaluator().evaluate(Table(scores)).metrics["auc"].mean
        )


def test_lists_need_the_training_matrix() -> None:
    with pytest.raises(ValueError, match="novelty@5 needs the training matrix"):
        Evaluator(data()[0], [parse_metric("novelty@5")], world=World(), n_items=ITEMS)
