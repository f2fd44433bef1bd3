"""Quantiles are right, stated only where there is enough, and their intervals hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from load_study.traffic.latency import Latencies


def _single_server(count: int, load: float, rng: np.random.Generator) -> np.ndarray:
    """Responses of M/M/1 with service 1, in equilibrium: the wait is 0 or what the one before leaves (Lindley)."""
    skip = 2000
    service, gaps = rng.exponential(1.0, count + skip), rng.exponential(1 / load, count + skip)
    walk = np.concatenate([[0.0], np.cumsum(service[:-1] - gaps[1:])])
    return (walk - np.minimum.accumulate(walk) + service)[skip:]


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99, 0.999])
def test_quantiles_of_a_known_sample(level: float) -> None:
    found = Latencies(np.random.default_rng(0).permutation(np.arange(1, 100_001)) / 1e4).quantile(level)
    assert found is not None
    assert found.value == pytest.approx(10 * level, rel=0.001)
    assert found.high is not None
    assert found.low <= 10 * level <= found.high


def test_the_mean_of_a_known_sample() -> None:
    found = Latencies(np.arange(1000) / 1000).mean()
    assert found is not None
    assert found.value == pytest.approx(0.4995)


@pytest.mark.parametrize("seconds", [3e-6, 4.7e-4, 0.5, 77.0, 20_000.0])
def test_the_histogram_keeps_three_digits(seconds: float) -> None:
    found = Latencies(np.full(100, seconds)).quantile(0.5)
    assert found is not None
    assert found.value == pytest.approx(seconds, rel=0.001)
    assert found.high is not None
    assert found.low <= seconds <= found.high


def test_the_histogram_holds_every_latency() -> None:
    seconds = np.random.default_rng(0).exponential(0.01, 5000)
    histogram = Latencies(seconds).histogram
    assert histogram.get_total_count() == 5000
    assert histogram.get_mean_value() / 1e9 == pytest.approx(seconds.mean(), rel=0.001)


@pytest.mark.parametrize("level, least", [(0.5, 100), (0.9, 100), (0.95, 200), (0.99, 1000), (0.999, 10_000)])
def test_ten_must_be_beyond(level: float, least: int) -> None:
    seconds = np.random.default_rng(0).exponential(1.0, least)
    assert Latencies(seconds).quantile(level) is not None
    assert Latencies(seconds[1:]).quantile(level) is None


def test_a_mean_needs_a_hundred() -> None:
    assert Latencies(np.ones(100)).mean() is not None
    assert Latencies(np.ones(99)).mean() is None


def test_a_short_run_knows_no_upper_end() -> None:
    growing = np.sort(np.random.default_rng(0).exponential(1.0, 1000))
    found = Latencies(growing).quantile(0.99)
    assert found is not None
    assert found.high is None
    assert found.low < found.value


def test_all_alike() -> None:
    found = Latencies(np.ones(1000)).mean()
    assert found is not None
    assert found.low == found.high == 1.0


def test_intervals_cover_though_queries_wait_behind_one_another() -> None:
    """60 runs of 10,000 queries at half load: 95 % should hold the truth; those of independent samples do not."""
    rng, level = np.random.default_rng(0), 0.95
    truth, held, held_if_independent, mean_held = -math.log(1 - level) / 0.5, 0, 0, 0
    for _ in range(60):
        seconds = _single_server(10_000, 0.5, rng)
        found, mean = Latencies(seconds).quantile(level), Latencies(seconds).mean()
        assert found is not None
        assert found.high is not None
        assert mean is not None
        assert mean.high is not None
        half = 1.96 * math.sqrt(level * (1 - level) / len(seconds))
        low, high = np.quantile(seconds, [level - half, level + half])
        held += found.low <= truth <= found.high
        held_if_independent += low <= truth <= high
        mean_held += mean.low <= 2.0 <= mean.high
    assert held >= 51  # 57 expected; fewer than 51 come 1 time in 100
    assert mean_held >= 51
    assert held_if_independent < 45


@pytest.mark.parametrize("wrong", [-1e-9, math.nan, 86_401.0])
def test_impossible_latencies(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"a latency is .* s, expected 0 to 86400"):
        Latencies(np.array([1.0, wrong]))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_bad_level(level: float) -> None:
    with pytest.raises(ValueError, match="the level of a quantile is .*, expected above 0 and below 1"):
        Latencies(np.ones(1000)).quantile(level)


def test_the_interval_of_a_mean_is_not_below_zero() -> None:
    """A queue that grows through the window: its blocks differ by more than their mean."""
    found = Latencies(np.repeat(np.array([0.0] * 9 + [1.0]), 20)).mean()
    assert found is not None and found.low == 0.0 and found.high > 0.2
