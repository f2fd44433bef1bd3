"""The hardware of this machine and TensorFlow's settings for it: threads, GPUs, native number formats."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import tensorflow as tf

from recsys_core import agreement, gpu_sharing
from recsys_core.world import World


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction set extensions the kernel reports for the first core (empty where there is no /proc)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), []))


def cpu_has_bf16() -> bool:
    """Whether matrix products in bfloat16 are native on this CPU (AVX512-BF16 or AMX)."""
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})


def gpu_capability() -> tuple[int, int] | None:
    """Compute capability of the first visible GPU, None without one."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")


def has_gpu() -> bool:
    """Whether TensorFlow may use a GPU."""
    return bool(tf.config.get_visible_devices("GPU"))


def memory_limit(device: str) -> int:
    """Bytes that TensorFlow may use of the memory of a device, as "GPU:0". No public interface tells them."""
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.client import pywrap_tf_session
    from tensorflow.python.eager import context

    devices = pywrap_tfe.TFE_ContextListDevices(context.context()._handle)
    try:
        names = [pywrap_tfe.TF_DeviceListName(devices, k) for k in range(pywrap_tfe.TF_DeviceListCount(devices))]
        place = next(k for k, name in enumerate(names) if name.endswith(f"device:{device}"))
        return int(pywrap_tf_session.TF_DeviceListMemoryBytes(devices, place))
    finally:
        pywrap_tfe.TF_DeleteDeviceList(devices)


def gpu_bytes() -> int:
    """Bytes of this process's GPU that TensorFlow may use, 0 without one."""
    return memory_limit("GPU:0") if tf.config.list_logical_devices("GPU") else 0


def free_gpu_bytes() -> int:
    """Bytes of `gpu_bytes` that TensorFlow does not use now."""
    return gpu_bytes() and gpu_bytes() - int(tf.config.experimental.get_memory_info("GPU:0")["current"])


def gpu_peak_bytes() -> int:
    """Largest number of bytes that TensorFlow used on this process's GPU so far, 0 without one."""
    found = tf.config.list_logical_devices("GPU")
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if found else 0


def threads_per_rank(world: World) -> int:
    """Threads of this process: OMP_NUM_THREADS where it is set, else the rank's share of the cores."""
    if given := os.environ.get("OMP_NUM_THREADS"):
        return max(1, int(given))
    return world.cores()


@contextlib.contextmanager
def only_errors_logged() -> Iterator[None]:
    """TensorFlow's Python logger is silent below errors while the block runs: its notices are of no use to callers."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)


def configure(world: World) -> None:
    """Give this rank its share of the cores and one GPU. Call before TensorFlow has run anything.

    Raises:
        SharedError: two ranks would have the same GPU, or a rank has other versions or settings than rank 0.
    """
    tf.get_logger().setLevel("ERROR")  # its warnings are about us, not about anything a user could change
    threads = threads_per_rank(world)
    gpus = tf.config.list_physical_devices("GPU")
    mine = world.local_rank % len(gpus) if gpus else None
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
        if mine is not None:
            tf.config.set_visible_devices(gpus[mine], "GPU")
            tf.config.experimental.set_memory_growth(gpus[mine], True)
    except RuntimeError:
        # TensorFlow runs already. A second training in one process keeps what the first one set; a rank must not.
        assert world.size == 1, "devices.configure comes before the first exchange"
    gpu_sharing.refuse(world, len(gpus), mine)
    if mine is None:
        agreement.check(world, "a CPU", _cpu_name())
    else:
        details = tf.config.experimental.get_device_details(gpus[mine]) if world.size > 1 else {}
        agreement.check(world, "a GPU", details.get("device_name", ""))
    world.watch()


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git_commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def describe(world: World) -> dict[str, Any]:
    """Versions, hardware and ranks of this run, for `run.json`."""
    import importlib.metadata as metadata

    packages = ("tensorflow-cpu", "tensorflow", "keras", "horovod", "mpi4py", "openmpi", "numpy", "scipy", "pandas")
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
    versions = {name: installed[name] for name in packages if name in installed}
    gpus = [tf.config.experimental.get_device_details(g) for g in tf.config.list_physical_devices("GPU")]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
        "cpu_bf16": cpu_has_bf16(),
        "gpus": [{k: str(v) for k, v in g.items()} for g in gpus],
        "git_commit": _git_commit(),
        "world_size": world.size,
        "controller": world.controller,
        "threads_per_rank": threads_per_rank(world),
    }
