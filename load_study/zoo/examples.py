"""Random examples for a model of the zoo. No framework: engines that run the ONNX file alone need none."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from load_study.zoo.ids import drawn_ids
from load_study.zoo.kinds import Configuration, Feature

FEWEST_KEPT = 2048
"""Examples drawn in advance, at least."""
IDS_KEPT = 1 << 22
"""Ids drawn in advance, at least. With few of them the processor soon has every row that is asked for in its caches."""


def drawn(
    configuration: Configuration, batch: int, rng: np.random.Generator, exponent: float = 0.0
) -> dict[str, npt.NDArray]:
    """Inputs by name: int32 ids by a Zipf law (0: uniform) over their tables; float32 dense features in [0, 1)."""
    features = configuration.features()
    return {feature.name: _draw_feature(feature, batch, rng, exponent) for feature in features}


def _draw_feature(feature: Feature, batch: int, rng: np.random.Generator, exponent: float) -> npt.NDArray:
    shape = (batch, *feature.shape)
    if not feature.rows:
        return rng.random(shape, np.float32)
    number = sum(map(ord, feature.name))  # another permutation for each feature
    if len(feature.rows) == 1:
        return drawn_ids(rng, exponent, feature.rows[0], shape, number)
    found = np.empty(shape, np.int32)
    for table, rows in enumerate(feature.rows):
        found[:, table] = drawn_ids(rng, exponent, rows, (batch, *feature.shape[1:]), number + table)
    return found


class KeptExamples:
    """Examples drawn in advance; a request takes a slice of them, so that no time is spent on drawing.

    Args:
        exponent: of the Zipf law of the ids, 0 for uniform.
    """

    def __init__(self, configuration: Configuration, exponent: float) -> None:
        self._configuration, self._exponent = configuration, exponent
        ids = sum(math.prod(feature.shape) for feature in configuration.features() if feature.rows)
        self._count = {True: max(FEWEST_KEPT, IDS_KEPT // ids), False: FEWEST_KEPT}
        self._kept: dict[str, npt.NDArray] = {}

    def take(self, size: int, rng: np.random.Generator) -> dict[str, npt.NDArray]:
        """Inputs [size, ...] from random places of what is kept."""
        if not self._kept or size > min(map(len, self._kept.values())):
            self._kept = {
                feature.name: _draw_feature(feature, max(self._count[bool(feature.rows)], size), rng, self._exponent)
                for feature in self._configuration.features()
            }
        taken = {}
        for name, values in self._kept.items():
            start = int(rng.integers(len(values) - size + 1))
            taken[name] = values[start : start + size]
        return taken
