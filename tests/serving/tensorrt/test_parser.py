"""NVIDIA's own parser and builder read and build our models: those of TensorRT-RTX, which need no GPU for it.

They are in the packages tensorrt-rtx-cu12-bindings and tensorrt-rtx-cu12-libs (extra `rtx`). No plan is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.convert import bfloat16, check, int8, onnx
from serving.convert.operators import LARGEST_TOP_K
from serving.convert.options import Options
from serving.convert.plan import PlanBuilder
from serving.convert.wide_top_k import split_in_file
from serving.export_folder import ExportFolder
from serving.targets import ALL_PRECISIONS, artifact
from tests.serving.tensorrt import models
from tests.serving.tensorrt.test_plan import source

trt: Any = pytest.importorskip("tensorrt_rtx", reason="package tensorrt-rtx-cu12 (extra rtx) is not installed")


def _build(model: Path, precision: str, names: tuple[str, ...] = ("item_ids",)) -> bytes:
    """The plan for a card of capability 8.9, with the profile of the default options."""
    options = Options()
    builder = PlanBuilder(trt, precision, options)
    builder.read(model)
    batches, histories = (1, 32, 1024), (1, 128, 512)
    pairs = tuple(zip(batches, histories, strict=True))
    builder.configure({n: pairs if n == "item_ids" else tuple((b,) for b in batches) for n in names})
    builder.config.num_compute_capabilities = 1
    assert builder.config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    return builder.build(model.parent / "timing.cache")


@pytest.mark.parametrize("precision", ALL_PRECISIONS)
def test_a_plan_of_each_precision(precision: str, tmp_path: Path) -> None:
    assert len(_build(source(precision, tmp_path), precision)) > 10_000


def test_asymmetric_int8_is_refused(tmp_path: Path) -> None:
    """Which is why the models for TensorRT are not those for ONNX Runtime."""
    int8.convert_to_int8(models.write(tmp_path / "m.onnx"), tmp_path / "q.onnx", models.Export())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"parser refuses q.onnx: .*(zero point is not supported|type Int32)"):
        PlanBuilder(trt, "int8", Options()).read(tmp_path / "q.onnx")


def test_the_limit_on_k(tmp_path: Path) -> None:
    assert _build(models.write(tmp_path / "m.onnx", top_k=3840, items=5000), "fp32")
    with pytest.raises(RuntimeError, match="TensorRT builds no engine"):
        _build(models.write(tmp_path / "m.onnx", top_k=3841, items=5000), "fp32")
    split_in_file(tmp_path / "m.onnx", LARGEST_TOP_K)
    assert _build(tmp_path / "m.onnx", "fp32")
    split_in_file(models.write(tmp_path / "all.onnx", top_k=9000, items=9000), LARGEST_TOP_K)
    assert _build(tmp_path / "all.onnx", "fp32")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_the_real_models(
    model: str, vae: ExportFolder, ncf: ExportFolder, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    export, float32 = {"vae": vae, "ncf": ncf}[model], artifact(artifacts[model], "onnx-fp32").model
    assert check.read_by_parser(float32) == (f"tensorrt_rtx {trt.__version__}", None)
    onnx.convert_to_fp16(float32, tmp_path / "fp16.onnx")
    bfloat16.convert_to_bfloat16(float32, tmp_path / "bf16.onnx")
    int8.convert_to_int8(float32, tmp_path / "int8.onnx", export, users=64, symmetric=True)
    names = tuple(export.inputs("serving"))
    sizes = {p: len(_build(tmp_path / f"{p}.onnx", p, names)) for p in ("fp16", "bf16", "int8")}
    assert min(sizes.values()) > 10_000 and len(_build(float32, "fp32", names)) > 10_000
