"""Engines on a GPU give the answers of ONNX Runtime on the CPU. Each is skipped where the machine does not have it.

GPU_TESTS_ON=cpu compares ONNX Runtime on the CPU with itself instead: to try these tests, not the GPU.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from recsys_core.rankings import answers_agree
from serving.convert.options import Options
from serving.convert.plan import PlanBuilder
from serving.convert.verify import SCORE_TOLERANCE
from serving.engines import cuda, gpu
from serving.engines.engine import Engine
from serving.engines.onnx import OnnxEngine
from serving.engines.providers import missing_from_machine
from serving.engines.tensorrt import TensorRtEngine
from serving.targets import ALL_PRECISIONS
from tests.gpu.test_same_as_cpu import ON_CPU
from tests.serving.tensorrt import models
from tests.serving.tensorrt.emulate import in_float32
from tests.serving.tensorrt.test_plan import source

TOLERANCE = {**SCORE_TOLERANCE, "int8": 0.1}
TENSORRT = "; ".join(
    [*gpu.missing_requirements(), *cuda.missing_requirements()]
    + ([] if importlib.util.find_spec("tensorrt") is not None else ["package tensorrt is not installed"])
)
"""What this machine lacks for TensorRT."""
REQUESTS = {"item_ids": np.random.default_rng(0).integers(0, models.ITEMS, (32, 20)).astype(np.int32)}


def assert_same(engine: Engine, model: Path, precision: str) -> None:
    """For batches of 32 and of 1, the latter with one item."""
    reference = OnnxEngine(in_float32(model.read_bytes()))
    for rows, length in ((32, 20), (1, 1)):
        inputs = {name: values[:rows, :length] for name, values in REQUESTS.items()}
        assert answers_agree(reference(inputs), engine(inputs), tolerance=TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("provider", ["cuda", "tensorrt-rtx"])
def test_onnx_runtime(provider: str, precision: str, tmp_path: Path) -> None:
    reason = missing_from_machine(provider) or "; ".join(gpu.missing_requirements())
    if reason and not ON_CPU:
        pytest.skip(reason)
    model = source(precision, tmp_path)
    assert_same(OnnxEngine(model, provider="cpu" if ON_CPU else provider), model, precision)


@pytest.mark.skipif(bool(TENSORRT), reason=TENSORRT)
@pytest.mark.parametrize("precision", ALL_PRECISIONS)
def test_tensorrt(precision: str, tmp_path: Path) -> None:
    import tensorrt as trt

    model = source(precision, tmp_path)
    builder = PlanBuilder(trt, precision, Options())
    builder.read(model)
    builder.configure({"item_ids": ((1, 1), (32, 20), (64, 64))})
    engine = TensorRtEngine(builder.build(tmp_path / "timing.cache"))
    assert_same(engine, model, precision)
    with pytest.raises(ValueError, match="this engine takes"):
        engine({"item_ids": np.zeros((65, 1), np.int32)})
