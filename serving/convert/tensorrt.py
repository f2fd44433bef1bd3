"""TensorRT 8.6, 10 and 11: makes the ONNX model of a precision and builds its plan.

No plan was run, for want of a GPU with TensorRT. docs/tensorrt.md says what was built and tested without one, and how
to run it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from serving.convert import bfloat16, int8, onnx
from serving.convert.operators import LARGEST_TOP_K
from serving.convert.options import Options
from serving.convert.plan import PlanBuilder, Shapes
from serving.convert.wide_top_k import split_in_file
from serving.engines import cuda, gpu
from serving.export_folder import SERVING, ExportFolder
from serving.progress import step
from serving.targets import Target

INSTALL = "pip install tensorrt, from NVIDIA's package index, or use NVIDIA's containers"


def missing_requirements(target: Target) -> list[str]:
    """Packages and hardware that this machine lacks."""
    missing = onnx.missing_requirements(target)
    if importlib.util.find_spec("tensorrt") is None:
        missing.append(f"package tensorrt is not installed ({INSTALL})")
    return missing + cuda.missing_requirements() + gpu.missing_requirements()


def profile_shapes(export: ExportFolder, options: Options) -> Shapes:
    """The optimisation profile: the smallest, the optimal and the largest shape of every input."""
    batches = (1, options.optimal_batch, options.max_batch)
    histories = (1, options.optimal_history, options.max_history)
    vector = tuple((b,) for b in batches)
    matrix: tuple[tuple[int, ...], ...] = tuple(zip(batches, histories, strict=True))
    return {name: matrix if name == "item_ids" else vector for name in export.inputs(SERVING)}


def write_source(export: ExportFolder, precision: str, path: Path, options: Options) -> dict[str, str]:
    """Write the ONNX model that TensorRT reads: the type of each tensor is that of the precision, and K its limit."""
    note = _write_of_precision(export, precision, path, options)
    if export.top_k > LARGEST_TOP_K:
        split_in_file(path, LARGEST_TOP_K)
    return note


def _write_of_precision(export: ExportFolder, precision: str, path: Path, options: Options) -> dict[str, str]:
    if precision == "fp32":
        onnx.convert_to_fp32(export, path, options.opset)
        return {}
    float32 = path.with_name("fp32.onnx")
    try:
        onnx.convert_to_fp32(export, float32, options.opset)
        if precision == "fp16":
            onnx.convert_to_fp16(float32, path)
        elif precision == "bf16":
            bfloat16.convert_to_bfloat16(float32, path)
        else:
            return {"calibration": int8.convert_to_int8(float32, path, export, symmetric=True)}
    finally:
        float32.unlink(missing_ok=True)
    return {}


def convert(export: ExportFolder, target: Target, path: Path, options: Options) -> dict[str, Any]:
    """Build an engine and write its plan; returns further fields for conversion.json.

    Raises:
        ValueError: the device is out of TensorRT's limits.
        RuntimeError: TensorRT refuses the model.
    """
    import tensorrt as trt

    builder = PlanBuilder(trt, target.precision, options)  # what this TensorRT cannot build ends here
    source = path.with_name("source.onnx")
    calibration = write_source(export, target.precision, source, options)
    step(f"{target.name}: building the engine with TensorRT {trt.__version__}")
    builder.read(source)
    shapes = profile_shapes(export, options)
    builder.configure(shapes)
    path.write_bytes(builder.build(path.parent.parent.parent / f"tensorrt-{trt.__version__}.timing.cache"))
    note = {"tensorrt": str(trt.__version__), "strongly_typed": builder.recipe.strongly_typed, "profile": dict(shapes)}
    return note | calibration | {"limits": {"batch": options.max_batch, "history": options.max_history}}
