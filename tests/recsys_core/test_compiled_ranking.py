"""Evaluation by compiled programs against evaluation by TensorFlow's own operators, which has tests of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from recsys_core.dataset import Dataset
from recsys_core.errors import SharedError
from recsys_core.evaluation.compiled_ranking import blocks_of, fits, users_at_once
from recsys_core.evaluation.evaluator import Evaluation, Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.evaluation.user_table import whole_table
from recsys_core.input.chunks import HistoryPart
from recsys_core.matrices import HeldOut, csr_from_scipy
from recsys_core.world import World
from tests.models import Table, neumf
from tests.recsys_core.test_evaluator import ITEMS, NAMES, USERS, Part, data
from vaecf.model import MultVae

ALL_AT_ONCE, SEVERAL_BLOCKS = 1e9, 9_000.0
"""Budgets in bytes: a `Table` says that a user takes 1,000."""


def evaluator(held_out: HeldOut, names: Any = NAMES, device_bytes: float = 0.0, **options: Any) -> Evaluator:
    defaults = {"world": World(), "n_items": ITEMS, "block_size": 8}
    return Evaluator(held_out, [parse_metric(n) for n in names], device_bytes=device_bytes, **(defaults | options))


def same(found: Evaluation, expected: Evaluation) -> bool:
    """Alike but for the order in which float64 values are added up."""
    pairs = [(found.metrics[name], value) for name, value in expected.metrics.items()]
    return (found.users, found.users_without_relevant, list(found.metrics)) == (
        expected.users, expected.users_without_relevant, list(expected.metrics),
    ) and all(
        a.mean == pytest.approx(b.mean, rel=1e-12) and a.standard_error == pytest.approx(b.standard_error, rel=1e-10)
        for a, b in pairs
    )  # fmt: skip


@pytest.fixture
def resident(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small budgets cut blocks, but do not send the data away."""
    monkeypatch.setattr("recsys_core.evaluation.evaluator.fits", lambda held_out, budget: True)


@pytest.mark.parametrize("budget", [ALL_AT_ONCE, SEVERAL_BLOCKS])
def test_ties_and_users_without_items_rank_alike(budget: float, resident: None) -> None:
    held_out, scores = data()
    expected = evaluator(held_out).evaluate(Table(scores))
    assert same(evaluator(held_out, device_bytes=budget).evaluate(Table(scores)), expected)


@pytest.mark.parametrize("size", [2, 5])
def test_ranks_share_the_users(size: int, resident: None) -> None:
    held_out, scores = data()
    expected, seen = evaluator(held_out)._ranked(Table(scores))
    parts = [evaluator(held_out, device_bytes=SEVERAL_BLOCKS, world=Part(k, size)) for k in range(size)]
    found = [part._own(Table(scores)) for part in parts]
    assert sum(whole_table(own, USERS, World()) for own, _, _ in found) == pytest.approx(expected, rel=1e-12)
    assert (sum(shown for _, shown, _ in found) == seen).all()


def test_a_rank_without_users_adds_nothing() -> None:
    held_out, scores = data()
    own, seen, _ = evaluator(held_out, device_bytes=ALL_AT_ONCE, world=Part(1, 2))._own(Table(scores))
    assert (own.users.shape, own.values.shape) == ((0,), (0, 5)) and not seen.any()


@pytest.mark.parametrize("names", [("ndcg@200", "coverage@200"), ("recall@40",), ("coverage@3",)])
def test_lists_longer_than_the_catalogue_and_single_metrics(names: tuple[str, ...]) -> None:
    held_out, scores = data()
    expected = evaluator(held_out, names[:1] if "200" in names[0] else names).evaluate(Table(scores))
    found = evaluator(held_out, names, device_bytes=ALL_AT_ONCE).evaluate(Table(scores))
    assert found.as_json()["metrics"].items() >= expected.as_json()["metrics"].items()  # type: ignore[attr-defined]
    if "coverage@200" in names:  # every item that some user does not have yet; what is hidden is no recommendation
        assert found.metrics["coverage@200"].mean == 1.0


def test_sampled_candidates_with_repeats_and_ties() -> None:
    held_out, scores = data()
    rng = np.random.default_rng(5)
    sampled = replace(held_out, candidates=rng.integers(0, ITEMS, (USERS, 12)).astype(np.int32))
    names = ("hr@3/sampled", "ndcg@10/sampled", "recall@5/all", "coverage@2/all")
    expected = evaluator(sampled, names).evaluate(Table(scores))
    assert same(evaluator(sampled, names, device_bytes=ALL_AT_ONCE).evaluate(Table(scores)), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_numbers_are_refused(bad: float) -> None:
    held_out, scores = data()
    scores[17, 5], scores[17, 6] = bad, -bad
    with pytest.raises(SharedError, match="scores that are not numbers"):
        evaluator(held_out, device_bytes=ALL_AT_ONCE).evaluate(Table(scores))


def test_one_graph_serves_both_sets_and_all_evaluations() -> None:
    held_out, scores = data()
    model = Table(scores)
    first = evaluator(held_out, device_bytes=ALL_AT_ONCE)
    one = first.evaluate(model)
    assert same(first.of(held_out).evaluate(model), one)
    assert same(first.evaluate(model), one)
    assert model.calls == 1


def test_many_items_are_ranked_by_groups() -> None:
    """7,000 items and K = 20: only the groups with the best maxima are sorted."""
    rng = np.random.default_rng(0)
    rows = sp.random(30, 7000, density=0.01, random_state=1, format="csr")
    known, wanted = csr_from_scipy(rows), csr_from_scipy(sp.random(30, 7000, density=0.01, random_state=2))
    held_out = HeldOut(fold_in=known, fold_out=wanted, train_rows=np.arange(30, dtype=np.int32))
    model = Table(rng.integers(0, 50, (30, 7000)).astype(np.float32))
    names = ("ndcg@20", "recall@20", "coverage@20")
    expected = evaluator(held_out, names, n_items=7000).evaluate(model)
    assert same(evaluator(held_out, names, device_bytes=ALL_AT_ONCE, n_items=7000).evaluate(model), expected)


@pytest.mark.parametrize("dense_items", [1 << 16, 8])
def test_scores_of_mult_vae(dense_items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By dense rows and by looked-up rows; histories from none to 40 items, more than one chunk."""
    monkeypatch.setattr("vaecf.dense.DENSE_ITEMS", dense_items)
    rng = np.random.default_rng(3)
    rows = sp.csr_matrix(rng.random((9, 50)) < np.linspace(0, 0.8, 9)[:, None])
    known = csr_from_scipy(rows.astype(np.float32))
    model = MultVae(Dataset.empty(1, 50), seed=4)
    for variable in model.parameters:
        variable.assign(rng.normal(0, 0.4, variable.shape))
    block = blocks_of(HeldOut(fold_in=known, fold_out=known), World(), 5)
    assert block is not None and block.users.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, -1]]
    score = tf.function(model.part_scores, jit_compile=True, autograph=False)
    found = []
    for k in range(2):
        part = [np.asarray(field[k]) for field in (block.train_rows, block.counts, block.items, block.rows)]
        kinds = (tf.int64, tf.float32, tf.int32, tf.int32)
        found.append(score(HistoryPart(*map(tf.constant, part, kinds))).numpy())
    dense = rows.toarray().astype(np.float64)
    x = dense / np.sqrt(np.maximum(dense.sum(axis=1, keepdims=True), 1))
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = ((w.numpy(), b.numpy()) for w, b in (*model.encoder, *model.decoder))
    code = (np.tanh(x @ w1 + b1) @ w2 + b2)[:, : model.latent]
    expected = np.tanh(code @ w3 + b3) @ w4 + b4
    assert np.concatenate(found)[:9] == pytest.approx(expected, abs=2e-3)


def test_scores_of_neumf() -> None:
    model = neumf(6, 70, kind="neumf", factors=4, layers=(8, 6, 3), biases=True)
    rng = np.random.default_rng(3)
    for variable in model.parameters:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    part = HistoryPart(tf.constant([4, -1, 0], tf.int64), tf.zeros([3]), tf.zeros([1, 32], tf.int32), tf.zeros([1]))
    scores = tf.function(model.part_scores, jit_compile=True, autograph=False)(part).numpy()
    expected = model.catalogue(tf.constant([4, 0])).numpy()
    assert scores[[0, 2]] == pytest.approx(expected, abs=1e-5)
    candidates = tf.constant([[3, 69], [0, 0], [5, 5]])
    picked = tf.function(model.part_candidate_scores, jit_compile=True, autograph=False)(part, candidates).numpy()
    assert picked[[0, 2]] == pytest.approx(np.array([expected[0, [3, 69]], expected[1, [5, 5]]]), abs=1e-5)


@pytest.mark.parametrize(
    ("bytes_of_user", "budget", "users", "expected"),
    [
        (1000, 1e9, 53, 53),
        (1, 1e9, 10_000, 2000),
        (1000, 9_000, 53, 9),
        (1000, 10_000, 21, 7),
        (1000, 1, 3, 1),
        (1000, 1e9, 0, 1),
    ],
)
def test_blocks_are_even(bytes_of_user: int, budget: float, users: int, expected: int) -> None:
    assert users_at_once(bytes_of_user, budget, users) == expected


def test_data_that_do_not_fit_stay_where_they_are() -> None:
    held_out, scores = data()
    # A chunk of 32 items and its row for each user with known items, and with items to find; four numbers a user.
    chunks = sum(int((np.diff(m.indptr) > 0).sum()) for m in (held_out.fold_in, held_out.fold_out))
    needed = 4 * 1.25 * 8 * (33 * chunks + 4 * USERS)
    assert fits(held_out, needed) and not fits(held_out, needed - 1)
    small = evaluator(held_out, device_bytes=64.0)
    assert same(small.evaluate(Table(scores)), evaluator(held_out).evaluate(Table(scores)))
    assert not small._compiled_rankings
