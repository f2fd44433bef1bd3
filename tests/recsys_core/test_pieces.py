"""Exchanges of large tensors in pieces: what is sent, and that the values are the same."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.pieces import MOST, broadcast_in_pieces, in_pieces, pieces


class Exchange:
    """Adds 100, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []

    def __call__(self, tensor: tf.Tensor, name: str) -> tf.Tensor:
        self.asked.append((name, tensor.shape.as_list()))
        return tensor + 100


@pytest.mark.parametrize(
    ("shape", "most", "expected"),
    [
        ([5, 3], 6, [(0, 2), (2, 4), (4, 5)]),
        ([5, 3], 2, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),  # a row is not cut
        ([7], 7, [(0, 7)]),
        ([50_000_000, 64], MOST, [(0, 33_554_431), (33_554_431, 50_000_000)]),
    ],
)
def test_pieces_by_hand(shape: list[int], most: int, expected: list[tuple[int, int]]) -> None:
    assert list(pieces(shape, most)) == expected


def test_a_sum_in_pieces() -> None:
    values, exchange = np.arange(15.0, dtype=np.float32).reshape(5, 3), Exchange()
    found = tf.function(lambda t: in_pieces(t, exchange, "g", most=6), autograph=False)(tf.constant(values))
    assert found.numpy().tolist() == (values + 100).tolist()
    assert exchange.asked == [("g/0", [2, 3]), ("g/2", [2, 3]), ("g/4", [1, 3])]
    small = Exchange()
    in_pieces(tf.zeros([2, 3]), small, "g", most=6)
    assert small.asked == [("g", [2, 3])]


def test_a_broadcast_in_pieces() -> None:
    large, scalar, flat = tf.Variable(np.arange(10).reshape(5, 2)), tf.Variable(7.0), tf.Variable([1, 2, 3, 4, 5])
    exchange = Exchange()
    broadcast_in_pieces([large, scalar, flat], exchange, most=4)
    assert large.numpy().tolist() == (np.arange(10).reshape(5, 2) + 100).tolist()
    assert (float(scalar), flat.numpy().tolist()) == (107.0, [101, 102, 103, 104, 105])
    names = ["variable/0/0", "variable/0/2", "variable/0/4", "variable/1", "variable/2/0", "variable/2/4"]
    assert [name for name, _ in exchange.asked] == names
