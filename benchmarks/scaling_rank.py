"""One job of `scaling`: windows of training steps on these ranks, with and without what could be left out of them.

`whole` is the step of training. `silent` exchanges nothing, so its difference to `whole` is the communication that
nothing hides. `narrow` exchanges gradients in float16. `fed` has its batch in memory, so its difference is the waiting
for input. `exchange` only sums arrays of the gradients' sizes over the ranks, with nothing else to do. Windows
alternate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import steps
from benchmarks.steps import Work
from recsys_core import devices
from recsys_core.world import World, session

SIZES = tuple(4**k for k in range(5, 14))
"""Bytes of the sums that the latency-bandwidth model is fitted to: 1 KiB to 64 MiB."""


class Silent(World):
    """The same share of every batch as a rank has, and no exchange."""

    def __init__(self, world: World) -> None:
        self.rank, self.size = world.rank, world.size


def _seconds_a_step(work: Work, world: World, seconds: float) -> float:
    return work.examples / work.rate(seconds, world)


def _exchange(world: World, shapes: list[list[int]], seconds: float) -> float:
    """Seconds to sum tensors of these shapes over ranks, all asked for at once."""
    values = [tf.Variable(tf.zeros(shape)) for shape in shapes]

    @tf.function
    def exchange_all(count: tf.Tensor) -> None:
        for _ in tf.range(count):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            for k, value in enumerate(values):
                value.assign(world.sum_in_graph(value.read_value(), name=f"exchange/{k}"))

    def timed(count: int) -> float:
        world.barrier()
        start = time.perf_counter()
        exchange_all(tf.constant(count))
        return (time.perf_counter() - start) / count

    timed(2)
    count = max(2, int(world.broadcast(seconds / timed(2))))
    return timed(count)


def _variants(work: Work, world: World) -> dict[str, Work]:
    """The same step, less its exchange, with one of half the bytes, less its input."""
    kept = tf.data.Dataset.from_tensors(next(work.batches)).repeat()
    return {
        "whole": work,
        "silent": replace(work, step=work.step_on(Silent(world))),
        **({"narrow": replace(work, step=work.step_on(world, "fp16"))} if world.size > 1 else {}),
        "fed": replace(work, batches=iter(kept)),
    }


def measure(work: Work, world: World, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Seconds a step of each variant, round by round; and of sums by size."""
    variants = _variants(work, world)
    for variant in variants.values():
        variant.step.run(variant.batches, 2)
    warmed = work.warmed_up(seconds / 8, world)
    found: dict[str, list[float]] = {name: [] for name in (*variants, "exchange")}
    sizes: dict[int, list[float]] = {size: [] for size in SIZES}
    shapes = [v.shape.as_list() for v in work.parameters]
    for _ in range(rounds):
        for name, variant in variants.items():
            found[name].append(_seconds_a_step(variant, world, seconds))
        found["exchange"].append(_exchange(world, shapes, seconds / 4))
        for size in SIZES if world.size > 1 else ():
            sizes[size].append(_exchange(world, [[size // 4]], seconds / 16))
    return {
        "ranks": world.size,
        "examples": work.examples,
        "gradient_bytes": 4 * sum(int(np.prod(shape)) for shape in shapes),
        "seconds": found,
        "sums": [{"bytes": size, "seconds": values} for size, values in sizes.items() if values],
        "peak_bytes": steps.peak_bytes(world),
        "warm_up": asdict(warmed),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling_rank", description=__doc__)
    steps.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    steps.pin()
    with session() as world:
        devices.configure(world)
        found = measure(steps.build(args, world), world, seconds=args.seconds, rounds=args.rounds)
        if world.is_rank0:
            print("RESULT " + json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
