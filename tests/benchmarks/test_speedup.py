"""The ladder compares what it says it compares."""

from __future__ import annotations

import itertools
from dataclasses import asdict

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.ladder import DenseBatch, dense_loss
from benchmarks.rungs import CASE_STUDY, ladder
from benchmarks.speedup import factors
from recsys_core.input.batches import Batch
from tests.models import vae

ITEMS = 13


def test_each_rung_changes_what_its_name_says() -> None:
    rungs = ladder(2000, 2e-3, "bf16", 4)
    changed = [
        {name for name in asdict(a) if asdict(a)[name] != asdict(b)[name]} - {"name"}
        for a, b in itertools.pairwise(rungs)
    ]
    assert changed == [{"sparse"}, {"batch", "learning_rate"}, {"pipelined"}, {"precision"}, {"ranks"}]
    assert [rung.name for rung in rungs] == list(CASE_STUDY)


def test_factors_are_taken_round_by_round() -> None:
    found = factors({"a": [10.0, 5.0], "b": [20.0, 20.0], "c": [30.0, 10.0]}, ["a", "b", "c"])
    assert [row["step"] for row in found] == [[1, 1], [2, 4], [1.5, 0.5]]
    assert [row["overall"] for row in found] == [[1, 1], [2, 4], [3, 2]]


def test_the_published_way_has_the_same_loss() -> None:
    """Dense and sparse agree where nothing is random: no dropout, and a code without variance."""
    model = vae(ITEMS, hidden=(7,), latent=3, dropout=0.0, seed=1)
    model.encoder[-1][0].assign(model.encoder[-1][0] * [[1.0] * 3 + [0.0] * 3])
    model.encoder[-1][1].assign([0.1, 0.2, 0.3, -80.0, -80.0, -80.0])
    histories = (np.random.default_rng(0).random((5, ITEMS)) < 0.4).astype(np.float32)
    histories[:, 0] = 1  # nobody is empty
    rows, columns = np.nonzero(histories)
    splits = np.concatenate([[0], np.cumsum(histories.sum(axis=1))]).astype(np.int64)
    step, users = tf.constant(3, tf.int64), tf.constant(5.0)
    sparse = Batch(tf.range(5, dtype=tf.int64), tf.constant(columns, tf.int32), tf.constant(splits), step, users)
    assert len(rows) == splits[-1]
    fraction = tf.constant(0.5)
    ours = model.loss(sparse, fraction)
    theirs = dense_loss(model, 0, dropout=0.0)(DenseBatch(tf.constant(histories), step, users), fraction)
    for name in ("loss", "nll", "kl"):
        assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-5)
