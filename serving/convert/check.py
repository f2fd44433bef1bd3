"""List the operators of the serving graph that TF-TRT and TensorRT support, and those that they do not.

TF-TRT reads the TensorFlow graph of the signature serving_no_scatter. TensorRT reads the ONNX model, which is made from
the signature serving. Both should support every operator from the ids to TopK, whose K has a limit in both; for
TensorRT, `convert` replaces a larger one by several.

python -m serving check --export runs/first
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import targets
from serving.command_help import EXPORT_HELP, MODELS_HELP, CommandParser
from serving.convert.conversion import unavailable_reason
from serving.convert.operators import LARGEST_TOP_K, STRUCTURAL, TENSORRT, TF_TRT
from serving.convert.options import Options
from serving.convert.plan import PlanBuilder
from serving.export_folder import NO_SCATTER, ExportFolder, open_export
from serving.progress import step
from serving.targets import Target

UNSUPPORTED_FOUND = 1


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One operator type of a graph."""

    operator: str
    count: int
    supported: bool
    reason: str = ""
    """Why the engine does not support it."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The parts of a graph that decide whether an engine supports it."""

    operators: Mapping[str, int]
    """Operator -> number of nodes."""
    top_k: tuple[int | None, ...]
    """K of each TopK node; None if it is computed."""
    unsupported_types: Mapping[str, str]
    """Operator -> the type, or the option, that no engine supports."""


def _reason_of_k(every_k: Sequence[int | None], divided: bool) -> str:
    too_large = [k for k in every_k if k is None or (k > LARGEST_TOP_K and not divided)]
    if not too_large:
        return ""
    return "K is not constant" if too_large[0] is None else f"K is {too_large[0]:,}, at most {LARGEST_TOP_K:,}"


def check_operators(graph: Graph, supported: Collection[str], top_k: str, *, divided: bool = False) -> list[Finding]:
    """One finding for each operator, by name.

    Args:
        supported: the operators that the engine has.
        top_k: the name of TopK in this kind of graph.
        divided: the conversion replaces a TopK that is too large by several (`wide_top_k`).
    """
    findings = []
    for operator, count in sorted(graph.operators.items()):
        reason = "" if operator in supported else "no converter"
        if operator == top_k and not reason:
            reason = _reason_of_k(graph.top_k, divided)
        if not reason and operator in graph.unsupported_types:
            reason = f"type {graph.unsupported_types[operator]}"
        findings.append(Finding(operator=operator, count=count, supported=not reason, reason=reason))
    return findings


def tensorflow_graph(export: ExportFolder, signature: str) -> Graph:
    """Read the graph of a signature as TF-TRT sees it: function calls inlined, variables frozen."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(export.saved_model))
    frozen = convert_variables_to_constants_v2(loaded.signatures[export.stored_signature(signature)])
    nodes = [n for n in frozen.graph.as_graph_def().node if n.op not in STRUCTURAL]
    constants = {n.name: n for n in frozen.graph.as_graph_def().node if n.op == "Const"}

    def k_of(node: Any) -> int | None:
        constant = constants.get(node.input[1].split(":")[0])
        return None if constant is None else int(tf.make_ndarray(constant.attr["value"].tensor))

    unsupported_types = {}
    for node in nodes:
        if node.op == "GatherV2" and node.attr["Tindices"].type == tf.int64.as_datatype_enum:
            unsupported_types["GatherV2"] = "int64 indices, int32 only"
        if node.attr["T"].type == tf.bfloat16.as_datatype_enum:
            unsupported_types[node.op] = "bfloat16"
    return Graph(
        operators=Counter(n.op for n in nodes),
        top_k=tuple(k_of(n) for n in nodes if n.op == "TopKV2"),
        unsupported_types=unsupported_types,
    )


def onnx_graph(model: Path) -> Graph:
    """Read an ONNX model."""
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load(str(model))
    graph = loaded.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def k_of(node: Any) -> int | None:
        return int(constants[node.input[1]].reshape(-1)[0]) if node.input[1] in constants else None

    unsupported_types = unsupported_onnx_types(loaded)
    scatters = [a for n in graph.node if n.op_type == "ScatterND" for a in n.attribute if a.name == "reduction"]
    has_reduction = any(a.s not in (b"", b"none") for a in scatters)
    scatter = {"ScatterND": "with a reduction, which TensorRT ignores"} if has_reduction else {}
    return Graph(
        operators=Counter(n.op_type for n in graph.node),
        top_k=tuple(k_of(n) for n in graph.node if n.op_type == "TopK"),
        unsupported_types=unsupported_types | scatter,
    )


def unsupported_onnx_types(model: Any) -> dict[str, str]:
    """Operator -> a type of its first input that TensorRT does not take."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {t.name: t.data_type for t in graph.initializer}
    types |= {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    found = {}
    for node in graph.node:
        kind = types.get(node.input[0], 0) if node.input else 0
        name = onnx.TensorProto.DataType.Name(kind)
        if kind and name not in TENSORRT.get(node.op_type, {name}):
            found[node.op_type] = name
    return found


def read_by_parser(model: Path) -> tuple[str, str | None] | None:
    """The name of the TensorRT of this machine, and why its parser refuses the model (None if it reads it).

    TensorRT-RTX has the same parser and needs no GPU to read a model. None if the machine has neither.
    """
    name = next((n for n in ("tensorrt", "tensorrt_rtx") if importlib.util.find_spec(n) is not None), None)
    if name is None:
        return None
    shown = name
    try:
        trt = importlib.import_module(name)
        shown = f"{name} {trt.__version__}"
        PlanBuilder(trt, "fp32", Options()).read(model)
    except (RuntimeError, TypeError, ImportError) as error:  # TypeError: without a GPU some versions give no builder
        return shown, " ".join(str(error).split())
    return shown, None


def format_table(title: str, findings: list[Finding]) -> str:
    """A table of the findings, and one line with the result."""
    from tabulate import tabulate

    rows = [(f.operator, f.count, "yes" if f.supported else f"NO: {f.reason}") for f in findings]
    unsupported = [f.operator for f in findings if not f.supported]
    result = f"not supported: {', '.join(unsupported)}" if unsupported else "every operator is supported"
    return f"{title}\n{tabulate(rows, headers=('operator', 'nodes', 'supported'))}\n{result}\n"


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--export", metavar="RUN", type=Path, required=True, help=EXPORT_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_rare("--models", type=Path, help=MODELS_HELP)
    parser.add_rare("--signature", default=NO_SCATTER, help="of the TensorFlow graph (default: %(default)s)")


def _print_tables(found: Mapping[str, list[Finding]], export: ExportFolder, signature: str) -> None:
    """Print the findings, the limit on histories, and whether this machine can convert."""
    for name, findings in found.items():
        source = f"signature {signature}" if name == "tf-trt" else "onnx-fp32"
        print(format_table(f"{name} of {source}", findings))
    if "tensorrt" not in found:
        print("tensorrt: no ONNX model to check; make it with: python -m serving convert --to onnx\n")
    limit = export.history_limit(signature)
    if limit is not None:
        print(f"{signature} takes histories of at most {limit:,} items\n")
    for format_name in ("tf-trt", "tensorrt"):
        reason = unavailable_reason(Target(format=format_name, precision="fp16"))
        print(f"{format_name} on this machine: {'ready' if reason is None else 'no: ' + reason}")


def main(args: argparse.Namespace) -> int:
    """0 if both support every operator, 1 if not."""
    export = open_export(args.export)
    export.inputs(args.signature)
    step("loading TensorFlow and reading the graph")
    found = {"tf-trt": check_operators(tensorflow_graph(export, args.signature), TF_TRT, "TopKV2")}
    artifact = targets.artifact(args.models or targets.default_folder(export.folder), "onnx-fp32")
    parsed = None
    if artifact.model.exists():
        found["tensorrt"] = check_operators(onnx_graph(artifact.model), TENSORRT, "TopK", divided=True)
        parsed = read_by_parser(artifact.model)
    if args.json:
        print(json.dumps({name: [vars(f) for f in findings] for name, findings in found.items()}, indent=2))
    else:
        _print_tables(found, export, args.signature)
        if parsed is not None:
            print(f"the parser of {parsed[0]} {'reads onnx-fp32' if parsed[1] is None else 'refuses it: ' + parsed[1]}")
    return UNSUPPORTED_FOUND if any(not f.supported for findings in found.values() for f in findings) else 0
