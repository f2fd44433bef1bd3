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
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables import TABLES
from recsys_core.measuring.processes import show_progress
from recsys_core.measuring.records import record

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
"""Of the best value of the training whose best is lowest: the target where none is given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, required=True, help="prepared with --protocol per-user")
    add("--systems", nargs="+", default=list(DEFAULT), metavar="FAMILY:MODEL",
        help="vaecf:PRESET, ncf_tf:PRESET, recbole:MODEL, implicit:als; settings follow, as "
        "recbole:MultiVAE,train_batch_size=500 (default: %(default)s)")  # fmt: skip
    add("--target", type=float, help="NDCG@100 to be reached (default: 0.99 of the best value of the worst)")
    add("--peer-python", default=sys.executable, metavar="PATH", help="Python that has RecBole (default: this one)")
    add("--keep", type=Path, metavar="DIR", help="keep runs and lists there (default: they are deleted)")


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


def _rows(outcomes: list[tuple[System, Outcome]], target: float | None, shape: dict[str, int]) -> list[dict[str, Any]]:
    from benchmarks.whole.curves import common_target

    wanted = common_target([outcome.curve for _, outcome in outcomes], SHARE) if target is None else target
    return [
        {
            "system": system.name,
            **shape,
            "target": wanted,
            "target_s": outcome.curve.seconds_to(wanted),
            "whole_s": outcome.seconds,
            "evaluations": len(outcome.curve.values),
            "best_validation": outcome.curve.best,
            "best_s": outcome.curve.seconds[outcome.curve.best_at],
            "ndcg@100": outcome.test,
            "peak_gib": outcome.peak_bytes / 2**30,
            "curve_s": list(outcome.curve.seconds),
            "curve": list(outcome.curve.values),
        }
        for system, outcome in outcomes
    ]


def main(args: argparse.Namespace) -> int:
    from benchmarks.whole import inputs, systems
    from recsys_core.dataset import Dataset

    chosen = [systems.parse(text) for text in args.systems]
    _check_recbole(chosen, args.peer_python)
    shape = systems.shapes(inputs.parts(Dataset.open(args.data)))
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        outcomes = []
        for k, system in enumerate(chosen):
            show_progress(f"{k + 1} of {len(chosen)}: {system.name}")
            outcomes.append((system, systems.train(system, args.data, folder / str(k), args.peer_python)))
    show_progress("")
    rows = _rows(outcomes, args.target, shape)
    for row in rows:
        record(args.results, "trainings", row)
    print(TABLES["trainings"].as_text(rows))
    return 0
