"""Share of the time that each kind of operator takes, by model and batch size, as the engine's own profiler counts it.

ONNX Runtime writes its profile itself; TensorFlow's comes from its profiler. On a GPU both count kernels there (not run
by us). What contains other operators (loops, calls) is not counted itself.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inference import apart
from benchmarks.inference.asked import add_subject
from benchmarks.inference.subjects import Servable, Subject
from benchmarks.results.load_tables import KINDS

REQUESTS = 10
TYPES: Mapping[str, str] = {
    "Gather": "Gather GatherV2 ResourceGather GatherND GatherNd GatherElements EmbeddingLookup",
    "MatMul": "MatMul Gemm FusedMatMul FusedGemm BatchMatMulV2 Einsum MatMulInteger DynamicQuantizeMatMul "
    "MatMulIntegerToFloat SparseTensorDenseMatMul",
    "Sum": "Sum ReduceSum ReduceMean Mean Max ReduceMax SegmentSum SparseSegmentSum UnsortedSegmentSum",
    "TopK": "TopK TopKV2 Sort",
    "Activation": "Relu Sigmoid Softmax PRelu Tanh Exp Erf Elu LogSoftmax QuickGelu",
    "Shape": "Concat ConcatV2 Pack Unpack Split SplitV Slice StridedSlice Transpose Reshape Squeeze Unsqueeze "
    "ExpandDims Expand Tile BroadcastTo Identity Shape Reverse ReverseV2 Flatten TensorListGetItem TensorListSetItem "
    "TensorListStack TensorListFromTensor Where NonZero Pad",
    "Elementwise": "Add AddV2 Sub Mul Div RealDiv Cast BiasAdd Pow Sqrt Rsqrt Neg Minimum Maximum Select SelectV2 "
    "Equal Less Greater LessEqual GreaterEqual Not LogicalNot And LogicalAnd Or ScatterND ScatterElements FloorDiv "
    "FloorMod Mod DynamicQuantizeLinear DequantizeLinear QuantizeLinear AddN Clip",
}
"""Kind -> the types of ONNX and TensorFlow in it; whatever else there is counts as Other."""
KIND_OF = {kind: name for name, kinds in TYPES.items() for kind in kinds.split()}
CONTAINERS = frozenset(
    "Loop If Scan While StatelessWhile StatefulPartitionedCall PartitionedCall StatelessIf SequenceMap".split()
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser, several=True)
    apart.add_arguments(parser)


def kind_of(operator: str) -> str:
    """Of an operator's type, as "_MklNativeFusedMatMul"."""
    plain = operator
    for mark in ("_Mkl", "Native", "_Fused"):
        plain = plain.replace(mark, "")
    fused = plain.removeprefix("Fused")
    return KIND_OF.get(operator) or KIND_OF.get(plain) or KIND_OF.get(fused) or "Other"


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Kind -> its share, of seconds by type."""
    total = dict.fromkeys(KINDS, 0.0)
    for operator, taken in seconds.items():
        if operator not in CONTAINERS:
            total[kind_of(operator)] += taken
    everything = sum(total.values())
    return {kind: total[kind] / everything for kind in KINDS} if everything else {}


def _requests(servable: Servable, batch: int) -> None:
    rng = np.random.default_rng(batch)
    for _ in range(REQUESTS):
        servable(servable.examples(batch, rng))


def of_onnx(profile: Path) -> dict[str, float]:
    """Seconds by type in the later half of the runs in a profile of ONNX Runtime."""
    events = json.loads(profile.read_text())
    runs = sorted(event["ts"] for event in events if event["name"] == "model_run")
    found: defaultdict[str, float] = defaultdict(float)
    for event in events:
        is_node = event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        if is_node and event["ts"] >= runs[len(runs) // 2]:
            found[event["args"]["op_name"]] += event["dur"] / 1e6
    return dict(found)


def of_tensorflow(folder: Path) -> dict[str, float]:
    """Seconds by type in a trace of TensorFlow's profiler."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (file,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    on_gpu = [plane for plane in space.planes if plane.name.startswith("/device:GPU")]
    found: defaultdict[str, float] = defaultdict(float)
    for plane in on_gpu or space.planes:
        for name, seconds in _events(plane, "tf_op" if on_gpu else None):
            path, mark, operator = name.rpartition(":")
            if mark and path and operator.isidentifier() and not path.endswith(":") and " " not in path:
                found[operator] += seconds
    return dict(found)


def _events(plane: Any, stat: str | None) -> Iterator[tuple[str, float]]:
    """Name (or what a statistic of it says) and seconds."""
    for line in plane.lines:
        for event in line.events:
            name = plane.event_metadata[event.metadata_id].name
            if stat is not None:
                said = (s for s in event.stats if plane.stat_metadata[s.metadata_id].name == stat)
                name = next((plane.stat_metadata[s.ref_value].name or s.str_value for s in said), "")
            yield name, event.duration_ps / 1e12


def profiled(subject: Subject, batch: int, threads: int) -> dict[str, float]:
    """Seconds by type of some requests; as many were asked before them."""
    with tempfile.TemporaryDirectory() as scratch:
        if subject.engine.startswith("onnx"):
            session: Any = subject.open(threads, Path(scratch) / "profile")
            _requests(session, batch)
            _requests(session, batch)
            return of_onnx(session.runner.end_profiling())
        import tensorflow as tf

        servable = subject.open(threads)
        _requests(servable, batch)
        with tf.profiler.experimental.Profile(scratch):
            _requests(servable, batch)
        return of_tensorflow(Path(scratch))


def measure_one(subject: Subject, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every batch size."""
    rows = []
    subject.prepare()
    for batch in args.batches:
        seconds = profiled(subject, batch, args.threads)
        rows.append(
            {"model": subject.model, "engine": subject.engine, "batch": batch,
             "ms": 1e3 * sum(s for o, s in seconds.items() if o not in CONTAINERS) / REQUESTS,
             "shares": shares(seconds), "seconds": seconds}
        )  # fmt: skip
    return rows


def main(args: argparse.Namespace) -> int:
    return apart.main("operators", measure_one, [], args)
