"""The counter-based noise: right distributions, the same for a user whoever asks, independent otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from recsys_core.input import noise

STEP = tf.constant(7, tf.int64)


def splitmix(word: int) -> int:
    """SplitMix64's finaliser in Python's unbounded integers."""
    mask = (1 << 64) - 1
    word &= mask
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & mask
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & mask
    return word ^ (word >> 31)


def test_the_hash_is_splitmix64() -> None:
    words = [0, 1, -1, 2**62, -(2**63), 0x9E3779B97F4A7C15 - 2**64]
    got = noise.mix(tf.constant(words, tf.int64)).numpy()
    assert [int(g) % 2**64 for g in got] == [splitmix(w) for w in words]
    # first output of the published generator with seed 0
    assert splitmix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


def test_normal_draws_are_normal() -> None:
    draws = noise.normal(3, STEP, tf.range(2000, dtype=tf.int64), 101).numpy()
    assert draws.shape == (2000, 101)
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
    assert scipy.stats.kstest(draws.ravel()[:20000], "norm").pvalue > 0.001
    correlation = np.corrcoef(draws.T)
    assert np.abs(correlation - np.eye(101)).max() < 0.12


def test_dropout_keeps_the_asked_share() -> None:
    users = tf.repeat(tf.range(500, dtype=tf.int64), 200)
    items = tf.tile(tf.range(200), [500])
    for rate in (0.0, 0.3, 0.5):
        kept = noise.keep_mask(1, STEP, users, items, rate).numpy()
        assert abs(kept.mean() - (1 - rate)) < 0.01
    table = noise.keep_mask(1, STEP, users, items, 0.5).numpy().reshape(500, 200)
    assert abs(np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]) < 0.02


def test_draws_belong_to_the_user_not_to_the_batch() -> None:
    users = tf.constant([5, 17, 3, 99], tf.int64)
    together = noise.normal(3, STEP, users, 8).numpy()
    alone = np.concatenate([noise.normal(3, STEP, users[k : k + 1], 8).numpy() for k in range(4)])
    assert together == pytest.approx(alone, abs=1e-5)  # the last bit depends on the width of the vector unit


def test_draws_change_with_key_step_and_user() -> None:
    users = tf.range(50, dtype=tf.int64)
    base = noise.normal(3, STEP, users, 16).numpy().ravel()
    for other in (
        noise.normal(4, STEP, users, 16),
        noise.normal(3, STEP + 1, users, 16),
        noise.normal(3, STEP, users + 1, 16),
    ):
        assert abs(np.corrcoef(base, other.numpy().ravel())[0, 1]) < 0.12
