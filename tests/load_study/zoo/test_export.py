"""What is written down answers as the model does: SavedModel, ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from load_study.zoo.configurations import CONFIGURATIONS
from load_study.zoo.export import export, export_onnx, specs
from tests.load_study.zoo.test_models import MIB, answers, small

NAMES = list(CONFIGURATIONS)
SLOW = pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW) if n == "dien" else n for n in NAMES])
def test_a_saved_model_answers_as_the_model(name: str, tmp_path: Path) -> None:
    model = small(name)
    export(model, tmp_path / "saved")
    serving = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    taken = {n: s.shape.as_list() for n, s in serving.structured_input_signature[1].items()}
    assert taken == {s.name: s.shape.as_list() for s in specs(model)}
    assert all(shape[0] is None for shape in taken.values())
    for batch in (1, 5):
        inputs = model.inputs(batch, np.random.default_rng(batch))
        found = serving(**{n: tf.constant(v) for n, v in inputs.items()})
        assert list(found) == ["scores"]
        np.testing.assert_allclose(found["scores"].numpy(), answers(model, inputs), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", [n if n == "ncf" else pytest.param(n, marks=SLOW) for n in NAMES])
def test_an_onnx_model_answers_as_the_model(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = small(name)
    export_onnx(model, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert {i.name for i in session.get_inputs()} == {s.name for s in specs(model)}
    assert [o.name for o in session.get_outputs()] == ["scores"]
    for batch in (1, 5):
        inputs = model.inputs(batch, np.random.default_rng(batch))
        np.testing.assert_allclose(session.run(["scores"], inputs)[0], answers(model, inputs), rtol=0, atol=1e-5)


def test_weights_may_lie_beside_the_onnx_file(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = small("ncf")
    export_onnx(model, tmp_path / "model.onnx", one_file=MIB)
    assert (tmp_path / "model.onnx").stat().st_size < 100_000
    assert (tmp_path / "model.onnx.data").stat().st_size > model.table_bytes > MIB
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    inputs = model.inputs(5, np.random.default_rng(0))
    np.testing.assert_allclose(session.run(["scores"], inputs)[0], answers(model, inputs), rtol=0, atol=1e-5)
