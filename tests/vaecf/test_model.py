"""The model against an independent dense forward pass in NumPy, and what training and export promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.dataset import Dataset
from recsys_core.input.batches import Batch, Histories
from recsys_core.rankings import answers_agree
from recsys_core.signatures import HistoryModule
from tests.models import vae
from vaecf.model import MultVae

ITEMS = 23


def dense_forward(model: MultVae, dense: np.ndarray) -> np.ndarray:
    """Liang et al. 2018, figure 2, without dropout and sampling."""
    norms = np.sqrt((dense**2).sum(axis=1, keepdims=True))
    x = np.divide(dense, norms, out=np.zeros_like(dense), where=norms > 0)
    for k, (kernel, bias) in enumerate(model.encoder):
        x = (np.tanh(x) if k else x) @ kernel.numpy() + bias.numpy()
    x = x[:, : model.latent] if model.settings["model"].kind == "vae" else np.tanh(x)
    for k, (kernel, bias) in enumerate(model.decoder):
        x = x @ kernel.numpy() + bias.numpy()
        x = np.tanh(x) if k < len(model.decoder) - 1 else x
    return x


def histories(seed: int = 0) -> tuple[np.ndarray, tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(seed)
    dense = (rng.random((9, ITEMS)) < 0.25).astype(np.float32)
    dense[3] = 0
    splits = np.concatenate([[0], np.cumsum(dense.sum(axis=1))]).astype(np.int64)
    return dense, tf.constant(np.nonzero(dense)[1], tf.int32), tf.constant(splits)


@pytest.mark.parametrize("kind", ["vae", "dae"])
@pytest.mark.parametrize("hidden", [(), (12,), (14, 10)])
def test_scores_equal_the_dense_forward_pass(kind: str, hidden: tuple[int, ...]) -> None:
    model = vae(ITEMS, kind=kind, hidden=hidden, latent=6)
    dense, item_ids, splits = histories()
    assert model.scores(Histories(item_ids, splits, splits[1:])).numpy() == pytest.approx(
        dense_forward(model, dense), abs=1e-5
    )


def test_the_papers_shape() -> None:
    model = vae(50)
    shapes = [tuple(k.shape) for k in model.kernels]
    assert shapes == [(50, 600), (600, 400), (200, 600), (600, 50)]
    biases = np.concatenate([b.numpy() for _, b in (*model.encoder, *model.decoder)])
    assert 0 < np.abs(biases).max() <= 0.002
    first = model.encoder[0][0].numpy()
    assert np.abs(first).max() <= np.sqrt(6 / 650)
    assert first.std() == pytest.approx(np.sqrt(2 / 650), rel=0.05)


def batch(users: np.ndarray, item_ids: tf.Tensor, splits: tf.Tensor, everyone: int) -> Batch:
    return Batch(tf.constant(users, tf.int64), item_ids, splits, tf.constant(3, tf.int64), tf.constant(float(everyone)))


@pytest.mark.parametrize("kind", ["vae", "dae"])
def test_shares_of_two_ranks_add_up(kind: str) -> None:
    """The noise belongs to the users, so the loss and gradients of a batch are the sums over any division of it."""
    model = vae(ITEMS, kind=kind, hidden=(12,), latent=6)
    dense, item_ids, splits = histories()

    def gradients(rows: slice) -> tuple[dict, list[tf.Tensor]]:
        part = dense[rows]
        cut = np.concatenate([[0], np.cumsum(part.sum(axis=1))]).astype(np.int64)
        own = batch(np.arange(9)[rows], tf.constant(np.nonzero(part)[1], tf.int32), tf.constant(cut), 9)
        with tf.GradientTape() as tape:
            terms = model.loss(own, tf.constant(0.4))
        return terms, tape.gradient(terms["loss"], model.parameters)

    whole, left, right = gradients(slice(None)), gradients(slice(0, 4)), gradients(slice(4, None))
    for name in whole[0]:
        assert float(whole[0][name]) == pytest.approx(float(left[0][name]) + float(right[0][name]), rel=1e-5)
    for w, a, b in zip(whole[1], left[1], right[1], strict=True):
        assert w.numpy() == pytest.approx((a + b).numpy(), abs=1e-5)


def test_the_kl_term_rises_to_its_cap() -> None:
    model = vae(ITEMS, hidden=(12,), latent=6, anneal_cap=0.5, anneal_fraction=0.5)
    _, item_ids, splits = histories()
    own = batch(np.arange(9), item_ids, splits, 9)
    for progress, weight in ((0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (0.9, 0.5)):
        terms = model.loss(own, tf.constant(progress))
        assert float(terms["loss"] - terms["nll"]) == pytest.approx(weight * float(terms["kl"]), abs=1e-4)


def test_dropout_and_sampling_only_in_training() -> None:
    model = vae(ITEMS, hidden=(12,), latent=6)
    _, item_ids, splits = histories()
    assert (
        model.scores(Histories(item_ids, splits, splits[1:])).numpy()
        == model.scores(Histories(item_ids, splits, splits[1:])).numpy()
    ).all()
    other = batch(np.arange(9), item_ids, splits, 9)._replace(step=tf.constant(4, tf.int64))
    first = model.loss(batch(np.arange(9), item_ids, splits, 9), tf.constant(0.0))
    assert float(first["nll"]) != float(model.loss(other, tf.constant(0.0))["nll"])


def recommend(model: MultVae, rows: list[list[int]], k: int = 5) -> dict[str, np.ndarray]:
    recommender = HistoryModule(model, k)
    return {n: t.numpy() for n, t in recommender.recommend(tf.constant(rows, tf.int32)).items()}


def test_recommendations_exclude_what_was_given_and_ignore_padding() -> None:
    model = vae(ITEMS, hidden=(12,), latent=6)
    pad = ITEMS
    got = recommend(model, [[3, 5, pad, pad], [pad, 5, pad, 3], [pad] * 4])
    assert not set(got["items"][0]) & {3, 5, pad}
    assert (got["items"][0] == got["items"][1]).all()
    assert got["scores"][0] == pytest.approx(got["scores"][1], abs=1e-6)
    assert (np.diff(got["scores"], axis=1) <= 0).all()
    dense = np.zeros((1, ITEMS), np.float32)
    dense[0, [3, 5]] = 1
    scores = dense_forward(model, dense)[0]
    scores[[3, 5]] = -np.inf
    assert got["items"][0].tolist() == np.argsort(-scores, kind="stable")[:5].tolist()


def test_nothing_left_to_recommend_is_marked() -> None:
    model = vae(4, hidden=(3,), latent=2)
    got = recommend(model, [[0, 1, 2]], k=10)
    assert got["items"].tolist() == [[3, -1, -1, -1]]
    assert np.isneginf(got["scores"][0, 1:]).all()


def answer(items: list[int], scores: list[float]) -> dict[str, np.ndarray]:
    return {"items": np.array([items]), "scores": np.array([scores], np.float32)}


@pytest.mark.parametrize(
    ("items", "scores", "agrees"),
    [
        ([1, 2, 3], [3.0, 2.0, 1.0], True),
        ([1, 2, 3], [3.0, 2.0, 1.00001], True),
        ([1, 2, 3], [3.0, 2.0, 1.1], False),
        ([2, 1, 3], [3.0, 2.0, 1.0], False),
        ([1, 2, 3], [3.0, float("nan"), 1.0], False),
    ],
)
def test_agreement(items: list[int], scores: list[float], agrees: bool) -> None:
    assert answers_agree(answer([1, 2, 3], [3.0, 2.0, 1.0]), answer(items, scores)) is agrees


def test_what_is_absent_must_stay_absent() -> None:
    nothing = float("-inf")
    expected = answer([5, 6, -1], [3.0, 2.0, nothing])
    assert answers_agree(expected, answer([5, 6, -1], [3.0, 2.0, nothing]))
    assert not answers_agree(expected, answer([5, 6, 7], [3.0, 2.0, 99.0]))
    assert not answers_agree(expected, answer([5, -1, -1], [3.0, nothing, nothing]))


def test_a_tie_excuses_only_its_own_items() -> None:
    tied = answer([1, 2, 3, 4], [3.0, 2.0, 2.0, 1.0])
    assert answers_agree(tied, answer([1, 3, 2, 4], [3.0, 2.0, 2.0, 1.0]))
    assert not answers_agree(tied, answer([1, 9, 2, 4], [3.0, 2.0, 2.0, 1.0]))
    assert not answers_agree(tied, answer([1, 3, 3, 4], [3.0, 2.0, 2.0, 1.0]))
    assert answers_agree(answer([1, 2], [3.0, 2.0]), answer([1, 9], [3.0, 2.0]))  # tied with the first left out


def test_ties_may_change_places() -> None:
    assert answers_agree(answer([1, 2, 3], [3.0, 2.0, 2.0]), answer([1, 3, 2], [3.0, 2.0, 2.0]))


def test_the_tiny_data_has_a_structure(tiny_data: Path) -> None:
    counts = np.sort(Dataset.open(tiny_data).train.item_counts())[::-1]
    assert (
        counts[: len(counts) // 10].sum() > 0.2 * counts.sum()
    )  # a long tail: a tenth of the items, a fifth of events
