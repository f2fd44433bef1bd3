"""Whole trainings, ours and of RecBole and implicit, on one data set: the time until each is as good as the others.

Each training is a program of its own, started as its users start it, with its own defaults unless a setting is named.
All of them train on the same interactions, and the lists that they give are judged by one metric (NDCG@100 over the
whole catalogue) for the same held-out items. The time counts from the start of the program, with its evaluations; what
it takes to write the lists of another library for our evaluation does not count. The data set holds out items of all
users (`data_prep ... --protocol per-user`), because these libraries know users by name. RecBole needs a Python of its
own.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables import TABLES
from recsys_core.measuring.processes import show_progress
from recsys_core.measuring.records import newest, read, record
from recsys_core.measuring.rounds import fields, in_rounds

if TYPE_CHECKING:
    from benchmarks.whole.systems import Outcome, System

DEFAULT = (
    "vaecf:shallow",
    "vaecf:paper",
    "recbole:MultiDAE,eval_step=5",
    "recbole:MultiVAE,eval_step=5",
    "implicit:als",
)
SHARE = 0.99
"""Of the median of the best values: the target where none is given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, help="prepared with --protocol per-user")
    add("--systems", nargs="+", default=list(DEFAULT), metavar="FAMILY:MODEL",
        help="vaecf:PRESET, ncf_tf:PRESET, recbole:MODEL, implicit:als; settings follow, as "
        "recbole:MultiVAE,train_batch_size=500 (default: %(default)s)")  # fmt: skip
    add("--target", type=float, help="NDCG@100 to be reached (default: 0.99 of the median of the best values)")
    add("--peer-python", default=sys.executable, metavar="PATH", help="Python that has RecBole (default: this one)")
    add("--rounds", type=int, default=1, help="of all trainings in turn (default: %(default)s)")
    add("--keep", type=Path, metavar="DIR", help="keep runs and lists there (default: they are deleted)")
    add(
        "--again",
        type=Path,
        metavar="FILE",
        help="train nothing: the time to a target from the curves in this results file",
    )


def _check_recbole(systems: list[System], python: str) -> None:
    if not any(system.family == "recbole" for system in systems):
        return
    try:
        done = subprocess.run(
            [python, "-c", "import recbole.config, torch"], capture_output=True, text=True, check=False
        )
        reason = "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        raise ValueError(
            f"{python} cannot train with RecBole ({reason}); make an environment of its own, as with: python -m venv V "
            "&& V/bin/pip install recbole, and give --peer-python V/bin/python"
        )


COLD = "a training is a new process, as its users start it"


def _rows(found: dict[str, list[Outcome]], target: float | None) -> list[dict[str, Any]]:
    """A row for each training, its figures round by round."""
    from benchmarks.whole.curves import common_target

    curves = [outcome.curve for outcomes in found.values() for outcome in outcomes]
    wanted = common_target(curves, SHARE) if target is None else target
    return [{"system": name, "target": wanted, **_figures(outcomes, wanted)} for name, outcomes in found.items()]


def _figures(outcomes: Sequence[Outcome], target: float) -> dict[str, Any]:
    curves = [outcome.curve for outcome in outcomes]
    reached = [seconds for curve in curves if (seconds := curve.seconds_to(target)) is not None]
    return {
        "target_s": reached if len(reached) == len(curves) else None,
        "whole_s": [outcome.seconds for outcome in outcomes],
        "evaluations": len(curves[0].values),
        "best_validation": [curve.best for curve in curves],
        "best_s": [curve.seconds[curve.best_at] for curve in curves],
        "ndcg@100": [outcome.test for outcome in outcomes],
        "peak_gib": max(outcome.peak_bytes for outcome in outcomes) / 2**30,
        "curve_s": list(curves[0].seconds),
        "curve": list(curves[0].values),
    }


def _train(system: System, args: argparse.Namespace, folder: Path, numbers: itertools.count[int]) -> Outcome:
    from benchmarks.whole.systems import train

    show_progress(system.name)
    return train(system, args.data, folder / f"{next(numbers)}", args.peer_python)


def _again(path: Path, target: float | None) -> list[dict[str, Any]]:
    """The newest rows of a results file with their times to another target, which are those of the first round.

    Raises:
        ValueError: the file has no trainings.
    """
    from benchmarks.whole.curves import Curve, common_target

    rows = newest(read(path)).get("trainings", [])
    if not rows:
        raise ValueError(f"--again {path} holds no trainings, expected what this command has written with --results")
    curves = [Curve(seconds=tuple(row["curve_s"]), values=tuple(row["curve"])) for row in rows]
    wanted = common_target(curves, SHARE) if target is None else target
    times = [curve.seconds_to(wanted) for curve in curves]
    return [
        row | {"target": wanted, "target_s": None if seconds is None else [seconds]}
        for row, seconds in zip(rows, times, strict=True)
    ]


def main(args: argparse.Namespace) -> int:
    if args.again:
        rows = _again(args.again, args.target)
    elif args.data:
        rows = _measured(args)
    else:
        raise ValueError("--data is missing, expected a data set prepared with --protocol per-user")
    for row in rows:
        record(args.results, "trainings", row)
    print(TABLES["trainings"].as_text(rows))
    return 0


def _measured(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each training."""
    from benchmarks.whole import inputs, systems
    from recsys_core.dataset import Dataset

    chosen = [systems.parse(text) for text in args.systems]
    _check_recbole(chosen, args.peer_python)
    shape = systems.shapes(inputs.parts(Dataset.open(args.data)))
    with tempfile.TemporaryDirectory() as temporary:
        folder, numbers = args.keep or Path(temporary), itertools.count()
        sides = {system.name: partial(_train, system, args, folder, numbers) for system in chosen}
        rounds = in_rounds(sides, args.rounds)
    show_progress("")
    return [shape | row | fields(rounds, why_cold=COLD) for row in _rows(rounds.values, args.target)]
