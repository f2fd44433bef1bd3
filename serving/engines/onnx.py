"""The ONNX Runtime engine, on the CPU, by the CUDA provider or by TensorRT-RTX.

The two for GPUs have not been run: they need one. They follow ONNX Runtime's documentation.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from serving.engines import tensorrt_rtx
from serving.engines.outputs import RANKED, hide_seen
from serving.export_folder import Arrays

CUDA = "CUDAExecutionProvider"
CUDA_OPTIONS = {"use_tf32": "0"}
"""Scores are float32: without this option, ONNX Runtime multiplies in TF32, with 10 bits of precision."""
GPU_PACKAGE = "onnxruntime-gpu==1.31.1"
INSTALL = f"pip uninstall -y onnxruntime; pip install --force-reinstall --no-deps {GPU_PACKAGE}"
"""The packages onnxruntime and onnxruntime-gpu hold the same files: that for CPUs must go first."""
LIBRARIES = (
    "an NVIDIA driver from 580 on, and the packages nvidia-cublas, nvidia-cuda-runtime and nvidia-curand of CUDA 13"
)


def _missing_package() -> str | None:
    """Why ONNX Runtime was installed without CUDA, and what to install; None if it has it."""
    try:
        import onnxruntime as ort
    except ImportError:
        return f"ONNX Runtime is not installed; install it with: pip install {GPU_PACKAGE}"
    if CUDA in ort.get_available_providers():
        return None
    return f"onnxruntime {ort.__version__} is installed without CUDA; install the one for GPUs: {INSTALL}"


def cuda_missing_reason() -> str | None:
    """Why ONNX Runtime's CUDA provider cannot be used here, and what to install; None if it starts.

    It is started to find out: the package for GPUs can be there beside an older driver.
    """
    if (reason := _missing_package()) is not None:
        return reason
    import onnxruntime as ort
    from onnxruntime.datasets import get_example

    try:
        _cuda_session(get_example("mul_1.onnx"), ort.SessionOptions())
    except ValueError as error:
        return str(error)
    return None


def _cuda_session(model: str | bytes, options: Any) -> Any:
    """A session on the GPU.

    Raises:
        ValueError: the CUDA provider does not start.
    """
    import onnxruntime as ort

    options.log_severity_level = 4
    ort.set_default_logger_severity(4)  # that it does not start is said below, in one line
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls(cudnn=False)  # from the nvidia-* packages; the models have no operator of cuDNN
    session = ort.InferenceSession(model, options, providers=[(CUDA, CUDA_OPTIONS), "CPUExecutionProvider"])
    if CUDA not in session.get_providers():  # ONNX Runtime takes the CPU instead
        raise ValueError(f"the CUDA provider of onnxruntime-gpu {ort.__version__} does not start: it needs {LIBRARIES}")
    return session


class OnnxEngine:
    """Runs an ONNX model."""

    def __init__(
        self, model: Path | bytes, threads: int = 0, profile: Path | None = None, provider: str = "cpu"
    ) -> None:
        """
        Args:
            profile: prefix of the file with the time of every operator, which `end_profiling` writes.
            provider: "cpu", "cuda" or "tensorrt-rtx".

        Raises:
            ValueError: the provider is missing, or does not start.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        options.log_severity_level = 3
        source = model if isinstance(model, bytes) else str(model)
        if provider == "cuda":
            if (reason := _missing_package()) is not None:
                raise ValueError(reason)
            self._session = _cuda_session(source, options)
        elif provider == "tensorrt-rtx":
            tensorrt_rtx.add_to(options)
            self._session = ort.InferenceSession(source, options)
        else:
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self.outputs = frozenset(output.name for output in self._session.get_outputs())

    def __call__(self, inputs: Mapping[str, npt.NDArray], outputs: Sequence[str] = RANKED) -> Arrays:
        found = self._session.run(list(outputs), dict(inputs))
        return hide_seen(dict(zip(outputs, found, strict=True)), inputs)

    def end_profiling(self) -> Path:
        """Write the profile; returns its file."""
        return Path(self._session.end_profiling())
