"""Providers: which one runs a model, that each is verified, and one line where one is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.rankings import answers_agree
from serving import targets
from serving.convert import verify
from serving.engines import gpu, providers
from serving.engines.engine import open_engine, reference_engine
from serving.engines.onnx import CUDA, OnnxEngine, cuda_missing_reason
from serving.engines.savedmodel import SavedModelEngine, compiled_signature, powers_of_two, stored_inputs
from serving.export_folder import SERVING, ExportFolder, open_export
from serving.recommend.command import open_model
from serving.targets import Artifact
from tests.serving import other_model

STORED = Path(__file__).parent.parent / "format_1" / "vae" / "export"
"""An export of an earlier version, without a compiled signature."""
NO_CUDA = pytest.mark.skipif(cuda_missing_reason() is None, reason="ONNX Runtime has its CUDA provider here")
HAS_GPU = not gpu.missing_requirements()
NEEDS_CUDA = pytest.mark.skipif(
    not HAS_GPU or cuda_missing_reason() is not None, reason="needs a GPU and onnxruntime-gpu"
)
NO_GPU = pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")


def copy_of(made: Artifact, folder: Path) -> Artifact:
    shutil.copytree(made.folder, folder / made.target.name)
    return targets.artifact(folder, made.target.name)


def test_the_compiled_signature_with_the_same_inputs() -> None:
    both = {"item_ids", "user_ids"}
    vae = {"recommend": {"item_ids"}, "serving": {"item_ids"}, "recommend_compiled": {"item_ids"}}
    ncf = {"recommend": {"user_ids"}, "serving": both, "recommend_compiled": {"user_ids"}, "serving_compiled": both}
    assert compiled_signature("serving", vae) == compiled_signature("recommend", vae) == "recommend_compiled"
    assert compiled_signature("serving", ncf) == "serving_compiled"
    assert compiled_signature("recommend", ncf) == "recommend_compiled"
    assert compiled_signature("serving", {"serving": {"item_ids"}}) is None
    assert compiled_signature("rank", vae) is None


@pytest.mark.parametrize(("first", "last", "expected"), [
    (1, 1, [1]), (1, 2, [1, 2]), (1, 64, [1, 2, 4, 8, 16, 32, 64]), (1, 65, [1, 2, 4, 8, 16, 32, 64, 128]),
    (16, 1, [16]), (16, 17, [16, 32]),
])  # fmt: skip
def test_powers_of_two(first: int, last: int, expected: list[int]) -> None:
    assert powers_of_two(first, last) == expected


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_an_export_has_compiled_signatures(model: str, vae: ExportFolder, ncf: ExportFolder) -> None:
    export = {"vae": vae, "ncf": ncf}[model]
    names = {"recommend_compiled"} if model == "vae" else {"recommend_compiled", "serving_compiled"}
    assert {name for name in export.content["signatures"] if name.endswith("_compiled")} == names
    assert {n: set(export.inputs(n)) for n in names} == {n: stored_inputs(export.saved_model)[n] for n in names}
    for name in names:
        requests, expected = export.golden(name)
        assert answers_agree(expected, reference_engine(export, name)(requests))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_xla_gives_the_answers_of_tensorflow(model: str, vae: ExportFolder, ncf: ExportFolder) -> None:
    export = {"vae": vae, "ncf": ncf}[model]
    engine = SavedModelEngine(export.saved_model, SERVING, provider="xla")
    assert engine.signature == {"vae": "recommend_compiled", "ncf": "serving_compiled"}[model]
    assert engine.warm_up(2, 17, export.n_items) == 2 * 2
    requests, expected = export.golden(SERVING)
    for rows in (slice(0, 1), slice(0, 33)):
        answers = engine({name: values[rows] for name, values in requests.items()})
        assert answers_agree({name: values[rows] for name, values in expected.items()}, answers)


def test_tf32_is_off_in_the_tensorflow_engine() -> None:
    tf.config.experimental.enable_tensor_float_32_execution(True)
    SavedModelEngine(STORED / "saved_model", SERVING)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_tf32_is_off_in_the_cuda_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the session is given, on a machine without CUDA: it is built for the CPU all the same."""
    import onnxruntime as ort

    given: dict[str, Any] = {}

    class Session:
        def __init__(self, model: bytes, options: Any, providers: Any) -> None:
            given["providers"] = providers

        def get_providers(self) -> list[str]:
            return [CUDA, "CPUExecutionProvider"]

        def get_outputs(self) -> list[Any]:
            return []

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", Session)
    OnnxEngine(b"", provider="cuda")
    assert given["providers"] == [(CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]
    OnnxEngine(b"")
    assert given["providers"] == ["CPUExecutionProvider"]


@pytest.mark.slow
def test_a_cuda_provider_that_does_not_start_is_one_line(
    artifacts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime runs on the CPU instead and raises nothing. Here, the CPU's build is said to have CUDA."""
    if HAS_GPU:
        pytest.skip("this machine has a GPU")
    import onnxruntime as ort

    available = ort.get_available_providers()
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, *available])
    with pytest.raises(ValueError, match=r"does not start: it needs an NVIDIA driver from 580 on") as caught:
        OnnxEngine(targets.artifact(artifacts["vae"], "onnx-fp32").model, provider="cuda")
    assert "\n" not in str(caught.value)


def test_a_gpu_with_an_older_driver_leaves_onnx_models_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime-gpu is there and its provider does not start: `convert` ended with an error and no model."""
    if HAS_GPU:
        pytest.skip("this machine has a GPU")
    import onnxruntime as ort

    built_in = ort.get_available_providers()
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, *built_in])
    monkeypatch.setattr(gpu, "missing_requirements", list)
    made = targets.artifact(tmp_path, "onnx-fp32")
    assert "does not start: it needs an NVIDIA driver from 580 on" in str(cuda_missing_reason())
    assert "cuda" not in providers.to_verify(made, "auto") and providers.choose(made) == "cpu"
    with pytest.raises(ValueError, match="--provider cuda: the CUDA provider of .* does not start"):
        providers.to_verify(made, "cuda")


@pytest.mark.slow
def test_verified_with_each_provider(
    vae: ExportFolder, artifacts: dict[str, Path], python: Any, tmp_path: Path
) -> None:
    made = copy_of(targets.artifact(artifacts["vae"], "savedmodel-fp32"), tmp_path)
    assert (made.verification_file(), made.verification_file("xla")) == ("verify.json", "verify-xla.json")
    made.require_verified(vae.identity)
    made.require_verified(vae.identity, "tensorflow")
    (made.folder / "verify-xla.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"was not verified; .* --model savedmodel-fp32 --provider xla"):
        made.require_verified(vae.identity, "xla")
    words = ("--export", vae.folder, "--models", tmp_path, "--model", "savedmodel-fp32", "--provider", "xla")
    done = python("serving", "verify", *words)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("savedmodel-fp32: verified; ") and second.startswith("savedmodel-fp32 (xla): verified; ")
    found = json.loads((made.folder / "verify-xla.json").read_text())
    assert (found["provider"], found["passed"]) == ("xla", True)
    made.require_verified(vae.identity, "xla")
    done = python("serving", "recommend", *words, "--user", str(vae.user_ids[0]), "-k", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"] == "model"


@pytest.mark.slow
def test_convert_verifies_with_the_provider_too(ncf_export: Path, python: Any, tmp_path: Path) -> None:
    words = ("--export", ncf_export, "--models", tmp_path, "--to", "savedmodel", "--provider", "xla", "--users", "40")
    done = python("serving", "convert", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "savedmodel-fp32: verified; " in done.stdout and "savedmodel-fp32 (xla): verified; " in done.stdout
    assert "--provider xla" in (tmp_path / "savedmodel-fp32" / "reproduce.sh").read_text()


@pytest.mark.slow
@NO_GPU
def test_auto_needs_a_gpu_and_a_verification(
    artifacts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy_of(targets.artifact(artifacts["vae"], "savedmodel-fp32"), tmp_path)
    record = made.folder / "verify.json"
    shutil.copy2(record, made.folder / "verify-xla.json")
    assert providers.choose(made) == "tensorflow", "no GPU"
    monkeypatch.setattr(gpu, "missing_requirements", list)
    assert providers.available(made) == ("tensorflow", "xla")
    assert providers.choose(made) == "xla"
    failed = json.loads(record.read_text()) | {"passed": False}
    (made.folder / "verify-xla.json").write_text(json.dumps(failed))
    assert providers.choose(made) == "tensorflow", "it failed"
    (made.folder / "verify-xla.json").unlink()
    assert providers.choose(made) == "tensorflow", "it was not verified"
    assert providers.to_verify(made, "auto") == ("tensorflow", "xla")
    onnx = targets.artifact(artifacts["vae"], "onnx-fp32")
    if cuda_missing_reason() is not None:
        assert providers.choose(onnx) == "cpu"
    shutil.rmtree(made.model)
    shutil.copytree(STORED / "saved_model", made.model)
    assert providers.available(made) == ("tensorflow",), "an earlier version has no compiled signature"


def test_an_earlier_export_has_no_compiled_signature(tmp_path: Path) -> None:
    export = open_export(STORED)
    requests, expected = export.golden(SERVING)
    assert answers_agree(expected, reference_engine(export, SERVING)(requests))
    with pytest.raises(ValueError, match="has no signature that XLA compiles .* train again, or take"):
        reference_engine(export, SERVING, "xla")
    made = targets.artifact(tmp_path, "savedmodel-fp32")
    shutil.copytree(STORED / "saved_model", made.model)
    assert answers_agree(expected, open_engine(made)(requests))
    with pytest.raises(ValueError, match=r"--provider xla: .* has no signature that XLA compiles"):
        open_engine(made, provider="xla")


def test_the_exported_model_with_a_provider_of_onnx() -> None:
    with pytest.raises(ValueError, match="--provider is cuda, savedmodel has: auto, tensorflow, xla"):
        open_model(open_export(STORED), None, None, "cuda")


@pytest.mark.slow
@NO_CUDA
@pytest.mark.parametrize("action", ["verify", "recommend", "infer", "convert"])
def test_cuda_that_is_missing_is_one_line(
    action: str, vae_export: Path, artifacts: dict[str, Path], python: Any, tmp_path: Path
) -> None:
    export = other_model.copy(vae_export, artifacts["vae"], tmp_path)
    words = {
        "verify": ("--model", "onnx-fp32"),
        "recommend": ("--model", "onnx-fp32"),
        "infer": ("--format", "onnx"),
        "convert": (),
    }[action]
    done = python("serving", action, "--export", export, *words, "--provider", "cuda")
    assert done.returncode == (1 if action == "infer" else 2), done.stdout + done.stderr
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert "is installed without CUDA; install the one for GPUs: pip uninstall -y onnxruntime; pip install" in line
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in (tmp_path / "converted").iterdir()) == ["onnx-fp32"]


@pytest.mark.parametrize(("provider", "format_name"), [("xla", "onnx"), ("cuda", "savedmodel"), ("cpu", "tf-trt")])
def test_a_provider_of_another_format_is_one_line(provider: str, format_name: str, python: Any, tmp_path: Path) -> None:
    done = python(
        "serving", "convert", "--export", STORED, "--to", format_name, "--models", tmp_path, "--provider", provider
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --provider is {provider}, {format_name} has: auto, ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@NEEDS_CUDA
def test_cuda_gives_the_answers(vae: ExportFolder, artifacts: dict[str, Path], tmp_path: Path) -> None:
    made = copy_of(targets.artifact(artifacts["vae"], "onnx-fp32"), tmp_path)
    result = verify.verify_and_record(vae, made, users=1000, provider="cuda")
    assert result["passed"], result["why"]
    requests, expected = vae.golden(SERVING)
    answers = open_engine(made, provider="cuda")(requests)
    assert answers["items"].dtype == np.int32 and answers_agree(expected, answers)
