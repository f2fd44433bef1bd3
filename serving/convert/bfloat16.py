"""Conversion of a float32 ONNX model to bfloat16: products and look-ups of weights; all else stays in float32.

The model is a source for TensorRT, whose strongly typed networks compute each layer in the type of its tensors. ONNX
Runtime cannot run it on a CPU: it has no products in bfloat16 there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CONVERTED = {"MatMul": (0, 1), "Gemm": (0, 1, 2), "Gather": (0,)}
"""Operator -> its inputs that become bfloat16. Of the Gather nodes, only those that read float32 weights."""


def _rounded(weights: Any) -> Any:
    """A float32 tensor with its values rounded to bfloat16."""
    import ml_dtypes  # comes with TensorFlow
    from onnx import TensorProto, helper, numpy_helper

    values = numpy_helper.to_array(weights).astype(ml_dtypes.bfloat16)
    return helper.make_tensor(weights.name, TensorProto.BFLOAT16, weights.dims, values.tobytes(), raw=True)


def _converted_inputs(node: Any, weights: set[str]) -> tuple[int, ...]:
    """Positions of the inputs of a node that become bfloat16; empty if the node stays in float32."""
    places = tuple(k for k in CONVERTED.get(node.op_type, ()) if k < len(node.input) and node.input[k])
    return () if node.op_type == "Gather" and node.input[0] not in weights else places


def to_bfloat16(model: Any) -> None:
    """Convert a model in place.

    Each converted node reads bfloat16: its weights are rounded here, a computed input by a Cast before it. A Cast after
    it gives float32 to the nodes that follow.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    nodes: list[Any] = []
    made: dict[str, str] = {}
    for node in graph.node:
        places = _converted_inputs(node, set(weights))
        for place in places:
            name = node.input[place]
            if name not in made:
                made[name] = f"{name}/bfloat16"
                if name in weights:
                    rounded = _rounded(weights[name])
                    rounded.name = made[name]
                    graph.initializer.append(rounded)
                else:
                    nodes.append(helper.make_node("Cast", [name], [made[name]], made[name], to=TensorProto.BFLOAT16))
            node.input[place] = made[name]
        nodes.append(node)
        if places:
            name, node.output[0] = node.output[0], f"{node.output[0]}/float32"
            nodes.append(helper.make_node("Cast", [node.output[0]], [name], node.output[0], to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def convert_to_bfloat16(source: Path, path: Path) -> None:
    """Read a float32 model and write it in bfloat16."""
    import onnx

    model = onnx.load(str(source))
    to_bfloat16(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
