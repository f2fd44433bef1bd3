"""The highest rate within a tail-latency target as MLPerf's LoadGen finds it, and beside it what this package finds.

LoadGen's server scenario replaces the generator: its arrivals, its clock, its trace. The engines, the search and the
target are those of `schedule`. With --compare both searches run in turn, --repeats times; for a known delay
(--model delay:10) queueing theory gives the answer too. Needs the extra `loadgen`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from load_study.engines.dispatcher import Dispatcher
from load_study.goals import add_goal_flags, goal_of, target_of
from load_study.known_delays import is_known_delay, rate_in_theory, service_seconds
from load_study.options import add_engine_flags, add_subject_flags, chosen_subjects, drawn_sizes
from load_study.search import Goal, Grid, RunWindow, SearchResult, highest_rate
from load_study.subjects import Subject
from load_study.tables import TABLES
from load_study.targets import RunningTarget, running_target
from load_study.traffic.mlperf import LoadGenWindow, loadgen_module, run_server_scenario
from load_study.windows import Candidate, LateWindows, LoadRunner
from recsys_core.measuring.processes import show_progress
from recsys_core.measuring.records import record

COMMON = (
    "--model", "--export", "--engine", "--target", "--engines", "--level", "--target-ms", "--split", "--window",
    "--repeats", "--compare", "--sizes", "--results",
)  # fmt: skip
"""Options that `--help` shows; `--help-all` shows all."""
LIBRARY = 4096
"""Samples of LoadGen's library, each with a size of its own."""
WINDOWS_OF_A_REPEAT = 1000
"""Numbers of windows that a repeat may use, so that no two repeats send the same queries."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject_flags(parser, several=True)
    add_engine_flags(parser)
    add_goal_flags(parser)
    add("--split", type=int, help="largest part that a query is cut into (default: queries stay whole)")
    add("--repeats", type=int, default=3, help="searches of each generator (default: %(default)s)")
    add("--compare", action="store_true", help="also search with this package's generator, in turn with LoadGen")


class LoadGenRunner:
    """Runs windows of LoadGen on a running target."""

    def __init__(self, running: RunningTarget, own: LoadRunner, goal: Goal, args: argparse.Namespace) -> None:
        self._running, self._own, self._goal, self._args = running, own, goal, args
        self.late = LateWindows()
        self.verdicts: dict[float, list[bool]] = {}
        """Rate -> LoadGen's own verdicts."""

    def window(self, candidate: Candidate, rate: float, number: int) -> LoadGenWindow:
        """A run whose sends were in time; one that was late is discarded and run again."""
        found = self.late.punctual(lambda: self._run(candidate, rate, number))
        self.verdicts.setdefault(rate, []).append(found.is_valid)
        return found

    def _run(self, candidate: Candidate, rate: float, number: int) -> LoadGenWindow:
        key = (candidate.split, 0, round(1e3 * rate), number)
        found = run_server_scenario(
            Dispatcher(self._running.target, split=candidate.split),
            drawn_sizes(self._args, *key)(LIBRARY).tolist(),
            rate=rate,
            level=self._goal.level,
            limit_s=self._goal.seconds,
            seconds=self._own.seconds,
            fewest=round(self._own.queries),
            seed=int(np.random.default_rng([self._args.seed, *key]).integers(2**31)),
        )
        self._running.settle()
        return found

    def highest_valid_rate(self) -> float | None:
        """The highest rate at which LoadGen called most windows valid; None where there was none."""
        valid = [rate for rate, verdicts in self.verdicts.items() if 2 * sum(verdicts) > len(verdicts)]
        return max(valid, default=None)


def _in_turn(
    sides: dict[str, Callable[[Candidate, float, int], Any]],
    candidate: Candidate,
    capacity: Callable[[Candidate], float],
    goal: Goal,
    args: argparse.Namespace,
    name: str,
) -> dict[str, list[SearchResult[Candidate]]]:
    """The searches of each side; which one begins changes from repeat to repeat."""
    found: dict[str, list[SearchResult[Candidate]]] = {side: [] for side in sides}
    for repeat in range(args.repeats):
        order = list(sides) if repeat % 2 == 0 else list(sides)[::-1]
        at = capacity(candidate)
        for side in order:
            show_progress(f"{name}: search {repeat + 1} of {args.repeats}, {side}")
            window = _numbered_from(sides[side], candidate, repeat * WINDOWS_OF_A_REPEAT)
            found[side].append(highest_rate(candidate, window, at, goal, Grid(ratio=args.resolution)))
    show_progress("")
    return found


def _numbered_from(run: Callable[[Candidate, float, int], Any], candidate: Candidate, first: int) -> RunWindow:
    return lambda rate, number: run(candidate, rate, first + number)


def rate_interval(searches: Sequence[SearchResult[Candidate]]) -> list[float | None] | None:
    """[median of the answers, lowest answer, highest rate above an answer that was tried and missed]; None where no
    rate meets the target.

    An answer is a rate of a grid: the true one lies between it and the next rate that was tried.
    """
    rates = [search.rate for search in searches]
    if not all(rates):
        return None
    above = [search.next_rate for search in searches]
    return [float(np.median(rates)), min(rates), None if None in above else max(r for r in above if r is not None)]


def _in_theory(subject: Subject, running: RunningTarget, goal: Goal, args: argparse.Namespace) -> dict[str, float]:
    """The service time of a known delay here, and the highest rate in queueing theory; empty for another subject."""
    if not is_known_delay(subject):
        return {}
    service = service_seconds(subject, running, args)
    return {"service_s": service, "theory_rate": rate_in_theory(subject, service, running.engines, goal)}


def measure(subject: Subject, args: argparse.Namespace) -> dict[str, Any]:
    """The record of a subject."""
    target_ms, target_from = target_of(subject, args)
    goal = goal_of(target_ms, args)
    candidate = Candidate(min(args.split or args.largest, args.largest))
    show_progress(f"{subject.model}: starting the engines")
    with running_target(subject, args) as running:
        own = LoadRunner(running, None, goal, args)
        theirs = LoadGenRunner(running, own, goal, args)
        sides: dict[str, Callable[[Candidate, float, int], Any]] = {"LoadGen": theirs.window}
        if args.compare:
            sides = {"this package": own.window, **sides}
        theory = _in_theory(subject, running, goal, args)
        found = _in_turn(sides, candidate, own.capacity, goal, args, subject.model)
    row = {
        "model": subject.model,
        "engine": subject.engine,
        **subject.settings,
        "target": args.target,
        "engines": running.engines,
        "generator": running.generator,
        "sizes": args.sizes,
        "split": args.split,
        "level": goal.level,
        "target_ms": target_ms,
        "target_from": target_from,
        "window_s": own.seconds,
        "capacity": [search.capacity for search in found["LoadGen"]],
        "loadgen_version": version("mlcommons-loadgen"),
        "loadgen_rate": rate_interval(found["LoadGen"]),
        "loadgen_valid_rate": theirs.highest_valid_rate(),
        "discarded_windows": float(own.late.discarded),
        "loadgen_discarded_windows": float(theirs.late.discarded),
        "invalid": own.late.invalid() + theirs.late.invalid(),
    }
    if args.compare:
        row["rate"] = rate_interval(found["this package"])
    return row | theory


def main(args: argparse.Namespace) -> int:
    loadgen_module()
    rows = []
    for subject in chosen_subjects(args):
        rows.append(measure(subject, args))
        record(args.results, "loadgen", rows[-1])
    print(TABLES["loadgen"].as_text(rows))
    print(f"the generator: {rows[0]['generator']}")
    return 0
