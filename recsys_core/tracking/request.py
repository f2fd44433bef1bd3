"""The value of --track: read and checked before TensorFlow starts."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

INSTALL = "pip install mlflow-skinny"


@dataclass(frozen=True, kw_only=True)
class TrackRequest:
    """Where a run is tracked."""

    uri: str
    """Of the tracking server; "" for the one that MLFLOW_TRACKING_URI names."""


def parse_track(text: str) -> TrackRequest | None:
    """Read "mlflow" or "mlflow:URI"; None for "".

    Raises:
        ValueError: another value.
    """
    if not text:
        return None
    name, _, uri = text.partition(":")
    if name != "mlflow" or (":" in text and not uri):
        raise ValueError(f"--track is {text!r}, expected mlflow, or mlflow:URI such as mlflow:http://localhost:5000")
    return TrackRequest(uri=uri)


def check_track(text: str) -> None:
    """Refuse a value that cannot be used.

    Raises:
        ValueError: another value than `parse_track` reads, or the package is missing; names the command to install it.
    """
    if parse_track(text) is not None and importlib.util.find_spec("mlflow") is None:
        raise ValueError(f"--track {text} needs MLflow's client; install it with: {INSTALL}")
