"""The tail-latency target of a search: its flags, and where the default of each model comes from."""

from __future__ import annotations

import argparse

from load_study.search import Goal
from load_study.subjects import Subject
from load_study.zoo.configurations import CONFIGURATIONS

LEVELS = {"p95": 0.95, "p99": 0.99}
DEFAULT_TARGET_MS = 50.0
GIVEN, PUBLISHED, FROM_MEMORY, DEFAULT = "--target-ms", "DeepRecSys's repository", "from memory", "default"
"""Where a target comes from."""


def add_goal_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of a search for the highest rate within a target."""
    add = parser.add_argument
    add("--level", choices=tuple(LEVELS), default="p95", help="percentile of the target (default: %(default)s)")
    add("--target-ms", type=float, help="(default: the model's, of DeepRecSys; 50 where there is none)")
    add("--window", type=float, default=4.0, help="seconds of a load, at least (default: %(default)s)")
    add("--most", type=int, default=4, help="windows of one trial (default: %(default)s)")
    add("--resolution", type=float, default=0.04, help="ratio of neighbouring rates, less 1 (default: %(default)s)")


def target_of(subject: Subject, args: argparse.Namespace) -> tuple[float, str]:
    """(milliseconds, where the number comes from)."""
    if args.target_ms:
        return args.target_ms, GIVEN
    if subject.model not in CONFIGURATIONS:
        return DEFAULT_TARGET_MS, DEFAULT
    configuration = CONFIGURATIONS[subject.model]
    return configuration.target_ms, PUBLISHED if configuration.target_is_published else FROM_MEMORY


def goal_of(target_ms: float, args: argparse.Namespace) -> Goal:
    """The goal of the flags."""
    return Goal(level=LEVELS[args.level], seconds=target_ms / 1e3, most=args.most)
