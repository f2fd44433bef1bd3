"""Random numbers that belong to a user and a step, not to a rank: counter-based, in the graph.

A draw is a hash of (key, step, user, column), so a user gets the same dropout and the same noise whichever rank holds
it and in whichever order ranks work. That is what makes runs on 1, 2 and 4 ranks equal, and leaves no generator state
to save. The hash is the finaliser of SplitMix64 (Steele, Lea, Flood 2014), which passes the usual batteries.
"""

from __future__ import annotations

import math

import tensorflow as tf

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed word
_MIX1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: tf.Tensor, bits: int) -> tf.Tensor:
    """Logical right shift of int64 (TensorFlow's is arithmetic for signed words)."""
    return tf.bitwise.bitwise_and(tf.bitwise.right_shift(x, tf.constant(bits, tf.int64)), (1 << (64 - bits)) - 1)


def mix(x: tf.Tensor) -> tf.Tensor:
    """SplitMix64's finaliser on int64 words of any shape; multiplication wraps."""
    x = tf.bitwise.bitwise_xor(x, _shift(x, 30)) * _MIX1
    x = tf.bitwise.bitwise_xor(x, _shift(x, 27)) * _MIX2
    return tf.bitwise.bitwise_xor(x, _shift(x, 31))


def stream(key: int, step: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
    """[B] one word for each user at this step, from which its draws are derived.

    Args:
        key: `seeding.key64` of the purpose.
        step: scalar int64.
        users: [B] int64.
    """
    return mix(mix(tf.constant(key, tf.int64) + step * GOLDEN) + (users + 1) * GOLDEN)


def uniform(words: tf.Tensor) -> tf.Tensor:
    """float32 in [0, 1), of 24 bits, from hashed words."""
    return tf.cast(_shift(words, 40), tf.float32) * (1.0 / (1 << 24))


def keep_mask(key: int, step: tf.Tensor, users: tf.Tensor, columns: tf.Tensor, rate: float) -> tf.Tensor:
    """[N] bool, False with probability `rate`, for each (user, column) pair.

    Args:
        users: [N] int64 user of each entry.
        columns: [N] integer column of each entry.
    """
    words = mix(stream(key, step, users) + (tf.cast(columns, tf.int64) + 1) * GOLDEN)
    return uniform(words) >= rate


def keep_units(key: int, step: tf.Tensor, rows: tf.Tensor, width: int, rate: float) -> tf.Tensor:
    """[N, width] bool, False with probability `rate`: a dropout mask that belongs to rows, many units to one hash.

    A word serves eight units where `rate` is a multiple of 1/256, else four (and `rate` is rounded to 1/65536).

    Args:
        rows: [N] int64, what each row of the mask belongs to.
    """
    kind = tf.uint8 if rate * 256 == int(rate * 256) else tf.uint16
    a_word = 8 // kind.size
    columns = (tf.range((width + a_word - 1) // a_word, dtype=tf.int64) + 1) * GOLDEN
    words = mix(stream(key, step, rows)[:, None] + columns[None, :])
    parts = tf.reshape(tf.bitcast(words, kind), [tf.size(rows), -1])[:, :width]
    return parts >= tf.cast(round(rate * 2 ** (8 * kind.size)), kind)


def below(words: tf.Tensor, n: int) -> tf.Tensor:
    """int32 in [0, n), n up to 2**31, from hashed words; no value is likelier than another by more than n / 2**31."""
    return tf.cast(tf.bitwise.right_shift(_shift(words, 33) * n, tf.constant(31, tf.int64)), tf.int32)


def normal(key: int, step: tf.Tensor, users: tf.Tensor, width: int) -> tf.Tensor:
    """[B, width] standard normal draws (Box and Muller 1958: two from each hashed word)."""
    half = (width + 1) // 2
    columns = (tf.range(half, dtype=tf.int64) + 1) * GOLDEN
    words = mix(stream(key, step, users)[:, None] + columns[None, :])
    low = tf.cast(tf.bitwise.bitwise_and(words, (1 << 24) - 1), tf.float32) * (1.0 / (1 << 24))
    radius = tf.sqrt(-2.0 * tf.math.log1p(-uniform(words)))
    angle = (2.0 * math.pi) * low
    return tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)[:, :width]
