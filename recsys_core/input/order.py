"""The order in which an epoch visits its examples, and which of them a rank gets of each global batch.

The order is a function of (seed, epoch, place): a rank computes its own share of a batch and nothing else. Whatever the
number of ranks, the global batches are the same. Nothing here imports TensorFlow.

Shape legend: N examples of an epoch (users or pairs), B examples of a global batch, P of a rank's share of it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from recsys_core.seeding import epoch_order, words
from recsys_core.world import World

IN_MEMORY = 1 << 20
"""Up to so many examples the order is an array, 8 MiB at most, drawn uniformly from all permutations. Above, the
examples of an epoch are computed from their places, and no memory or time goes with N."""
ARRAY, KEYED = "array", "keyed-1"
"""Names of the two kinds of order, kept with a run. Another order needs another name, else a run that is resumed would
change its order in the middle of an epoch."""
ROUNDS = 6
BLOCK = 1 << 14
"""Places computed together: their temporary arrays stay in a core's cache."""
_SHIFT = np.uint64(32)
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


class KeyedPermutation:
    """A permutation of 0 to N - 1 of which any value is computed alone, in constant memory.

    A generalised Feistel network (Black and Rogaway 2002, "Ciphers with arbitrary finite domains") on pairs of numbers
    below A and below B, A and B being about the square root of N: A * B exceeds N by less than A, so that few values
    have to go through it again ("cycle walking"). The functions of the rounds are those of SplitMix64, shortened. Good
    for a shuffle, not for secrets.
    """

    def __init__(self, n: int, keys: npt.NDArray[np.uint64]) -> None:
        """
        Args:
            n: N, from 1 to 2**62.
            keys: [ROUNDS] random words.
        """
        assert 1 <= n <= 1 << 62 and len(keys) == ROUNDS
        self._n = np.uint64(n)
        first = math.isqrt(n - 1) + 1
        self._sizes = np.uint64(first), np.uint64(-(-n // first))
        self._keys = keys

    def at(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The values at some places, an array of any shape with numbers from 0 to N - 1."""
        flat, found = places.ravel(), np.empty(places.size, np.int64)
        for start in range(0, len(flat), BLOCK):
            values = self._mixed(flat[start : start + BLOCK].astype(np.uint64))
            beyond = np.flatnonzero(values >= self._n)
            while len(beyond):
                values[beyond] = self._mixed(values[beyond])
                beyond = beyond[values[beyond] >= self._n]
            found[start : start + BLOCK] = values
        return found.reshape(places.shape)

    def _mixed(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """A permutation of the numbers below A * B, at some of them [P]."""
        left = values // self._sizes[1]
        right = values - left * self._sizes[1]
        word, high = np.empty_like(values), np.empty_like(values)
        for k, key in enumerate(self._keys):
            size = self._sizes[k % 2]  # of what is on the left
            np.add(right, key, out=word)
            np.multiply(word, _MULTIPLY, out=word)
            np.right_shift(word, _SHIFT, out=high)
            np.bitwise_xor(word, high, out=word)
            np.multiply(word, _MIX, out=word)
            np.right_shift(word, _SHIFT, out=word)
            np.multiply(word, size, out=word)
            np.right_shift(word, _SHIFT, out=word)  # from 0 to size - 1
            np.add(left, word, out=left)
            np.subtract(left, size, out=word)  # wraps to a huge number where the sum is below size
            np.minimum(left, word, out=left)
            left, right = right, left
        assert ROUNDS % 2 == 0, "the two sides end where they began"
        return left * self._sizes[1] + right


class EpochOrder:
    """The order of the examples in each epoch: another one for each seed and epoch."""

    def __init__(self, seed: int, n: int) -> None:
        self._seed, self._n = seed, n
        self._array = lru_cache(maxsize=2)(lambda epoch: epoch_order(seed, epoch, n))
        self._keyed = lru_cache(maxsize=2)(lambda epoch: KeyedPermutation(n, words(seed, "order", ROUNDS, epoch)))

    def at(self, epoch: int, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The examples at some places of an epoch, an array of any shape with numbers from 0 to N - 1."""
        if kind_of_order(self._n) == ARRAY:
            return self._array(epoch)[places]
        return self._keyed(epoch).at(places)


def kind_of_order(n: int) -> str:
    """Name of the kind of order that N examples have."""
    return ARRAY if n <= IN_MEMORY else KEYED


def share(count: int, world: World) -> tuple[int, int]:
    """Begin and end of a rank's part of `count` things; parts differ by one at most, the larger ones come first."""
    least, more = divmod(count, world.size)
    begin = world.rank * least + min(world.rank, more)
    return begin, begin + least + (world.rank < more)


class GlobalBatches:
    """The global batches of a run, and a rank's share of them. An epoch has every example exactly once."""

    def __init__(self, seed: int, n: int, batch_size: int, world: World) -> None:
        self._order, self._n, self._batch_size, self._world = EpochOrder(seed, n), n, batch_size, world
        self.per_epoch = -(-n // batch_size)

    def size(self, step: int) -> int:
        """B: the last batch of an epoch may be shorter."""
        return min(self._batch_size, self._n - step % self.per_epoch * self._batch_size)

    def mine(self, step: int, count: int = 1) -> npt.NDArray[np.int64]:
        """[count, P] this rank's examples in some steps, which are of one epoch and of equal size B."""
        return self._at(step, count, *share(self.size(step), self._world))

    def first(self, step: int, count: int = 1) -> npt.NDArray[np.int64]:
        """[count] the first example of the global batches of these steps."""
        return self._at(step, count, 0, 1)[:, 0]

    def _at(self, step: int, count: int, begin: int, end: int) -> npt.NDArray[np.int64]:
        epoch, k = divmod(step, self.per_epoch)
        starts = (k + np.arange(count)) * self._batch_size
        return self._order.at(epoch, starts[:, None] + np.arange(begin, end))
