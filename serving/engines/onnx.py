"""The ONNX Runtime engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy.typing as npt

from serving.export_folder import Arrays


class OnnxEngine:
    """Runs an ONNX model, on the GPU if ONNX Runtime supports it, else on the CPU."""

    def __init__(self, model: Path | bytes, threads: int = 0, profile: Path | None = None) -> None:
        """
        Args:
            profile: prefix of the file with the time of every operator, which `end_profiling` writes.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        options.log_severity_level = 3
        providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in ort.get_available_providers()]
        self._session = ort.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=providers
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, npt.NDArray]) -> Arrays:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))

    def end_profiling(self) -> Path:
        """Write the profile; returns its file."""
        return Path(self._session.end_profiling())
