"""Members: each learns exactly what it would alone, and their mean recommends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from ncf_tf.model import NeuMf
from recsys_core.input.batches import PairBatch
from recsys_core.matrices import Csr
from tests.models import neumf, prepared

USERS, ITEMS, FACTORS, NEGATIVES, MEMBERS = 6, 9, 4, 3, 3
TRAIN = Csr(
    indptr=np.arange(0, 2 * USERS + 1, 2),
    indices=np.concatenate([np.arange(u, u + 2) for u in range(USERS)]).astype(np.int32),
    n_items=ITEMS,
)


def dot_products(ensemble_size: int, **options: Any) -> NeuMf:
    settings = {"kind": "gmf", "factors": FACTORS, "dot_product": True, "biases": True, "negatives": NEGATIVES}
    return neumf(USERS, ITEMS, TRAIN, ensemble_size=ensemble_size, seed=5, **settings, **options)


@pytest.fixture
def together() -> NeuMf:
    model = dot_products(MEMBERS, embedding_l2=0.02)
    rng = np.random.default_rng(0)
    for variable in model.parameters:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return model


def member(model: NeuMf, m: int) -> NeuMf:
    """One member as a model of its own: its columns of every table."""
    alone = dot_products(1, embedding_l2=model.settings["model"].embedding_l2)
    for ours, theirs in zip(alone.parameters, model.parameters, strict=True):
        width = ours.shape[-1]
        ours.assign(theirs[..., m * width : (m + 1) * width])
    return alone


def everything() -> tuple[tf.Tensor, tf.Tensor]:
    return tf.range(USERS), tf.tile(tf.range(ITEMS)[None, :], [USERS, 1])


def test_the_first_starts_as_a_model_alone_does() -> None:
    one, two = dot_products(1, embedding_stddev=0.5), dot_products(2, embedding_stddev=0.5)
    for alone, together in zip(one.tables[:2], two.tables[:2], strict=True):
        assert together.shape[1] == 2 * FACTORS
        assert (together[:, :FACTORS].numpy() == alone.numpy()).all()
        first, second = together[:, :FACTORS].numpy(), together[:, FACTORS:].numpy()
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.5  # 24 and 36 numbers


def test_their_mean_recommends(together: NeuMf) -> None:
    users, items = everything()
    own = [member(together, m).pair_scores(users, items).numpy() for m in range(MEMBERS)]
    assert np.std(own, axis=0).min() > 0
    expected = np.mean(own, axis=0)
    assert together.pair_scores(users, items).numpy() == pytest.approx(expected, abs=1e-5)
    assert together.catalogue(users).numpy() == pytest.approx(expected, abs=1e-5)
    assert together.catalogue_at_once(users).numpy() == pytest.approx(expected, abs=1e-5)
    apart = together.ensemble_logits(together.look_up(users, items)).numpy()
    assert apart == pytest.approx(np.stack(own, axis=2), abs=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_mean_is_of_the_same_rows_where_units_are_dropped(dropout: float) -> None:
    from ncf_tf.dropout import Dropping

    users, items = everything()
    model = dot_products(MEMBERS, embedding_dropout=dropout, embedding_stddev=0.5)
    samples = tf.reshape(tf.range(USERS * ITEMS, dtype=tf.int64), [USERS, ITEMS])
    dropping = Dropping(tf.constant(3, tf.int64), samples)
    rows = model.look_up(users, items)
    apart = model.ensemble_logits(rows, dropping).numpy()
    assert apart.mean(axis=2) == pytest.approx(model.logits(rows, dropping).numpy(), abs=1e-5)
    assert (np.abs(apart.mean(axis=2) - model.logits(rows).numpy()).max() > 1e-3) == bool(dropout)


def test_each_learns_as_if_alone(together: NeuMf) -> None:
    batch = PairBatch(
        positions=tf.range(2 * USERS, dtype=tf.int64),
        users=tf.repeat(tf.range(USERS), 2),
        items=tf.constant(TRAIN.indices),
        step=tf.constant(4, tf.int64),
        epoch=tf.constant(1, tf.int64),
        global_pairs=tf.constant(2.0 * USERS),
    )

    def learnt(model: NeuMf) -> tuple[dict[str, float], list[np.ndarray]]:
        prepared(model)
        with tf.GradientTape() as tape:
            terms = model.loss(batch, tf.constant(0.0))
        gradients = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(terms["loss"], model.parameters)]
        return {name: float(value) for name, value in terms.items()}, gradients

    terms, gradients = learnt(together)
    alone = [learnt(member(together, m)) for m in range(MEMBERS)]
    assert terms["loss"] == pytest.approx(sum(own["loss"] for own, _ in alone), rel=1e-5)
    assert terms["cross_entropy"] == pytest.approx(np.mean([own["cross_entropy"] for own, _ in alone]), rel=1e-5)
    for ours, *theirs in zip(gradients, *(g for _, g in alone), strict=True):
        assert np.abs(ours).max() > 1e-4
        assert ours == pytest.approx(np.concatenate(theirs, axis=-1), abs=1e-6)
