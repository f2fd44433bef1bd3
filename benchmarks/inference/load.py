"""Open-loop load on engines that really run: queries go out when they are due, latency counts from then.

A model of known delay (--model delay:5, delay-exponential:5) holds the generator itself against queueing theory;
--stall stops the engines for a moment, and --closed measures the usual wrong way beside. --target triton-http asks a
server that runs already (python -m serving triton serve).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.inference.asked import Engines, add_engines, add_subject, drawn_sizes, running, subjects
from benchmarks.inference.engines import EnginePool
from benchmarks.inference.subjects import DELAYS, Subject
from benchmarks.measure import announce
from benchmarks.results import tables
from benchmarks.results.records import record
from benchmarks.traffic import arrivals, theory
from benchmarks.traffic.clock import RealClock
from benchmarks.traffic.generator import closed_loop, generate
from benchmarks.traffic.load import Load
from benchmarks.traffic.split import Dispatcher

SERVICE_S = 5.0
"""Of measuring the service time of a known delay."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject(parser)
    add_engines(parser)
    add("--rate", type=float, nargs="+", help="queries/s, one load after another (default: 50)")
    add("--arrivals", default="poisson", help=f"of: {', '.join(arrivals.NAMES)} (default: %(default)s)")
    add("--split", type=int, help="cut queries into parts of at most so many (default: never)")
    add("--duration", type=float, default=20.0, help="seconds that count (default: %(default)s)")
    add("--warm-up", type=float, default=2.0, help="seconds before them (default: %(default)s)")
    add("--repeats", type=int, default=1, help="loads at each rate (default: %(default)s)")
    add("--stall", type=float, metavar="SECONDS", help="stop all engines so long in the middle")
    add("--closed", action="store_true", help="measure the closed-loop way beside, which hides what waits")


def _stalls(engines: Engines, clock: RealClock, args: argparse.Namespace) -> None:
    if not args.stall:
        return
    if not isinstance(engines.target, EnginePool):
        raise ValueError("--stall needs --target pool")
    engines.target.stall(clock, clock.now() + args.warm_up + args.duration / 2, args.stall)


def _service(subject: Subject, engines: Engines, args: argparse.Namespace) -> float:
    """Mean seconds of one request when nothing waits: the known delay and what this machine adds to it."""
    load = closed_loop(RealClock(), engines.target, drawn_sizes(args), duration=SERVICE_S, warm_up=0.5)
    engines.settle()
    kind, _, length = subject.model.partition(":")
    if kind == DELAYS[1]:  # the mean of so few random ones would not be theirs; the least is about what is added
        return float(length) / 1e3 + float(load.latencies.seconds.min())
    return float(load.latencies.seconds.mean())


def _expected(
    subject: Subject, engines: Engines, rate: float | None, service: float, args: argparse.Namespace
) -> dict[str, float]:
    """What queueing theory says of a known delay under Poisson arrivals, in seconds; nothing of other subjects."""
    kind = subject.model.partition(":")[0]
    if kind not in DELAYS or args.arrivals != "poisson" or rate is None or args.split:
        return {}
    law = theory.MMc if kind == DELAYS[1] else theory.MDc
    try:
        queue = law(rate=rate, service=service, servers=engines.workers)
    except ValueError:  # overloaded
        return {}
    return {
        "service_s": service,
        "theory_mean_s": queue.response_mean(),
        **{f"theory_p{q}_s": queue.response_quantile(q / 100) for q in (50, 95, 99)},
    }


def _one(engines: Engines, rate: float | None, number: int, loop: str, args: argparse.Namespace) -> Load:
    """A load to its end; then the engines are idle."""
    clock, target = RealClock(), engines.target
    _stalls(engines, clock, args)
    if args.split:
        target = Dispatcher(target, split=args.split)
    span = {"duration": args.duration, "warm_up": args.warm_up, "timeout": args.timeout}
    try:
        if loop == "closed":
            return closed_loop(clock, target, drawn_sizes(args), workers=engines.workers, **span)
        rng = np.random.default_rng([args.seed, 2, number])
        return generate(clock, target, arrivals.parse(args.arrivals, rate, rng), drawn_sizes(args, number), **span)
    finally:
        engines.settle()


def _say_lateness(rows: Sequence[Mapping[str, Any]]) -> None:
    """How well the generator kept its own times."""
    late, sent = (sum(row[name] for row in rows) for name in ("late_sends", "queries"))
    worst = 1e3 * max(row["worst_lateness_s"] for row in rows)
    print(f"the generator: {late:.0f} of {sent:.0f} queries sent more than 1 ms late, the latest by {worst:.1f} ms")


def main(args: argparse.Namespace) -> int:
    subject = subjects(args)[0]
    rates = args.rate or [None if args.arrivals.startswith("trace:") else 50.0]
    rows: list[dict[str, Any]] = []
    announce(f"{subject.model}: engines start")
    with running(subject, args, args.target) as engines:
        service = _service(subject, engines, args) if subject.model.partition(":")[0] in DELAYS else 0.0
        for rate in rates:
            for number in range(args.repeats):
                for loop in ("open", "closed") if args.closed else ("open",):
                    announce(
                        f"{subject.model}: {loop} loop, {rate or 'recorded'} queries/s, {number + 1} of {args.repeats}"
                    )
                    load = _one(engines, rate, number, loop, args)
                    rows.append(
                        {
                            "model": subject.model,
                            "engine": subject.engine,
                            "target": args.target,
                            "engines": engines.workers,
                            "arrivals": args.arrivals + (f", {rate:g}/s" if rate else ""),
                            "sizes": args.sizes,
                            "split": args.split,
                            "stall_s": args.stall,
                            **load.figures(),
                            "error_texts": dict(load.error_texts),
                            **(_expected(subject, engines, rate, service, args) if loop == "open" else {}),
                        }
                    )
                    record(args.results, "load", rows[-1])
    announce("")
    print(tables.text("load", rows))
    for text, count in sorted({t: n for row in rows for t, n in row["error_texts"].items()}.items()):
        print(f"{count} x {text}")
    _say_lateness([row for row in rows if row["loop"] == "open"])
    return 0
