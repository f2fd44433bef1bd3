"""The highest query rate whose tail latency meets a target, over the split of queries and the offloading to a GPU.

The split is the largest part that a query is cut into. With the profile of an accelerator, queries above a threshold go
to it whole, and the thresholds are searched too. Each candidate is searched by bisection on one grid of rates
(`search`); all trials are in the record. --exhaustive also tries every rate of a candidate right after its search, and
repeats the search on the windows of these trials: the first two answers differ by the drift of the machine's speed
between them, the last two are computed from the same windows.
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

from load_study.engines.profile import Profile
from load_study.goals import add_goal_flags, goal_of, target_of
from load_study.options import add_engine_flags, add_subject_flags, chosen_subjects, drawn_sizes
from load_study.search import Goal, Grid, RunWindow, SearchResult, best_of, exhaustive, highest_rate
from load_study.subjects import Subject
from load_study.tables import TABLES
from load_study.targets import running_target
from load_study.traffic.result import LoadResult
from load_study.windows import Candidate, LoadRunner
from recsys_core.measuring.records import record

COMMON = (
    "--model", "--export", "--engine", "--target", "--url", "--name", "--level", "--target-ms", "--splits", "--sizes",
    "--profile", "--results",
)  # fmt: skip
"""Options that `--help` shows; `--help-all` shows all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject_flags(parser, several=True)
    add_engine_flags(parser)
    add_goal_flags(parser)
    add(
        "--splits",
        type=int,
        nargs="+",
        default=[32, 64, 128, 256, 512, 1024],
        help="sizes of parts (default: %(default)s)",
    )
    add("--profile", type=Path, help="seconds of a SIMULATED accelerator by size (JSON or CSV): results say so")
    add("--offload-above", type=int, nargs="+", default=[64, 128, 256, 512], help="(default: %(default)s)")
    add("--exhaustive", action="store_true", help="also try every rate of every candidate")
    add("--shuffle", type=int, metavar="SEED", help="try the candidates in another order; the answer should not change")


def candidates(args: argparse.Namespace) -> list[Candidate]:
    """All splits; with a profile, each with all thresholds of offloading."""
    above: list[int | None] = [None, *(args.offload_above if args.profile else [])]
    splits = sorted({min(split, args.largest) for split in args.splits})
    return [Candidate(split, threshold) for split in splits for threshold in above]


def baseline(engines: int, largest: int, splits: Sequence[int]) -> Candidate:
    """The fixed split, which divides the largest query evenly over the engines.

    It is the nearest of the tried splits by ratio, and the smaller of two equally near ones.
    """
    even = math.ceil(largest / engines)
    return Candidate(min(sorted(splits), key=lambda split: abs(math.log(split / even))))


@dataclass
class Searches:
    """The searches of all candidates."""

    bisected: list[SearchResult] = field(default_factory=list)
    exhaustive: list[SearchResult] = field(default_factory=list)
    """Empty without --exhaustive."""
    bisected_again: list[SearchResult] = field(default_factory=list)
    """From the windows that `exhaustive` measured."""
    not_shared: int = 0
    """Windows of `bisected_again` that `exhaustive` had not measured."""


def search(
    runner: LoadRunner, candidates: Sequence[Candidate], goal: Goal, grid: Grid, name: str, exhaustively: bool
) -> Searches:
    """Search the candidates one after another, with a progress bar."""
    from tqdm import tqdm

    searches = Searches()
    bar = tqdm(candidates, desc=name, unit="candidate", file=sys.stderr, leave=False)

    def window(candidate: Candidate, rate: float, number: int) -> LoadResult:
        bar.set_postfix_str(f"split {candidate.split}, {rate:.4g} queries/s, window {number + 1}")
        return runner.window(candidate, rate, number)

    for candidate in bar:
        run_window: RunWindow = partial(window, candidate)
        searches.bisected.append(highest_rate(candidate, run_window, runner.capacity(candidate), goal, grid))
        if exhaustively:
            capacity, kept = runner.capacity(candidate), cache(run_window)
            searches.exhaustive.append(exhaustive(candidate, kept, capacity, goal, grid))
            measured = kept.cache_info().misses
            searches.bisected_again.append(highest_rate(candidate, kept, capacity, goal, grid))
            searches.not_shared += kept.cache_info().misses - measured
    return searches


def _trial_points(found: Sequence[SearchResult]) -> list[dict[str, Any]]:
    """All trials of some searches, as points of the plot."""
    return [
        {**asdict(search.candidate), "rate": v.rate, "meets": v.meets, "is_significant": v.is_significant,
         "beyond": v.beyond, "tail_ms": 1e3 * v.tail, "queries": v.queries}
        for search in found
        for v in search.verdicts
    ]  # fmt: skip


def measure(subject: Subject, args: argparse.Namespace, profile: Profile | None) -> dict[str, Any]:
    """The record of a subject: its best candidate, the fixed split, and all trials."""
    target_ms, target_from = target_of(subject, args)
    goal, grid = goal_of(target_ms, args), Grid(ratio=args.resolution)
    tried = candidates(args)
    if args.shuffle is not None:
        tried = [tried[k] for k in np.random.default_rng(args.shuffle).permutation(len(tried))]
    with running_target(subject, args) as running:
        runner = LoadRunner(running, profile, goal, args)
        fixed = baseline(running.engines, args.largest, [c.split for c in tried])
        searches = search(runner, tried, goal, grid, subject.model, args.exhaustive)
    best = best_of(searches.bisected)
    at_fixed = next(f for f in searches.bisected if f.candidate == fixed)
    mean_size = float(drawn_sizes(args)(10_000).mean())
    row = {
        "model": subject.model,
        "engine": subject.engine,
        **subject.settings,
        "target": args.target,
        "engines": running.engines,
        "generator": running.generator,
        "sizes": args.sizes,
        "is_simulated": profile is not None,
        "level": goal.level,
        "target_ms": target_ms,
        "target_from": target_from,
        "best_split": best.candidate.split,
        "best_offload_above": best.candidate.offload_above,
        "rate": best.rate,
        "items_rate": best.rate * mean_size,
        "tail_ms": 1e3 * best.tail if best.tail is not None else None,
        "capacity": best.capacity,
        **runner.late.fields(),
        "baseline_split": fixed.split,
        "baseline_rate": at_fixed.rate,
        "gain": best.rate / at_fixed.rate if at_fixed.rate else None,
        "points": _trial_points(searches.bisected),
    }
    return row | _exhaustive_fields(searches) if args.exhaustive else row


def _exhaustive_fields(searches: Searches) -> dict[str, Any]:
    """Fields of --exhaustive: the answer of trying every rate, and of the search on the same windows."""
    top, again = best_of(searches.exhaustive), best_of(searches.bisected_again)
    windows = sum(verdict.windows for search in searches.bisected_again for verdict in search.verdicts)
    return {
        "exhaustive_rate": top.rate,
        "exhaustive_capacity": top.capacity,
        "exhaustive_split": top.candidate.split,
        "exhaustive_points": _trial_points(searches.exhaustive),
        "bisected_again_rate": again.rate,
        "bisected_again_split": again.candidate.split,
        "bisected_again_shared": 1 - searches.not_shared / windows if windows else None,
        "bisected_again_points": _trial_points(searches.bisected_again),
    }


def main(args: argparse.Namespace) -> int:
    profile = Profile.read(args.profile) if args.profile else None
    rows = []
    for subject in chosen_subjects(args):
        rows.append(measure(subject, args, profile))
        record(args.results, "schedule", rows[-1])
    print(TABLES["schedule"].as_text(rows))
    print(f"the generator: {rows[0]['generator']}")
    if failed := [row["model"] for row in rows if not row["rate"]]:
        print(f"no rate meets the target: {', '.join(failed)}; give a longer --target-ms, or more --engines")
    return 0
