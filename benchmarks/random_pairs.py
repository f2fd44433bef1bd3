"""Random training data of the size of an NCF shape."""

from __future__ import annotations

import numpy as np

from benchmarks.shapes import Shape
from recsys_core.matrices import Csr


def random_pairs(shape: Shape) -> Csr:
    """Random training pairs, as many of each user."""
    rng = np.random.default_rng(0)
    each = shape.pairs // shape.users
    return Csr(
        indptr=np.arange(shape.users + 1, dtype=np.int64) * each,
        indices=np.sort(rng.integers(0, shape.items, (shape.users, each)), axis=1).astype(np.int32).ravel(),
        n_items=shape.items,
    )
