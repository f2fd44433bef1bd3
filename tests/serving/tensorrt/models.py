"""A small recommender as an ONNX model with dynamic shapes: the products, the mask and the ranking of the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ITEMS, HIDDEN, TOP_K = 300, 16, 10


def write(path: Path, top_k: int = TOP_K, items: int = ITEMS) -> Path:
    """Scores of all items by a look-up of the history, a sum, a product with weights and a bias; then the best."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    constants = {
        "look_up": random.normal(size=(items + 1, HIDDEN)), "weights": random.normal(size=(HIDDEN, items)),
        "bias": random.normal(size=items), "one": np.array([1], np.int64), "k": np.array([top_k], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["look_up", "item_ids"], ["rows"], "rows"),
        helper.make_node("ReduceSum", ["rows", "one"], ["sum"], "sum", keepdims=0),
        helper.make_node("Tanh", ["sum"], ["hidden"], "hidden"),
        helper.make_node("MatMul", ["hidden", "weights"], ["product"], "product"),
        helper.make_node("Add", ["product", "bias"], ["all_scores"], "all_scores"),
        helper.make_node("TopK", ["all_scores", "k"], ["scores", "places"], "top", axis=1),
        helper.make_node("Cast", ["places"], ["items"], "items", to=TensorProto.INT32),
    ]
    initializers = [
        numpy_helper.from_array(v if v.dtype == np.int64 else v.astype(np.float32), n) for n, v in constants.items()
    ]
    kinds = {"items": (TensorProto.INT32, top_k), "scores": (TensorProto.FLOAT, top_k)}
    kinds["all_scores"] = (TensorProto.FLOAT, items)
    outputs = [helper.make_tensor_value_info(n, kind, ["b", width]) for n, (kind, width) in kinds.items()]
    inputs = [helper.make_tensor_value_info("item_ids", TensorProto.INT32, ["b", "l"])]
    graph = helper.make_graph(nodes, "recommender", inputs, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


class Export:
    """What the conversions ask of an export: calibration users, the number of items, K, the inputs of a signature."""

    n_items, top_k, source = ITEMS, TOP_K, "validation users"

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self.fold_in = self
        self.lengths = np.full(64, 5)
        self._rows = np.sort(random.permuted(np.tile(np.arange(ITEMS), (64, 1)), axis=1)[:, :5]).astype(np.int32)

    def __len__(self) -> int:
        return len(self.lengths)

    def held_out_users(self, kind: str) -> Export:
        return self

    def requests(self, rows: npt.NDArray[np.int64], padding: int) -> dict[str, Any]:
        return {"item_ids": self._rows[rows]}

    def inputs(self, signature: str) -> dict[str, Any]:
        return {"item_ids": None}

    def history_limit(self, signature: str) -> int | None:
        return 400
