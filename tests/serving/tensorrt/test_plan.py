"""How each TensorRT version builds each precision, on its recorded API; the attributes of the other versions raise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.convert import bfloat16, int8, onnx, plan
from serving.convert.options import Options
from serving.convert.plan import PlanBuilder, Recipe, recipe
from serving.targets import ALL_PRECISIONS
from tests.conftest import ROOT
from tests.serving.tensorrt import fake, models, strict

SHAPES = {"item_ids": ((1, 1), (2, 3), (8, 6))}


@pytest.fixture(autouse=True)
def _own_logger() -> None:
    plan.make_logger.cache_clear()


def _module(version: str, dla_cores: int = 0) -> Any:
    return fake.tensorrt(version, fake.cuda(), dla_cores)


def source(precision: str, folder: Path) -> Path:
    """The model in the types of a precision, by the project's own conversions."""
    float32 = models.write(folder / "fp32.onnx")
    path = folder / "source.onnx"
    if precision == "fp16":
        onnx.convert_to_fp16(float32, path)
    elif precision == "bf16":
        bfloat16.convert_to_bfloat16(float32, path)
    elif precision == "int8":
        int8.convert_to_int8(float32, path, models.Export(), symmetric=True)  # type: ignore[arg-type]
    else:
        return float32
    return path


def test_the_fake_refuses_what_a_version_does_not_have() -> None:
    old, new = _module("8.6"), _module("11.4")
    assert not hasattr(new.BuilderFlag, "FP16") and not hasattr(old.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    assert hasattr(old.Builder, "platform_has_fast_fp16") and not hasattr(new.Builder, "platform_has_fast_fp16")
    assert hasattr(old.ICudaEngine, "get_binding_shape") and not hasattr(new.ICudaEngine, "get_binding_shape")
    builder = new.Builder(new.Logger())
    with pytest.raises(AttributeError, match="max_batch_size"):
        builder.max_batch_size = 1
    with pytest.raises(TypeError, match="incompatible function arguments"):
        builder.create_network(0, 1)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        builder.create_builder_config().add_optimization_profile(profiles=1)


def _cell(version: str, precision: str) -> str:
    """How a version builds a precision, in the words of the page."""
    try:
        how = recipe(_module(version), precision)
    except ValueError:
        return "no"
    return "strongly typed" if how.strongly_typed else f"flag {how.flags[0]}" if how.flags else "no flag"


def test_the_table_of_the_page() -> None:
    lines = (ROOT / "docs" / "tensorrt.md").read_text().splitlines()
    start = lines.index(f"| TensorRT | {' | '.join(ALL_PRECISIONS)} |") + 2
    table = {row[0]: row[1:] for row in ([c.strip() for c in line.strip("|").split("|")] for line in lines[start:][:3])}
    versions = {"8.6": ("8.6",), "10": ("10.0", "10.11", "10.12"), "11": ("11.0", "11.4")}
    assert {v for recorded in versions.values() for v in recorded} == set(strict.VERSIONS)
    expected = {major: {tuple(_cell(v, p) for p in ALL_PRECISIONS) for v in many} for major, many in versions.items()}
    assert {major: {tuple(row)} for major, row in table.items()} == expected


@pytest.mark.parametrize("precision", ALL_PRECISIONS)
@pytest.mark.parametrize("version", strict.VERSIONS)
def test_a_plan_of_each_version_and_precision(version: str, precision: str, tmp_path: Path) -> None:
    trt = _module(version)
    if (version, precision) == ("8.6", "bf16"):
        with pytest.raises(ValueError, match=r"TensorRT 8.6.1 has no bf16: take TensorRT 10 or 11"):
            PlanBuilder(trt, precision, Options())
        return
    builder = PlanBuilder(trt, precision, Options())
    builder.read(source(precision, tmp_path))
    builder.configure(SHAPES)
    (tmp_path / "model.plan").write_bytes(builder.build(tmp_path / "timing.cache"))
    profile, flags = fake.load(tmp_path / "model.plan")
    weak = version == "8.6"
    assert profile == SHAPES
    assert flags == (list(plan.FLAGS[precision]) if weak else []), "TF32 is off, and nothing else is on"
    assert (tmp_path / "timing.cache").read_bytes() == b"cache"


def test_a_dla_core(tmp_path: Path) -> None:
    assert recipe(_module("10.0"), "fp16", 0) == Recipe(strongly_typed=False, flags=("FP16",))
    assert recipe(_module("11.4"), "int8", 0) == Recipe(strongly_typed=True)
    with pytest.raises(ValueError, match="a DLA core takes fp16 and int8, not fp32"):
        recipe(_module("10.0"), "fp32", 0)
    with pytest.raises(ValueError, match=r"--dla-core is 0, TensorRT 11.0.0.114 finds 0 DLA cores here \(versions"):
        PlanBuilder(_module("11.0"), "fp16", Options(dla_core=0))
    builder = PlanBuilder(_module("10.0", dla_cores=2), "fp16", Options(dla_core=1))
    builder.configure(SHAPES)
    assert builder.config.DLA_core == 1 and builder.config.default_device_type.name == "DLA"
    assert builder.config._flags == {"FP16", "GPU_FALLBACK"}


def test_asymmetric_int8_is_refused_in_one_line(tmp_path: Path) -> None:
    int8.convert_to_int8(models.write(tmp_path / "m.onnx"), tmp_path / "q.onnx", models.Export())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"parser refuses q.onnx: .*zero point is not supported") as caught:
        PlanBuilder(_module("11.4"), "int8", Options()).read(tmp_path / "q.onnx")
    assert "\n" not in str(caught.value)


def test_k_above_the_limit(tmp_path: Path) -> None:
    builder = PlanBuilder(_module("10.12"), "fp32", Options())
    builder.read(models.write(tmp_path / "m.onnx", top_k=3841, items=5000))
    builder.configure(SHAPES)
    with pytest.raises(RuntimeError, match="TensorRT builds no engine: K is 3841"):
        builder.build(tmp_path / "timing.cache")


def test_symmetric_int8_quantizes_the_products_only(tmp_path: Path) -> None:
    import onnx as onnx_package
    from onnx import numpy_helper

    graph = onnx_package.load(str(source("int8", tmp_path))).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    zeros = [constants[n.input[2]] for n in nodes]
    assert all(z.dtype == np.int8 and not z.any() for z in zeros)
    assert {len(z) for z in zeros if z.ndim} == {models.ITEMS}, "the weights have a scale for each output"
    assert not {"product", "all_scores"} & {n.input[0] for n in nodes}, "the scores stay float"


def test_bfloat16_converts_products_and_look_ups(tmp_path: Path) -> None:
    import onnx as onnx_package

    graph = onnx_package.load(str(source("bf16", tmp_path))).graph
    kinds = {t.name: onnx_package.TensorProto.DataType.Name(t.data_type) for t in graph.initializer}
    assert {n: k for n, k in kinds.items() if k != "INT64"} == {
        "look_up/bfloat16": "BFLOAT16", "weights/bfloat16": "BFLOAT16", "bias": "FLOAT",
    }  # fmt: skip
    assert [n.op_type for n in graph.node] == [
        *("Gather", "Cast", "ReduceSum", "Tanh", "Cast", "MatMul", "Cast", "Add", "TopK", "Cast"),
    ]
