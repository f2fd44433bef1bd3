"""Kinds of operators, and the types of ONNX and TensorFlow that belong to each."""

from __future__ import annotations

from collections.abc import Mapping

KINDS = ("Gather", "MatMul", "Sum", "TopK", "Activation", "Shape", "Elementwise", "Other")
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
"""Kind -> its operator types in ONNX and TensorFlow. All other types are of the kind Other."""
KIND_OF = {kind: name for name, kinds in TYPES.items() for kind in kinds.split()}
CONTAINERS = frozenset(
    "Loop If Scan While StatelessWhile StatefulPartitionedCall PartitionedCall StatelessIf SequenceMap".split()
)
"""Operators that contain others."""


def kind_of(operator: str) -> str:
    """The kind of an operator type such as "_MklNativeFusedMatMul"."""
    plain = operator
    for mark in ("_Mkl", "Native", "_Fused"):
        plain = plain.replace(mark, "")
    fused = plain.removeprefix("Fused")
    return KIND_OF.get(operator) or KIND_OF.get(plain) or KIND_OF.get(fused) or "Other"
