"""The whole study of inference for one model or all: operators, platforms, schedule, load; and the report.

For each model: the time of its operators, the speed-up of each engine (models of the zoo), the highest rate within its
tail-latency target, and the latency at 50, 100 and 120 % of that rate. `--model all` takes the zoo. --quick takes four
to eight minutes a model on two busy cores; in full, with twice the splits and windows, it takes several times that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from load_study import report
from load_study.options import add_subject_flags, chosen_subjects, flags_of
from load_study.subjects import Subject
from load_study.zoo.configurations import CONFIGURATIONS
from recsys_core.measuring.processes import run_action
from recsys_core.measuring.records import read

AROUND = (0.5, 1.0, 1.2)
"""Rates of the loads, in shares of the highest rate."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject_flags(parser, several=True)
    add("--quick", action="store_true", help="fewer sizes, splits and windows")
    report.add_arguments(parser)


def _newest_schedule(results: Path, subject: Subject) -> dict[str, Any]:
    """The newest record of `schedule` for a subject; a rate of 0 if there is none."""
    found = [row for row in read(results) if row["kind"] == "schedule" and row["model"] == subject.model]
    return found[-1] if found else {"rate": 0.0}


def plan(subject: Subject, args: argparse.Namespace) -> dict[str, list[str]]:
    """Action -> its arguments."""
    flags, quick = flags_of(subject, args), args.quick
    sizes = ["--batches", *(["1", "64", "1024"] if quick else ["1", "4", "16", "64", "256", "1024"])]
    window = ["--rounds", "2", "--seconds", "0.3"] if quick else []
    search = ["--splits", "64", "256", "1024", "--most", "2", "--resolution", "0.1"] if quick else []
    actions = {"operators": [*flags, *sizes]}
    if subject.model in CONFIGURATIONS:
        actions["platforms"] = [*flags, *sizes, *window]
    return actions | {"schedule": [*flags, *search]}


def _load_arguments(subject: Subject, args: argparse.Namespace) -> list[str] | None:
    """Arguments of the loads around the highest rate, None if no rate meets the target."""
    best = _newest_schedule(args.results, subject)
    if not best["rate"]:
        return None
    rates = [f"{best['rate'] * share:.3g}" for share in AROUND]
    window = ["--duration", "8"] if args.quick else []
    split = ["--split", str(best["best_split"])]
    return [*flags_of(subject, args), *split, "--rate", *rates, *window]


def main(args: argparse.Namespace) -> int:
    failed = []
    for subject in chosen_subjects(args):
        for name, words in plan(subject, args).items():
            if not run_action("load_study", name, words, args.results):
                failed.append(f"{name} of {subject.model}")
        loads = _load_arguments(subject, args)
        if loads and not run_action("load_study", "load", loads, args.results):
            failed.append(f"load of {subject.model}")
    status = report.main(args)
    if failed:
        print(f"error: failed: {', '.join(failed)} (see above); the rest is in the report", file=sys.stderr)
    return 1 if failed else status
