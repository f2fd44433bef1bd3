"""TF-TRT: engines for every shape up to the limits, and a verification that fails where no engine runs."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest

from serving.convert import tf_trt, verify
from serving.convert.options import Options
from serving.engines import gpu
from serving.engines.savedmodel import SavedModelEngine, require_engines
from serving.export_folder import open_export
from serving.targets import Target, artifact
from tests.conftest import ROOT
from tests.serving.tensorrt.models import ITEMS, Export

TARGET = Target(format="tf-trt", precision="fp16")
STORED = ROOT / "tests" / "format_1" / "vae" / "export"
FORBID = "TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION"


def test_the_profiles_go_from_one_to_the_largest() -> None:
    export: Any = Export()
    assert tf_trt.profile_shapes(export, Options()) == [(1, 1), (32, 128), (1024, 400)], "the signature takes 400 items"
    assert tf_trt.profile_shapes(export, Options(max_batch=64, max_history=50))[1:] == [(32, 50), (64, 50)]
    inputs = [given["item_ids"] for given in tf_trt.profile_inputs(export, Options())]
    assert [i.shape for i in inputs] == [(1, 1), (32, 128), (1024, 400)]
    assert all(i.dtype == np.int32 and (i[:, 0] < ITEMS).all() and (i[:, 1:] == ITEMS).all() for i in inputs)
    batches = list(tf_trt.calibration_inputs(export, Options()))
    assert len(batches) == 2 and {b["item_ids"].shape for b in batches} == {(32, 5)}


def test_the_version_is_asked_of_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as trt

    monkeypatch.setattr(gpu, "missing_requirements", list)
    if not trt.is_tensorrt_enabled():
        (line,) = tf_trt.missing_requirements(TARGET)
        assert "is built without TensorRT (pip install 'tensorflow[and-cuda]==2.17.1')" in line
    monkeypatch.setattr(trt, "is_tensorrt_enabled", lambda: True)
    monkeypatch.setattr(trt, "get_linked_tensorrt_version", lambda: (10, 8, 0))
    asked: list[str] = []

    def load(name: str) -> None:
        asked.append(name)
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    (line,) = tf_trt.missing_requirements(TARGET)
    assert line.startswith("TensorFlow was built with TensorRT 10.8.0, and libnvinfer.so.10 is not found")
    assert asked == ["libnvinfer.so.10", "libnvinfer.so.10.8.0"]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    assert tf_trt.missing_requirements(TARGET) == []


def test_a_model_without_engines_fails_its_verification(tmp_path: Path) -> None:
    engine = SavedModelEngine(STORED / "saved_model", "serving_no_scatter")
    assert engine.count("TRTEngineOp") == 0 and engine.count("TopKV2") == 2, "those of called functions count"
    reason = verify.missing_engines_reason(artifact(tmp_path, "tf-trt-fp16"), engine)
    assert reason == "no part of it is a TensorRT engine: TensorFlow computes all of it"
    assert verify.missing_engines_reason(artifact(tmp_path, "savedmodel-fp32"), engine) is None


def test_a_request_that_no_engine_takes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow reads this variable at each request; TF-TRT's own tests set it in the same way."""
    monkeypatch.delenv(FORBID, raising=False)
    require_engines()
    assert os.environ[FORBID] == "False"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_converter_is_called_as_tensorflow_wants_it(
    precision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the signatures of TensorFlow's own class, which refuses to be made without TensorRT."""
    import tensorflow as tf
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as trt
    from tensorflow.python.compiler.tensorrt.trt_convert import TrtGraphConverterV2

    made = create_autospec(TrtGraphConverterV2)
    monkeypatch.setattr(tf.experimental.tensorrt, "Converter", made)
    monkeypatch.setattr(trt, "get_loaded_tensorrt_version", lambda: (8, 6, 1))
    export = open_export(STORED)
    target, options = Target(format="tf-trt", precision=precision), Options(max_batch=8, optimal_batch=2)
    note = tf_trt.convert(export, target, tmp_path / "model", options)
    given = made.call_args.kwargs
    assert given["allow_build_at_runtime"] is False and given["use_dynamic_shape"] is True
    assert given["precision_mode"] == precision.upper() and given["use_calibration"] is (precision == "int8")
    assert given["input_saved_model_signature_key"] == export.stored_signature("serving_no_scatter")
    assert bool(made.return_value.convert.call_args.kwargs) is (precision == "int8")
    shapes = [i["item_ids"].shape for i in made.return_value.build.call_args.kwargs["input_fn"]()]
    longest = min(512, export.history_limit("serving_no_scatter") or 512)
    assert shapes == [(1, 1), (2, min(128, longest)), (8, longest)]
    made.return_value.save.assert_called_once_with(str(tmp_path / "model"), save_gpu_specific_engines=True)
    assert (note["tensorrt"], note["limits"]) == ("8.6.1", {"batch": 8, "history": longest})
