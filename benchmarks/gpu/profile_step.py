"""The kernels of a training step: ``python -m benchmarks.gpu.profile_step --data D --work W vae:24576:bf16``.

TensorFlow's profiler records some steps after others have warmed up. Without a GPU the operators of the CPU are listed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.gpu import kernels
from benchmarks.gpu.sizes import Setting
from benchmarks.gpu.step_speed import settings_of, work_of
from recsys_core.measuring.processes import print_result

STEPS = 8


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.profile_step", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--step", choices=("compiled", "sparse"), default="compiled")
    parser.add_argument("setting", type=Setting.parse)
    args = parser.parse_args()

    import tensorflow as tf

    from recsys_core import devices
    from recsys_core.world import World

    world, folder = World(), args.work / "profile"
    devices.configure(world)
    work = work_of(args.setting, args.data, args.step, world)
    work.step.run(work.batches, STEPS)
    work.step.run(work.batches, STEPS)
    tf.profiler.experimental.start(str(folder))
    start = time.perf_counter()
    work.step.run(work.batches, STEPS)
    wall_s = time.perf_counter() - start
    tf.profiler.experimental.stop()
    device = kernels.GPU if tf.config.list_logical_devices("GPU") else kernels.HOST
    times = kernels.kernel_times(kernels.read_space(kernels.newest_profile(folder)), device)
    print_result(
        {
            "kind": "gpu-profile",
            **settings_of(args.setting, args.step),
            "wall_ms": 1e3 * wall_s / STEPS,
            **kernels.summary(times, STEPS),
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
