"""Training speed of NCF as samples/s, and as a share of what this machine's matrix products and memory allow.

Each setting runs in a process of its own, on a synthetic matrix of the wanted size; windows of the machine's own rates
and of training steps alternate. The limit of a sample is the larger of its operations over the GEMM rate and its bytes
over the memory rate; bytes are what no program avoids: rows read, their gradients summed, and the optimiser's pass.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import cost_of, record
from benchmarks.roofline import gemm_rate, memory_rate

NEGATIVES = 4
WINDOWS = 4


@dataclass(frozen=True)
class Shape:
    """A model and the data it is trained on."""

    users: int
    items: int
    pairs: int
    factors: int
    tower: tuple[int, ...]
    dropout: float
    batch: int


SHAPES = {
    "he2017-8": Shape(6_040, 3_706, 988_129, 8, (64, 32, 16, 8), 0.0, 65_536),
    "he2017-64": Shape(6_040, 3_706, 988_129, 64, (512, 256, 128, 64), 0.0, 65_536),
    "nvidia": Shape(138_493, 26_744, 4_000_000, 64, (256, 256, 128, 64), 0.5, 65_536),
}
"""Tables of ML-1M and of ML-20M. "nvidia" has fewer pairs than ML-20M: no epoch is measured to its end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", nargs="+", default=list(SHAPES), help=f"of: {', '.join(SHAPES)}")
    parser.add_argument("--batch-size", type=int, nargs="+", help="samples (default: 65536)")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--gradients", default="auto", help="auto, dense or rows (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)


def operations(shape: Shape) -> float:
    """Multiplications and additions of a sample's forward and backward pass; the user's half of the first layer is
    shared by a positive and its negatives."""
    half, first = shape.tower[0] // 2, shape.tower[1]
    hidden = sum(a * b for a, b in itertools.pairwise(shape.tower[1:]))
    shared = half * first / (1 + NEGATIVES)
    return 3 * 2 * (shared + half * first + hidden + shape.tower[-1] + 2 * shape.factors)


def least_bytes(shape: Shape, batch: int) -> float:
    """Bytes of a sample: its rows read (4 a number), their gradients added up (8), and its share of Adam's pass over
    every parameter (gradient, value and two moments read, three written: 28)."""
    width = shape.factors + shape.tower[0] // 2
    rows = (1 + 1 / (1 + NEGATIVES)) * width
    table = (shape.users + shape.items) * width
    return 12 * rows + 28 * table / batch


def _matrix(shape: Shape) -> Any:
    """Random training pairs, as many of each user."""
    import numpy as np

    from recsys_core.dataset import Csr

    rng = np.random.default_rng(0)
    each = shape.pairs // shape.users
    return Csr(
        indptr=np.arange(shape.users + 1, dtype=np.int64) * each,
        indices=np.sort(rng.integers(0, shape.items, (shape.users, each)), axis=1).astype(np.int32).ravel(),
        n_items=shape.items,
    )


def measure_one(name: str, batch: int, precision_name: str, gradients: str, seconds: float) -> dict[str, Any]:
    """Windows of the machine's rates and of training steps, in turn."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from ncf_tf.losses import TERMS, SampledLoss
    from ncf_tf.model import NeuMf
    from ncf_tf.negatives import NegativeSampler
    from recsys_core import devices
    from recsys_core.distributed import World
    from recsys_core.pipeline import pair_batches
    from recsys_core.training import embedding, precision
    from recsys_core.training.optimizer import Adam
    from recsys_core.training.step import TrainStep

    world, shape = World(), SHAPES[name]
    devices.configure(world)
    numbers, train = precision.resolve(precision_name, False, world), _matrix(shape)
    model = NeuMf(
        shape.users,
        shape.items,
        factors=shape.factors,
        tower=shape.tower,
        dropout=shape.dropout,
        compute=numbers.compute,
    )
    sampler = NegativeSampler(train, NEGATIVES, seed=0, verified=False)
    pairs = batch // (1 + NEGATIVES)
    lookups = (pairs, pairs * (1 + NEGATIVES)) * 2
    by_rows = [t for t, n in zip(model.tables, lookups, strict=True) if embedding.is_by_rows(gradients, t.shape[0], n)]
    step = TrainStep(
        SampledLoss(model, sampler, NEGATIVES),
        TERMS,
        model.parameters,
        Adam(model.parameters),
        lambda fraction: tf.constant(1e-3),
        total_steps=10**6,
        world=world,
        scaled=numbers.scaled,
        by_rows=by_rows,
    )
    batches = iter(pair_batches(train, seed=0, pairs=pairs, world=world, start_step=0, total_steps=10**6))
    step.run(batches, 2)
    rates, limits, gemms, memories = [], [], [], []
    for _ in range(WINDOWS):
        gemms.append(gemm_rate(batch, max(shape.tower[0] // 2, 1), shape.tower[1], numbers.compute, seconds / 4))
        memories.append(memory_rate(seconds / 4))
        limits.append(1 / max(operations(shape) / gemms[-1], least_bytes(shape, batch) / memories[-1]))
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            step.run(batches, 2)
            count += 2
        rates.append(count * pairs * (1 + NEGATIVES) / (time.perf_counter() - start))
    return {
        "shape": name,
        "batch_size": batch,
        "precision": precision_name,
        "tables_by_rows": len(by_rows),
        "samples_per_second": rates,
        "gemm_gflops": [g / 1e9 for g in gemms],
        "memory_gb_per_second": [m / 1e9 for m in memories],
        "limit_samples_per_second": limits,
        "share_of_limit": [r / limit for r, limit in zip(rates, limits, strict=True)],
    }


def main(args: argparse.Namespace) -> int:
    if args.one:
        words = (args.shape[0], args.batch_size[0], args.precision[0], args.gradients, args.seconds)
        print(json.dumps(measure_one(*words)))
        return 0
    if unknown := [s for s in args.shape if s not in SHAPES]:
        print(f"error: unknown --shape {unknown[0]!r}, known are: {', '.join(SHAPES)}", file=sys.stderr)
        return 2
    print("shape       batch  precision   samples/s   GEMM GFLOP/s   memory GB/s   limit samples/s   share   peak GiB")
    for name, kind in itertools.product(args.shape, args.precision):
        for batch in args.batch_size or [SHAPES[name].batch]:
            line = ["-m", "benchmarks", "ncf", "--shape", name, "--batch-size", str(batch), "--precision", kind]
            line += ["--gradients", args.gradients, "--seconds", str(args.seconds), "--one"]
            cost = cost_of([sys.executable, *line])
            values = json.loads(cost.output.strip().splitlines()[-1]) | {"peak_gib": cost.peak_bytes / 2**30}
            median = {k: statistics.median(v) for k, v in values.items() if isinstance(v, list)}
            print(
                f"{name:10} {batch:6}  {kind:9} {median['samples_per_second']:11,.0f} {median['gemm_gflops']:14.0f} "
                f"{median['memory_gb_per_second']:13.1f} {median['limit_samples_per_second']:17,.0f} "
                f"{median['share_of_limit']:7.0%} {values['peak_gib']:10.2f}",
                flush=True,
            )
            record(args.results, "ncf", values)
    return 0
