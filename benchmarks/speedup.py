"""The speed-up ladder of NVIDIA's VAE-CF case study, on any data set and any machine: speed and metric.

Rung 0 trains the published way: dense batches of 500, float32, fed by Python, one process. Each further rung changes
what its name says and nothing else. Speeds are measured in rounds, all rungs in turn; factors are taken round by round.
With --epochs every rung then trains that many epochs, and the table also shows NDCG@100 of the test users.

Every process has --threads cores, so the last rung has as many cores (or GPUs) more as it has ranks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rungs import CASE_STUDY, CASE_STUDY_OVERALL, METRIC, Rung, ladder
from benchmarks.tables import TABLES
from recsys_core.measuring.processes import result_of, show_progress
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import WarmUp, fields, in_rounds
from recsys_core.measuring.windows import ratios


def climb(
    data: Path, rung: Rung, *, threads: int, epochs: int = 0, seconds: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """Run a rung in separate processes.

    Raises:
        RuntimeError: it failed.
    """
    words = ["-m", "benchmarks.ladder", "--data", str(data), "--rung", json.dumps(asdict(rung))]
    words += ["--epochs", str(epochs), "--seconds", str(seconds), "--seed", str(seed)]
    return result_of(words, ranks=rung.ranks, threads=threads)


def factors(speeds: dict[str, list[float]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each rung: over the one before and over the first, taken round by round."""
    rows = []
    for k, name in enumerate(names):
        before, first = speeds[names[max(0, k - 1)]], speeds[names[0]]
        rows.append(
            {
                "step": ratios(speeds[name], before),
                "overall": ratios(speeds[name], first),
            }
        )
    return rows


def rows_of(
    rungs: Sequence[Rung], speeds: dict[str, list[float]], results: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The record of each rung."""
    return [
        {
            "rung": asdict(rung),
            "users_per_second": speeds[rung.name],
            **ratio,
            "published_step": CASE_STUDY[rung.name],
            "peak_gib": results[rung.name]["peak_bytes"] / 2**30,
            METRIC: results[rung.name].get(METRIC),
        }
        for rung, ratio in zip(rungs, factors(speeds, [r.name for r in rungs]), strict=True)
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, required=True, help="prepared data set, as synthetic --like ml-20m-prepared")
    add("--batch-size", type=int, default=2_000, help="of the rungs from `large batch` on (default: %(default)s)")
    add("--learning-rate", type=float, default=2e-3, help="of these rungs; 1e-3 before (default: %(default)s)")
    add("--precision", default="bf16", help="of the rungs from `mixed precision` on (default: %(default)s)")
    add("--ranks", type=int, default=2, help="of the last rung (default: %(default)s)")
    add("--threads", type=int, default=1, help="cores of each process (default: %(default)s)")
    add("--rounds", type=int, default=3, help="measurements of each rung, in turn (default: %(default)s)")
    add("--seconds", type=float, default=10.0, help="of each (default: %(default)s)")
    add("--epochs", type=int, default=0, help="train so many epochs besides, and evaluate (default: only speed)")


def main(args: argparse.Namespace) -> int:
    rungs = ladder(args.batch_size, args.learning_rate, args.precision, args.ranks)

    def one(rung: Rung) -> dict[str, Any]:
        show_progress(rung.name)
        return climb(args.data, rung, threads=args.threads, seconds=args.seconds)

    rounds = in_rounds({rung.name: partial(one, rung) for rung in rungs}, args.rounds)
    speeds = {name: [found["users_per_second"] for found in runs] for name, runs in rounds.values.items()}
    results = {name: runs[-1] for name, runs in rounds.values.items()}
    for rung in rungs if args.epochs else ():
        show_progress(f"{args.epochs} epochs: {rung.name}")
        results[rung.name] = climb(args.data, rung, threads=args.threads, epochs=args.epochs)
    show_progress("")
    rows = rows_of(rungs, speeds, results)
    print(TABLES["speedup"].as_text(rows))
    print(f"overall in the case study: {CASE_STUDY_OVERALL} (4 V100, ML-20M; sparse and large batch were one step)")
    for row in rows:
        warmed = [WarmUp(**found["warm_up"]) for found in rounds.values[row["rung"]["name"]]]
        about = {"data": str(args.data), "epochs": args.epochs}
        record(args.results, "speedup", {**about, **row, **fields(rounds, warmed)})
    return 0
