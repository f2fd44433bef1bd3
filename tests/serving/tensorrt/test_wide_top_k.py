"""A TopK above TensorRT's limit becomes several, and ranks as the one did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.convert import tensorrt
from serving.convert.options import Options
from serving.convert.wide_top_k import split_in_file, split_top_k
from serving.targets import ALL_PRECISIONS
from tests.serving.tensorrt import models


def _ranking(k: int, items: int) -> onnx.ModelProto:
    scores = helper.make_tensor_value_info("all", TensorProto.FLOAT, ["b", items])
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", k])]
    outputs.append(helper.make_tensor_value_info("places", TensorProto.INT64, ["b", k]))
    node = helper.make_node("TopK", ["all", "k"], ["scores", "places"], axis=1)
    graph = helper.make_graph([node], "g", [scores], outputs, [numpy_helper.from_array(np.array([k]), "k")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ort.InferenceSession(model.SerializeToString()).run(None, inputs)  # type: ignore[no-any-return]


def _sizes(model: onnx.ModelProto) -> list[int]:
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return [int(values[n.input[1]][0]) for n in model.graph.node if n.op_type == "TopK"]


@pytest.mark.parametrize(("k", "sizes"), [(7, [7]), (8, [7, 1]), (14, [7, 7]), (40, [7, 7, 7, 7, 7, 5])])
def test_the_ranking_is_that_of_one_node_ties_included(k: int, sizes: list[int]) -> None:
    scores = np.random.default_rng(0).integers(0, 9, (5, 40)).astype(np.float32)
    split = split_top_k(_ranking(k, 40), 7)
    onnx.checker.check_model(split, full_check=True)
    assert _sizes(split) == sizes
    for found, expected in zip(_run(split, {"all": scores}), _run(_ranking(k, 40), {"all": scores}), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_masked_items_stay_masked() -> None:
    scores = np.full((2, 40), -np.inf, np.float32)
    scores[:, [3, 30, 12]] = [3, 2, 1]
    best, places = _run(split_top_k(_ranking(20, 40), 2), {"all": scores})
    assert best[:, :3].tolist() == [[3, 2, 1]] * 2 and np.isneginf(best[:, 3:]).all()
    assert places[:, :3].tolist() == [[3, 30, 12]] * 2


def test_a_model_keeps_its_outputs(tmp_path: Path) -> None:
    path = models.write(tmp_path / "m.onnx", top_k=4_000, items=5_000)
    inputs = {"item_ids": np.array([[1, 2, 3], [4_000, 5, 5_000]], np.int32)}
    before = _run(onnx.load(str(path)), inputs)
    split_in_file(path, 3_840)
    assert _sizes(onnx.load(str(path))) == [3_840, 160]
    for found, expected in zip(_run(onnx.load(str(path)), inputs), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("precision", ALL_PRECISIONS)
def test_what_tensorrt_reads_is_within_its_limit(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each precision, of a model that was exported with a larger K."""
    monkeypatch.setattr(
        tensorrt.onnx, "convert_to_fp32", lambda export, path, opset: models.write(path, top_k=4_000, items=5_000)
    )
    export = models.Export()
    export.top_k = 4_000
    tensorrt.write_source(export, precision, tmp_path / "source.onnx", Options())  # type: ignore[arg-type]
    assert _sizes(onnx.load(str(tmp_path / "source.onnx"))) == [3_840, 160]
