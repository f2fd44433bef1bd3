"""The whole study of inference for one model or all: operators, engines, schedule, the load around it; and a report.

For each model: where its time goes, what each engine gains, the highest rate within its tail-latency target, and the
latency at half of that rate, at it, and at 120 % of it. `--model all` takes the zoo. --quick takes four to eight
minutes a model on two busy cores; in full, with twice the splits and windows, it takes several times that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.inference.asked import add_subject, subjects, words_for
from benchmarks.inference.subjects import Subject
from benchmarks.results import report
from benchmarks.results.records import read
from benchmarks.suite import run

AROUND = (0.5, 1.0, 1.2)
"""Of the highest rate: the loads that are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject(parser, several=True)
    add("--quick", action="store_true", help="fewer sizes, splits and windows")
    report.add_arguments(parser)


def _highest(results: Path, subject: Subject) -> dict[str, Any]:
    """The newest schedule of a subject."""
    found = [row for row in read(results) if row["kind"] == "schedule" and row["model"] == subject.model]
    return found[-1] if found else {"rate": 0.0}


def _plan(subject: Subject, args: argparse.Namespace) -> dict[str, list[str]]:
    """Name of a benchmark -> its arguments."""
    who, quick = words_for(subject, args), args.quick
    sizes = ["--batches", *(["1", "64", "1024"] if quick else ["1", "4", "16", "64", "256", "1024"])]
    return {
        "operators": [*who, *sizes],
        "platforms": [*who, *sizes, *(["--rounds", "2", "--seconds", "0.3"] if quick else [])],
        "schedule": [
            *who,
            *(["--splits", "64", "256", "1024", "--most", "2", "--resolution", "0.1"] if quick else []),
        ],
    }  # fmt: skip


def _load(subject: Subject, args: argparse.Namespace) -> list[str] | None:
    """Arguments of the loads around the highest rate, None if no rate meets the target."""
    best = _highest(args.results, subject)
    if not best["rate"]:
        return None
    rates = [f"{best['rate'] * share:.3g}" for share in AROUND]
    window = ["--duration", "8"] if args.quick else []
    split = ["--split", str(best["best_split"])]
    return [*words_for(subject, args), *split, "--rate", *rates, *window]


def main(args: argparse.Namespace) -> int:
    failed = []
    for subject in subjects(args):
        for name, words in _plan(subject, args).items():
            if not run(name, words, args.results):
                failed.append(f"{name} of {subject.model}")
        loads = _load(subject, args)
        if loads and not run("load", loads, args.results):
            failed.append(f"load of {subject.model}")
    status = report.main(args)
    if failed:
        print(f"error: failed: {', '.join(failed)} (see above); the rest is in the report", file=sys.stderr)
    return 1 if failed else status
