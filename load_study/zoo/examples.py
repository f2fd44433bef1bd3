"""Random examples for a model of the zoo. No framework: engines that run the ONNX file alone need none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from load_study.zoo.kinds import Configuration, Feature


def drawn(configuration: Configuration, batch: int, rng: np.random.Generator) -> dict[str, npt.NDArray]:
    """Inputs by name: int32 ids, uniform over the rows of their tables; float32 dense features in [0, 1)."""
    return {feature.name: _draw_feature(feature, batch, rng) for feature in configuration.features()}


def _draw_feature(feature: Feature, batch: int, rng: np.random.Generator) -> npt.NDArray:
    shape = (batch, *feature.shape)
    if not feature.rows:
        return rng.random(shape, np.float32)
    if len(set(feature.rows)) == 1:
        return rng.integers(0, feature.rows[0], shape, np.int32)
    limits = np.array(feature.rows).reshape(-1, *[1] * (len(feature.shape) - 1))
    return rng.integers(0, limits, shape, np.int32)
