"""Which operators stay outside an engine is found, on graphs made by hand and on the real exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving import targets
from serving.convert import check, conversion
from serving.convert.check import Finding, Graph, check_operators
from serving.convert.operators import TENSORRT, TF_TRT
from serving.export_folder import NO_SCATTER, ExportFolder
from serving.targets import Target


def _graph(operators: dict[str, int], *top_k: int | None, **unsupported_types: str) -> Graph:
    return Graph(operators=operators, top_k=top_k, unsupported_types=unsupported_types)


def test_a_verdict_on_each_operator() -> None:
    graph = _graph({"TopK": 1, "MatMul": 3, "NonZero": 2}, 100)
    assert check_operators(graph, {"TopK", "MatMul"}, "TopK") == [
        Finding(operator="MatMul", count=3, supported=True),
        Finding(operator="NonZero", count=2, supported=False, reason="no converter"),
        Finding(operator="TopK", count=1, supported=True),
    ]
    assert check_operators(_graph({}), TF_TRT, "TopKV2") == []


@pytest.mark.parametrize(
    ("every_k", "why"),
    [
        ((3840,), ""),
        ((3841,), "K is 3,841, at most 3,840"),
        ((100, 20_108, 10), "K is 20,108, at most 3,840"),
        ((None,), "K is not constant"),
        ((10, None), "K is not constant"),
    ],
)
def test_the_limit_on_k(every_k: tuple[int | None, ...], why: str) -> None:
    for name, taken in (("TopKV2", TF_TRT), ("TopK", TENSORRT)):
        (found,) = check_operators(_graph({name: len(every_k)}, *every_k), taken, name)
        assert (found.supported, found.reason) == (not why, why)
    (found,) = check_operators(_graph({"TopK": 1}, *every_k), TENSORRT, "TopK", divided=True)
    assert found.supported == (None not in every_k), "convert divides what is too large"


def test_a_type_that_no_engine_has() -> None:
    (found,) = check_operators(_graph({"GatherV2": 1}, GatherV2="int64 indices, int32 only"), TF_TRT, "TopKV2")
    assert (found.supported, found.reason) == (False, "type int64 indices, int32 only")
    (found,) = check_operators(_graph({"Where": 1}, Where="bfloat16"), TF_TRT, "TopKV2")
    assert found.reason == "no converter", "what has no converter at all needs no second reason"


def test_the_table_names_what_stays_outside() -> None:
    shown = check.format_table(
        "title", check_operators(_graph({"MatMul": 1, "Where": 2, "TopKV2": 1}, 4000), TF_TRT, "TopKV2")
    )
    assert "not supported: TopKV2, Where" in shown
    assert "every operator is supported" in check.format_table(
        "t", check_operators(_graph({"MatMul": 1}), TF_TRT, "TopKV2")
    )


def _outside(findings: list[Finding]) -> set[str]:
    return {f.operator for f in findings if not f.supported}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_the_real_graphs_are_taken_whole(
    vae: ExportFolder, ncf: ExportFolder, artifacts: dict[str, Path], model: str
) -> None:
    export = {"vae": vae, "ncf": ncf}[model]
    graph = check.tensorflow_graph(export, NO_SCATTER)
    assert _outside(check_operators(graph, TF_TRT, "TopKV2")) == set()
    assert {"MatMul", "TopKV2", "GatherV2"} <= set(graph.operators)
    assert sorted(graph.top_k) == [100, 300], "K of the first TopK (all items) and of the answer"
    onnx = check.onnx_graph(targets.artifact(artifacts[model], "onnx-fp32").model)
    assert _outside(check_operators(onnx, TENSORRT, "TopK")) == set()
    assert onnx.top_k == (100,)


@pytest.mark.slow
def test_a_graph_for_training_machines_stays_outside(vae: ExportFolder, ncf: ExportFolder) -> None:
    for export, wanted in ((vae, {"Where", "TensorScatterUpdate"}), (ncf, {"TensorScatterUpdate"})):
        found = _outside(check_operators(check.tensorflow_graph(export, "recommend"), TF_TRT, "TopKV2"))
        assert wanted <= found, found


@pytest.mark.slow
def test_a_scatter_that_adds_is_named(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    def saved(**attributes: Any) -> Path:
        node = helper.make_node("ScatterND", ["data", "where", "what"], ["out"], **attributes)
        kinds = {"data": TensorProto.FLOAT, "where": TensorProto.INT64, "what": TensorProto.FLOAT}
        given = [helper.make_tensor_value_info(n, t, ["a", "b"]) for n, t in kinds.items()]
        out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["a", "b"])]
        onnx.save(helper.make_model(helper.make_graph([node], "g", given, out)), str(tmp_path / "m.onnx"))
        return tmp_path / "m.onnx"

    (found,) = check_operators(check.onnx_graph(saved(reduction="add")), TENSORRT, "TopK")
    assert "ignores" in found.reason
    for plain in ({}, {"reduction": "none"}):
        (found,) = check_operators(check.onnx_graph(saved(**plain)), TENSORRT, "TopK")
        assert found.supported


@pytest.mark.slow
def test_a_k_that_is_computed_is_named(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("TopK", ["x", "k"], ["values", "places"])
    given = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "n"]),
        helper.make_tensor_value_info("k", TensorProto.INT64, [1]),
    ]
    out = [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["b", "k"])]
    onnx.save(helper.make_model(helper.make_graph([node], "g", given, out)), str(tmp_path / "m.onnx"))
    (found,) = check_operators(check.onnx_graph(tmp_path / "m.onnx"), TENSORRT, "TopK")
    assert found.reason == "K is not constant"


@pytest.mark.slow
def test_the_command(vae_export: Path, artifacts: dict[str, Path], python: Any, tmp_path: Path) -> None:
    words = ("serving", "check", "--export", vae_export, "--models")
    done = python(*words, artifacts["vae"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("every operator is supported") == 2
    done = python(*words, artifacts["vae"], "--signature", "recommend", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert {f["operator"] for f in found["tf-trt"] if not f["supported"]} >= {"Where", "TensorScatterUpdate"}
    assert all(f["supported"] for f in found["tensorrt"])
    assert "no ONNX model to check" in python(*words, tmp_path).stdout
    done = python(*words, tmp_path, "--signature", "nonsense")
    assert done.returncode == 2
    assert "has no signature 'nonsense'" in done.stderr


@pytest.mark.slow
def test_what_this_machine_lacks_is_named() -> None:
    import importlib.util
    import shutil

    if shutil.which("nvidia-smi") is not None or importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("this machine has a GPU or TensorRT")
    for form in ("tensorrt", "tf-trt"):
        lacking = conversion.unavailable_reason(Target(format=form, precision="fp16"))
        assert lacking is not None
        assert ("package tensorrt is not installed" in lacking) is (form == "tensorrt"), "TF-TRT needs its library only"
        assert "no NVIDIA GPU: nvidia-smi is not there" in lacking
    assert "is built without TensorRT" in (
        conversion.unavailable_reason(Target(format="tf-trt", precision="fp32")) or ""
    )
    assert "bf16" in (conversion.unavailable_reason(Target(format="tf-trt", precision="bf16")) or "")
    for name in ("onnx-fp32", "onnx-int8", "savedmodel-fp32"):
        assert conversion.unavailable_reason(targets.parse_target(name)) is None
