"""Speed of our training step for some settings: ``python -m benchmarks.gpu.step_speed --data D vae:500:bf16 ...``.

Windows of calls as training makes them (`TrainingConfig.steps_per_call` steps each), on the real input pipeline.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.recorder import TRAIN
from benchmarks.gpu.sizes import Setting
from benchmarks.shapes import NEGATIVES, SHAPES
from recsys_core.measuring.processes import print_result

MOST_WARM = 250
"""Steps before the windows, at most: an epoch of the smallest batch."""
WINDOWS = 3


def device_peak_gib() -> float | None:
    """Largest amount of device memory in use since the last reset; None without a GPU."""
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30


def reset_device_peak() -> None:
    """Forget the peak of what ran before."""
    import tensorflow as tf

    gc.collect()
    if tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")


def work_of(setting: Setting, data: Path, step: str, world: Any) -> Any:
    """The step and batches of a setting (`benchmarks.steps.Work`)."""
    from benchmarks import steps

    parser = argparse.ArgumentParser()
    steps.add_arguments(parser)
    words = ["--model", setting.model, "--data", str(data), "--batch-size", str(setting.batch)]
    words += ["--precision", setting.precision, "--step", step]
    return steps.build(parser.parse_args(words), world)


def settings_of(setting: Setting, step: str) -> dict[str, Any]:
    """The fields of a record that name the setting."""
    batch = setting.batch
    if setting.model in SHAPES:  # whole positives with their negatives
        batch = batch // (1 + NEGATIVES) * (1 + NEGATIVES)
    return {"model": setting.model, "batch_size": batch, "precision": setting.precision, "step": step}


def measure(setting: Setting, data: Path, step: str, seconds: float, world: Any) -> dict[str, Any]:
    """The figures of a setting."""
    from recsys_core.config import TrainingConfig

    count = TrainingConfig().steps_per_call
    reset_device_peak()
    work = work_of(setting, data, step, world)
    start = time.perf_counter()
    first = work.step.run(work.batches, 1)
    first_s = time.perf_counter() - start
    work.step.run(work.batches, min(max(count, work.epoch_steps), MOST_WARM))  # every size of batch is compiled now
    rates, last = [], first
    for _ in range(WINDOWS):
        start, steps_taken = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            last = work.step.run(work.batches, count)
            steps_taken += count
        rates.append(steps_taken * work.examples / (time.perf_counter() - start))
    peak = device_peak_gib()
    return {
        "examples_per_second": rates,
        "step_ms": [1e3 * work.examples / rate for rate in rates],
        "first_step_s": first_s,
        "losses": [float(first["loss"][0]), float(last["loss"][-1])],
        **({} if peak is None else {"peak_gib": peak}),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.step_speed", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--step", choices=("compiled", "sparse"), default="compiled")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("settings", nargs="+", type=Setting.parse)
    args = parser.parse_args()

    from recsys_core import devices
    from recsys_core.world import World

    world, failed = World(), 0
    devices.configure(world)
    for setting in args.settings:
        try:
            figures = measure(setting, args.data, args.step, args.seconds, world)
        except Exception as error:  # the other settings may still run: out of memory, a kernel that is missing
            failed += 1
            figures = {"failed": [f"{type(error).__name__}: {str(error)[:300]}"]}
        print_result({"kind": TRAIN, **settings_of(setting, args.step), **figures})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
