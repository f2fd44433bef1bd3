"""Training speed of VAE-CF as users/s and as a share of what this machine's matrix product allows.

Each setting runs in a process of its own: first the matrix product of the output layer's shape, then training steps on
the real pipeline, in turn, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import cost_of, record
from benchmarks.roofline import gemm_rate

HIDDEN, LATENT = 600, 200
WINDOWS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, help="prepared data set, as synthetic --like ml-20m-prepared"
    )
    parser.add_argument("--batch-size", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)


def operations_per_user(n_items: int) -> float:
    """Multiplications and additions of one user's forward and backward pass behind the sparse layer."""
    return 3 * 2 * (HIDDEN * 2 * LATENT + LATENT * HIDDEN + HIDDEN * n_items)


def measure_one(data: Path, batch: int, name: str, seconds: float) -> dict[str, Any]:
    """Windows of matrix products and of training steps, in turn."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from recsys_core import dataset, devices
    from recsys_core.distributed import World
    from recsys_core.pipeline import train_batches
    from recsys_core.training import precision
    from recsys_core.training.optimizer import Adam
    from recsys_core.training.step import TrainStep
    from vaecf.model import TERMS, MultVae

    world = World()
    devices.configure(world)
    numbers, prepared = precision.resolve(name, False, world), dataset.open_dataset(data)
    model = MultVae(prepared.n_items, hidden=(HIDDEN,), latent=LATENT, compute=numbers.compute)
    step = TrainStep(
        model.loss,
        TERMS,
        model.parameters,
        Adam(model.parameters),
        lambda fraction: tf.constant(1e-3),
        total_steps=10**6,
        world=world,
        scaled=numbers.scaled,
    )
    batches = iter(
        train_batches(prepared.train, seed=0, batch_size=batch, world=world, start_step=0, total_steps=10**6)
    )
    step.run(batches, 2)
    gemm, users = [], []
    for _ in range(WINDOWS):
        gemm.append(gemm_rate(batch, HIDDEN, prepared.n_items, numbers.compute, seconds / 4))
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            step.run(batches, 2)
            count += 2
        users.append(count * batch / (time.perf_counter() - start))
    limits = [g / operations_per_user(prepared.n_items) for g in gemm]
    return {
        "shape": [prepared.train.n_users, prepared.n_items],
        "batch_size": batch,
        "precision": name,
        "users_per_second": users,
        "gemm_gflops": [g / 1e9 for g in gemm],
        "limit_users_per_second": limits,
        "share_of_limit": [u / limit for u, limit in zip(users, limits, strict=True)],
    }


def main(args: argparse.Namespace) -> int:
    if args.one:
        print(json.dumps(measure_one(args.data, args.batch_size[0], args.precision[0], args.seconds)))
        return 0
    print("batch  precision   users/s   GEMM GFLOP/s   limit users/s   share   peak GiB")
    for batch, name in itertools.product(args.batch_size, args.precision):
        words = ["-m", "benchmarks", "train", "--data", str(args.data), "--batch-size", str(batch)]
        words += ["--precision", name, "--seconds", str(args.seconds), "--one"]
        cost = cost_of([sys.executable, *words])
        values = json.loads(cost.output.strip().splitlines()[-1]) | {"peak_gib": cost.peak_bytes / 2**30}
        median = {k: statistics.median(v) for k, v in values.items() if isinstance(v, list) and k != "shape"}
        print(
            f"{batch:5}  {name:9} {median['users_per_second']:9,.0f} {median['gemm_gflops']:14.0f} "
            f"{median['limit_users_per_second']:15,.0f} {median['share_of_limit']:7.0%} {values['peak_gib']:10.2f}",
            flush=True,
        )
        record(args.results, "train", values)
    return 0
