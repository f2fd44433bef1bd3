"""Evaluation speed: held-out users ranked over the whole catalogue, and the share of the limit of its matrix products.

The evaluator as training runs it: scores, exclusion of the fold-in, top 100, Recall and NDCG. Windows of matrix
products of the output layer's shape and of whole evaluations alternate.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.roofline import gemm_rate
from benchmarks.shapes import HIDDEN, LATENT, vae_operations
from benchmarks.tables import TABLES
from recsys_core.measuring.processes import print_result, result_of, show_progress
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import fields, in_rounds, warm_up
from recsys_core.measuring.windows import ratios

METRICS = ("ndcg@100", "recall@20", "recall@50")
WINDOWS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, required=True, help="prepared data set, as synthetic --like ml-20m-prepared")
    add("--block-size", type=int, nargs="+", default=[512], help="users ranked at once (default: %(default)s)")
    add("--seconds", type=float, default=3.0, help="of a window of products (default: %(default)s)")
    add("--one", action="store_true", help=argparse.SUPPRESS)


def measure_one(folder: Path, block: int, seconds: float) -> dict[str, Any]:
    """One record: windows of matrix products and of evaluations, in turn."""
    import tensorflow as tf

    from benchmarks import steps
    from recsys_core import devices
    from recsys_core.dataset import Dataset
    from recsys_core.evaluation.evaluator import Evaluator
    from recsys_core.evaluation.metric_names import parse_metric
    from recsys_core.world import World
    from vaecf.model import MultVae

    world = World()
    devices.configure(world)
    data = Dataset.open(folder)
    model = MultVae(data, preset="paper", hidden=(HIDDEN,), latent=LATENT)
    metrics = [parse_metric(name) for name in METRICS]
    held_out = data.held_out("test")
    evaluator = Evaluator(held_out, metrics, world=world, n_items=data.n_items, block_size=block)

    def rate() -> float:
        start = time.perf_counter()
        evaluator.evaluate(model)
        return held_out.n_users / (time.perf_counter() - start)

    warmed = warm_up(rate)
    peak = steps.peak_bytes(world) / 2**30
    sides = {"gemm": lambda: gemm_rate(block, HIDDEN, data.n_items, tf.float32, seconds), "users": rate}
    rounds = in_rounds(sides, WINDOWS)
    gemm, users = rounds.values.values()
    limits = [g / (vae_operations(data.n_items) / 3) for g in gemm]
    return {
        "users": held_out.n_users,
        "n_items": data.n_items,
        "block_size": block,
        "peak_gib": peak,
        "users_per_second": users,
        "gemm_gflops": [g / 1e9 for g in gemm],
        "share_of_limit": ratios(users, limits),
        **fields(rounds, [warmed]),
    }


def main(args: argparse.Namespace) -> int:
    if args.one:
        print_result(measure_one(args.data, args.block_size[0], args.seconds))
        return 0
    rows = []
    for block in args.block_size:
        show_progress(f"blocks of {block}")
        words = ["-m", "benchmarks", "evaluate", "--data", str(args.data), "--block-size", str(block)]
        rows.append(result_of([*words, "--seconds", str(args.seconds), "--one"]))
        record(args.results, "evaluate", rows[-1])
    show_progress("")
    print(TABLES["evaluate"].as_text(rows))
    return 0
