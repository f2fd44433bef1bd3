"""TF-TRT by TensorFlow 2.17's converter.

It was not run, for want of a GPU and a TensorFlow with TensorRT. It follows TensorFlow's source; docs/tensorrt.md says
how to run it.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from serving.convert.options import Options
from serving.engines import gpu
from serving.export_folder import NO_SCATTER, Arrays, ExportFolder
from serving.targets import Target

MODES = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8"}


def missing_requirements(target: Target) -> list[str]:
    """Packages, libraries and hardware that this machine lacks."""
    del target
    import tensorflow as tf
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as trt

    if not trt.is_tensorrt_enabled():
        version = ".".join(tf.__version__.split(".")[:2])
        too_new = tuple(map(int, version.split("."))) > (2, 17)
        remedy = "2.17 is the last release with it" if too_new else "pip install 'tensorflow[and-cuda]==2.17.1'"
        return [f"TensorFlow {tf.__version__} is built without TensorRT ({remedy})", *gpu.missing_requirements()]
    return _missing_library(trt.get_linked_tensorrt_version()) + gpu.missing_requirements()


def _missing_library(linked: tuple[int, int, int]) -> list[str]:
    """One line if the library that TensorFlow is linked against is not there. TensorFlow ends the process without it.

    Args:
        linked: the version that TensorFlow was built with: 8.6.1 for its wheels, another in NVIDIA's container.
    """
    version = ".".join(map(str, linked))
    for name in (f"libnvinfer.so.{linked[0]}", f"libnvinfer.so.{version}"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return []
    return [
        f"TensorFlow was built with TensorRT {version}, and libnvinfer.so.{linked[0]} is not found; another major "
        "version does not do: use NVIDIA's TensorFlow container, or --to tensorrt"
    ]


def _calibration_requests(export: ExportFolder, options: Options) -> tuple[Arrays, int]:
    """Requests of the calibration users, padded to one length, and their number.

    Users whose history is longer than the engine takes are left out.
    """
    held_out = export.held_out_users("calibration")
    rows = np.flatnonzero(held_out.fold_in.lengths <= history_limit(export, options))
    return held_out.requests(rows, export.n_items), len(rows)


def history_limit(export: ExportFolder, options: Options) -> int:
    """The longest history that the engines are built for."""
    return min(export.history_limit(NO_SCATTER) or options.max_history, options.max_history)


def profile_shapes(export: ExportFolder, options: Options) -> list[tuple[int, int]]:
    """Batch and history length of the inputs that the engines are built with: smallest, optimal, largest."""
    longest = history_limit(export, options)
    batch, history = options.optimal_batch, min(options.optimal_history, longest)
    return [(1, 1), (batch, history), (options.max_batch, longest)]


def profile_inputs(export: ExportFolder, options: Options) -> Iterator[Arrays]:
    """Inputs of the `profile_shapes`: TF-TRT builds engines for these and for every shape between them."""
    names = export.inputs(NO_SCATTER)
    for batch, length in profile_shapes(export, options):
        padded = np.full((batch, length), export.n_items, np.int32)
        padded[:, 0] = np.arange(batch) % export.n_items
        yield {name: padded if name == "item_ids" else np.zeros(batch, np.int32) for name in names}


def calibration_inputs(export: ExportFolder, options: Options) -> Iterator[Arrays]:
    """Inputs for the calibration of int8, in batches of one shape."""
    inputs, count = _calibration_requests(export, options)
    size = min(options.optimal_batch, count)
    for start in range(0, count - size + 1, size):
        yield {name: values[start : start + size] for name, values in inputs.items()}


def convert(export: ExportFolder, target: Target, path: Path, options: Options) -> dict[str, Any]:
    """Write a SavedModel whose supported parts are TensorRT engines; returns further fields for conversion.json."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)  # layers in float32 stay in float32
    mode = MODES[target.precision]
    converter = tf.experimental.tensorrt.Converter(
        input_saved_model_dir=str(export.saved_model),
        input_saved_model_signature_key=export.stored_signature(NO_SCATTER),
        use_dynamic_shape=True,
        dynamic_shape_profile_strategy="Range+Optimal",
        max_workspace_size_bytes=options.workspace_mib << 20,
        precision_mode=mode,
        allow_build_at_runtime=False,  # a request that no engine takes would wait minutes for one
        use_calibration=mode == "INT8",
    )
    if mode == "INT8":
        converter.convert(calibration_input_fn=lambda: calibration_inputs(export, options))
    else:
        converter.convert()
    converter.build(input_fn=lambda: profile_inputs(export, options))
    converter.save(str(path), save_gpu_specific_engines=True)
    converter.summary(line_length=160, detailed=True)
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as trt

    return {
        "engines": "for this GPU",
        "tensorrt": ".".join(map(str, trt.get_loaded_tensorrt_version())),
        "profile": profile_shapes(export, options),
        "limits": {"batch": options.max_batch, "history": history_limit(export, options)},
    }
