"""Takes needless casts out of an ONNX model that was converted to float16: each would copy the scores of all items."""

from __future__ import annotations

from typing import Any


def _targets(graph: Any) -> dict[str, tuple[str, int]]:
    """Output of each Cast -> its input and the type it casts to."""
    casts = [node for node in graph.node if node.op_type == "Cast"]
    return {n.output[0]: (n.input[0], next(a.i for a in n.attribute if a.name == "to")) for n in casts}


def _sources(graph: Any) -> dict[str, str]:
    """Name -> the name of the same values that takes its place.

    From float32 to float16 and back changes nothing here, as what is blocked from float16 computes no new values. Of
    two equal casts one is enough: that whose result is an output of the model.
    """
    import onnx

    casts, outputs = _targets(graph), {value.name for value in graph.output}
    places: dict[str, str] = {}
    first: dict[tuple[str, int], str] = {}
    for name, (source, to) in sorted(casts.items(), key=lambda cast: cast[0] not in outputs):
        before, half = casts.get(source, ("", 0))
        if to == onnx.TensorProto.FLOAT and half == onnx.TensorProto.FLOAT16 and name not in outputs:
            places[name] = before
        elif (source, to) in first and name not in outputs:
            places[name] = first[source, to]
        else:
            first.setdefault((source, to), name)
    return places


def without_needless_casts(model: Any) -> Any:
    """The same model (changed in place), computed with fewer copies, its nodes in the order of computation."""
    from onnxruntime.transformers.onnx_model import OnnxModel

    graph = model.graph
    places = _sources(graph)

    def final(name: str) -> str:
        while name in places:
            name = places[name]
        return name

    for node in graph.node:
        node.input[:] = [final(name) for name in node.input]
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    while unused := [n for n in graph.node if n.op_type == "Cast" and n.output[0] not in used]:
        for node in unused:
            graph.node.remove(node)
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    OnnxModel(model).topological_sort()
    return model
