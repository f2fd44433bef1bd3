"""TF-TRT by TensorFlow 2.17's converter.

Not run by us: no machine with a GPU build of TensorFlow and TensorRT 8.6 was at hand. Written to TensorFlow's source,
kept thin, and everything around it is tested. docs/serving.md says how to run it on a GPU machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from serving.convert import gpu
from serving.convert.options import Options
from serving.export_folder import POOL, Arrays, ExportFolder
from serving.targets import Variant

LINKED_TENSORRT = "8.6"
"""What TensorFlow 2.17's own wheels are linked against."""


def missing(variant: Variant) -> list[str]:
    """What TF-TRT lacks on this machine."""
    del variant
    import tensorflow as tf

    lacks = []
    version = ".".join(tf.__version__.split(".")[:2])
    if not tf.sysconfig.get_build_info().get("is_tensorrt_build", False):
        after = tuple(map(int, version.split("."))) > (2, 17)
        lacks.append(
            f"TensorFlow {tf.__version__} is built without TensorRT "
            + ("(2.17 is the last release with it)" if after else "(pip install 'tensorflow[and-cuda]==2.17.1')")
        )
    if importlib.util.find_spec("tensorrt") is None:
        lacks.append(f"package tensorrt is not installed (TensorFlow 2.17 is linked against {LINKED_TENSORRT})")
    else:
        lacks += _wrong_version()
    return lacks + gpu.missing()


def _wrong_version() -> list[str]:
    import tensorrt as trt

    if trt.__version__.split(".")[0] == LINKED_TENSORRT.split(".")[0]:
        return []
    return [
        f"TensorRT {trt.__version__} is installed, TensorFlow 2.17 is linked against {LINKED_TENSORRT} and refuses "
        "another major version; use NVIDIA's TensorFlow container, or --to tensorrt"
    ]


def _requests(export: ExportFolder, options: Options) -> tuple[Arrays, int]:
    """Real requests of validation users whose history an engine takes, all padded to one length; and how many."""
    audience = export.audience("calibration")
    limit = min(export.history_limit(POOL) or options.max_history, options.max_history)
    rows = np.flatnonzero(audience.fold_in.lengths <= limit)
    return audience.requests(rows, export.n_items), len(rows)


def shapes(export: ExportFolder, options: Options) -> Iterator[Arrays]:
    """Requests of the batch sizes that engines are built for, by the names of their inputs."""
    inputs, count = _requests(export, options)
    for size in (1, options.optimal_batch, options.max_batch):
        rows = np.arange(size) % count
        yield {name: values[rows] for name, values in inputs.items()}


def calibration(export: ExportFolder, options: Options) -> Iterator[Arrays]:
    """Batches of one shape, as calibration wants them."""
    inputs, count = _requests(export, options)
    size = min(options.optimal_batch, count)
    for start in range(0, count - size + 1, size):
        yield {name: values[start : start + size] for name, values in inputs.items()}


def convert(export: ExportFolder, variant: Variant, target: Path, options: Options) -> dict[str, str]:
    """Write a SavedModel whose convertible parts are TensorRT engines."""
    import tensorflow as tf

    mode = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8"}[variant.precision]
    extra: dict[str, Any] = {"use_calibration": True} if mode == "INT8" else {}
    converter = tf.experimental.tensorrt.Converter(
        input_saved_model_dir=str(export.saved_model),
        input_saved_model_signature_key=POOL,
        use_dynamic_shape=True,
        dynamic_shape_profile_strategy="Range+Optimal",
        max_workspace_size_bytes=options.workspace_mib << 20,
        precision_mode=mode,
        **extra,
    )
    if mode == "INT8":
        converter.convert(calibration_input_fn=lambda: calibration(export, options))
    else:
        converter.convert()
    converter.build(input_fn=lambda: shapes(export, options))
    converter.save(str(target), save_gpu_specific_engines=True)
    converter.summary(line_length=160, detailed=True)
    return {"engines": "for this GPU"}
