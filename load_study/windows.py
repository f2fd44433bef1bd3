"""Windows of load on a running target: how long they are, and what happens to one whose generator was late."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from load_study.engines.dispatcher import Dispatcher
from load_study.engines.profile import Profile
from load_study.engines.simulated import SimulatedPool
from load_study.options import drawn_sizes
from load_study.search import Goal
from load_study.targets import RunningTarget
from load_study.traffic.arrivals import poisson
from load_study.traffic.clock import RealClock
from load_study.traffic.generator import closed_loop, generate
from load_study.traffic.queries import Target
from load_study.traffic.result import LoadResult
from recsys_core.measuring.conditions import is_wanted_all_the_same

WINDOW_TARGETS = 20
"""Length of a window in multiples of the target, at least: a rate 5 % above the capacity then misses the target."""
CAPACITY_S = 2.0
TRIES = 4
"""Times that one window is run, at most."""


@dataclass(frozen=True)
class Candidate:
    """The split of queries, and the size above which they go to the accelerator (None: never)."""

    split: int
    offload_above: int | None = None


class HasReason(Protocol):
    """A window that knows whether its generator kept its times."""

    @property
    def invalid_reason(self) -> str | None: ...


W = TypeVar("W", bound=HasReason)


class LateWindows:
    """Runs a window again whose generator was late, and counts."""

    def __init__(self) -> None:
        self.discarded = 0
        """Windows that were run again."""
        self.reasons: list[str] = []
        """Of the windows that were late each time, or once where figures of a busy machine are wanted. They are taken,
        so that the search ends; its record is not valid."""

    def punctual(self, run: Callable[[], W]) -> W:
        """The first of `TRIES` windows whose generator kept its times, or the last of them."""
        for tries_left in range(TRIES - 1, -1, -1):
            window = run()
            if (reason := window.invalid_reason) is None:
                return window
            if is_wanted_all_the_same() or not tries_left:
                break
            self.discarded += 1
        self.reasons.append(str(reason))
        return window

    def invalid(self) -> list[str]:
        """Why a record of these windows is not valid; empty where it is."""
        if not self.reasons:
            return []
        return [f"the generator was late in {len(self.reasons)} windows that were taken: {self.reasons[0]}"]

    def fields(self) -> dict[str, Any]:
        """For a record: counts, and why it is not valid."""
        counts = {"discarded_windows": float(self.discarded), "invalid_windows": float(len(self.reasons))}
        return {**counts, "invalid": self.invalid()}


class LoadRunner:
    """Runs loads of the candidates on a running target."""

    def __init__(self, running: RunningTarget, profile: Profile | None, goal: Goal, args: argparse.Namespace) -> None:
        self._running, self._profile, self._args = running, profile, args
        self.seconds = max(args.window, WINDOW_TARGETS * goal.seconds)
        """Of a window."""
        self.queries = 1 / goal.allowed
        """Of a window, at least: with fewer a single late one misses the target."""
        self._timeout = max(args.timeout, 10 * goal.seconds)
        self.late = LateWindows()

    def _target_of(self, candidate: Candidate, clock: RealClock) -> Target:
        if candidate.offload_above is None or self._profile is None:
            return Dispatcher(self._running.target, split=candidate.split)
        accelerator = SimulatedPool(clock, 1, self._profile)
        above = candidate.offload_above
        return Dispatcher(self._running.target, split=candidate.split, accelerator=accelerator, offload_above=above)

    def capacity(self, candidate: Candidate) -> float:
        """Queries/s while the engines always have work."""
        clock = RealClock()
        load = closed_loop(
            clock,
            self._target_of(candidate, clock),
            drawn_sizes(self._args),
            workers=4 * self._running.engines,
            duration=max(CAPACITY_S, self.seconds / 4),
            warm_up=0.5,
            timeout=self._timeout,
        )
        self._running.settle()
        if not load.completed:
            raise RuntimeError(f"no query was answered in {load.duration:g} s; give smaller --splits or more --engines")
        return load.completed_rate

    def window(self, candidate: Candidate, rate: float, number: int) -> LoadResult:
        """A load whose generator kept its times; one that did not is discarded and run again."""
        return self.late.punctual(lambda: self._load(candidate, rate, number))

    def _load(self, candidate: Candidate, rate: float, number: int) -> LoadResult:
        """New queries. They depend on the candidate, the rate and the number only, not on earlier loads."""
        clock = RealClock()
        key = (candidate.split, candidate.offload_above or 0, round(1e3 * rate), number)
        rng = np.random.default_rng([self._args.seed, *key])
        load = generate(
            clock,
            self._target_of(candidate, clock),
            poisson(rate, rng),
            drawn_sizes(self._args, *key),
            duration=max(self.seconds, self.queries / rate),
            warm_up=self.seconds / 8,
            timeout=self._timeout,
        )
        self._running.settle()
        return load
