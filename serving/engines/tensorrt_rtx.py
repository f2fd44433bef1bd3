"""TensorRT-RTX as a provider of ONNX models: NVIDIA's plugin for ONNX Runtime, for workstation cards.

It was not run: it takes GPUs of capability 8.6, 8.9, and 12.0 or newer (not H100 or A100), and there was none.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from serving.engines import gpu

NAME = "NvTensorRTRTXExecutionProvider"
MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
PACKAGE = "onnxruntime-ep-nv-tensorrt-rtx-cu12==0.5.0"
CARDS = "GPUs of capability 8.6, 8.9, and 12.0 or newer"
NO_FALLBACK = ("session.disable_cpu_ep_fallback", "1")
"""A part of the model that TensorRT-RTX refuses would be computed on the CPU, and nothing would say so."""


def _register() -> None:
    """Load the plugin into ONNX Runtime, and the CUDA runtime that comes with it, for which it does not look itself."""
    import onnxruntime as ort

    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # scores are float32; the plugin has no option for it
    plugin = importlib.import_module(MODULE)
    library = plugin.get_library_path()
    for runtime in Path(library).parent.glob("libcudart.so.*"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
    ort.register_execution_provider_library(NAME, library)


@functools.lru_cache(maxsize=1)
def _devices() -> tuple[str | None, list[Any]]:
    """Why there is no device (None if there is one), and the devices. The plugin can be registered once a process."""
    if importlib.util.find_spec(MODULE) is None:
        return f"TensorRT-RTX is not installed; install it with: pip install {PACKAGE}", []
    if lacking := gpu.missing_requirements():
        return f"TensorRT-RTX takes {CARDS}: {'; '.join(lacking)}", []
    import onnxruntime as ort

    if not hasattr(ort, "register_execution_provider_library"):
        return f"onnxruntime {ort.__version__} takes no plugins, TensorRT-RTX is one: install 1.23 or later", []
    try:
        _register()
    except Exception as error:  # ONNX Runtime has exception types of its own
        return f"ONNX Runtime cannot load TensorRT-RTX: {' '.join(str(error).split())}", []
    found = [device for device in ort.get_ep_devices() if device.ep_name == NAME]
    return (None if found else f"TensorRT-RTX takes {CARDS}, and this machine's is none of these"), found


def missing_reason() -> str | None:
    """Why this machine has no TensorRT-RTX; None if it has."""
    return _devices()[0]


def add_to(options: Any) -> None:
    """Add the provider to ONNX Runtime's options of a session, for the first card.

    Raises:
        ValueError: this machine has none; one line.
    """
    reason, devices = _devices()
    if reason is not None:
        raise ValueError(reason)
    options.add_session_config_entry(*NO_FALLBACK)
    options.add_provider_for_devices(devices[:1], {})
