"""Records of earlier versions in the current form: kinds and fields that have another name today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED_KINDS = {"inference": "serve", "inference-quality": "serve-quality"}
VAE_CF = "VAE-CF"
"""Name of the VAE-CF in records of the former `roofline`; its other models are shapes of NCF."""

PEERS_OF_EARLIER_VERSIONS = {
    "ours": "auto",
    "peer": "adam",
    "difference": "PyTorch's histories are dense, and ours may update only the rows looked up",
}
"""Of records that did not name it: both models had one row."""


def in_current_form(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same record with the kind and the field names of today."""
    if values["kind"] == "roofline":
        return _roofline_as_training(values)
    if values["kind"] == "peers":
        return {**PEERS_OF_EARLIER_VERSIONS, **values}
    if values["kind"] == "schedule":
        return {("target" if name == "asked" else name): value for name, value in values.items()}
    return {**values, "kind": RENAMED_KINDS.get(values["kind"], values["kind"])}


def _roofline_as_training(values: Mapping[str, Any]) -> dict[str, Any]:
    """A record of the former `roofline` as one of `train` (VAE-CF) or of `ncf`, which print the same figures today."""
    model = values["model"]
    kind, unit, shape = ("train", "users", {}) if model == VAE_CF else ("ncf", "samples", {"shape": model})
    names = {"examples_per_second": f"{unit}_per_second", "limit_per_second": f"limit_{unit}_per_second"}
    renamed = {names.get(name, name): value for name, value in values.items() if name not in ("kind", "model")}
    return {"kind": kind, **shape, **renamed}
