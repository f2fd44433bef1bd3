"""The provider of an engine: what computes.

ONNX models run on the CPU, by CUDA or by TensorRT-RTX, SavedModels by TensorFlow or XLA.
"""

from __future__ import annotations

from serving.engines import gpu, tensorrt_rtx
from serving.engines.onnx import cuda_missing_reason
from serving.engines.savedmodel import NOT_COMPILED, compiled_signature, stored_inputs
from serving.targets import PROVIDERS, Artifact, Target

AUTO = "auto"
CHOICES = (AUTO, *dict.fromkeys(name for names in PROVIDERS.values() for name in names if name != "tensorrt"))
HELP = (
    "what computes: cpu, cuda or tensorrt-rtx for ONNX models, tensorflow or xla for SavedModels (default: that of the "
    "GPU if there is one, this machine has it and the model was verified with it)"
)


def check_name(target: Target, asked: str) -> None:
    """Raise ValueError if a format has no such provider."""
    known = PROVIDERS[target.format]
    if asked not in (AUTO, *known):
        raise ValueError(f"--provider is {asked}, {target.format} has: {', '.join((AUTO, *known))}")


def missing_from_machine(provider: str) -> str | None:
    """Why this machine does not have a provider of ONNX models; None if it has it, or for other providers."""
    if provider == "cuda":
        return cuda_missing_reason()
    return tensorrt_rtx.missing_reason() if provider == "tensorrt-rtx" else None


def missing_reason(artifact: Artifact, provider: str) -> str | None:
    """Why this machine cannot run a model with a provider; None if it can."""
    if (reason := missing_from_machine(provider)) is not None:
        return reason
    if provider == "xla" and compiled_signature(artifact.target.signature, stored_inputs(artifact.model)) is None:
        return f"{artifact.model} {NOT_COMPILED}"
    return None


def available(artifact: Artifact) -> tuple[str, ...]:
    """The providers that are of use on this machine: the first of the format, and those for GPUs if it has a GPU."""
    first, *others = PROVIDERS[artifact.target.format]
    if not others or gpu.missing_requirements():
        return (first,)
    return (first, *(name for name in others if missing_reason(artifact, name) is None))


def to_verify(artifact: Artifact, asked: str) -> tuple[str, ...]:
    """The providers to verify a model with: all that are of use here, or the first and the one that was asked for.

    Raises:
        ValueError: the format or this machine does not have the provider.
    """
    check_name(artifact.target, asked)
    if asked == AUTO:
        return available(artifact)
    if (reason := missing_reason(artifact, asked)) is not None:
        raise ValueError(f"--provider {asked}: {reason}")
    return tuple(dict.fromkeys((PROVIDERS[artifact.target.format][0], asked)))


def choose(artifact: Artifact, asked: str = AUTO) -> str:
    """The provider to run a model with. `auto` is the last that is of use here and was verified, else the first.

    Raises:
        ValueError: the format or this machine does not have the provider.
    """
    if asked != AUTO:
        return to_verify(artifact, asked)[-1]
    first, *others = available(artifact)
    return next((name for name in reversed(others) if artifact.was_verified(name)), first)
