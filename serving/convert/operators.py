"""The operators that TF-TRT (TensorFlow 2.17, TensorRT 8.6) and TensorRT's ONNX parser support.

Sources: the converters registered in tensorflow/compiler/tf2tensorrt/convert (convert_nodes.cc and ops/), and
docs/operators.md of onnx-tensorrt. ONNX Runtime supports every standard operator, so it needs no list.
"""

from __future__ import annotations

LARGEST_TOP_K = 3840
"""Largest K of TensorRT's TopK."""

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

TENSORRT = {
    *("Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "DequantizeLinear", "Div"),
    *("Einsum", "Equal", "Exp", "Expand", "Floor", "Gather", "GatherElements", "GatherND", "Gemm", "Greater"),
    *("GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "Mean", "Min", "Mul"),
    *("Neg", "Not", "Or", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "Relu", "Reshape", "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Slice"),
    *("Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "TopK", "Transpose", "Unsqueeze", "Where"),
}
