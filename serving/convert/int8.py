"""Conversion of a float32 ONNX model to int8 by ONNX Runtime's quantizer, calibrated on requests of validation users.

The model holds a QuantizeLinear and a DequantizeLinear (Q/DQ) at each product with weights. Two kinds are written:
for ONNX Runtime activations of uint8 with a zero point, for TensorRT activations of int8 without one, because its
parser takes only a zero point of 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from serving.export_folder import Arrays, ExportFolder
from serving.progress import step

CALIBRATION_USERS = 512
CALIBRATION_BATCH = 32
QUANTIZED = ["MatMul", "Gemm"]


class CalibrationReader:
    """Gives ONNX Runtime the requests of the calibration users, in batches of similar history length."""

    def __init__(self, export: ExportFolder, users: int) -> None:
        held_out = export.held_out_users("calibration")
        self.description = f"{min(users, len(held_out.fold_in))} {held_out.source}"
        rows = np.arange(min(users, len(held_out.fold_in)))
        rows = rows[np.argsort(held_out.fold_in.lengths[rows], kind="stable")]
        batches = [rows[k : k + CALIBRATION_BATCH] for k in range(0, len(rows), CALIBRATION_BATCH)]
        self._requests: Iterator[Arrays] = (held_out.requests(batch, export.n_items) for batch in batches)

    def get_next(self) -> Arrays | None:
        """The inputs of the next batch, None after the last."""
        return next(self._requests, None)


def _products_without_weights(model: Any) -> list[str]:
    """Names of the MatMul nodes that multiply two computed tensors. They have no weights to store in int8."""
    weights = {t.name for t in model.graph.initializer}
    weights |= {n.output[0] for n in model.graph.node if n.op_type in ("Constant", "DequantizeLinear")}
    return [n.name for n in model.graph.node if n.op_type == "MatMul" and not weights & set(n.input)]


def convert_to_int8(
    source: Path, path: Path, export: ExportFolder, users: int = CALIBRATION_USERS, *, symmetric: bool = False
) -> str:
    """Write a model whose products with weights are in int8, with fixed scales, one for each output channel.

    Args:
        source: the float32 model.
        users: number of calibration users.
        symmetric: every zero point is 0 and all that is quantized is int8, as TensorRT demands it.

    Returns:
        What it was calibrated with.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # The result of a product stays float: int8 would leave 256 scores to rank thousands of items by.
    options: dict[str, Any] = {"OpTypesToExcludeOutputQuantization": QUANTIZED}
    if symmetric:  # a quantized bias is int32, which TensorRT's DequantizeLinear does not take
        options |= {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    prepared, requests = path.with_name("prepared.onnx"), CalibrationReader(export, users)
    step(f"converting from fp32 to int8, calibrating with {requests.description}")
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(path),
            requests,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED,
            nodes_to_exclude=_products_without_weights(onnx.load(str(prepared))),
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=options,
        )
    finally:
        prepared.unlink(missing_ok=True)
    return requests.description
