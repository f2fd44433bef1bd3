"""Measuring each subject in a process of its own, so that subjects do not share memory or threads."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from load_study.options import chosen_subjects, flags_of
from load_study.subjects import Subject
from load_study.tables import TABLES
from recsys_core.measuring.processes import print_result, result_of, show_progress
from recsys_core.measuring.records import record

Measure = Callable[[Subject, argparse.Namespace], list[dict[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags that such a command takes besides those of the subjects."""
    add = parser.add_argument
    add("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024], help="(default: %(default)s)")
    add("--threads", type=int, default=0, help="of each engine (default: all cores)")
    add("--one", action="store_true", help=argparse.SUPPRESS)


def measure_each(action: str, measure: Measure, own_flags: Sequence[str], args: argparse.Namespace) -> int:
    """Measure all subjects, record the results and print the table; with --one, measure the only subject here.

    Args:
        own_flags: flags of the action itself for the process of each subject.
    """
    subjects = chosen_subjects(args)
    if args.one:
        print_result({"rows": measure(subjects[0], args)})
        return 0
    rows: list[dict[str, Any]] = []
    for subject in subjects:
        show_progress(f"{action} of {subject.model}")
        words = ["-m", "load_study", action, *flags_of(subject, args), *own_flags, "--threads", str(args.threads)]
        for row in result_of([*words, "--one", "--batches", *map(str, args.batches)])["rows"]:
            rows.append(row)
            record(args.results, action, row)
    show_progress("")
    print(TABLES[action].as_text(rows))
    return 0
