"""Facts about this installation that only TensorFlow and Horovod know; `python -m horovod_launch doctor` calls it.

python -m recsys_core.doctor                    print them, and what is missing where the machine has GPUs
python -m recsys_core.doctor --built-for-gpus   the same, also where no GPU is; status 1 if something is missing
python -m recsys_core.doctor --self-test        on ranks: prove that gradients are reduced
"""

from __future__ import annotations

import importlib.metadata
import os
import sys

import tensorflow as tf

from recsys_core import cli, devices, world
from recsys_core.measuring import machine
from recsys_core.training import precision

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "horovod", "mpi4py", "openmpi", "numpy", "tensorrt", "onnxruntime")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _horovod_build() -> dict[str, bool] | str:
    """What Horovod was built with, or why it cannot be used."""
    try:
        import horovod.tensorflow as hvd
    except ImportError as error:
        return f"not usable ({error})"
    return {"MPI": bool(hvd.mpi_built()), "Gloo": bool(hvd.gloo_built()), "NCCL": bool(hvd.nccl_built())}


def _shown(build: dict[str, bool] | str) -> str:
    return build if isinstance(build, str) else ", ".join(f"{k} {'yes' if v else 'no'}" for k, v in build.items())


def missing(*, cards: int, visible: int, hidden: str | None, cuda_build: bool, nccl: bool) -> list[str]:
    """What a machine lacks to train on its GPUs, a line each.

    Args:
        cards: GPUs that the driver lists.
        visible: GPUs that TensorFlow finds.
        hidden: CUDA_VISIBLE_DEVICES, None where it is not set.
        cuda_build: whether TensorFlow was built for CUDA.
        nccl: whether Horovod was built with NCCL.
    """
    lines = []
    listed = f"nvidia-smi lists {cards} GPU{'s' * (cards != 1)}"
    if not cuda_build:
        lines.append(
            "TensorFlow for GPUs (this one is for CPUs only): make setup installs it where nvidia-smi lists a GPU"
        )
    elif cards and not visible and hidden is not None:
        lines.append(f"a GPU: {listed}, but CUDA_VISIBLE_DEVICES={hidden!r} hides them from TensorFlow")
    elif cards and not visible:
        lines.append(
            f"CUDA's libraries, or a driver from 525 on: {listed}, TensorFlow finds none; "
            'pip install "tensorflow[and-cuda]==2.17.1" brings the libraries'
        )
    if not nccl:
        lines.append(
            "Horovod with NCCL (without it gradients go through the CPU): make setup builds it, or says why not"
        )
    return lines


def _tf_trt(gpus: int) -> str:
    if not tf.sysconfig.get_build_info().get("is_tensorrt_build", False):
        return "no: this TensorFlow was built without TensorRT (the gpu extra has it)"
    return "yes" if gpus else "built in, but no GPU is visible"


def facts(build: dict[str, bool] | str) -> list[tuple[str, str]]:
    """(what, answer) lines.

    Args:
        build: what Horovod was built with.
    """
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(g).get("device_name", "?") for g in gpus]
    bf16 = "native" if devices.cpu_has_bf16() else "not native (no AVX512-BF16 or AMX): fp32 is faster here"
    return [
        ("packages", ", ".join(f"{n} {v}" for n in PACKAGES if (v := _version(n)))),
        ("Horovod", _shown(build)),
        ("GPUs", ", ".join(names) or "none"),
        ("TF-TRT", _tf_trt(len(gpus))),
        ("CPU bf16", bf16),
        ("auto means", precision.best(devices.gpu_capability(), devices.cpu_has_bf16())),
    ]


def _missing_here(build: dict[str, bool] | str, cards: int) -> list[str]:
    return missing(
        cards=cards,
        visible=len(tf.config.list_physical_devices("GPU")),
        hidden=os.environ.get("CUDA_VISIBLE_DEVICES"),
        cuda_build=bool(tf.sysconfig.get_build_info().get("is_cuda_build", False)),
        nccl=isinstance(build, dict) and build["NCCL"],
    )


def _self_test() -> int:
    with cli.command() as status, world.session() as ranks:
        devices.configure(ranks)
        good = world.self_test(ranks)
        if ranks.is_rank0:
            print("gradients are reduced" if good else "gradients are NOT reduced", flush=True)
        status.code = 0 if good else 1
    return status.code


def main() -> int:
    if "--self-test" in sys.argv:
        return _self_test()
    build, cards, must = _horovod_build(), len(machine.gpus()), "--built-for-gpus" in sys.argv
    for name, answer in facts(build):
        print(f"{name:13} {answer}")
    lacking = _missing_here(build, cards) if cards or must else []
    for line in lacking:
        print(f"{'missing':13} {line}")
    return 1 if lacking and must else 0


if __name__ == "__main__":
    sys.exit(main())
