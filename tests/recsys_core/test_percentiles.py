"""Percentiles are stated where enough times carry them, and their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_core.measuring.percentiles import is_stated, percentile


@pytest.mark.parametrize(
    ("level", "needed"), [(0.5, 100), (0.9, 100), (0.95, 200), (0.99, 1_000), (0.999, 10_000), (0.05, 200)]
)
def test_how_many_times_a_percentile_needs(level: float, needed: int) -> None:
    assert is_stated(needed, level)
    assert not is_stated(needed - 1, level)


def test_too_few_times_state_nothing() -> None:
    """A p99 was printed of 50 requests: it was the slowest of them."""
    assert percentile([1.0] * 999, 0.99) is None


def test_by_hand() -> None:
    """Of 1 to 100 the median lies, with 95 %, between the 40th and the 61st (binomial of 100 and 0.5)."""
    assert percentile([float(v) for v in range(100, 0, -1)], 0.5) == [50.0, 40.0, 61.0]


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_covers(level: float) -> None:
    rng, truth = np.random.default_rng(0), -np.log(1 - level)
    found = [percentile(rng.exponential(size=400).tolist(), level) for _ in range(1_000)]
    covered = sum(low <= truth <= high for estimate in found if estimate for _, low, high in [estimate])
    assert 0.94 <= covered / 1_000 <= 0.98
