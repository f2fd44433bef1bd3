"""The highest query rate whose tail latency meets a target: over the size that queries are cut into, and with an
accelerator's profile over the size above which they are given to it whole.

Every candidate's rates are halved on one grid; a rate is decided by repeated windows, and the answer by all looks
together (see `traffic.search`). All of them are kept, the search's drawn. --exhaustive tries every rate of a candidate
too, right after its search, and sets beside what that found and what the search finds from the same windows. Between
the first and the second lie minutes in which the machine's speed drifts; the second and the third share what they
measured.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.inference.asked import Engines, add_engines, add_subject, drawn_sizes, running, subjects
from benchmarks.inference.subjects import Subject
from benchmarks.results import tables
from benchmarks.results.records import record
from benchmarks.traffic.arrivals import poisson
from benchmarks.traffic.clock import RealClock
from benchmarks.traffic.generator import closed_loop, generate
from benchmarks.traffic.load import Load
from benchmarks.traffic.profile import Profile
from benchmarks.traffic.queries import Target
from benchmarks.traffic.search import Found, Goal, Grid, Trial, best_of, exhaustive, highest_rate
from benchmarks.traffic.servers import SimulatedPool
from benchmarks.traffic.split import Dispatcher

LEVELS = {"p95": 0.95, "p99": 0.99}
DEFAULT_TARGET_MS = 50.0
WINDOW_TARGETS = 20
"""A window lasts at least so many targets: a rate 5 % above the capacity then misses the target within it."""
CAPACITY_S = 2.0


@dataclass(frozen=True)
class Candidate:
    """How queries are given to engines."""

    split: int
    offload_above: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject(parser, several=True)
    add_engines(parser)
    add("--level", choices=tuple(LEVELS), default="p95", help="(default: %(default)s)")
    add("--target-ms", type=float, help="(default: the model's published one, 50 where there is none)")
    add("--splits", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024], help="(default: %(default)s)")
    add("--profile", type=Path, help="seconds of a SIMULATED accelerator by size (JSON or CSV): results say so")
    add("--offload-above", type=int, nargs="+", default=[64, 128, 256, 512], help="(default: %(default)s)")
    add("--window", type=float, default=4.0, help="seconds of a load, at least (default: %(default)s)")
    add("--most", type=int, default=4, help="windows at one rate, until it is clear (default: %(default)s)")
    add("--resolution", type=float, default=0.04, help="ratio of neighbouring rates, less 1 (default: %(default)s)")
    add("--exhaustive", action="store_true", help="try every rate of every candidate too")
    add("--shuffle", type=int, metavar="SEED", help="try the candidates in another order, which should change nothing")


class Bench:
    """The engines of a subject, and loads on them."""

    def __init__(self, engines: Engines, profile: Profile | None, goal: Goal, args: argparse.Namespace) -> None:
        self._engines, self._profile, self._args = engines, profile, args
        self._seconds = max(args.window, WINDOW_TARGETS * goal.seconds)
        self._queries = 1 / goal.allowed  # of fewer in a window a single late one misses the target
        self._timeout = max(args.timeout, 10 * goal.seconds)

    def _target(self, candidate: Candidate, clock: RealClock) -> Target:
        if candidate.offload_above is None or self._profile is None:
            return Dispatcher(self._engines.target, split=candidate.split)
        accelerator = SimulatedPool(clock, 1, self._profile)
        above = candidate.offload_above
        return Dispatcher(self._engines.target, split=candidate.split, accelerator=accelerator, offload_above=above)

    def capacity(self, candidate: Candidate) -> float:
        """Queries/s when the engines are never without work."""
        clock = RealClock()
        load = closed_loop(
            clock,
            self._target(candidate, clock),
            drawn_sizes(self._args),
            workers=4 * self._engines.workers,
            duration=max(CAPACITY_S, self._seconds / 4),
            warm_up=0.5,
            timeout=self._timeout,
        )
        self._engines.settle()
        if not load.completed:
            raise RuntimeError(f"no query was answered in {load.duration:g} s; cut them smaller, or give more engines")
        return load.completed_rate

    def window(self, candidate: Candidate, rate: float, number: int) -> Load:
        """A load of fresh queries; what is drawn does not depend on what was measured before."""
        clock = RealClock()
        what = (candidate.split, candidate.offload_above or 0, round(1e3 * rate), number)
        rng = np.random.default_rng([self._args.seed, *what])
        load = generate(
            clock,
            self._target(candidate, clock),
            poisson(rate, rng),
            drawn_sizes(self._args, *what),
            duration=max(self._seconds, self._queries / rate),
            warm_up=self._seconds / 8,
            timeout=self._timeout,
        )
        self._engines.settle()
        return load


def candidates(args: argparse.Namespace) -> list[Candidate]:
    """Every split, and with a profile every threshold of offloading."""
    above: list[int | None] = [None, *(args.offload_above if args.profile else [])]
    splits = sorted({min(split, args.largest) for split in args.splits})
    return [Candidate(split, threshold) for split in splits for threshold in above]


def baseline(engines: int, largest: int, splits: Sequence[int]) -> Candidate:
    """The fixed split: the largest query evenly over the engines; of the splits tried the nearest by ratio, the smaller
    of two equally near."""
    even = math.ceil(largest / engines)
    return Candidate(min(sorted(splits), key=lambda split: abs(math.log(split / even))))


@dataclass
class Searches:
    """What was found for every candidate."""

    bisected: list[Found] = field(default_factory=list)
    exhaustive: list[Found] = field(default_factory=list)
    """If asked for."""
    bisected_again: list[Found] = field(default_factory=list)
    """From the windows that `exhaustive` measured."""
    anew: int = 0
    """Windows of `bisected_again` that `exhaustive` had not measured."""


def search(bench: Bench, every: Sequence[Candidate], goal: Goal, grid: Grid, name: str, exhaustively: bool) -> Searches:
    """All candidates, one after another (the bar counts them and says what is tried)."""
    searches = Searches()
    bar = tqdm(every, desc=name, unit="candidate", file=sys.stderr, leave=False)

    def window(candidate: Candidate, rate: float, number: int) -> Load:
        bar.set_postfix_str(f"split {candidate.split}, {rate:.4g} queries/s, window {number + 1}")
        return bench.window(candidate, rate, number)

    for candidate in bar:
        trial: Trial = partial(window, candidate)
        searches.bisected.append(highest_rate(candidate, trial, bench.capacity(candidate), goal, grid))
        if exhaustively:
            capacity, kept = bench.capacity(candidate), cache(trial)
            searches.exhaustive.append(exhaustive(candidate, kept, capacity, goal, grid))
            measured = kept.cache_info().misses
            searches.bisected_again.append(highest_rate(candidate, kept, capacity, goal, grid))
            searches.anew += kept.cache_info().misses - measured
    return searches


def _points(found: Sequence[Found]) -> list[dict[str, Any]]:
    """The map: everything that was tried."""
    return [
        {**asdict(one.candidate), "rate": v.rate, "meets": v.meets, "is_significant": v.is_significant,
         "beyond": v.beyond, "tail_ms": 1e3 * v.tail, "queries": v.queries}
        for one in found
        for v in one.verdicts
    ]  # fmt: skip


def measure(subject: Subject, args: argparse.Namespace, profile: Profile | None) -> dict[str, Any]:
    """The best candidate of a subject beside the fixed split, and all points."""
    target_ms = args.target_ms or subject.target_ms or DEFAULT_TARGET_MS
    goal, grid = Goal(level=LEVELS[args.level], seconds=target_ms / 1e3, most=args.most), Grid(ratio=args.resolution)
    every = candidates(args)
    if args.shuffle is not None:
        every = [every[k] for k in np.random.default_rng(args.shuffle).permutation(len(every))]
    with running(subject, args, args.target) as engines:
        bench = Bench(engines, profile, goal, args)
        fixed = baseline(engines.workers, args.largest, [c.split for c in every])
        searches = search(bench, every, goal, grid, subject.model, args.exhaustive)
    best = best_of(searches.bisected)
    at_fixed = next(f for f in searches.bisected if f.candidate == fixed)
    mean_size = float(drawn_sizes(args)(10_000).mean())
    row = {
        "model": subject.model,
        "engine": subject.engine,
        "asked": args.target,
        "engines": engines.workers,
        "sizes": args.sizes,
        "is_simulated": profile is not None,
        "level": goal.level,
        "target_ms": target_ms,
        "best_split": best.candidate.split,
        "best_offload_above": best.candidate.offload_above,
        "rate": best.rate,
        "items_rate": best.rate * mean_size,
        "tail_ms": 1e3 * best.tail if best.tail is not None else None,
        "capacity": best.capacity,
        "baseline_split": fixed.split,
        "baseline_rate": at_fixed.rate,
        "gain": best.rate / at_fixed.rate if at_fixed.rate else None,
        "points": _points(searches.bisected),
    }
    return row | _exhaustive(searches) if args.exhaustive else row


def _exhaustive(searches: Searches) -> dict[str, Any]:
    """What trying every rate found, and what the search finds from that."""
    top, again = best_of(searches.exhaustive), best_of(searches.bisected_again)
    windows = sum(look.windows for one in searches.bisected_again for look in one.verdicts)
    return {
        "exhaustive_rate": top.rate,
        "exhaustive_capacity": top.capacity,
        "exhaustive_split": top.candidate.split,
        "exhaustive_points": _points(searches.exhaustive),
        "bisected_again_rate": again.rate,
        "bisected_again_split": again.candidate.split,
        "bisected_again_shared": 1 - searches.anew / windows if windows else None,
        "bisected_again_points": _points(searches.bisected_again),
    }


def main(args: argparse.Namespace) -> int:
    profile = Profile.read(args.profile) if args.profile else None
    rows = []
    for subject in subjects(args):
        rows.append(measure(subject, args, profile))
        record(args.results, "schedule", rows[-1])
    print(tables.text("schedule", rows))
    if failed := [row["model"] for row in rows if not row["rate"]]:
        print(f"no rate meets the target: {', '.join(failed)}; give a longer --target-ms, or more --engines")
    return 0
