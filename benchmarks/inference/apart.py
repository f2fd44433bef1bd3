"""Measuring each subject in a process of its own, so that one's memory and threads are not another's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.inference.asked import subjects, words_for
from benchmarks.inference.subjects import Subject
from benchmarks.measure import announce, result_of
from benchmarks.results import tables
from benchmarks.results.records import record

Measure = Callable[[Subject, argparse.Namespace], list[dict[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What such a benchmark takes besides subjects."""
    add = parser.add_argument
    add("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024], help="(default: %(default)s)")
    add("--threads", type=int, default=0, help="of each engine (default: all cores)")
    add("--one", action="store_true", help=argparse.SUPPRESS)


def main(name: str, measure: Measure, more: Sequence[str], args: argparse.Namespace) -> int:
    """Records and table of all subjects; with --one this is the process that measures the only one.

    Args:
        more: arguments of its own that the process gets too.
    """
    every = subjects(args)
    if args.one:
        print("RESULT " + json.dumps({"rows": measure(every[0], args)}))
        return 0
    rows: list[dict[str, Any]] = []
    for subject in every:
        announce(f"{name} of {subject.model}")
        words = ["-m", "benchmarks", name, *words_for(subject, args), *more, "--threads", str(args.threads), "--one"]
        for row in result_of([*words, "--batches", *map(str, args.batches)])["rows"]:
            rows.append(row)
            record(args.results, name, row)
    announce("")
    print(tables.text(name, rows))
    return 0
