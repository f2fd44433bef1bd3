"""What a model can be converted to: a format and a precision, as "onnx-fp16"; its folder and what is known about it.

DIR/onnx-fp16/    model.onnx (or saved_model/, model.plan), conversion.json, reproduce.sh, verify.json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.export_folder import POOL, SERVING, digest

PRECISIONS = {
    "savedmodel": ("fp32",),
    "onnx": ("fp32", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16", "bf16", "int8"),
    "tf-trt": ("fp32", "fp16", "int8"),
}
EVERY_PRECISION = ("fp32", "fp16", "bf16", "int8")
FILES = {"savedmodel": "saved_model", "onnx": "model.onnx", "tensorrt": "model.plan", "tf-trt": "saved_model"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One format in one precision."""

    format: str
    precision: str

    @property
    def name(self) -> str:
        return f"{self.format}-{self.precision}"

    @property
    def signature(self) -> str:
        """The signature of the export that this format is made from."""
        return POOL if self.format == "tf-trt" else SERVING

    @property
    def why_not(self) -> str | None:
        """Why there is no such thing, or None."""
        possible = PRECISIONS[self.format]
        if self.precision in possible:
            return None
        return f"{self.format} has {', '.join(possible)}, not {self.precision}"


def parse(name: str) -> Variant:
    """Read "onnx-fp16".

    Raises:
        ValueError: unknown format or precision.
    """
    form, _, precision = name.rpartition("-")
    if form not in PRECISIONS or precision not in EVERY_PRECISION:
        raise ValueError(f"unknown variant {name!r}, expected FORMAT-PRECISION, as onnx-fp16 ({known()})")
    return Variant(format=form, precision=precision)


def known() -> str:
    return f"formats: {', '.join(PRECISIONS)}; precisions: {', '.join(EVERY_PRECISION)}"


def every(formats: str, precisions: str) -> list[Variant]:
    """All combinations of two comma-separated lists.

    Raises:
        ValueError: an unknown name.
    """
    pairs = [(f.strip(), p.strip()) for f in formats.split(",") for p in precisions.split(",")]
    return list(dict.fromkeys(parse(f"{f}-{p}") for f, p in pairs))


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A variant's folder on disk."""

    folder: Path
    variant: Variant

    @property
    def model(self) -> Path:
        """The file or folder that an engine loads."""
        return self.folder / FILES[self.variant.format]

    def note(self, name: str) -> dict[str, Any] | None:
        """conversion.json or verify.json, None where there is none or it cannot be read."""
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, json.JSONDecodeError):
            return None

    @property
    def _where(self) -> str:
        """Arguments of commands on it; which export it is of is for the user to say."""
        return f"--export RUN_DIR/export --models {self.folder.parent}"

    def require(self) -> None:
        """Raise ValueError unless there is a model."""
        if not self.model.exists():
            raise ValueError(
                f"{self.folder} holds no model; make it with: python -m serving convert {self._where} "
                f"--to {self.variant.format} --precision {self.variant.precision}"
            )

    def require_verified(self, identity: str) -> None:
        """Raise ValueError unless this very model was verified, against the export of this identity, and passed."""
        self.require()
        verified = self.note("verify.json")
        again = f"python -m serving verify {self._where} --model {self.variant.name}"
        if verified is None:
            raise ValueError(f"{self.folder} was not verified; do it with: {again}")
        if not verified["passed"]:
            raise ValueError(f"{self.folder} failed its verification ({verified['why']}); it is not to be used")
        if verified["export"] != identity:
            raise ValueError(f"{self.folder} was made from another export; convert this one again")
        if verified["model_sha256"] != digest(self.model):
            raise ValueError(f"{self.model} is not what was verified; do it again with: {again}")


def default_folder(export: Path) -> Path:
    """Where conversions of an export lie unless the user says otherwise: beside it."""
    return export.absolute().parent / "converted"


def converted(folder: Path, name: str) -> Converted:
    """The folder of a variant by its name."""
    variant = parse(name)
    return Converted(folder=folder / variant.name, variant=variant)
