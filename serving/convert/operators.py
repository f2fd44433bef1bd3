"""The operators that TF-TRT (TensorFlow 2.17, TensorRT 8.6) and TensorRT's ONNX parser support.

Sources: the converters registered in tensorflow/compiler/tf2tensorrt/convert (convert_nodes.cc and ops/), and
docs/operators.md of onnx-tensorrt at TensorRT 10.15 (opset 9 to 24; the newest that was found). Those of the exported
models are also read by the parser of TensorRT-RTX 1.7, in the tests. ONNX Runtime supports every standard operator, so
it needs no list.
"""

from __future__ import annotations

LARGEST_TOP_K = 3840
"""Largest K of TensorRT's TopK: TensorRT-RTX 1.7 builds 3,840 and refuses 3,841."""

STRUCTURAL = {"Placeholder", "Const", "Identity", "NoOp", "PartitionedCall", "StatefulPartitionedCall"}
"""Nodes that need no converter: inputs, constants, and calls that are inlined before conversion."""

TF_TRT = {
    *("Abs", "Add", "AddN", "AddV2", "ArgMax", "ArgMin", "BatchMatMul", "BatchMatMulV2", "BiasAdd"),
    *("Cast", "ClipByValue", "ConcatV2", "Div", "Einsum", "Equal", "Exp", "ExpandDims", "Fill", "FloorDiv", "GatherV2"),
    *("Greater", "GreaterEqual", "Less", "LessEqual", "Log", "LogSoftmax", "LogicalAnd", "LogicalOr", "MatMul", "Max"),
    *("Maximum", "Mean", "Min", "Minimum", "Mul", "Neg", "Pack", "Pow", "Prod", "Range", "ReadVariableOp", "RealDiv"),
    *("Reciprocal", "Relu", "Reshape", "Rsqrt", "Select", "SelectV2", "Shape", "Sigmoid", "Slice", "Softmax", "Split"),
    *("Sqrt", "Square", "SquaredDifference", "Squeeze", "StridedSlice", "Sub", "Sum", "Tanh", "Tile", "TopKV2"),
    *("Transpose", "Unpack"),
}

FLOATS = frozenset({"FLOAT", "FLOAT16", "BFLOAT16"})
NUMBERS = FLOATS | {"INT32", "INT64"}
ANY = NUMBERS | {"BOOL"}
BOOLS = frozenset({"BOOL"})

TENSORRT = {
    **dict.fromkeys(("Ceil", "Clip", "Einsum", "Exp", "Floor", "Gemm", "Log", "LogSoftmax", "MatMul"), FLOATS),
    **dict.fromkeys(("QuantizeLinear", "Reciprocal", "Sigmoid", "Softmax", "Sqrt", "Tanh"), FLOATS),
    **dict.fromkeys(("Abs", "Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"), NUMBERS),
    **dict.fromkeys(("Mean", "Min", "Mul", "Neg", "Pow", "Range", "ReduceMax", "ReduceMean", "ReduceMin"), NUMBERS),
    **dict.fromkeys(("ReduceProd", "ReduceSum", "Relu", "ScatterElements", "ScatterND", "Sub", "Sum"), NUMBERS),
    **dict.fromkeys(("Constant", "ConstantOfShape", "Concat", "Expand", "Gather", "GatherElements", "GatherND"), ANY),
    **dict.fromkeys(
        ("Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"), ANY
    ),
    **dict.fromkeys(("And", "Not", "Or"), BOOLS),
    "Cast": ANY | {"UINT8"},
    "DequantizeLinear": frozenset({"INT8"}),
    "TopK": NUMBERS,
    "Where": BOOLS,
}
"""Operator -> the types of its first input that TensorRT 10.15 takes. BFLOAT16 is one of TensorRT 10 and later."""
