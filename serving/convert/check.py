"""What TF-TRT and TensorRT take of the serving graph, operator by operator, and what stays outside.

TF-TRT reads the TensorFlow graph (signature serving_pool), TensorRT the ONNX model (from signature serving). Everything
from the ids to TopK should be taken; TopK itself has a limit on K.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from serving import targets as variants
from serving.convert import conversion as convert
from serving.convert.operators import LARGEST_TOP_K, STRUCTURAL, TENSORRT, TF_TRT
from serving.export_folder import POOL, ExportFolder, open_export
from serving.targets import Variant

FOUND_OUTSIDE = 1


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of operator in a graph."""

    operator: str
    count: int
    taken: bool
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The operators of a graph, the K of every TopK, and types that no engine has."""

    operators: Mapping[str, int]
    top_k: tuple[int | None, ...]
    wrong_types: Mapping[str, str]
    """operator -> type, where that is the reason."""


def judge(graph: Graph, taken: set[str], top_k: str) -> list[Finding]:
    """A verdict on each operator.

    Args:
        taken: the operators that the engine has.
        top_k: its name of TopK.
    """
    findings = []
    for operator, count in sorted(graph.operators.items()):
        why = "" if operator in taken else "no converter"
        if operator == top_k and not why:
            worst = [k for k in graph.top_k if k is None or k > LARGEST_TOP_K]
            if worst:
                shown = "not constant" if worst[0] is None else f"{worst[0]:,}"
                why = f"K is {shown}, at most {LARGEST_TOP_K:,}"
        if not why and operator in graph.wrong_types:
            why = f"type {graph.wrong_types[operator]}"
        findings.append(Finding(operator=operator, count=count, taken=not why, why=why))
    return findings


def tensorflow_graph(export: ExportFolder, signature: str) -> Graph:
    """Read a signature's graph as TF-TRT sees it: calls inlined, variables frozen."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(export.saved_model))
    frozen = convert_variables_to_constants_v2(loaded.signatures[signature])
    nodes = [n for n in frozen.graph.as_graph_def().node if n.op not in STRUCTURAL]
    constants = {n.name: n for n in frozen.graph.as_graph_def().node if n.op == "Const"}

    def k_of(node: Any) -> int | None:
        constant = constants.get(node.input[1].split(":")[0])
        return None if constant is None else int(tf.make_ndarray(constant.attr["value"].tensor))

    wide = {}
    for node in nodes:
        if node.op == "GatherV2" and node.attr["Tindices"].type == tf.int64.as_datatype_enum:
            wide["GatherV2"] = "int64 indices, int32 only"
        if node.attr["T"].type == tf.bfloat16.as_datatype_enum:
            wide[node.op] = "bfloat16"
    return Graph(
        operators=Counter(n.op for n in nodes),
        top_k=tuple(k_of(n) for n in nodes if n.op == "TopKV2"),
        wrong_types=wide,
    )


def onnx_graph(model: Path) -> Graph:
    """Read an ONNX model."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model)).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def k_of(node: Any) -> int | None:
        return int(constants[node.input[1]].reshape(-1)[0]) if node.input[1] in constants else None

    scatters = [a for n in graph.node if n.op_type == "ScatterND" for a in n.attribute if a.name == "reduction"]
    ignored = any(a.s not in (b"", b"none") for a in scatters)
    return Graph(
        operators=Counter(n.op_type for n in graph.node),
        top_k=tuple(k_of(n) for n in graph.node if n.op_type == "TopK"),
        wrong_types={"ScatterND": "with a reduction, which TensorRT ignores"} if ignored else {},
    )


def show(title: str, findings: list[Finding]) -> str:
    """A table, and what it comes to."""
    rows = [(f.operator, f.count, "yes" if f.taken else f"NO: {f.why}") for f in findings]
    outside = [f.operator for f in findings if not f.taken]
    verdict = f"outside: {', '.join(outside)}" if outside else "everything from ids to TopK is taken"
    return f"{title}\n{tabulate(rows, headers=('operator', 'times', 'taken'))}\n{verdict}\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--export", type=Path, required=True, help="RUN_DIR/export")
    parser.add_argument("--models", type=Path, help="folder of the conversions (default: converted/ beside the export)")
    parser.add_argument("--signature", default=POOL, help="of the TensorFlow graph (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def main(args: argparse.Namespace) -> int:
    """0 when both take everything, 1 when something stays outside."""
    export = open_export(args.export)
    export.inputs(args.signature)
    found = {"tf-trt": judge(tensorflow_graph(export, args.signature), TF_TRT, "TopKV2")}
    onnx_model = variants.converted(args.models or variants.default_folder(args.export), "onnx-fp32")
    if onnx_model.model.exists():
        found["tensorrt"] = judge(onnx_graph(onnx_model.model), TENSORRT, "TopK")
    if args.json:
        print(json.dumps({name: [vars(f) for f in findings] for name, findings in found.items()}, indent=2))
    else:
        for name, findings in found.items():
            source = f"signature {args.signature}" if name == "tf-trt" else "onnx-fp32"
            print(show(f"{name} of {source}", findings))
        if "tensorrt" not in found:
            print("tensorrt: no ONNX model to look at; make it with: python -m serving convert --to onnx\n")
        limit = export.history_limit(args.signature)
        if limit is not None:
            print(f"{args.signature} takes histories of at most {limit:,} items\n")
        for form in ("tf-trt", "tensorrt"):
            lacking = convert.preflight(Variant(format=form, precision="fp16"))
            print(f"{form} on this machine: {'ready' if lacking is None else 'no: ' + lacking}")
    return FOUND_OUTSIDE if any(not f.taken for findings in found.values() for f in findings) else 0
