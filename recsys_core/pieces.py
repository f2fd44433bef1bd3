"""Large tensors exchanged in pieces. Horovod and MPI count the elements of an exchange in a signed word of 32 bits.

Nothing here imports Horovod: the exchange itself is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

MOST = (1 << 31) - 1
"""Elements of one exchange."""
OF_BROADCAST = 1 << 26
"""Elements of one piece of a broadcast: a copy of 256 MiB at most in place of one of the whole variable."""

Exchange = Callable[[tf.Tensor, str], tf.Tensor]
"""(tensor, name) -> the result of the same shape. Each name stands for one exchange."""


def pieces(shape: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Begin and end of parts along the first axis that have at most `most` elements each, or one row."""
    row = 1
    for size in shape[1:]:
        row *= size
    step = max(1, most // max(row, 1))
    for begin in range(0, shape[0], step):
        yield begin, min(begin + step, shape[0])


def in_pieces(tensor: tf.Tensor, exchange: Exchange, name: str, most: int = MOST) -> tf.Tensor:
    """A tensor of known shape through an exchange that works element by element, as a sum over ranks."""
    shape = tensor.shape
    if not shape.is_fully_defined() or shape.num_elements() <= most:
        return exchange(tensor, name)
    parts = [exchange(tensor[a:b], f"{name}/{a}") for a, b in pieces(shape.as_list(), most)]
    return tf.concat(parts, axis=0)


def digest(variable: tf.Variable) -> bytes:
    """16 bytes that are the same for the same values, to the last bit."""
    values = np.ascontiguousarray(variable.numpy())
    return hashlib.blake2b(values.view(np.uint8).data, digest_size=16).digest()


def broadcast_in_pieces(variables: Sequence[tf.Variable], broadcast: Exchange, most: int = OF_BROADCAST) -> None:
    """Overwrite variables with rank 0's values.

    Args:
        broadcast: (tensor, name) -> rank 0's tensor.
    """
    for k, variable in enumerate(variables):
        if variable.shape.num_elements() <= most:
            variable.assign(broadcast(variable.read_value(), f"variable/{k}"))
            continue
        for a, b in pieces(variable.shape.as_list(), most):
            variable[a:b].assign(broadcast(variable[a:b], f"variable/{k}/{a}"))
