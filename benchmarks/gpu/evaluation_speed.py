"""Time of one evaluation as training runs it: ``python -m benchmarks.gpu.evaluation_speed --data D``.

All test users over the whole catalogue: scores, exclusion of the fold-in, top 100, Recall and NDCG.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.evaluate import METRICS
from benchmarks.gpu.step_speed import device_peak_gib, reset_device_peak
from benchmarks.shapes import HIDDEN, LATENT
from recsys_core.measuring.processes import print_result

REPEATS = 7


def measure(folder: Path) -> dict[str, Any]:
    """The record, with the milliseconds of each repetition."""
    import tensorflow as tf

    from recsys_core import devices
    from recsys_core.config import HardwareConfig
    from recsys_core.dataset import Dataset
    from recsys_core.evaluation.evaluator import Evaluator
    from recsys_core.evaluation.metric_names import parse_metric
    from recsys_core.training.kinds import step_bytes
    from recsys_core.world import World
    from vaecf.model import MultVae

    world = World()
    devices.configure(world)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    data = Dataset.open(folder)
    model = MultVae(data, preset="paper", hidden=(HIDDEN,), latent=LATENT)
    held_out = data.held_out("test")
    metrics = [parse_metric(name) for name in METRICS]
    memory = step_bytes(model, HardwareConfig(step="compiled"), world)
    evaluator = Evaluator(held_out, metrics, world=world, n_items=data.n_items, device_bytes=memory)
    reset_device_peak()
    seconds = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        found = evaluator.evaluate(model)
        seconds.append(time.perf_counter() - start)
    peak = device_peak_gib()
    return {
        "kind": "gpu-evaluate",
        "users": held_out.n_users,
        "n_items": data.n_items,
        "first_s": seconds[0],
        "evaluation_ms": [1e3 * s for s in seconds[1:]],
        "ndcg": found.metrics[METRICS[0]].mean,
        **({} if peak is None else {"peak_gib": peak}),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.evaluation_speed", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    print_result(measure(parser.parse_args().data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
