"""What a served model answers: order, what is left out, and what is padded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

import ncf_tf.export
from ncf_tf.export import NcfModuleWithUsers as NcfModule
from ncf_tf.export import users_at_once
from recsys_core.matrices import Csr
from recsys_core.rankings import answers_agree
from tests.models import neumf

ITEMS = 7
SCORES = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6],
        [6, 5, 4, 3, 2, 1, 0],
        [2, 2, 5, 2, 1, 5, 2],
        [3, 0, -4, 9, -1, 2, 1],
    ],
    np.float32,
)
SEEN = [[6, 4], [], [2], [0, 1, 3, 4, 5, 6]]


def recommender(top_k: int = 4) -> NcfModule:
    """A GMF whose logits are a table typed in: an item's factors are a column of it, a user's are one-hot."""
    users = len(SCORES)
    model = neumf(users, ITEMS, kind="gmf", factors=users)
    for variable, value in zip(model.parameters, (np.eye(users), SCORES.T, np.ones((users, 1)), [0]), strict=True):
        variable.assign(value)
    indptr = np.concatenate([[0], np.cumsum([len(s) for s in SEEN])]).astype(np.int64)
    indices = np.concatenate([sorted(s) for s in SEEN]).astype(np.int32)
    return NcfModule(model, Csr(indptr=indptr, indices=indices, n_items=ITEMS), top_k)


def recommend(users: list[int], top_k: int = 4, way: str = "recommend") -> dict[str, npt.NDArray]:
    made = recommender(top_k)  # its graphs hold it weakly
    return {n: t.numpy() for n, t in getattr(made, way)(tf.constant(users, tf.int32)).items()}


def rank(users: list[int], candidates: list[list[int]], top_k: int = 4) -> dict[str, npt.NDArray]:
    made = recommender(top_k)
    got = made.rank(tf.constant(users, tf.int32), tf.constant(candidates, tf.int32))
    return {n: t.numpy() for n, t in got.items()}


NONE = -np.inf


WAYS = pytest.mark.parametrize("way", ["recommend", "recommend_compiled"])


@WAYS
def test_the_best_new_items_in_order(way: str) -> None:
    got = recommend([0, 1, 2], way=way)
    assert got["items"].dtype == np.int32
    assert got["scores"].dtype == np.float32
    assert got["items"].tolist() == [[5, 3, 2, 1], [0, 1, 2, 3], [5, 0, 1, 3]]  # of equals the lower index first
    assert got["scores"].tolist() == [[5, 3, 2, 1], [6, 5, 4, 3], [5, 2, 2, 2]]


@WAYS
def test_users_in_any_order_and_again(way: str) -> None:
    assert recommend([2, 0, 2], way=way)["items"].tolist() == [[5, 0, 1, 3], [5, 3, 2, 1], [5, 0, 1, 3]]
    assert recommend([], way=way)["items"].shape == (0, 4)


@WAYS
def test_nothing_left_is_marked(way: str) -> None:
    got = recommend([3], way=way)
    assert got["items"].tolist() == [[2, -1, -1, -1]]
    assert got["scores"].tolist() == [[-4, NONE, NONE, NONE]]


@pytest.mark.parametrize("top_k", [1, 2, 7, 100])
def test_an_answer_is_as_long_as_asked_or_the_catalogue(top_k: int) -> None:
    got = recommend([0, 1], top_k)
    assert got["items"].tolist() == [[5, 3, 2, 1, 0, -1, -1][:top_k], [0, 1, 2, 3, 4, 5, 6][:top_k]]


def test_equals_a_sort_of_the_catalogue() -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((20, 60)) < 0.3
    model = neumf(20, 60, factors=4, layers=(8, 5))
    for variable in model.parameters:
        variable.assign(rng.normal(size=variable.shape))
    indptr = np.concatenate([[0], np.cumsum(dense.sum(axis=1))]).astype(np.int64)
    train = Csr(indptr=indptr, indices=np.nonzero(dense)[1].astype(np.int32), n_items=60)
    users = rng.permutation(20)[:9]
    short, long = NcfModule(model, train, 10), NcfModule(model, train, 60)
    got = short.recommend(tf.constant(users, tf.int32))
    scores = np.where(dense, NONE, model.catalogue(tf.range(20)).numpy())[users]
    assert got["items"].numpy().tolist() == np.argsort(-scores, axis=1)[:, :10].tolist()
    assert got["scores"].numpy() == pytest.approx(-np.sort(-scores, axis=1)[:, :10], abs=1e-5)
    candidates = tf.constant(np.tile(np.arange(60), (9, 1)), tf.int32)
    ranked = long.rank(tf.constant(users, tf.int32), candidates)
    everything = model.catalogue(tf.range(20)).numpy()[users]
    assert ranked["items"].numpy().tolist() == np.argsort(-everything, axis=1).tolist()


def test_candidates_in_order_with_padding_last() -> None:
    got = rank([0, 1, 3], [[1, 6, 3, -1], [-1, 4, -1, 2], [-1, -1, -1, 2]])
    assert got["items"].dtype == np.int32
    assert got["items"].tolist() == [[6, 3, 1, -1], [2, 4, -1, -1], [2, -1, -1, -1]]
    assert got["scores"].tolist() == [[6, 3, 1, NONE], [4, 2, NONE, NONE], [-4, NONE, NONE, NONE]]


def test_candidates_may_be_known_items() -> None:
    assert rank([3], [[0, 3, 2]])["items"].tolist() == [[3, 0, 2]]


def test_of_equal_candidates_the_first_named_is_first() -> None:
    assert rank([2], [[6, 0, 4, 1]])["items"].tolist() == [[6, 0, 1, 4]]


@pytest.mark.parametrize(("top_k", "expected"), [(1, [6]), (2, [6, 5]), (5, [6, 5, 1, 0, -1]), (100, [6, 5, 1, 0, -1])])
def test_the_cut(top_k: int, expected: list[int]) -> None:
    assert rank([0], [[0, 6, -1, 1, 5]], top_k)["items"].tolist() == [expected]


def test_no_candidates() -> None:
    made = recommender()
    got = made.rank(tf.constant([0, 1]), tf.zeros([2, 0], tf.int32))
    assert got["items"].shape == (2, 0)


@pytest.mark.parametrize(("n_items", "widest", "users"), [(3_706, 256, 256), (26_744, 256, 32), (100, 10**9, 1)])
def test_users_at_once_bound_the_memory(n_items: int, widest: int, users: int) -> None:
    """4 bytes for each hidden unit of each user and item: at most 1 GiB, unless one user takes more."""
    assert users_at_once(n_items, widest) == users


@pytest.mark.parametrize("numbers", [1 << 28, 1000])
@pytest.mark.parametrize(
    "settings", [{"layers": (32, 16, 8)}, {"kind": "gmf"}, {"kind": "mlp", "layers": (16, 4)}], ids=str
)
def test_the_compiled_signatures_give_the_answers(
    settings: dict, numbers: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also of a loaded SavedModel; 1,000 numbers are less than one user's, so that users are taken one by one."""
    monkeypatch.setattr(ncf_tf.export, "COMPILED_NUMBERS", numbers)
    rng = np.random.default_rng(0)
    dense = rng.random((12, 700)) < 0.2
    model = neumf(12, 700, factors=8, **settings)
    for variable in model.parameters:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    indptr = np.concatenate([[0], np.cumsum(dense.sum(axis=1))]).astype(np.int64)
    module = NcfModule(model, Csr(indptr=indptr, indices=np.nonzero(dense)[1].astype(np.int32), n_items=700), 10)
    names = ("recommend_compiled", "serving_compiled")
    tf.saved_model.save(module, str(tmp_path), signatures={name: getattr(module, name) for name in names})
    loaded = tf.saved_model.load(str(tmp_path)).signatures
    users = rng.integers(0, 12, 5).astype(np.int32)
    seen = np.where(dense[users], np.arange(700), 700).astype(np.int32)
    expected = {n: t.numpy() for n, t in module.recommend(tf.constant(users)).items()}
    for name, inputs in (("recommend_compiled", {}), ("serving_compiled", {"item_ids": tf.constant(seen)})):
        got = {n: t.numpy() for n, t in loaded[name](user_ids=tf.constant(users), **inputs).items()}
        assert answers_agree(expected, got), name
