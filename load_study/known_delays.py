"""Subjects of known delay: their service time as it is here, and what queueing theory says about them."""

from __future__ import annotations

import argparse

from load_study.options import drawn_sizes
from load_study.search import Goal
from load_study.subjects import DELAYS, Subject
from load_study.targets import RunningTarget
from load_study.traffic import theory
from load_study.traffic.clock import RealClock
from load_study.traffic.generator import closed_loop

SERVICE_S = 5.0
"""Duration of the measurement of a known delay's service time."""


def is_known_delay(subject: Subject) -> bool:
    return subject.model.partition(":")[0] in DELAYS


def law_of(subject: Subject) -> type[theory.MMc] | type[theory.MDc]:
    """The queue that a known delay makes under Poisson arrivals."""
    return theory.MMc if subject.model.partition(":")[0] == DELAYS[1] else theory.MDc


def service_seconds(
    subject: Subject, running: RunningTarget, args: argparse.Namespace, duration: float = SERVICE_S
) -> float:
    """Mean seconds of a request when no other waits: the known delay and the overhead of this machine."""
    load = closed_loop(RealClock(), running.target, drawn_sizes(args), duration=duration, warm_up=0.5)
    running.settle()
    kind, _, length = subject.model.partition(":")
    if kind == DELAYS[1]:  # too few random delays for their mean; the shortest one is about the overhead
        return float(length) / 1e3 + float(load.latencies.seconds.min())
    return float(load.latencies.seconds.mean())


def rate_in_theory(subject: Subject, service: float, engines: int, goal: Goal) -> float:
    """The highest Poisson rate (queries/s) that meets a goal in equilibrium; 0 where none does."""
    law = law_of(subject)
    low, high = 0.0, (1 - 1e-9) * theory.HIGHEST_LOAD * engines / service  # rounding must not carry it beyond
    if law(rate=high, service=service, servers=engines).response_quantile(goal.level) <= goal.seconds:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        meets = law(rate=middle, service=service, servers=engines).response_quantile(goal.level) <= goal.seconds
        low, high = (middle, high) if meets else (low, middle)
    return low if low > 1e-6 * high else 0.0
