"""The sampled loss against NumPy in float64, and that its shares add up over any division of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from ncf_tf.losses import binary_cross_entropy
from ncf_tf.model import NeuMf
from ncf_tf.negatives import NegativeSampler
from recsys_core.input.batches import PairBatch
from recsys_core.matrices import Csr
from tests.models import neumf, prepared

USERS, ITEMS, NEGATIVES = 9, 20, 3


def entropy(logits: npt.NDArray) -> float:
    """He et al. 2017, equation 7."""
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return float(-np.log(p[:, 0]).sum() - np.log(1 - p[:, 1:]).sum())


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_equals_the_papers_loss(columns: int) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (40, columns)).astype(np.float32)
    assert float(binary_cross_entropy(tf.constant(logits))) == pytest.approx(entropy(logits), rel=1e-5)


def test_by_hand() -> None:
    assert float(binary_cross_entropy(tf.zeros([2, 5]))) == pytest.approx(10 * np.log(2), rel=1e-6)
    assert float(binary_cross_entropy(tf.constant([[np.log(3.0), 0.0]]))) == pytest.approx(np.log(4 / 3) + np.log(2))


def test_large_logits_stay_finite() -> None:
    for value, expected in (([[1e4, -1e4]], 0.0), ([[-1e4, 1e4]], 2e4), ([[1e30, -1e30, -1e30]], 0.0)):
        logits = tf.Variable(value)
        with tf.GradientTape() as tape:
            loss = binary_cross_entropy(logits)
        assert float(loss) == expected
        assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_the_gradient_is_the_error() -> None:
    logits = tf.Variable([[0.5, -2.0, 3.0], [-1.0, 0.0, 9.0]])
    with tf.GradientTape() as tape:
        loss = binary_cross_entropy(logits)
    p = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    assert tape.gradient(loss, logits).numpy() == pytest.approx(p - [[1, 0, 0], [1, 0, 0]], abs=1e-6)


def train() -> Csr:
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.choice(ITEMS, rng.integers(2, 8), replace=False)) for _ in range(USERS)]
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Csr(indptr=indptr, indices=np.concatenate(rows).astype(np.int32), n_items=ITEMS)


def model(**options: Any) -> NeuMf:
    made = prepared(neumf(USERS, ITEMS, train(), factors=4, layers=(8, 6, 3), negatives=NEGATIVES, **options))
    rng = np.random.default_rng(1)
    for variable in made.parameters:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return made


def batch(data: Csr, positions: npt.NDArray, everyone: int) -> PairBatch:
    owners = np.repeat(np.arange(USERS), np.diff(data.indptr))
    return PairBatch(
        positions=tf.constant(positions, tf.int64),
        users=tf.constant(owners[positions], tf.int32),
        items=tf.constant(data.indices[positions], tf.int32),
        step=tf.constant(6, tf.int64),
        epoch=tf.constant(1, tf.int64),
        global_pairs=tf.constant(float(everyone)),
    )


def drawn(sampler: NegativeSampler, own: PairBatch) -> npt.NDArray:
    negatives = sampler.draw(own.epoch, own.positions, own.users).numpy()
    return np.concatenate([own.items.numpy()[:, None], negatives], axis=1)


@pytest.mark.parametrize("l2", [0.0, 0.03])
def test_terms_against_numpy(l2: float) -> None:
    data, made = train(), model(embedding_l2=l2)
    sampler = NegativeSampler(data, NEGATIVES, seed=0, verified=True)
    own = batch(data, np.array([0, 3, 4, 11, 12]), 8)
    terms = made.loss(own, tf.constant(0.0))
    assert set(terms) == set(made.loss_names)
    users, items = own.users.numpy(), drawn(sampler, own)
    catalogue = made.catalogue(tf.range(USERS)).numpy()
    samples = 8 * (1 + NEGATIVES)  # of the global batch, not of this part
    cross_entropy = entropy(catalogue[users[:, None], items]) / samples
    squares = 0.0
    for user, row in zip(users, items, strict=True):
        for item in row:
            for table, place in zip(made.tables, (user, item, user, item), strict=True):
                squares += float((table.numpy()[place].astype(np.float64) ** 2).sum())
    assert float(terms["cross_entropy"]) == pytest.approx(cross_entropy, rel=1e-5)
    assert float(terms["embedding_penalty"]) == pytest.approx(l2 * squares / samples, rel=1e-5)
    assert float(terms["loss"]) == pytest.approx(cross_entropy + l2 * squares / samples, rel=1e-5)


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.4, 0.3)])
def test_shares_add_up(verified: bool, rates: tuple[float, float]) -> None:
    """Negatives and dropout masks belong to the pair, so terms and gradients are sums over any division of a batch."""
    settings = {"dropout": rates[0], "embedding_dropout": rates[1], "embedding_l2": 0.02}
    data, made = train(), model(verify_negatives=verified, **settings)
    positions = np.arange(1, len(data.indices), 2)

    def share(mine: slice) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            terms = made.loss(batch(data, positions[mine], len(positions)), tf.constant(0.0))
        return dict(terms), [tf.convert_to_tensor(g) for g in tape.gradient(terms["loss"], made.parameters)]

    whole = share(slice(None))
    for parts in ((slice(0, 3), slice(3, None)), (slice(0, None, 2), slice(1, None, 2)), (slice(0, 0), slice(None))):
        left, right = (share(part) for part in parts)
        for name in made.loss_names:
            assert float(left[0][name] + right[0][name]) == pytest.approx(float(whole[0][name]), rel=1e-5)
        for w, a, b in zip(whole[1], left[1], right[1], strict=True):
            assert (a + b).numpy() == pytest.approx(w.numpy(), abs=1e-6)


def test_dropout_follows_the_step() -> None:
    data, made = train(), model(dropout=0.5)
    own = batch(data, np.arange(10), 10)
    first, again, later = (
        float(made.loss(b, tf.constant(0.0))["loss"]) for b in (own, own, own._replace(step=own.step + 1))
    )
    assert first == again != later
    next_epoch = float(made.loss(own._replace(epoch=own.epoch + 1), tf.constant(0.0))["loss"])
    assert next_epoch != first
