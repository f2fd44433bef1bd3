"""The whole study of inference for one model or all: operators, platforms, schedule, load; and the report.

For each model: the time of its operators, the speed-up of each engine (models of the zoo), the highest rate within its
tail-latency target, and the latency at 50, 100 and 120 % of that rate. `--model all` takes the zoo. --quick shows that
all of it runs, with searches of one window a trial and rates 20 % apart; in full it takes ten times as long.
Each action is recorded when it ends, and one that fails does not stop the others: --resume measures what is missing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load_study import report
from load_study.options import add_subject_flags, chosen_subjects, flags_of
from load_study.subjects import Subject
from load_study.zoo.configurations import CONFIGURATIONS
from recsys_core.measuring.conditions import BUSY, quiet_ones
from recsys_core.measuring.processes import action_words, run_action
from recsys_core.measuring.records import read

AROUND = (0.5, 1.0, 1.2)
"""Rates of the loads, in shares of the highest rate."""
QUERIES = 250
"""Of the slowest load: an interval of p95 needs 200."""
SHORTEST_LOAD_S, LONGEST_LOAD_S = 20.0, 180.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject_flags(parser, several=True)
    add("--engines", type=int, default=0, help="processes of a load (default: as `load` and `schedule`)")
    add("--quick", action="store_true", help="fewer sizes, splits and windows")
    add("--resume", action="store_true", help="keep what the same commands recorded while the machine was quiet")
    report.add_arguments(parser)


def _records(results: Path) -> list[dict[str, Any]]:
    """What was recorded so far; nothing where there is no file yet."""
    return read(results) if results.is_file() else []


def is_recorded(action: str, words: Sequence[str], results: Path, count: int = 1) -> bool:
    """Whether the results file holds `count` valid records of exactly this command."""
    command = shlex.join(["python", *action_words("load_study", action, words, results)])
    valid, _ = quiet_ones(_records(results))
    return sum(row["kind"] == action and row.get("command") == command for row in valid) >= count


def _newest_schedule(results: Path, subject: Subject) -> dict[str, Any]:
    """The newest record of `schedule` for a subject; a rate of 0 if there is none."""
    found = [row for row in _records(results) if row["kind"] == "schedule" and row["model"] == subject.model]
    return found[-1] if found else {"rate": 0.0}


def plan(subject: Subject, args: argparse.Namespace) -> dict[str, list[str]]:
    """Action -> its arguments."""
    flags, quick = flags_of(subject, args), args.quick
    sizes = ["--batches", *(["1", "64", "1024"] if quick else ["1", "4", "16", "64", "256", "1024"])]
    window = ["--rounds", "2", "--seconds", "0.3"] if quick else []
    search = ["--splits", "256", "1024", "--most", "1", "--resolution", "0.2"] if quick else []
    actions = {"operators": [*flags, *sizes]}
    if subject.model in CONFIGURATIONS:
        actions["platforms"] = [*flags, *sizes, *window]
    return actions | {"schedule": [*flags, *_engines(args), *search]}


def _engines(args: argparse.Namespace) -> list[str]:
    """The flag of the actions that send load; none where they choose by themselves."""
    return ["--engines", str(args.engines)] if args.engines else []


def _load_seconds(rate: float) -> float:
    """Duration of the loads: long enough for a p95 at the lowest of their rates, within `LONGEST_LOAD_S`."""
    return min(max(SHORTEST_LOAD_S, QUERIES / (AROUND[0] * rate)), LONGEST_LOAD_S)


def _load_arguments(subject: Subject, args: argparse.Namespace) -> list[str] | None:
    """Arguments of the loads around the highest rate, None if no rate meets the target."""
    best = _newest_schedule(args.results, subject)
    if not best["rate"]:
        return None
    rates = [f"{best['rate'] * share:.3g}" for share in AROUND]
    window = ["--duration", "8" if args.quick else f"{_load_seconds(best['rate']):.0f}"]
    split = ["--split", str(best["best_split"])]
    return [*flags_of(subject, args), *_engines(args), *split, "--rate", *rates, *window]


class _Runner:
    """Runs the actions of a study, and notes which failed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self.kept = 0
        self.failed: list[str] = []

    def run(self, action: str, words: Sequence[str], model: str, count: int = 1) -> None:
        """Run one action, unless its `count` records are there and the study is resumed."""
        if self._args.resume and is_recorded(action, words, self._args.results, count):
            self.kept += 1
        elif not run_action("load_study", action, words, self._args.results):
            self.failed.append(f"{action} of {model}")


def _print_windows(rows: Sequence[dict[str, Any]]) -> None:
    """Print how many windows were late, and what became of them."""
    late, kept = (int(sum(row.get(name) or 0 for row in rows)) for name in ("discarded_windows", "invalid_windows"))
    _, not_valid = quiet_ones(rows)
    print(
        f"windows whose generator was late: {late} discarded and run again, {kept} taken all the same; "
        f"{not_valid} of {len(rows)} records not valid"
    )
    if kept and any("cores of the engines" in str(row.get("generator")) for row in rows):
        print("the generator ran on the cores of the engines: --engines with a smaller number leaves it one of its own")


def main(args: argparse.Namespace) -> int:
    runner, before = _Runner(args), len(_records(args.results))
    for subject in chosen_subjects(args):
        for name, words in plan(subject, args).items():
            runner.run(name, words, subject.model)
        if loads := _load_arguments(subject, args):
            runner.run("load", loads, subject.model, count=len(AROUND))
    everything = _records(args.results)
    if args.resume:
        print(f"{runner.kept} actions were recorded before")
    _print_windows(everything[before:])
    if runner.failed:
        print(f"error: failed: {', '.join(runner.failed)} (see above); the rest is in the results", file=sys.stderr)
    valid, _ = quiet_ones(everything)
    if not report.REPORT.sections(valid):
        print("no valid record, so there is no report; measure on a quiet machine, or take all with --busy")
        return 1 if runner.failed else BUSY
    status = report.main(args)
    return 1 if runner.failed else status
