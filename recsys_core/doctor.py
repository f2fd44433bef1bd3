"""Facts about this installation that only TensorFlow and Horovod know; `python -m horovod_launch doctor` calls it."""

from __future__ import annotations

import importlib.metadata
import sys

import tensorflow as tf

from recsys_core import devices, world
from recsys_core.training import precision

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "horovod", "mpi4py", "openmpi", "numpy", "tensorrt", "onnxruntime")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _horovod_build() -> str:
    try:
        import horovod.tensorflow as hvd
    except ImportError as error:
        return f"not usable ({error})"
    built = {"MPI": hvd.mpi_built(), "Gloo": hvd.gloo_built(), "NCCL": hvd.nccl_built()}
    return ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in built.items())


def _tf_trt(gpus: int) -> str:
    if not tf.sysconfig.get_build_info().get("is_tensorrt_build", False):
        return "no: this TensorFlow was built without TensorRT (the gpu extra has it)"
    return "yes" if gpus else "built in, but no GPU is visible"


def facts() -> list[tuple[str, str]]:
    """(what, answer) lines."""
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(g).get("device_name", "?") for g in gpus]
    bf16 = "native" if devices.cpu_has_bf16() else "not native (no AVX512-BF16 or AMX): fp32 is faster here"
    return [
        ("packages", ", ".join(f"{n} {v}" for n in PACKAGES if (v := _version(n)))),
        ("Horovod", _horovod_build()),
        ("GPUs", ", ".join(names) or "none"),
        ("TF-TRT", _tf_trt(len(gpus))),
        ("CPU bf16", bf16),
        ("auto means", precision.best(devices.gpu_capability(), devices.cpu_has_bf16())),
    ]


def main() -> int:
    if "--self-test" in sys.argv:
        with world.session() as ranks:
            devices.configure(ranks)
            good = world.self_test(ranks)
            if ranks.is_rank0:
                print("gradients are reduced" if good else "gradients are NOT reduced", flush=True)
        return 0 if good else 1
    for name, answer in facts():
        print(f"{name:13} {answer}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
