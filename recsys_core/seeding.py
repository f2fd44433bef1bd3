"""One root seed, named children. Nothing here or elsewhere in the library touches a global generator."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt


def _key(purpose: str) -> int:
    return zlib.crc32(purpose.encode())


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """An independent NumPy generator for a purpose ("shuffle") and its place in the run (the epoch)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_key(purpose), *index)))


def key64(seed: int, purpose: str) -> int:
    """A signed 64-bit key for the graph's counter-based noise (`recsys_core.input.noise`)."""
    word = np.random.SeedSequence(seed, spawn_key=(_key(purpose),)).generate_state(1, np.uint64)
    return int(word.view(np.int64)[0])


def words(seed: int, purpose: str, count: int, *index: int) -> npt.NDArray[np.uint64]:
    """[count] independent 64-bit words for a purpose and its place in the run."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_key(purpose), *index))
    return sequence.generate_state(count, np.uint64).view(np.uint64)


def epoch_order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """[n] a permutation for an epoch: the same on every rank and after every resume (see `input.order`)."""
    return generator(seed, "shuffle", epoch).permutation(n)
