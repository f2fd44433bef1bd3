"""Gradients exchanged in float16, beside a world that adds a second rank's tensors in the same type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.training import exchange
from recsys_core.world import World


class TwoRanks(World):
    """This rank, and another one whose gradient is given; sums are taken in the type that is sent."""

    size = 2

    def __init__(self, other: np.ndarray) -> None:
        self.other, self.sent = tf.constant(other, tf.float32), dict[str, Any]()

    def sum_in_graph(self, tensor: Any, name: str) -> Any:
        self.sent[name] = tensor
        if name.endswith("/largest"):
            return tensor + tf.reduce_max(tf.abs(self.other))
        scale = self._scale(self.sent)
        return tensor + tf.cast(self.other * scale, tensor.dtype)

    def _scale(self, sent: Mapping[str, Any]) -> Any:
        if "g/largest" not in sent:
            return 1.0
        return exchange._scale(sent["g/largest"] + tf.reduce_max(tf.abs(self.other)))


@pytest.mark.parametrize("size", [1e-30, 1e-7, 1.0, 3e4, 1e30])
def test_sums_in_half_of_the_bytes(size: float) -> None:
    """To 11 bits of the largest number, also where plain float16 would be 0 or infinite."""
    rng = np.random.default_rng(3)
    mine, other = (size * rng.standard_normal((40, 7)) for _ in range(2))
    world = TwoRanks(other)
    got = exchange.summed(tf.constant(mine, tf.float32), world, "g", "fp16").numpy()
    assert world.sent["g/fp16"].dtype == tf.float16
    assert np.abs(got - (mine + other)).max() <= 2.0**-10 * np.abs(mine + other).max()


def test_the_scale_by_hand() -> None:
    """2^14 / 3 is 5,461: the power of two below is 2^12. Nothing is scaled where there is nothing to scale."""
    for largest, expected in (
        (3.0, 2.0**12),
        (2.0**14, 1.0),
        (2.0**16, 0.25),
        (0.0, 1.0),
        (np.inf, 1.0),
        (np.nan, 1.0),
    ):
        assert float(exchange._scale(tf.constant(largest, tf.float32))) == expected


def test_all_ranks_at_their_largest_do_not_overflow() -> None:
    mine = np.full((3,), 60_000.0)
    got = exchange.summed(tf.constant(mine, tf.float32), TwoRanks(mine), "g", "fp16").numpy()
    assert got == pytest.approx([120_000.0] * 3, rel=1e-3)


def test_numbers_that_are_not_finite_stay_so() -> None:
    for bad in (np.nan, np.inf):
        got = exchange.summed(tf.constant([1.0, bad]), TwoRanks(np.array([1.0, 2.0])), "g", "fp16").numpy()
        assert not np.isfinite(got[1])


def test_one_rank_and_float32_send_what_they_have() -> None:
    gradient = tf.constant([1.0, 1e-9])
    assert exchange.summed(gradient, World(), "g", "fp16").numpy().tolist() == gradient.numpy().tolist()
    world = TwoRanks(np.array([0.5, 0.0]))
    assert exchange.summed(gradient, world, "g", "fp32").numpy() == pytest.approx([1.5, 1e-9])
    assert list(world.sent) == ["g"] and world.sent["g"].dtype == tf.float32
