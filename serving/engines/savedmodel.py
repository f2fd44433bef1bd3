"""The TensorFlow engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy.typing as npt

from serving.export_folder import Arrays, stored_signature


class SavedModelEngine:
    """Runs a signature of a SavedModel in TensorFlow; also of a TF-TRT model, if TensorFlow has TensorRT."""

    def __init__(self, folder: Path, signature: str, threads: int = 0) -> None:
        import tensorflow as tf

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        self._tf, self._model = tf, tf.saved_model.load(str(folder))
        signatures = self._model.signatures
        stored = stored_signature(signature, signatures.keys())
        self._function = signatures[stored if stored in signatures else "serving_default"]

    def __call__(self, inputs: Mapping[str, npt.NDArray]) -> Arrays:
        tensors = {name: self._tf.constant(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self._function(**tensors).items()}
