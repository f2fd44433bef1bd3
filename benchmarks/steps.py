"""Training steps as the training commands take them, ready to be timed: the model, the pipeline, the optimiser.

Run as a process of its own (or ranks) it prints their speed:
``python -m benchmarks.steps --model vae --data D``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.random_pairs import random_pairs
from benchmarks.shapes import HIDDEN, LATENT, NEGATIVES, SHAPES
from ncf_tf.model import NeuMf
from recsys_core import devices
from recsys_core.config import HardwareConfig, TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.measuring.rounds import WarmUp, warm_up
from recsys_core.model import Recommender
from recsys_core.training.kinds import step_bytes
from recsys_core.training.optimizer import Adam
from recsys_core.training.precision import Precision, resolve
from recsys_core.training.step import TrainStep
from recsys_core.world import World, session
from vaecf.model import MultVae

FOREVER = 10**6
"""Steps, more than any window takes."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A training step and its batches."""

    step: TrainStep
    step_on: Callable[..., TrainStep]
    """The same step, of the same parameters, on other ranks."""
    parameters: Sequence[tf.Variable]
    batches: Any
    """Iterator of a `tf.data` pipeline."""
    examples: int
    """Of a step, on all ranks: users (VAE-CF) or samples (NCF)."""
    n_items: int
    epoch_steps: int = 1
    """Steps of an epoch; the last one may have a batch of another size, for which a compiled step is compiled again."""
    sparse_tables: int = 0
    """Embedding tables whose gradients are exchanged and applied by row."""

    def rate(self, seconds: float, world: World | None = None) -> float:
        """Examples/s over a window. Ranks end it together, by rank 0's clock."""
        world = world or World()
        start, count = time.perf_counter(), 0
        while world.broadcast(time.perf_counter() - start < seconds):
            self.step.run(self.batches, 2)
            count += 2
        return count * self.examples / (time.perf_counter() - start)

    def warmed_up(self, seconds: float, world: World | None = None) -> WarmUp:
        """Train in windows of so many seconds until they agree. Ranks end together."""
        world = world or World()
        return warm_up(lambda: self.rate(seconds, world), together=world.broadcast)


def work_of(
    model: Recommender, batch: int, precision: Precision, world: World, *, examples: int, step: str = "sparse"
) -> Work:
    """The training step of a model at a batch size, as `Trainer.fit` makes it."""
    training = TrainingConfig(batch_size=batch)
    model.compute = precision.compute
    memory = step_bytes(model, HardwareConfig(step=step), world)
    model.prepare_training(training, world, step_bytes=memory)
    adam = Adam(model.parameters)

    def step_on(ranks: World, exchange: str = "fp32") -> TrainStep:
        return TrainStep(
            model.loss,
            model.loss_names,
            model.parameters,
            adam,
            lambda progress: tf.constant(1e-3),
            total_steps=FOREVER,
            world=ranks,
            precision=precision,
            sparse_tables=model.sparse_tables,
            compiled_parts=model.parts_per_step if memory else 0,
            exchange=exchange,
        )

    return Work(
        step=step_on(world),
        step_on=step_on,
        parameters=model.parameters,
        batches=iter(model.batches(training, world, 0, FOREVER)),
        examples=examples,
        n_items=model.n_items,
        epoch_steps=model.steps_per_epoch(training),
        sparse_tables=len(model.sparse_tables),
    )


def vae(data: Path, batch: int, precision: Precision, world: World, *, step: str = "sparse") -> Work:
    """VAE-CF of the paper's shape on a prepared data set."""
    model = MultVae(Dataset.open(data), preset="paper", hidden=(HIDDEN,), latent=LATENT)
    return work_of(model, batch, precision, world, examples=batch, step=step)


def ncf(
    name: str, batch: int, precision: Precision, world: World, *, gradients: str = "auto", step: str = "sparse"
) -> Work:
    """NeuMF of a shape of `SHAPES` on random pairs."""
    shape = SHAPES[name]
    model = NeuMf(
        Dataset.from_csr(random_pairs(shape)),
        preset="he2017",
        factors=shape.factors,
        layers=shape.tower,
        dropout=shape.dropout,
        negatives=NEGATIVES,
        verify_negatives=False,
        embedding_gradients=gradients,
    )
    examples = batch // (1 + NEGATIVES) * (1 + NEGATIVES)
    return work_of(model, batch, precision, world, examples=examples, step=step)


def pin() -> None:
    """Keep this process on as many cores of its own as OMP_NUM_THREADS says, if there are so many.

    Else "one core a rank" would lend a single rank the other cores: operators that run beside each other use them.
    """
    threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    local = int(os.environ.get("OMPI_COMM_WORLD_LOCAL_RANK") or os.environ.get("HOROVOD_LOCAL_RANK") or 0)
    cores = sorted(os.sched_getaffinity(0))
    if threads and (local + 1) * threads <= len(cores):
        os.sched_setaffinity(0, cores[local * threads : (local + 1) * threads])


def peak_bytes(world: World) -> float:
    """Largest resident sets of all ranks, added up."""
    own = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(world.sum_array(np.array([own]))[0])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", choices=("vae", *SHAPES), required=True)
    add("--data", type=Path)
    add("--batch-size", type=int, required=True)
    add("--precision", default="fp32")
    add("--seconds", type=float, default=8.0)
    add("--gradients", choices=("auto", "dense", "rows"), default="auto", help="of embedding tables (NCF)")
    add("--step", choices=("auto", "sparse", "compiled"), default="auto")


def build(args: argparse.Namespace, world: World) -> Work:
    """The step that the arguments name."""
    precision = resolve(args.precision, world)
    if args.model == "vae":
        return vae(args.data, args.batch_size, precision, world, step=args.step)
    return ncf(args.model, args.batch_size, precision, world, gradients=args.gradients, step=args.step)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    with session() as world:
        devices.configure(world)
        work = build(args, world)
        start = time.perf_counter()
        work.step.run(work.batches, 2)
        first = time.perf_counter() - start
        warmed = work.warmed_up(args.seconds / 8, world)
        found: dict[str, Any] = {"examples_per_second": work.rate(args.seconds, world), "first_seconds": first}
        found["warm_up"] = asdict(warmed)
        found |= {"peak_bytes": peak_bytes(world), "device_peak_bytes": devices.gpu_peak_bytes()}
        if world.is_rank0:
            print("RESULT " + json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
