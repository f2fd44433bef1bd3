"""TensorRT-RTX is registered as NVIDIA's plugin wants it, and refused in one line where the machine does not fit."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnxruntime as ort
import pytest

from serving.engines import gpu, providers, tensorrt_rtx
from serving.engines.onnx import OnnxEngine
from serving.targets import artifact


@pytest.fixture(autouse=True)
def _forget() -> Any:
    tensorrt_rtx._devices.cache_clear()
    yield
    tensorrt_rtx._devices.cache_clear()


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """A machine with a GPU and the plugin; gives what was registered."""
    registered: list[Any] = []
    module: Any = ModuleType(tensorrt_rtx.MODULE)
    module.get_library_path = lambda: str(tmp_path / "libplugin.so")
    monkeypatch.setitem(sys.modules, tensorrt_rtx.MODULE, module)
    monkeypatch.setattr(tensorrt_rtx.importlib.util, "find_spec", lambda name: module)
    monkeypatch.setattr(gpu, "missing_requirements", list)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda *words: registered.append(words))
    monkeypatch.setattr(ort, "get_ep_devices", list)
    return registered


@pytest.mark.skipif(tensorrt_rtx.importlib.util.find_spec(tensorrt_rtx.MODULE) is not None, reason="it is installed")
def test_a_missing_package_is_one_line(python: Any, tmp_path: Path) -> None:
    assert tensorrt_rtx.missing_reason() == (
        f"TensorRT-RTX is not installed; install it with: pip install {tensorrt_rtx.PACKAGE}"
    )
    with pytest.raises(ValueError, match="--provider tensorrt-rtx: TensorRT-RTX is not installed"):
        providers.to_verify(artifact(tmp_path, "onnx-fp32"), "tensorrt-rtx")
    with pytest.raises(ValueError, match="TensorRT-RTX is not installed"):
        OnnxEngine(b"", provider="tensorrt-rtx")


def test_a_machine_without_a_gpu_is_one_line(plugin: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "missing_requirements", lambda: ["no NVIDIA GPU: none"])
    reason = tensorrt_rtx.missing_reason()
    assert reason == "TensorRT-RTX takes GPUs of capability 8.6, 8.9, and 12.0 or newer: no NVIDIA GPU: none"
    assert not plugin


def test_another_card_is_one_line(plugin: list[Any], tmp_path: Path) -> None:
    reason = tensorrt_rtx.missing_reason()
    assert reason is not None and reason.endswith("12.0 or newer, and this machine's is none of these")
    assert plugin == [(tensorrt_rtx.NAME, str(tmp_path / "libplugin.so"))]
    tensorrt_rtx.missing_reason()
    assert len(plugin) == 1, "ONNX Runtime takes a library once a process"


def test_a_library_that_does_not_load_is_one_line(plugin: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: str) -> None:
        raise RuntimeError("Failed to load library:\nlibcuda.so.1: cannot open")

    monkeypatch.setattr(ort, "register_execution_provider_library", fail)
    assert tensorrt_rtx.missing_reason() == (
        "ONNX Runtime cannot load TensorRT-RTX: Failed to load library: libcuda.so.1: cannot open"
    )


def test_the_session_gets_the_first_card_and_no_fallback(plugin: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [SimpleNamespace(ep_name=n) for n in ("CPUExecutionProvider", tensorrt_rtx.NAME, tensorrt_rtx.NAME)]
    monkeypatch.setattr(ort, "get_ep_devices", lambda: cards)
    given: list[Any] = []
    options = SimpleNamespace(
        add_session_config_entry=lambda *words: given.append(words),
        add_provider_for_devices=lambda *words: given.append(words),
    )
    tensorrt_rtx.add_to(options)
    assert given == [("session.disable_cpu_ep_fallback", "1"), (cards[1:2], {})]
    assert {"add_session_config_entry", "add_provider_for_devices"} <= set(dir(ort.SessionOptions))
