"""Engines: something that takes the inputs of a signature as arrays and gives items and scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serving.export_folder import Arrays, ExportFolder
from serving.targets import Converted

BLOCK = 128
"""Requests that `in_blocks` asks at once."""
LEAST = 64
"""Histories up to this length are all alike to it."""


class Runner(Protocol):
    """Loaded and ready."""

    def __call__(self, inputs: Mapping[str, npt.NDArray]) -> Arrays:
        """items int32 [B, K] and scores float32 [B, K]."""


class SavedModelRunner:
    """TensorFlow. Also runs what TF-TRT wrote, where its operators exist."""

    def __init__(self, folder: Path, signature: str, threads: int = 0) -> None:
        import tensorflow as tf

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        self._tf, self._model = tf, tf.saved_model.load(str(folder))
        signatures = self._model.signatures
        self._function = signatures[signature if signature in signatures else "serving_default"]

    def __call__(self, inputs: Mapping[str, npt.NDArray]) -> Arrays:
        given = {name: self._tf.constant(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self._function(**given).items()}


class OnnxRunner:
    """ONNX Runtime, on the GPU where it has one."""

    def __init__(self, model: Path | bytes, threads: int = 0, profile: Path | None = None) -> None:
        """
        Args:
            profile: beginning of the name of a file that `end_profiling` writes: the time of every operator.
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
        """The file of the profile."""
        return Path(self._session.end_profiling())


def open_runner(made: Converted, threads: int = 0) -> Runner:
    """Load a converted model.

    Args:
        threads: how many it may use; 0 for all.

    Raises:
        ValueError: there is none, or this machine cannot run it (says why).
    """
    made.require()
    if made.variant.format == "onnx":
        return OnnxRunner(made.model, threads)
    if made.variant.format == "tensorrt":
        from serving.convert.tensorrt import TensorRtRunner

        return TensorRtRunner(made.model)
    return SavedModelRunner(made.model, made.variant.signature, threads)


def reference_runner(export: ExportFolder, signature: str) -> Runner:
    """The exported model itself, in TensorFlow."""
    return SavedModelRunner(export.saved_model, signature)


def _alike(lengths: npt.NDArray[np.int64], block: int) -> list[tuple[int, int]]:
    """Cut ascending lengths into blocks of at most `block`, the longest at most twice the shortest (or LEAST)."""
    cuts, start = [], 0
    while start < len(lengths):
        longest = max(2 * int(lengths[start]), LEAST)
        end = min(start + block, int(np.searchsorted(lengths, longest, side="right")))
        cuts.append((start, end))
        start = end
    return cuts


def in_blocks(runner: Runner, inputs: Mapping[str, npt.NDArray], padding: int, block: int = BLOCK) -> Arrays:
    """Answers to many requests, of like length together, so that little of what is computed is padding."""
    lengths = (inputs["item_ids"] != padding).sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    parts = []
    for start, end in _alike(lengths[order], block):
        rows = order[start:end]
        some = {name: values[rows] for name, values in inputs.items()}
        some["item_ids"] = some["item_ids"][:, : max(int(lengths[rows].max()), 1)]
        parts.append(runner(some))
    back = np.argsort(order)
    return {name: np.concatenate([p[name] for p in parts])[back] for name in parts[0]}
