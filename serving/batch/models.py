"""The model that answers a batch: a converted one, or the exported SavedModel; what is fastest on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving import targets
from serving.engines import gpu, providers
from serving.engines.engine import Engine, open_engine, reference_engine
from serving.engines.savedmodel import compiled_signature
from serving.export_folder import SERVING, ExportFolder

ONNX = "onnx-fp32"
RECOMMEND = "recommend"
EXPORTED = "exported"
"""Name of the exported SavedModel as a choice."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """A model and what computes it."""

    name: str
    """As onnx-fp32, or EXPORTED."""
    provider: str
    models: Path | None
    """Folder of converted models; None for the one beside the export."""


def choose_model(export: ExportFolder, name: str | None, provider: str, models: Path | None) -> ModelChoice:
    """The named model; without a name the compiled one on a GPU, else onnx-fp32 if it was verified, else the exported.

    Raises:
        ValueError: the name is unknown, the model is missing or was not verified, or the provider is missing.
    """
    folder = models or targets.default_folder(export.folder)
    if name is not None:
        made = targets.artifact(folder, name)
        made.require_model()
        chosen = providers.choose(made, provider)
        made.require_verified(export.identity, chosen)
        return ModelChoice(name=name, provider=chosen, models=models)
    on_gpu = not gpu.missing_requirements()
    signatures = {n: set(about["inputs"]) for n, about in export.content["signatures"].items()}
    if (
        provider in (providers.AUTO, "xla")
        and (on_gpu or provider == "xla")
        and compiled_signature(SERVING, signatures)
    ):
        return ModelChoice(name=EXPORTED, provider="xla", models=models)
    made = targets.artifact(folder, ONNX)
    if provider in (providers.AUTO, "cpu", "cuda") and made.model.exists():
        chosen = providers.choose(made, provider)
        if made.unusable_reason(export.identity, chosen) is None:
            return ModelChoice(name=ONNX, provider=chosen, models=models)
    providers.check_name(targets.parse_target("savedmodel-fp32"), provider)
    return ModelChoice(name=EXPORTED, provider="tensorflow" if provider == providers.AUTO else provider, models=models)


@dataclass(frozen=True, kw_only=True)
class ScoringEngine:
    """A loaded model with its limits."""

    run: Engine
    history_limit: int | None
    batch_limit: int | None


def open_scoring_engine(export: ExportFolder, choice: ModelChoice, threads: int) -> ScoringEngine:
    """Load a model.

    Args:
        threads: 0 for one per core.
    """
    if choice.name != EXPORTED:
        made = targets.artifact(choice.models or targets.default_folder(export.folder), choice.name)
        longest = made.history_limit(export.history_limit(made.target.signature))
        run = open_engine(made, threads, choice.provider)
        return ScoringEngine(run=run, history_limit=longest, batch_limit=made.limits.batch)
    # The sparse kernels of `recommend` are TensorFlow's fastest; NCF's has other inputs than `serving`.
    same = export.inputs(RECOMMEND).keys() == export.inputs(SERVING).keys()
    signature = RECOMMEND if same and choice.provider == "tensorflow" else SERVING
    run = reference_engine(export, signature, choice.provider)
    return ScoringEngine(run=run, history_limit=None, batch_limit=None)
