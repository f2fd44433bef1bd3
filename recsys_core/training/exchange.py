"""Sums of gradients over ranks: in float32, or in float16, which sends half of the bytes.

In float16 each tensor is first multiplied by a power of two that brings the sum of the ranks' largest numbers to
`LARGEST` at most. So no sum overflows, and numbers down to 2^-38 of the largest one are still told from 0 (numbers of
float16 go down to 2^-24). Each number is rounded to 11 bits. The scale costs an exchange of one number for each tensor;
Horovod packs them together.
"""

from __future__ import annotations

import math

import tensorflow as tf

from recsys_core.pieces import in_pieces
from recsys_core.world import World

LARGEST = 2.0**14
"""Float16 ends at 65,504."""
MOST_DOUBLINGS = 100.0
"""Of the scale, so that it is a finite float32 itself."""


def summed(gradient: tf.Tensor, world: World, name: str, kind: str = "fp32") -> tf.Tensor:
    """The sum over ranks of a gradient, float32, of any shape.

    Args:
        name: of the exchange.
        kind: fp32 or fp16.
    """
    if kind == "fp32" or world.size == 1:
        return in_pieces(gradient, world.sum_in_graph, name)
    scale = _scale(world.sum_in_graph(tf.reduce_max(tf.abs(gradient)), f"{name}/largest"))
    narrow = tf.cast(gradient * scale, tf.float16)
    return tf.cast(in_pieces(narrow, world.sum_in_graph, f"{name}/fp16"), tf.float32) / scale


def _scale(largest: tf.Tensor) -> tf.Tensor:
    """[] the power of two for a sum of largest numbers [].

    It is 1 where that is 0, infinite or not a number: such a gradient stays what it is, and the step is refused.
    """
    is_usable = tf.math.is_finite(largest) & (largest > 0)
    safe = tf.where(is_usable, largest, LARGEST)
    doublings = tf.floor(tf.math.log(LARGEST / safe) / math.log(2.0))
    return tf.pow(2.0, tf.clip_by_value(doublings, -MOST_DOUBLINGS, MOST_DOUBLINGS))
