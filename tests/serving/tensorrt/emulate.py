"""Runs what is in bfloat16 in float32, rounded to bfloat16: ONNX Runtime has no products in bfloat16 on CPUs."""

from __future__ import annotations

from serving.convert.bfloat16 import CONVERTED


def in_float32(content: bytes) -> bytes:
    """The same model, whose nodes in bfloat16 compute in float32 and round their results."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(content)
    nodes = []
    for node in model.graph.node:
        places = [k for k, name in enumerate(node.input) if name.endswith("/bfloat16")]
        if node.op_type not in CONVERTED or not places:
            nodes.append(node)
            continue
        for k in places:
            wide = f"{node.output[0]}/input{k}"
            nodes.append(helper.make_node("Cast", [node.input[k]], [wide], to=TensorProto.FLOAT))
            node.input[k] = wide
        result, node.output[0] = node.output[0], f"{node.output[0]}/wide"
        nodes += [node, helper.make_node("Cast", [node.output[0]], [result], to=TensorProto.BFLOAT16)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()
