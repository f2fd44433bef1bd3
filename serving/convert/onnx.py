"""ONNX by tf2onnx, and its float16 and int8 forms. All of it runs on a CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from serving.convert.options import Options
from serving.export_folder import SERVING, Arrays, ExportFolder
from serving.targets import Variant

CALIBRATION_BLOCK = 32


def missing(variant: Variant) -> list[str]:
    """Packages that are not installed."""
    del variant
    packages = [p for p in ("tf2onnx", "onnx", "onnxruntime") if importlib.util.find_spec(p) is None]
    return [f"package {p} is not installed (pip install '.[serving]')" for p in packages]


def from_saved_model(export: ExportFolder, target: Path, opset: int) -> None:
    """Write the float32 model of the `serving` signature."""
    import tensorflow as tf
    import tf2onnx

    loaded = tf.saved_model.load(str(export.saved_model))  # holds the variables while the graph is made
    signature = loaded.signatures[SERVING]
    names = sorted(signature.structured_input_signature[1])
    specs = [signature.structured_input_signature[1][n] for n in names]

    inputs = [tf.TensorSpec(s.shape, s.dtype, name=n) for n, s in zip(names, specs, strict=True)]

    @tf.function(input_signature=inputs, autograph=False)
    def serving(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = signature(**dict(zip(names, tensors, strict=True)))
        return {name: tf.identity(answer[name], name=name) for name in ("items", "scores")}

    model, _ = tf2onnx.convert.from_function(serving, input_signature=inputs, opset=opset)
    _named(model, target)


def _named(model: Any, target: Path) -> None:
    """Give inputs and outputs the names of the signature, check the model, write it."""
    import onnx

    graph = model.graph
    names = {value.name: value.name.split(":")[0] for value in graph.input}
    wanted = {onnx.TensorProto.INT32: "items", onnx.TensorProto.FLOAT: "scores"}
    names |= {value.name: wanted[value.type.tensor_type.elem_type] for value in graph.output}
    taken = {n for node in graph.node for n in (*node.input, *node.output)} - set(names)
    assert not taken & set(names.values()), "an inner tensor has the name of an output"
    for node in graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(target))


def to_fp16(source: Path, target: Path) -> None:
    """Weights and products in float16; inputs, outputs and the comparison of scores as they were."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(str(source))
    onnx.save(convert_float_to_float16(model, keep_io_types=True, op_block_list=["TopK", "ScatterND"]), str(target))


class CalibrationRequests:
    """Real requests of validation users, as ONNX Runtime's calibration asks for them."""

    def __init__(self, export: ExportFolder, users: int) -> None:
        audience = export.audience("calibration")
        rows = np.arange(min(users, len(audience.fold_in)))
        rows = rows[np.argsort(audience.fold_in.lengths[rows], kind="stable")]
        blocks = [rows[k : k + CALIBRATION_BLOCK] for k in range(0, len(rows), CALIBRATION_BLOCK)]
        self._requests: Iterator[Arrays] = (audience.requests(block, export.n_items) for block in blocks)

    def get_next(self) -> Arrays | None:
        """The next batch of inputs, None after the last."""
        return next(self._requests, None)


def _first_products(model: Any) -> list[str]:
    """The products of two computed tensors: their operands have no fixed range worth eight bits."""
    weights = {t.name for t in model.graph.initializer}
    weights |= {n.output[0] for n in model.graph.node if n.op_type in ("Constant", "DequantizeLinear")}
    return [n.name for n in model.graph.node if n.op_type == "MatMul" and not weights & set(n.input)]


def to_int8(source: Path, target: Path, export: ExportFolder, users: int) -> None:
    """Weights and activations of the products with weights in int8 (static, a scale for each output channel)."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_name("prepared.onnx")
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            CalibrationRequests(export, users),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=_first_products(onnx.load(str(prepared))),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        prepared.unlink(missing_ok=True)


def convert(export: ExportFolder, variant: Variant, target: Path, options: Options) -> dict[str, str]:
    """Write model.onnx; returns what conversion.json should say besides."""
    if variant.precision == "fp32":
        from_saved_model(export, target, options.opset)
        return {"opset": str(options.opset)}
    source = target.with_name("fp32.onnx")
    try:
        from_saved_model(export, source, options.opset)
        if variant.precision == "fp16":
            to_fp16(source, target)
            return {"opset": str(options.opset)}
        to_int8(source, target, export, users=512)
        return {"opset": str(options.opset), "calibration": "512 validation users"}
    finally:
        source.unlink(missing_ok=True)
