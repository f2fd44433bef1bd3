"""One rung of the speed-up ladder: VAE-CF trained the published way, or with some of what makes it faster.

Every rung trains the same model with the same optimiser on the same users in the same order. What differs is what the
rung says: dense or sparse batches, their size, who prepares them and when, number format, ranks. Started by `speedup`
as a process of its own (or ranks): ``python -m benchmarks.ladder --data D --rung JSON --epochs 10``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from operator import truediv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from benchmarks.rungs import METRIC, Rung
from benchmarks.steps import FOREVER, peak_bytes, pin
from recsys_core import devices
from recsys_core.dataset import Dataset
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.input.batches import Batch, steps_per_epoch, train_batches
from recsys_core.measuring.rounds import warm_up
from recsys_core.seeding import epoch_order
from recsys_core.training import precision
from recsys_core.training.optimizer import Adam
from recsys_core.training.schedules import linear_ramp
from recsys_core.training.step import TrainStep
from recsys_core.world import World, session
from vaecf.losses import kl_divergence
from vaecf.model import MultVae


class DenseBatch(NamedTuple):
    """A batch as the published code feeds it."""

    histories: tf.Tensor
    """[B, I] float32"""
    step: tf.Tensor
    """[] int64"""
    global_users: tf.Tensor
    """[] float32"""


def dense_loss(
    model: MultVae, seed: int, dropout: float = 0.5
) -> Callable[[DenseBatch, tf.Tensor], Mapping[str, tf.Tensor]]:
    """The loss of Liang et al.'s code: dense input, dense dropout, dense log-softmax."""

    def layer(x: tf.Tensor, parts: tuple[tf.Variable, tf.Variable]) -> tf.Tensor:
        return tf.matmul(x, parts[0]) + parts[1]

    def loss(batch: DenseBatch, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        keys = tf.stack([batch.step, tf.constant(seed, tf.int64)])
        x = tf.nn.experimental.stateless_dropout(tf.nn.l2_normalize(batch.histories, 1), dropout, keys)
        for part in model.encoder[:-1]:
            x = tf.tanh(layer(x, part))
        mean, log_variance = tf.split(layer(x, model.encoder[-1]), 2, axis=1)
        code = mean + tf.random.stateless_normal(tf.shape(mean), keys) * tf.exp(0.5 * log_variance)
        for part in model.decoder[:-1]:
            code = tf.tanh(layer(code, part))
        chances = tf.nn.log_softmax(layer(code, model.decoder[-1]))
        nll = -tf.reduce_sum(chances * batch.histories) / batch.global_users
        kl = tf.reduce_sum(kl_divergence(mean, log_variance)) / batch.global_users
        return {"loss": nll + 0.2 * linear_ramp(progress, 0.85) * kl, "nll": nll, "kl": kl}

    return loss


def _fed_by_python(data: Dataset, rung: Rung, seed: int) -> tf.data.Dataset:
    """Batches made by Python when the step asks for one, none ahead."""
    users, per_epoch = data.train.n_users, steps_per_epoch(data.train.n_users, rung.batch)

    def batches() -> Iterator[tuple[Any, ...]]:
        for step in range(FOREVER):
            epoch, k = divmod(step, per_epoch)
            mine = np.sort(epoch_order(seed, epoch, users)[k * rung.batch : (k + 1) * rung.batch])
            item_ids, row_splits = data.train.rows(mine)
            size = np.float32(len(mine))
            if rung.sparse:
                yield mine, item_ids, row_splits, np.int64(step), size
                continue
            histories = np.zeros((len(mine), data.n_items), np.float32)
            histories[np.repeat(np.arange(len(mine)), np.diff(row_splits)), item_ids] = 1.0
            yield histories, np.int64(step), size

    scalars = (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.float32))
    if not rung.sparse:
        signature: Any = (tf.TensorSpec([None, data.n_items], tf.float32), *scalars)
        return tf.data.Dataset.from_generator(batches, output_signature=signature).map(DenseBatch)
    vectors = tuple(tf.TensorSpec([None], kind) for kind in (tf.int64, tf.int32, tf.int64))
    return tf.data.Dataset.from_generator(batches, output_signature=(*vectors, *scalars)).map(Batch)


def _batches(data: Dataset, rung: Rung, seed: int, world: World) -> tf.data.Dataset:
    if not rung.pipelined:
        return _fed_by_python(data, rung, seed)
    return train_batches(data.train, seed=seed, batch_size=rung.batch, world=world, start_step=0, total_steps=FOREVER)


def climb(data: Dataset, rung: Rung, world: World, *, epochs: int, seconds: float, seed: int) -> dict[str, Any]:
    """Train and measure.

    Args:
        epochs: to train, and then to evaluate; 0 to warm up and to train for `seconds` only.

    Returns:
        users_per_second (compiling and the first steps left out), peak_bytes, and NDCG@100 of the test users.
    """
    devices.configure(world)
    number_format = precision.resolve(rung.precision, world)
    model = MultVae(data, preset="paper", seed=seed)
    model.compute = number_format.compute
    per_epoch = steps_per_epoch(data.train.n_users, rung.batch)
    step = TrainStep(
        model.loss if rung.sparse else dense_loss(model, seed),
        model.loss_names,
        model.parameters,
        Adam(model.parameters),
        lambda progress: tf.constant(rung.learning_rate),
        total_steps=max(1, epochs) * per_epoch if epochs else FOREVER,
        world=world,
        precision=number_format,
    )
    world.broadcast_variables(model.variables)
    batches = iter(_batches(data, rung, seed, world))
    calls = 5 if rung.pipelined else 1
    if epochs:
        total = epochs * per_epoch
        warm = min(total // 2, 2 * calls)
        step.run(batches, warm)
        count, taken = _train(step, batches, calls, total - warm)
    else:
        step.run(batches, 2 * calls)
        window = partial(_train_for, step, batches, calls, world)
        warmed = warm_up(lambda: truediv(*window(seconds / 8)), together=world.broadcast)
        count, taken = window(seconds)
    whole, rest = divmod(count, per_epoch)
    users = whole * data.train.n_users + rest * rung.batch
    return {
        **asdict(rung),
        "users_per_second": users / taken,
        "peak_bytes": peak_bytes(world),
        **({METRIC: _evaluate(data, model, world)} if epochs else {METRIC: None, "warm_up": asdict(warmed)}),
    }


def _train(step: TrainStep, batches: Any, calls: int, count: int) -> tuple[int, float]:
    """Train so many steps; returns them and the seconds they took."""
    start, done = time.perf_counter(), 0
    while done < count:
        now = min(calls, count - done)
        step.run(batches, now)
        done += now
    return done, time.perf_counter() - start


def _train_for(step: TrainStep, batches: Any, calls: int, world: World, seconds: float) -> tuple[int, float]:
    """Train for some seconds, by rank 0's clock; returns the steps and the seconds they took."""
    start, done = time.perf_counter(), 0
    while True:
        step.run(batches, calls)
        done += calls
        if not world.broadcast(time.perf_counter() - start < seconds):
            return done, time.perf_counter() - start


def _evaluate(data: Dataset, model: MultVae, world: World) -> dict[str, float]:
    evaluator = Evaluator(
        data.held_out("test"), [parse_metric(METRIC)], world=world, n_items=data.n_items, block_size=512
    )
    found = evaluator.evaluate(model).metrics[METRIC]
    return {"mean": found.mean, "standard_error": found.standard_error or 0.0}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rung", type=lambda text: Rung(**json.loads(text)), required=True)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pin()
    with session() as world:
        data = Dataset.open(args.data)
        found = climb(data, args.rung, world, epochs=args.epochs, seconds=args.seconds, seed=args.seed)
        if world.is_rank0:
            print("RESULT " + json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
