"""The formulas, against others for the same quantities, and against figures that are known."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import quad

from load_study.traffic.theory import MDc, MMc

LOADS = (0.3, 0.6, 0.8)


def _erlang(rate: Fraction, seconds: Fraction) -> float:
    """P(wait <= seconds) of M/D/1 with service 1, Erlang 1909; its alternating terms without rounding."""
    total = Fraction(0)
    for i in range(math.floor(seconds) + 1):
        power = rate * (seconds - i)
        total += (-power) ** i / math.factorial(i) * _exp(power)
    return float((1 - rate) * total)


def _exp(x: Fraction) -> Fraction:
    """By its series, to 60 digits."""
    total, term, k = Fraction(0), Fraction(1), 0
    while term > Fraction(1, 10**60):
        total, k = total + term, k + 1
        term = term * x / k
    return total


def _wait_by_roots(load: float, servers: int) -> float:
    """Mean wait of M/D/c, service 1, by the roots of z^c = exp(traffic (z - 1)) in the unit circle (Crommelin)."""
    traffic = load * servers
    total = 0.0
    for k in range(1, servers):
        turn, z = np.exp(2j * math.pi * k / servers), 0j
        for _ in range(20_000):
            z = turn * np.exp(load * (z - 1))
        total += (1 / (1 - z)).real
    return (total + (traffic**2 - servers * (servers - 1)) / (2 * (servers - traffic))) / traffic


def test_one_exponential_server() -> None:
    queue = MMc(rate=0.8, service=1.0)
    assert queue.wait_mean() == pytest.approx(4.0)
    assert queue.response_mean() == pytest.approx(5.0)
    assert queue.response_quantile(0.95) == pytest.approx(-math.log(0.05) / 0.2)


@pytest.mark.parametrize("traffic, servers, chance", [
    (0.5, 1, 0.5), (1.0, 2, 1 / 3), (2.0, 3, 4 / 9), (8.0, 10, 0.4092),
])  # fmt: skip
def test_erlangs_c_formula(traffic: float, servers: int, chance: float) -> None:
    assert MMc(rate=traffic, service=1.0, servers=servers).chance_to_wait() == pytest.approx(chance, abs=5e-5)


@pytest.mark.parametrize("servers", [1, 2, 4])
@pytest.mark.parametrize("load", [*LOADS, 0.75, 0.5])
def test_exponential_mean_is_the_area_above_its_distribution(load: float, servers: int) -> None:
    queue = MMc(rate=load * servers / 0.1, service=0.1, servers=servers)
    area, _ = quad(queue.response_beyond, 0, 20, limit=500, points=[0.1, 1.0])
    assert area == pytest.approx(queue.response_mean(), rel=1e-6)
    assert queue.response_beyond(queue.response_quantile(0.99)) == pytest.approx(0.01)


@pytest.mark.parametrize("load, wait", [(0.3, 3 / 14), (0.6, 0.75), (0.8, 2.0)])
def test_one_constant_server_by_pollaczek_and_khinchine(load: float, wait: float) -> None:
    assert MDc(rate=load / 5, service=5.0).wait_mean() == pytest.approx(5 * wait)
    assert MDc(rate=load / 5, service=5.0).response_mean() == pytest.approx(5 * wait + 5)


@pytest.mark.parametrize("load", ["3/10", "3/5", "4/5", "19/20"])
@pytest.mark.parametrize("seconds", ["0", "1/2", "1", "7/3", "5", "99/10", "30"])
def test_one_constant_server_by_erlangs_formula(load: str, seconds: str) -> None:
    rate, at = Fraction(load), Fraction(seconds)
    assert MDc(rate=float(rate), service=1.0).wait_within(float(at)) == pytest.approx(_erlang(rate, at), abs=1e-11)


@pytest.mark.parametrize("servers", [2, 3, 4, 16])
@pytest.mark.parametrize("load", [*LOADS, 0.95, 0.98])
def test_constant_servers_by_roots(load: float, servers: int) -> None:
    queue = MDc(rate=load * servers, service=1.0, servers=servers)
    assert queue.wait_mean() == pytest.approx(_wait_by_roots(load, servers), rel=1e-6)


@pytest.mark.parametrize("servers", [1, 2, 4])
@pytest.mark.parametrize("load", LOADS)
def test_constant_mean_is_the_area_above_its_distribution(load: float, servers: int) -> None:
    queue = MDc(rate=load * servers / 2, service=2.0, servers=servers)
    area = sum(quad(lambda t: 1 - queue.wait_within(t), 2 * k, 2 * k + 2)[0] for k in range(60))
    assert area == pytest.approx(queue.wait_mean(), rel=1e-6)


@pytest.mark.parametrize("servers", [1, 2, 4])
def test_quantiles_turn_the_distribution_round(servers: int) -> None:
    queue = MDc(rate=0.8 * servers, service=1.0, servers=servers)
    for level in (0.9, 0.99, 0.999):
        assert queue.wait_within(queue.wait_quantile(level)) == pytest.approx(level, abs=1e-9)
    assert queue.wait_quantile(queue.wait_within(0.0) - 1e-9) == 0.0
    assert queue.response_quantile(0.99) == queue.wait_quantile(0.99) + 1.0


def test_constant_service_waits_less_than_exponential() -> None:
    for servers in (1, 2, 4):
        constant, exponential = (q(rate=0.6 * servers, service=1.0, servers=servers).wait_mean() for q in (MDc, MMc))
        assert exponential / 2 <= constant < 0.62 * exponential


@pytest.mark.parametrize("load", [1.0, 1.2, -0.5])
def test_no_equilibrium(load: float) -> None:
    with pytest.raises(ValueError, match=r"expected positive values and a load below 1"):
        MMc(rate=load, service=1.0)


def test_too_close_to_full() -> None:
    with pytest.raises(ValueError, match=r"the load is 0.995, expected at most 0.99 with constant service"):
        MDc(rate=1.99, service=1.0, servers=2).wait_mean()


def test_a_bad_level() -> None:
    with pytest.raises(ValueError, match="the level of a quantile is 1.0"):
        MMc(rate=0.5, service=1.0).response_quantile(1.0)
