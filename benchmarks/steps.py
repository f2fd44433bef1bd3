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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.random_pairs import random_pairs
from benchmarks.shapes import HIDDEN, LATENT, NEGATIVES, SHAPES
from ncf_tf.lookups import tables_by_rows, tables_projected
from ncf_tf.losses import TERMS as NCF_TERMS
from ncf_tf.losses import SampledLoss
from ncf_tf.model import NeuMf
from ncf_tf.negatives import NegativeSampler
from recsys_core import devices, distributed
from recsys_core.dataset import open_dataset
from recsys_core.distributed import World
from recsys_core.pipeline import pair_batches, train_batches
from recsys_core.training import precision
from recsys_core.training.optimizer import Adam
from recsys_core.training.step import LossFunction, TrainStep
from vaecf.model import TERMS as VAE_TERMS
from vaecf.model import MultVae

FOREVER = 10**6
"""Steps, more than any window takes."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A step and what it is fed with."""

    step: TrainStep
    step_on: Callable[[World], TrainStep]
    """The same step, of the same parameters, on other ranks."""
    parameters: Sequence[tf.Variable]
    batches: Any
    """Iterator of a `tf.data` pipeline."""
    examples: int
    """Of a step, on all ranks: users (VAE-CF) or samples (NCF)."""
    n_items: int
    by_rows: int = 0
    """Embedding tables that are updated by rows."""

    def rate(self, seconds: float, world: World | None = None) -> float:
        """Examples/s over a window. Ranks end it together, by rank 0's clock."""
        world = world or World()
        start, count = time.perf_counter(), 0
        while world.broadcast(time.perf_counter() - start < seconds):
            self.step.run(self.batches, 2)
            count += 2
        return count * self.examples / (time.perf_counter() - start)


def _step(
    loss: LossFunction,
    terms: Sequence[str],
    parameters: Sequence[tf.Variable],
    optimizer: Adam,
    scaled: bool,
    by_rows: Sequence[tf.Variable],
    world: World,
) -> TrainStep:
    return TrainStep(
        loss,
        terms,
        parameters,
        optimizer,
        lambda fraction: tf.constant(1e-3),
        total_steps=FOREVER,
        world=world,
        scaled=scaled,
        by_rows=by_rows,
    )


def vae(data: Path, batch: int, numbers: precision.Precision, world: World, *, xla: bool = False) -> Work:
    """VAE-CF of the paper's shape on a prepared data set."""
    prepared = open_dataset(data)
    model = MultVae(prepared.n_items, hidden=(HIDDEN,), latent=LATENT, compute=numbers.compute, xla=xla)
    step_on = partial(_step, model.loss, VAE_TERMS, model.parameters, Adam(model.parameters), numbers.scaled, ())
    batches = train_batches(prepared.train, seed=0, batch_size=batch, world=world, start_step=0, total_steps=FOREVER)
    return Work(
        step=step_on(world),
        step_on=step_on,
        parameters=model.parameters,
        batches=iter(batches),
        examples=batch,
        n_items=prepared.n_items,
    )


def ncf(name: str, batch: int, numbers: precision.Precision, world: World, *, gradients: str = "auto") -> Work:
    """NeuMF of a shape of `SHAPES` on random pairs."""
    shape = SHAPES[name]
    train = random_pairs(shape)
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
    by_rows = tables_by_rows(model, pairs, NEGATIVES, gradients)
    projected = tables_projected(model, pairs // world.size, NEGATIVES, by_rows)
    loss = SampledLoss(model, sampler, NEGATIVES, projected=projected)
    step_on = partial(_step, loss, NCF_TERMS, model.parameters, Adam(model.parameters), numbers.scaled, by_rows)
    batches = pair_batches(train, seed=0, pairs=pairs, world=world, start_step=0, total_steps=FOREVER)
    return Work(
        step=step_on(world),
        step_on=step_on,
        parameters=model.parameters,
        batches=iter(batches),
        examples=pairs * (1 + NEGATIVES),
        n_items=shape.items,
        by_rows=len(by_rows),
    )


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
    add("--xla", action="store_true")


def build(args: argparse.Namespace, world: World) -> Work:
    """What the arguments ask for."""
    numbers = precision.resolve(args.precision, False, world)
    if args.model == "vae":
        return vae(args.data, args.batch_size, numbers, world, xla=args.xla)
    return ncf(args.model, args.batch_size, numbers, world)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    with distributed.session() as world:
        devices.configure(world)
        work = build(args, world)
        work.step.run(work.batches, 2)
        found = {"examples_per_second": work.rate(args.seconds, world), "peak_bytes": peak_bytes(world)}
        if world.is_first:
            print("RESULT " + json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
