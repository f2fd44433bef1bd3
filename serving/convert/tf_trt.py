"""TF-TRT by TensorFlow 2.17's converter.

This file has not been run: it needs a GPU, and TensorFlow with TensorRT 8.6. It follows TensorFlow's source.
docs/serving.md says how to run it on a GPU machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from serving.convert.options import Options
from serving.engines import gpu
from serving.export_folder import NO_SCATTER, Arrays, ExportFolder
from serving.targets import Target

LINKED_TENSORRT = "8.6"
"""The TensorRT version that the wheels of TensorFlow 2.17 are linked against."""


def missing_requirements(target: Target) -> list[str]:
    """Packages and hardware that this machine lacks."""
    del target
    import tensorflow as tf

    missing = []
    version = ".".join(tf.__version__.split(".")[:2])
    if not tf.sysconfig.get_build_info().get("is_tensorrt_build", False):
        too_new = tuple(map(int, version.split("."))) > (2, 17)
        missing.append(
            f"TensorFlow {tf.__version__} is built without TensorRT "
            + ("(2.17 is the last release with it)" if too_new else "(pip install 'tensorflow[and-cuda]==2.17.1')")
        )
    if importlib.util.find_spec("tensorrt") is None:
        missing.append(f"package tensorrt is not installed (TensorFlow 2.17 is linked against {LINKED_TENSORRT})")
    else:
        missing += _wrong_version()
    return missing + gpu.missing_requirements()


def _wrong_version() -> list[str]:
    """One line if the installed TensorRT has another major version than TensorFlow's."""
    import tensorrt as trt

    if trt.__version__.split(".")[0] == LINKED_TENSORRT.split(".")[0]:
        return []
    return [
        f"TensorRT {trt.__version__} is installed, TensorFlow 2.17 is linked against {LINKED_TENSORRT} and refuses "
        "another major version; use NVIDIA's TensorFlow container, or --to tensorrt"
    ]


def _calibration_requests(export: ExportFolder, options: Options) -> tuple[Arrays, int]:
    """Requests of the calibration users, padded to one length, and their number.

    Users whose history is longer than the engine takes are left out.
    """
    held_out = export.held_out_users("calibration")
    limit = min(export.history_limit(NO_SCATTER) or options.max_history, options.max_history)
    rows = np.flatnonzero(held_out.fold_in.lengths <= limit)
    return held_out.requests(rows, export.n_items), len(rows)


def profile_inputs(export: ExportFolder, options: Options) -> Iterator[Arrays]:
    """Inputs of the batch sizes that the engines are built for: 1, the optimal and the largest."""
    inputs, count = _calibration_requests(export, options)
    for size in (1, options.optimal_batch, options.max_batch):
        rows = np.arange(size) % count
        yield {name: values[rows] for name, values in inputs.items()}


def calibration_inputs(export: ExportFolder, options: Options) -> Iterator[Arrays]:
    """Inputs for the calibration of int8, in batches of one shape."""
    inputs, count = _calibration_requests(export, options)
    size = min(options.optimal_batch, count)
    for start in range(0, count - size + 1, size):
        yield {name: values[start : start + size] for name, values in inputs.items()}


def convert(export: ExportFolder, target: Target, path: Path, options: Options) -> dict[str, str]:
    """Write a SavedModel whose supported parts are TensorRT engines; returns further fields for conversion.json."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)  # layers in float32 stay in float32
    mode = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8"}[target.precision]
    int8_options: dict[str, Any] = {"use_calibration": True} if mode == "INT8" else {}
    converter = tf.experimental.tensorrt.Converter(
        input_saved_model_dir=str(export.saved_model),
        input_saved_model_signature_key=export.stored_signature(NO_SCATTER),
        use_dynamic_shape=True,
        dynamic_shape_profile_strategy="Range+Optimal",
        max_workspace_size_bytes=options.workspace_mib << 20,
        precision_mode=mode,
        **int8_options,
    )
    if mode == "INT8":
        converter.convert(calibration_input_fn=lambda: calibration_inputs(export, options))
    else:
        converter.convert()
    converter.build(input_fn=lambda: profile_inputs(export, options))
    converter.save(str(path), save_gpu_specific_engines=True)
    converter.summary(line_length=160, detailed=True)
    return {"engines": "for this GPU"}
