"""The interface of an engine, and the functions that open one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy.typing as npt

from serving.engines import providers
from serving.engines.onnx import OnnxEngine
from serving.engines.outputs import RANKED
from serving.engines.savedmodel import SavedModelEngine, require_engines
from serving.engines.tensorrt import TensorRtEngine
from serving.export_folder import Arrays, ExportFolder
from serving.targets import Artifact


class Engine(Protocol):
    """A loaded model."""

    @property
    def outputs(self) -> frozenset[str]:
        """The names of its outputs: RANKED, and "all_scores" unless it was made before models had it."""

    def __call__(self, inputs: Mapping[str, npt.NDArray], outputs: Sequence[str] = RANKED) -> Arrays:
        """
        Args:
            inputs: arrays by the input names of the signature that the model was made from.
            outputs: names of those to compute; the others are not copied out of the model.

        Returns:
            Of items int32 [B, K], -1 where nothing is left, scores float32 [B, K], best first, and all_scores float32
            [B, I] by item, minus infinity for the items of item_ids, those that were asked for.
        """


def open_engine(artifact: Artifact, threads: int = 0, provider: str = providers.AUTO) -> Engine:
    """Load a converted model.

    Args:
        threads: number of threads; 0 for one per core. TensorRT ignores it.
        provider: see `providers`.

    Raises:
        ValueError: the model is missing, was built for another machine, or the provider is missing.
    """
    artifact.require_model()
    provider = providers.choose(artifact, provider)
    if artifact.target.format == "onnx":
        return OnnxEngine(artifact.model, threads, provider=provider)
    if artifact.target.format == "tensorrt":
        return TensorRtEngine(artifact.model, artifact.dla_core)
    if artifact.target.format == "tf-trt":
        require_engines()
    return SavedModelEngine(artifact.model, artifact.target.signature, threads, provider)


def reference_engine(export: ExportFolder, signature: str, provider: str = "tensorflow") -> Engine:
    """Load the exported model in TensorFlow.

    Raises:
        ValueError: the provider is "xla", and the export has no compiled signature.
    """
    return SavedModelEngine(export.saved_model, signature, provider=provider)
