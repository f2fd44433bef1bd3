"""Queueing theory of simple queues: Poisson arrivals, c servers, first come, first served, in equilibrium.

M/M/c has exponentially distributed service, M/D/c constant service. All formulas are exact. Waiting ends when service
begins, response when it ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

HIGHEST_LOAD = 0.99
"""Of M/D/c: beyond it the system of equations becomes too large."""


@dataclass(frozen=True, kw_only=True)
class _Queue:
    rate: float
    """Queries per second."""
    service: float
    """Mean seconds of service."""
    servers: int = 1

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.service > 0 and self.servers >= 1 and self.load < 1):
            raise ValueError(f"{self} has a load of {self.load:g}, expected positive values and a load below 1")

    @property
    def traffic(self) -> float:
        """Mean number of busy servers."""
        return self.rate * self.service

    @property
    def load(self) -> float:
        """Share of the time that a server is busy."""
        return self.traffic / self.servers


class MMc(_Queue):
    """Exponential service (Erlang 1917)."""

    def chance_to_wait(self) -> float:
        """Erlang's C formula, by the recursion of the B formula, which is stable for any number of servers."""
        blocked = 1.0
        for servers in range(1, self.servers + 1):
            blocked = self.traffic * blocked / (servers + self.traffic * blocked)
        return blocked / (1 - self.load * (1 - blocked))

    def wait_mean(self) -> float:
        return self.chance_to_wait() / (self.servers / self.service - self.rate)

    def response_mean(self) -> float:
        return self.wait_mean() + self.service

    def response_beyond(self, seconds: float) -> float:
        """P(response > seconds): a wait of 0 or exponential, and an exponential service after it.

        With one server it is exponential with rate 1 / service - rate.
        """
        wait, serve, chance = self.servers / self.service - self.rate, 1 / self.service, self.chance_to_wait()
        fast, slow = math.exp(-serve * seconds), math.exp(-wait * seconds)
        if math.isclose(wait, serve):
            return fast * (1 + chance * serve * seconds)
        return (1 - chance) * fast + chance * (wait * fast - serve * slow) / (wait - serve)

    def response_quantile(self, level: float) -> float:
        return _solve_for_time(lambda t: 1 - self.response_beyond(t), level, self.service)


class MDc(_Queue):
    """Constant service.

    The number in the system D seconds later is what is left after up to c of them departed, and what arrived since
    (Crommelin 1932); its distribution solves those linear equations. A query that finds the system as it was u seconds
    before (u = kD - x, (k-1)D <= x < kD) waits at most x if those waiting then and the arrivals since are fewer than
    kc: a sum of positive terms, so that nothing cancels (Franx, Operations Research Letters 29, 2001, 221-229). With
    one server it equals Erlang's formula of 1909, whose alternating terms cancel.
    """

    def wait_mean(self) -> float:
        """By Little's law; with one server, load * D / (2 (1 - load)) (Pollaczek-Khinchine)."""
        if self.servers == 1:
            return self.load * self.service / (2 * (1 - self.load))
        return float((1 - _waiting_at_most(self.traffic, self.servers)).sum()) / self.rate

    def response_mean(self) -> float:
        return self.wait_mean() + self.service

    def wait_within(self, seconds: float) -> float:
        """P(wait <= seconds)."""
        steps = math.floor(seconds / self.service) + 1
        arrived = _poisson_probabilities(self.rate * (steps * self.service - seconds), steps * self.servers)
        known = _waiting_at_most(self.traffic, self.servers)
        least = np.ones(len(arrived))
        least[: len(known)] = known[: len(arrived)]
        return float(arrived @ least[::-1])

    def wait_quantile(self, level: float) -> float:
        return _solve_for_time(self.wait_within, level, self.service)

    def response_quantile(self, level: float) -> float:
        return self.wait_quantile(level) + self.service


def _poisson_probabilities(mean: float, count: int) -> np.ndarray:
    """P(0), P(1), ... [count]."""
    from scipy.stats import poisson

    return poisson.pmf(np.arange(count), mean)


def _solve_for_time(within: Callable[[float], float], level: float, unit: float) -> float:
    """The time at which a distribution function reaches the level."""
    from scipy.optimize import brentq

    if not 0 < level < 1:
        raise ValueError(f"the level of a quantile is {level}, expected above 0 and below 1")
    if within(0.0) >= level:
        return 0.0
    high = unit
    while within(high) < level:
        high *= 2
    return float(brentq(lambda t: within(t) - level, 0.0, high, xtol=1e-12 * unit))


@lru_cache
def _waiting_at_most(traffic: float, servers: int) -> np.ndarray:
    """P(at most j wait), j = 0, 1, ... until all but 1e-14: Crommelin's equations, cut off there."""
    from scipy.optimize import brentq

    if traffic / servers > HIGHEST_LOAD:
        raise ValueError(f"the load is {traffic / servers:g}, expected at most {HIGHEST_LOAD} with constant service")
    # The tail falls like root ** -j, where traffic (root - 1) = servers ln(root), root > 1.
    top = 2 * (servers / traffic) ** 2 + 2
    while traffic * (top - 1) < servers * math.log(top):
        top *= 2
    root = brentq(lambda z: traffic * (z - 1) - servers * math.log(z), servers / traffic, top)
    count = 2 * servers + math.ceil(math.log(1e16) / math.log(root))
    arrive = _poisson_probabilities(traffic, count)
    moves = np.zeros((count, count))  # [to, from]
    for old in range(count):
        left = max(old - servers, 0)
        moves[left:, old] = arrive[: count - left]
    moves[-1] += 1 - moves.sum(axis=0)
    system = moves - np.eye(count)
    system[0] = 1.0  # one equation follows from the others; this is the sum
    chances = np.linalg.solve(system, np.eye(count)[0])
    return np.minimum(np.cumsum(chances)[servers:], 1.0)
