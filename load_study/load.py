"""Open-loop load on running engines: each query is sent when it is due, and its latency counts from then.

A known delay (--model delay:5, delay-exponential:5) compares the generator with queueing theory. --stall stops the
engines for some seconds. --closed also measures a closed loop, which hides the waiting time. --target triton-http sends
the queries to a server that runs already (python -m serving triton serve).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from load_study.engines.dispatcher import Dispatcher
from load_study.engines.pool import EnginePool
from load_study.known_delays import is_known_delay, law_of, service_seconds
from load_study.options import add_engine_flags, add_subject_flags, chosen_subjects, drawn_sizes
from load_study.subjects import Subject
from load_study.tables import TABLES
from load_study.targets import RunningTarget, running_target
from load_study.traffic import arrivals
from load_study.traffic.clock import RealClock
from load_study.traffic.generator import closed_loop, generate
from load_study.traffic.result import LoadResult
from recsys_core.measuring.processes import show_progress
from recsys_core.measuring.records import record

COMMON = (
    "--model", "--export", "--engine", "--target", "--url", "--name", "--rate", "--duration", "--sizes", "--arrivals",
    "--split", "--closed", "--results",
)  # fmt: skip
"""Options that `--help` shows; `--help-all` shows all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject_flags(parser)
    add_engine_flags(parser)
    add("--rate", type=float, nargs="+", help="queries/s, one load after another (default: 50)")
    add("--arrivals", default="poisson", help=f"of: {', '.join(arrivals.NAMES)} (default: %(default)s)")
    add("--split", type=int, help="largest part that a query is cut into (default: queries stay whole)")
    add("--duration", type=float, default=20.0, help="seconds that count (default: %(default)s)")
    add("--warm-up", type=float, default=2.0, help="seconds before them (default: %(default)s)")
    add("--repeats", type=int, default=1, help="loads at each rate (default: %(default)s)")
    add("--stall", type=float, metavar="SECONDS", help="stop all engines for this time in the middle of the load")
    add("--closed", action="store_true", help="also measure a closed loop, which hides the waiting time")


def _plan_stall(running: RunningTarget, clock: RealClock, args: argparse.Namespace) -> None:
    if not args.stall:
        return
    if not isinstance(running.target, EnginePool):
        raise ValueError("--stall needs --target pool")
    running.target.stall(clock, clock.now() + args.warm_up + args.duration / 2, args.stall)


def _theory(
    subject: Subject, running: RunningTarget, rate: float | None, service: float, args: argparse.Namespace
) -> dict[str, float]:
    """Response times by queueing theory in seconds, for a known delay under Poisson arrivals; else empty."""
    if not is_known_delay(subject) or args.arrivals != "poisson" or rate is None or args.split:
        return {}
    try:
        queue = law_of(subject)(rate=rate, service=service, servers=running.engines)
    except ValueError:  # overloaded
        return {}
    return {
        "service_s": service,
        "theory_mean_s": queue.response_mean(),
        **{f"theory_p{q}_s": queue.response_quantile(q / 100) for q in (50, 95, 99)},
    }


def _run_load(
    running: RunningTarget, rate: float | None, number: int, loop: str, args: argparse.Namespace
) -> LoadResult:
    """Run one load to its end and wait until the engines are idle."""
    clock, target = RealClock(), running.target
    _plan_stall(running, clock, args)
    if args.split:
        target = Dispatcher(target, split=args.split)
    span = {"duration": args.duration, "warm_up": args.warm_up, "timeout": args.timeout}
    try:
        if loop == "closed":
            return closed_loop(clock, target, drawn_sizes(args), workers=running.engines, **span)
        rng = np.random.default_rng([args.seed, 2, number])
        return generate(clock, target, arrivals.parse(args.arrivals, rate, rng), drawn_sizes(args, number), **span)
    finally:
        running.settle()


def _print_lateness(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what the generator ran on, how many queries it sent late, and the largest delay."""
    late, sent = (sum(row[name] for row in rows) for name in ("late_sends", "queries"))
    worst = 1e3 * max(row["worst_lateness_s"] for row in rows)
    print(f"the generator: {rows[0]['generator']}")
    print(f"the generator: {late:.0f} of {sent:.0f} queries sent more than 1 ms late, at most {worst:.1f} ms late")


def main(args: argparse.Namespace) -> int:
    subject = chosen_subjects(args)[0]
    rates = args.rate or [None if args.arrivals.startswith("trace:") else 50.0]
    rows: list[dict[str, Any]] = []
    show_progress(f"{subject.model}: starting the engines")
    with running_target(subject, args) as running:
        service = service_seconds(subject, running, args) if is_known_delay(subject) else 0.0
        for rate in rates:
            for number in range(args.repeats):
                for loop in ("open", "closed") if args.closed else ("open",):
                    show_progress(
                        f"{subject.model}: {loop} loop, {rate or 'recorded'} queries/s, {number + 1} of {args.repeats}"
                    )
                    load = _run_load(running, rate, number, loop, args)
                    rows.append(
                        {
                            "model": subject.model,
                            "engine": subject.engine,
                            **subject.settings,
                            "target": args.target,
                            "engines": running.engines,
                            "generator": running.generator,
                            "arrivals": args.arrivals + (f", {rate:g}/s" if rate else ""),
                            "sizes": args.sizes,
                            "split": args.split,
                            "stall_s": args.stall,
                            **load.figures(),
                            "error_texts": dict(load.error_texts),
                            "invalid": [load.invalid_reason] if load.invalid_reason else [],
                            **(_theory(subject, running, rate, service, args) if loop == "open" else {}),
                        }
                    )
                    record(args.results, "load", rows[-1])
    show_progress("")
    print(TABLES["load"].as_text(rows))
    for text, count in sorted({t: n for row in rows for t, n in row["error_texts"].items()}.items()):
        print(f"{count} x {text}")
    _print_lateness([row for row in rows if row["loop"] == "open"])
    return 0
