"""Replaces a TopK that is too large for TensorRT by several: each takes the best of what those before it left.

Shape legend: B batch, I items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def _rounds(scores: str, k: int, largest: int, prefix: str) -> tuple[list[Any], list[Any], list[tuple[str, str]]]:
    """Nodes, constants, and the names of the scores and places [B, <= largest] of every round.

    What a round took is minus infinity for the next one. So K above the number of finite scores gives places twice,
    with a score of minus infinity, which means "no item" in every answer.
    """
    from onnx import helper, numpy_helper

    nodes, constants, found = [], [numpy_helper.from_array(np.array(-np.inf, np.float32), f"{prefix}/none")], []
    for number, start in enumerate(range(0, k, largest)):
        name = f"{prefix}/{number}"
        constants.append(numpy_helper.from_array(np.array([min(largest, k - start)], np.int64), f"{name}/k"))
        best, places = f"{name}/scores", f"{name}/places"
        nodes.append(helper.make_node("TopK", [scores, f"{name}/k"], [best, places], f"{name}/top", axis=1))
        found.append((best, places))
        if start + largest < k:
            left = f"{name}/left"
            nodes += [
                helper.make_node("Shape", [places], [f"{name}/shape"], f"{name}/shape_of"),
                helper.make_node("Expand", [f"{prefix}/none", f"{name}/shape"], [f"{name}/taken"], f"{name}/expand"),
                helper.make_node("ScatterElements", [scores, places, f"{name}/taken"], [left], f"{name}/take", axis=1),
            ]
            scores = left
    return nodes, constants, found


def split_top_k(model: Any, largest: int) -> Any:
    """The same ranking (the model is changed in place) by TopK nodes of at most `largest` items each.

    Args:
        model: an ONNX model whose TopK nodes rank [B, I] scores in float32 by a constant K.

    """
    from onnx import helper, numpy_helper

    graph = model.graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes: list[Any] = []
    for place, node in enumerate(graph.node):
        k = int(values[node.input[1]].reshape(-1)[0]) if node.op_type == "TopK" else 0
        if k <= largest:
            nodes.append(node)
            continue
        made, constants, found = _rounds(node.input[0], k, largest, f"wide_top_k_{place}")
        graph.initializer.extend(constants)
        joined = [
            helper.make_node("Concat", list(names), [output], f"{output}/joined", axis=1)
            for output, names in zip(node.output, zip(*found, strict=True), strict=True)
        ]
        nodes += [*made, *joined]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def split_in_file(path: Path, largest: int) -> None:
    """`split_top_k` of an ONNX file."""
    import onnx

    model = split_top_k(onnx.load(str(path)), largest)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
