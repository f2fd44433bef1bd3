"""ONNX by tf2onnx in float32, and its conversion to float16. `int8` and `bfloat16` convert to the other precisions."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.convert import int8
from serving.convert.casts import without_needless_casts
from serving.convert.options import Options
from serving.engines.outputs import ALL_SCORES, RANKED
from serving.export_folder import SERVING, ExportFolder
from serving.progress import step
from serving.targets import Target


def missing_requirements(target: Target) -> list[str]:
    """Packages that are not installed."""
    del target
    packages = [p for p in ("tf2onnx", "onnx", "onnxruntime") if importlib.util.find_spec(p) is None]
    return [f"package {p} is not installed (pip install '.[serving]')" for p in packages]


def convert_to_fp32(export: ExportFolder, path: Path, opset: int) -> None:
    """Convert the signature `serving` and write the ONNX model."""
    import tensorflow as tf
    import tf2onnx

    loaded = tf.saved_model.load(str(export.saved_model))  # keeps the variables alive while the graph is traced
    signature = loaded.signatures[SERVING]
    names = sorted(signature.structured_input_signature[1])
    specs = [signature.structured_input_signature[1][n] for n in names]

    outputs = [name for name in sorted((*RANKED, ALL_SCORES)) if name in signature.structured_outputs]
    inputs = [tf.TensorSpec(s.shape, s.dtype, name=n) for n, s in zip(names, specs, strict=True)]

    @tf.function(input_signature=inputs, autograph=False)
    def serving(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = signature(**dict(zip(names, tensors, strict=True)))
        return {name: tf.identity(answer[name], name=name) for name in outputs}

    model, _ = tf2onnx.convert.from_function(serving, input_signature=inputs, opset=opset)
    _rename_inputs_and_outputs(model, outputs)
    _check_and_save(model, path)


def _rename_inputs_and_outputs(model: Any, outputs: Sequence[str]) -> None:
    """Give the inputs and outputs of an ONNX model the names that they have in the signature.

    Args:
        outputs: in the order of the model's.
    """
    graph = model.graph
    names = {value.name: value.name.split(":")[0] for value in graph.input}
    names |= {value.name: name for value, name in zip(graph.output, outputs, strict=True)}
    inner_names = {n for node in graph.node for n in (*node.input, *node.output)} - set(names)
    assert not inner_names & set(names.values()), "an inner tensor has the name of an input or output"
    for node in graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]


def _check_and_save(model: Any, path: Path) -> None:
    import onnx

    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def convert_to_fp16(source: Path, path: Path) -> None:
    """Convert a float32 model: weights and products in float16; inputs, outputs, masking and TopK stay in float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(str(source))
    half = convert_float_to_float16(model, keep_io_types=True, op_block_list=["TopK", "ScatterND", "Concat"])
    onnx.save(without_needless_casts(half), str(path))


def convert(export: ExportFolder, target: Target, path: Path, options: Options) -> dict[str, str]:
    """Write model.onnx; returns further fields for conversion.json."""
    if target.precision == "fp32":
        convert_to_fp32(export, path, options.opset)
        return {"opset": str(options.opset)}
    source = path.with_name("fp32.onnx")
    try:
        convert_to_fp32(export, source, options.opset)
        if target.precision == "fp16":
            step(f"{target.name}: converting from fp32 to fp16")
            convert_to_fp16(source, path)
            return {"opset": str(options.opset)}
        calibration = int8.convert_to_int8(source, path, export)
        return {"opset": str(options.opset), "calibration": calibration}
    finally:
        source.unlink(missing_ok=True)
