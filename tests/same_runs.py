"""Two trainings that must give the same: to the bit on a CPU.

On a GPU sums of sparse products are in any order (docs/gpu.md, "Same bits"), and what differs by rounding grows over
the steps; there the values must be close.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recsys_core.model import Recommender

RELATIVE, ABSOLUTE = 1e-2, 1e-3
"""Of values on a GPU; a step of Adam changes a parameter by up to 1e-3 whatever its gradient."""


def assert_same(found: Any, expected: Any) -> None:
    """Numbers, arrays, texts, and mappings and sequences of these."""
    if not tf.config.list_logical_devices("GPU"):
        np.testing.assert_equal(found, expected)
    elif isinstance(expected, Mapping):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value)
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, float | np.ndarray):
        np.testing.assert_allclose(found, expected, RELATIVE, ABSOLUTE)
    else:
        assert found == expected


def assert_same_parameters(found: Recommender, expected: Recommender) -> None:
    """Of two models."""
    for one, other in zip(found.parameters, expected.parameters, strict=True):
        assert_same(one.numpy(), other.numpy())
