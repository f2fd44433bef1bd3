"""Sizes, operations and bytes of the models that are timed: the paper's VAE-CF, and NeuMF for ML-1M and ML-20M.

No framework is imported here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

HIDDEN, LATENT = 600, 200
"""Mult-VAE of Liang et al. 2018."""
NEGATIVES = 4
NEEDS_DATA = "--model vae needs --data DIR, a prepared data set (data_prep synthetic --like ml-20m-prepared --out DIR)"


@dataclass(frozen=True)
class Shape:
    """A NeuMF and the data it is trained on."""

    users: int
    items: int
    pairs: int
    factors: int
    tower: tuple[int, ...]
    """Widths, from the two embeddings side by side."""
    dropout: float
    batch: int


SHAPES = {
    "he2017-8": Shape(6_040, 3_706, 988_129, 8, (64, 32, 16, 8), 0.0, 65_536),
    "he2017-64": Shape(6_040, 3_706, 988_129, 64, (512, 256, 128, 64), 0.0, 65_536),
    "nvidia": Shape(138_493, 26_744, 4_000_000, 64, (256, 256, 128, 64), 0.5, 65_536),
}
"""Tables of ML-1M and of ML-20M. "nvidia" has fewer pairs than ML-20M: no epoch is measured to its end."""


def vae_operations(n_items: int) -> float:
    """Multiplications and additions of one user's forward and backward pass behind the sparse first layer."""
    return 3 * 2 * (HIDDEN * 2 * LATENT + LATENT * HIDDEN + HIDDEN * n_items)


def vae_least_bytes(n_items: int, batch: int) -> float:
    """Bytes of a user's share of a step that no program avoids: Adam's pass over every parameter (gradient, value and
    two moments read, three written: 28)."""
    parameters = 2 * HIDDEN * n_items + 3 * HIDDEN * LATENT
    return 28 * parameters / batch


def ncf_operations(shape: Shape, batch: int) -> float:
    """Multiplications and additions of a sample's forward and backward pass, as few as they can be: each half of the
    first layer once for every row that is looked up, or once for every row of its table if these are fewer."""
    half, first = shape.tower[0] // 2, shape.tower[1]
    rows = min(shape.users, batch / (1 + NEGATIVES)) + min(shape.items, batch)
    hidden = sum(a * b for a, b in itertools.pairwise(shape.tower[1:]))
    return 3 * 2 * (rows / batch * half * first + hidden + shape.tower[-1] + 2 * shape.factors)


def ncf_least_bytes(shape: Shape, batch: int) -> float:
    """Bytes of a sample: its rows read (4 a number), their gradients added up (8), and its share of Adam's pass over
    every parameter (28)."""
    width = shape.factors + shape.tower[0] // 2
    rows = (1 + 1 / (1 + NEGATIVES)) * width
    table = (shape.users + shape.items) * width
    return 12 * rows + 28 * table / batch
