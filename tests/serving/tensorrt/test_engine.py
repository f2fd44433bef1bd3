"""The engine gives the model's answers on the recorded API of each version; what it cannot do is an error of a line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_core.rankings import answers_agree
from serving.convert import conversion, plan
from serving.convert.options import Options
from serving.convert.plan import PlanBuilder
from serving.engines import cuda, gpu
from serving.engines.engine import open_engine
from serving.engines.onnx import OnnxEngine
from serving.engines.tensorrt import TensorRtEngine
from serving.export_folder import open_export
from serving.targets import artifact
from tests.conftest import ROOT
from tests.serving.tensorrt import fake, models, strict

SHAPES = {"item_ids": ((1, 1), (2, 3), (8, 6))}
REQUESTS = {"item_ids": np.array([[1, 2, 300], [7, 300, 300]], np.int64)}
BOTH = ("items", "scores")


class Machine:
    """A machine with a GPU and a TensorRT version, both fake."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpu, self._patch = fake.cuda(), monkeypatch
        monkeypatch.setattr(gpu, "missing_requirements", list)
        monkeypatch.setattr(cuda, "missing_requirements", list)
        monkeypatch.setattr(cuda, "load", lambda: self.gpu)
        plan.make_logger.cache_clear()

    def install(self, version: str) -> Any:
        trt = fake.tensorrt(version, self.gpu)
        self._patch.setitem(sys.modules, "tensorrt", trt)
        return trt

    def plan(self, version: str, folder: Path) -> bytes:
        builder = PlanBuilder(self.install(version), "fp32", Options())
        builder.read(models.write(folder / "model.onnx"))
        builder.configure(SHAPES)
        return builder.build(folder / "timing.cache")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize("version", strict.VERSIONS)
def test_the_answers_of_the_model(version: str, machine: Machine, tmp_path: Path) -> None:
    engine = TensorRtEngine(machine.plan(version, tmp_path))
    reference = OnnxEngine(tmp_path / "model.onnx")
    narrow = {name: values.astype(np.int32) for name, values in REQUESTS.items()}
    assert engine.outputs == {"items", "scores", "all_scores"}
    for wanted in (BOTH, ("all_scores",), (*BOTH, "all_scores")):
        answers, expected = engine(REQUESTS, wanted), reference(narrow, wanted)
        assert set(answers) == set(wanted)
        for name in wanted:
            np.testing.assert_array_equal(answers[name], expected[name])
            assert answers[name].dtype == expected[name].dtype
    held = set(machine.gpu.live)
    engine({"item_ids": REQUESTS["item_ids"][:1, :1]})
    assert set(machine.gpu.live) == held, "a smaller request allocates nothing"
    many = {"item_ids": np.arange(48).reshape(8, 6)}
    assert engine(many)["items"].shape == (8, models.TOP_K)
    engine._memory.close()
    assert not machine.gpu.live


def test_a_request_outside_of_the_profile_is_one_line(machine: Machine, tmp_path: Path) -> None:
    engine = TensorRtEngine(machine.plan("10.12", tmp_path))
    for shape in ((9, 2), (1, 7)):
        with pytest.raises(ValueError, match=r"item_ids has the shape .*, this engine takes \(1, 1\) to \(8, 6\)"):
            engine({"item_ids": np.zeros(shape, np.int32)})
    assert engine(REQUESTS)["items"].shape == (2, models.TOP_K), "the next request is answered"


def test_a_plan_of_another_version_is_one_line(machine: Machine, tmp_path: Path) -> None:
    content = machine.plan("11.0", tmp_path)
    machine.install("11.4")
    with pytest.raises(ValueError, match="for another GPU, or by another TensorRT than 11.4.0.106: convert again"):
        TensorRtEngine(content)


def test_an_error_of_cuda_is_said(machine: Machine, tmp_path: Path) -> None:
    engine = TensorRtEngine(machine.plan("11.4", tmp_path))
    machine.gpu.cudaMemcpyAsync = lambda *arguments: (1,)
    with pytest.raises(RuntimeError, match="CUDA: invalid argument"):
        engine(REQUESTS)


def test_what_the_machine_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "missing_requirements", lambda: ["no NVIDIA GPU: none"])
    monkeypatch.setattr(cuda, "missing_requirements", lambda: [cuda.MISSING])
    with pytest.raises(ValueError, match=r"cannot run here: package cuda-python .*; no NVIDIA GPU: none"):
        TensorRtEngine(b"")


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (("cuda.bindings.runtime", "cuda.cudart"), "cuda.bindings.runtime"),
        (("cuda.bindings.runtime",), "cuda.bindings.runtime"),  # cuda-python 13
        (("cuda.cudart",), "cuda.cudart"),
        ((), None),
    ],
)
def test_the_bindings_of_the_cuda_runtime(
    installed: tuple[str, ...], expected: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in installed:
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    for name in [m for m in sys.modules if m.split(".")[0] == "cuda"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(p for p in sys.path if not (Path(p) / "cuda").is_dir())])
    if expected is None:
        assert cuda.missing_requirements() == [cuda.MISSING]
        with pytest.raises(ValueError, match="package cuda-python is not installed"):
            cuda.load()
    else:
        assert cuda.missing_requirements() == []
        assert cuda.load().__name__ == expected
    for name in [m for m in sys.modules if m.split(".")[0] == "cuda"]:
        del sys.modules[name]


@pytest.mark.slow
def test_convert_and_verify(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole conversion of a stored export, with an engine that takes short histories and small batches only."""
    machine.install("11.4")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: n if n == "tensorrt" else found(n, *a))
    export = open_export(ROOT / "tests" / "format_1" / "vae")
    made = artifact(tmp_path, "tensorrt-int8")
    lengths = (export.golden("serving")[0]["item_ids"] != export.n_items).sum(axis=1)
    longest = int(np.sort(lengths)[len(lengths) // 2])
    options = Options(max_batch=4, optimal_batch=2, max_history=longest, optimal_history=1)
    note = conversion.convert_in_this_process(export, made, options, 1000)
    assert (note["status"], note["why"]) == ("OK", None)
    assert note["limits"] == {"batch": 4, "history": longest, "k": export.top_k}
    assert note["strongly_typed"] and note["tensorrt"] == "11.4.0.106"
    assert made.largest_batch(128) == 4 and made.history_limit(924) == longest and made.history_limit(None) == longest
    made.require_verified(export.identity)
    verified = made.read_json("verify.json")
    assert verified is not None and verified["golden"]["rows"] == int((lengths <= longest).sum()) < len(lengths)
    requests, expected = export.golden("serving")
    rows = np.flatnonzero(lengths <= longest)[:4]
    answers = open_engine(made)({"item_ids": requests["item_ids"][rows, :longest]})
    assert answers_agree({n: v[rows] for n, v in expected.items()}, answers, tolerance=0.1)
