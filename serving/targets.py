"""Targets of a conversion (a format and a precision, as "onnx-fp16"), and the folder of a converted model.

DIR/onnx-fp16/    model.onnx (or saved_model/, model.plan), conversion.json, reproduce.sh, verify.json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.export_folder import NO_SCATTER, SERVING, digest

PRECISIONS = {
    "savedmodel": ("fp32",),
    "onnx": ("fp32", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16", "bf16", "int8"),
    "tf-trt": ("fp32", "fp16", "int8"),
}
"""Format -> the precisions that it supports."""
ALL_PRECISIONS = ("fp32", "fp16", "bf16", "int8")
MODEL_FILES = {"savedmodel": "saved_model", "onnx": "model.onnx", "tensorrt": "model.plan", "tf-trt": "saved_model"}
"""Format -> the file or folder that holds the model."""


PROVIDERS = {
    "savedmodel": ("tensorflow", "xla"),
    "onnx": ("cpu", "cuda", "tensorrt-rtx"),
    "tensorrt": ("tensorrt",),
    "tf-trt": ("tensorflow",),
}
"""Format -> what can compute it (`serving.engines.providers`): first what needs no GPU, if there is such."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A format and a precision."""

    format: str
    precision: str

    @property
    def name(self) -> str:
        return f"{self.format}-{self.precision}"

    @property
    def signature(self) -> str:
        """The signature of the export that this format is converted from."""
        return NO_SCATTER if self.format == "tf-trt" else SERVING

    @property
    def unsupported_reason(self) -> str | None:
        """Why the format does not support the precision; None if it does."""
        supported = PRECISIONS[self.format]
        if self.precision in supported:
            return None
        return f"{self.format} has {', '.join(supported)}, not {self.precision}"


def parse_target(name: str) -> Target:
    """Read a name such as "onnx-fp16".

    Raises:
        ValueError: the format or the precision is unknown.
    """
    format_name, _, precision = name.rpartition("-")
    if format_name not in PRECISIONS or precision not in ALL_PRECISIONS:
        known = f"formats: {', '.join(PRECISIONS)}; precisions: {', '.join(ALL_PRECISIONS)}"
        raise ValueError(f"unknown target {name!r}, expected FORMAT-PRECISION, as onnx-fp16 ({known})")
    return Target(format=format_name, precision=precision)


def parse_targets(formats: str, precisions: str) -> list[Target]:
    """All combinations of two comma-separated lists.

    Raises:
        ValueError: a name is unknown.
    """
    pairs = [(f.strip(), p.strip()) for f in formats.split(",") for p in precisions.split(",")]
    return list(dict.fromkeys(parse_target(f"{f}-{p}") for f, p in pairs))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Largest shapes that an engine takes; None where there is no limit."""

    batch: int | None = None
    """Requests in a batch."""
    history: int | None = None
    """Items in a history."""
    k: int | None = None
    """Items in an answer: the length of each answer."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A converted model on disk. Its folder need not exist yet."""

    folder: Path
    target: Target

    @property
    def model(self) -> Path:
        """The file or folder that an engine loads."""
        return self.folder / MODEL_FILES[self.target.format]

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The content of conversion.json or verify.json; None if the file is missing or damaged."""
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, json.JSONDecodeError):
            return None

    @property
    def limits(self) -> Limits:
        """From conversion.json. TensorRT engines of earlier versions have them among their options."""
        note = self.read_json("conversion.json") or {}
        options = note.get("options", {}) if self.target.format == "tensorrt" else {}
        earlier = {"batch": options.get("max_batch"), "history": options.get("max_history")}
        found = note.get("limits", earlier)
        return Limits(**{name: found.get(name) for name in ("batch", "history", "k")})

    @property
    def dla_core(self) -> int:
        """The DLA core that a TensorRT engine was built for; -1 for the GPU."""
        return int((self.read_json("conversion.json") or {}).get("options", {}).get("dla_core", -1))

    def largest_batch(self, wanted: int) -> int:
        """The largest batch that the model takes, at most `wanted`."""
        return min(wanted, self.limits.batch or wanted)

    def history_limit(self, of_export: int | None) -> int | None:
        """The longest history that the model takes.

        Args:
            of_export: limit of the signature that the model was made from.
        """
        return min((limit for limit in (self.limits.history, of_export) if limit is not None), default=None)

    @property
    def _command_arguments(self) -> str:
        """Arguments of commands that make or verify this model. The artifact does not know the path of its export."""
        run = self.folder.parent.parent
        if self.folder.parent == default_folder(run / "export") and (run / "export").is_dir():
            return f"--export {run}"
        return f"--export RUN --models {self.folder.parent}"

    @property
    def _missing_reason(self) -> str:
        return (
            f"{self.folder} holds no model; make it with: python -m serving convert {self._command_arguments} "
            f"--to {self.target.format} --precision {self.target.precision}"
        )

    def verification_file(self, provider: str | None = None) -> str:
        """verify.json; for a provider that is not the first of the format, verify-PROVIDER.json."""
        return "verify.json" if provider in (None, PROVIDERS[self.target.format][0]) else f"verify-{provider}.json"

    def was_verified(self, provider: str) -> bool:
        """Whether a model passed with this provider; `unusable_reason` says whether it is still the same model."""
        verified = self.read_json(self.verification_file(provider))
        return verified is not None and bool(verified["passed"])

    def require_model(self) -> None:
        """Raise ValueError unless the model exists."""
        if not self.model.exists():
            raise ValueError(self._missing_reason)

    def unusable_reason(self, identity: str, provider: str | None = None) -> str | None:
        """Why this model must not be used; None if it passed its verification and has not changed since.

        Args:
            identity: of the export that the model must be made from.
            provider: that will run it; None for the first of its format.
        """
        if not self.model.exists():
            return self._missing_reason
        verified = self.read_json(self.verification_file(provider))
        command = f"python -m serving verify {self._command_arguments} --model {self.target.name}"
        if self.verification_file(provider) != "verify.json":
            command += f" --provider {provider}"
        if verified is None:
            return f"{self.folder} was not verified; do it with: {command}"
        if not verified["passed"]:
            return f"{self.folder} failed its verification ({verified['why']}); it is not to be used"
        if verified["export"] != identity:
            return f"{self.folder} was made from another export; convert this one again"
        if verified["model_sha256"] != digest(self.model):
            return f"{self.model} is not what was verified; do it again with: {command}"
        return None

    def require_verified(self, identity: str, provider: str | None = None) -> None:
        """Raise ValueError with the `unusable_reason`, if there is one."""
        if (reason := self.unusable_reason(identity, provider)) is not None:
            raise ValueError(reason)


def default_folder(export: Path) -> Path:
    """The folder of the converted models of an export unless the user names another: `converted/` beside the export."""
    return export.absolute().parent / "converted"


def artifacts(folder: Path) -> list[Artifact]:
    """All converted models in a folder, by name."""
    names = [f"{f}-{p}" for f, precisions in PRECISIONS.items() for p in precisions]
    return [artifact(folder, name) for name in sorted(names) if (folder / name).is_dir()]


def artifact(folder: Path, name: str) -> Artifact:
    """The converted model with this name, such as "onnx-fp16", in a folder of converted models.

    Raises:
        ValueError: the name is unknown.
    """
    target = parse_target(name)
    return Artifact(folder=folder / target.name, target=target)
