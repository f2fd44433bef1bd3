"""One run of `check`: windows of each part and of what limits it on this machine, in one process.

A window takes the limit and the part by turns, in slices that are shorter than most changes of the machine's speed; its
figure is the part's speed over the limit. Started by `check`:
``python -m benchmarks.check_parts --folder F --windows 5``. With RECSYS_SLOW_STEP=0.25 every step, request or
preparation takes 25 % longer: that much computing is added inside of it, to show that `check` finds it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import shutil
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.check_inputs import HELD_OUT, TARGET, Inputs, prepare
from benchmarks.roofline import Rate, product
from benchmarks.shapes import HIDDEN, LATENT, SHAPES, ncf_operations, vae_operations
from recsys_core.measuring.processes import print_result
from recsys_core.measuring.rounds import fields, in_rounds, warm_up

SLOW = "RECSYS_SLOW_STEP"
VAE_BATCH, NCF_SHAPE, NCF_BATCH = 500, "he2017-64", 8_192
STEPS = 1
"""Training steps between two looks at the clock."""
SLICES = 4
"""Of the part in a window, with one of the limit before each and after the last."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is measured, and what limits it."""

    unit: Callable[[], float]
    """Computes a step, an evaluation, a request or a preparation; returns how many examples it had."""
    limit: Rate
    """Examples/s that this machine would allow."""
    times: deque[float] = field(default_factory=lambda: deque(maxlen=31))
    """Seconds of the last units. Their median tells what a unit takes where other programs do not interrupt it."""

    def rate(self, seconds: float, slow: float = 0.0) -> float:
        """Examples/s over a window.

        Args:
            slow: share of a usual unit's time that each unit computes longer.
        """
        start, examples = time.perf_counter(), 0.0
        while time.perf_counter() - start < seconds:
            begun = time.perf_counter()
            examples += self.unit()
            if slow:
                self.times.append(time.perf_counter() - begun)
                _compute(slow * statistics.median(self.times))
        return examples / (time.perf_counter() - start)


def _compute(seconds: float) -> None:
    """Use a core for so many seconds; those in which another program has it do not count."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def vae_step(inputs: Inputs) -> Part:
    """A training step of VAE-CF; the limit is the product of its output layer."""
    import tensorflow as tf

    from benchmarks import steps
    from recsys_core.training import precision
    from recsys_core.world import World

    work = steps.vae(inputs.data, VAE_BATCH, precision.resolve("fp32", World()), World())
    return _of_step(work, product(VAE_BATCH, HIDDEN, work.n_items, tf.float32), vae_operations(work.n_items))


def ncf_step(_: Inputs) -> Part:
    """A training step of NeuMF; the limit is the product of its widest layer."""
    import tensorflow as tf

    from benchmarks import steps
    from recsys_core.training import precision
    from recsys_core.world import World

    shape = SHAPES[NCF_SHAPE]
    work = steps.ncf(NCF_SHAPE, NCF_BATCH, precision.resolve("fp32", World()), World())
    multiply = product(NCF_BATCH, shape.tower[1], shape.tower[2], tf.float32)
    return _of_step(work, multiply, ncf_operations(shape, NCF_BATCH))


def _of_step(work: Any, multiply: Rate, operations: float) -> Part:
    def unit() -> float:
        work.step.run(work.batches, STEPS)
        return STEPS * work.examples

    return Part(unit=unit, limit=lambda seconds: multiply(seconds) / operations)


def evaluation(inputs: Inputs) -> Part:
    """Held-out users ranked over the catalogue; the limit is the forward product."""
    import tensorflow as tf

    from recsys_core.dataset import Dataset
    from recsys_core.evaluation.evaluator import Evaluator
    from recsys_core.evaluation.metric_names import parse_metric
    from recsys_core.world import World
    from vaecf.model import MultVae

    data = Dataset.open(inputs.data)
    model = MultVae(data, preset="paper", hidden=(HIDDEN,), latent=LATENT)
    metrics = [parse_metric("ndcg@100")]
    evaluator = Evaluator(data.held_out("test"), metrics, world=World(), n_items=data.n_items, block_size=HELD_OUT)
    multiply = product(HELD_OUT, HIDDEN, data.n_items, tf.float32)
    operations = vae_operations(data.n_items) / 3

    def unit() -> float:
        evaluator.evaluate(model)
        return HELD_OUT

    return Part(unit=unit, limit=lambda seconds: multiply(seconds) / operations)


def serving(inputs: Inputs) -> Part:
    """Requests of one user each to the ONNX model on one core; the limit is one pass over its output layer's weights.

    One core each, because two that wait for each other are delayed by any third program.
    """
    from serving import targets
    from serving.engines.engine import open_engine
    from serving.export_folder import open_export

    export = open_export(inputs.export, inputs.data)
    engine = open_engine(targets.artifact(targets.default_folder(inputs.export), TARGET), threads=1)
    held_out = export.held_out_users("test")
    rows = np.arange(len(held_out.fold_in))
    requests = [held_out.requests(rows[k : k + 1], export.n_items) for k in rows]
    turn = itertools.count()
    weights = np.ones((HIDDEN, export.n_items), np.float32)

    def unit() -> float:
        engine(requests[next(turn) % len(requests)])
        return 1.0

    return Part(unit=unit, limit=lambda seconds: _calls_per_second(weights.sum, seconds))


def preparation(inputs: Inputs) -> Part:
    """The ratings prepared; the limit is their file parsed, alone."""
    from pyarrow import csv

    out = inputs.folder / "prepared"

    def unit() -> float:
        shutil.rmtree(out, ignore_errors=True)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            prepare(inputs, out)
        return 1.0

    return Part(unit=unit, limit=lambda seconds: _calls_per_second(lambda: csv.read_csv(inputs.ratings), seconds))


def _calls_per_second(call: Callable[[], Any], seconds: float) -> float:
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - start)


PARTS: Mapping[str, Callable[[Inputs], Part]] = {
    "vae-step": vae_step,
    "ncf-step": ncf_step,
    "evaluation": evaluation,
    "serving": serving,
    "preparation": preparation,
}


def window(part: Part, seconds: float, slow: float) -> tuple[float, float]:
    """Examples/s of a part and of its limit, in slices by turns."""
    limits, rates = [part.limit(seconds / (2 * SLICES))], []
    for _ in range(SLICES):
        rates.append(part.rate(seconds / SLICES, slow))
        limits.append(part.limit(seconds / (2 * SLICES)))
    return statistics.fmean(rates), statistics.fmean(limits)


def measure(part: Part, windows: int, seconds: float, slow: float) -> dict[str, Any]:
    """Ratios, speeds and limits of a part, window by window."""
    warmed = warm_up(lambda: part.rate(seconds / SLICES, slow))
    part.limit(seconds / SLICES)
    rounds = in_rounds({"window": lambda: window(part, seconds, slow)}, windows)
    rates, limits = (list(side) for side in zip(*rounds.values["window"], strict=True))
    ratio = [r / limit for r, limit in zip(rates, limits, strict=True)]
    return {"ratio": ratio, "rate_per_second": rates, "limit_per_second": limits, **fields(rounds, [warmed])}


def main() -> int:
    from recsys_core import devices
    from recsys_core.world import World

    parser = argparse.ArgumentParser(prog="python -m benchmarks.check_parts", description=__doc__)
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="of `python -m benchmarks.check_inputs`")
    add("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    add("--windows", type=int, default=5)
    add("--seconds", type=float, default=0.5, help="of a part in a window (default: %(default)s)")
    args = parser.parse_args()
    devices.configure(World())
    slow = float(os.environ.get(SLOW, "0"))
    found = {}
    for name in args.parts:
        found[name] = measure(PARTS[name](Inputs(args.folder)), args.windows, args.seconds, slow)
    print_result(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
