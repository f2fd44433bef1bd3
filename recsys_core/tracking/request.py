"""The values of --track and its companions: read and checked before TensorFlow starts."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

INSTALL = "pip install mlflow-skinny"
NOT_IN_NAMES = "/:%"
"""Characters that MLflow does not take in the name of a registered model."""


@dataclass(frozen=True, kw_only=True)
class TrackRequest:
    """Where a run is tracked."""

    uri: str
    """Of the tracking server; "" for the one that MLFLOW_TRACKING_URI names."""
    export: bool = False
    """Upload the export folder."""
    register: str = ""
    """Upload the export folder, and register it as a version of the model of this name; "" for none."""


def parse_track(text: str, *, export: bool = False, register: str = "") -> TrackRequest | None:
    """Read "mlflow" or "mlflow:URI"; None for "".

    Raises:
        ValueError: another value, or a name that MLflow takes for no model.
    """
    if not text:
        if export or register:
            flag = "--track-register" if register else "--track-export"
            raise ValueError(f"{flag} needs --track: to which server? as --track mlflow:http://localhost:5000")
        return None
    if register and (register != register.strip() or set(register) & set(NOT_IN_NAMES)):
        raise ValueError(f"--track-register is {register!r}, expected a name without {' '.join(NOT_IN_NAMES)}")
    name, _, uri = text.partition(":")
    if name != "mlflow" or (":" in text and not uri):
        raise ValueError(f"--track is {text!r}, expected mlflow, or mlflow:URI such as mlflow:http://localhost:5000")
    return TrackRequest(uri=uri, export=export, register=register)


def check_track(text: str, *, export: bool = False, register: str = "") -> None:
    """Refuse a value that cannot be used.

    Raises:
        ValueError: another value than `parse_track` reads, or the package is missing; names the command to install it.
    """
    if parse_track(text, export=export, register=register) is not None and importlib.util.find_spec("mlflow") is None:
        raise ValueError(f"--track {text} needs MLflow's client; install it with: {INSTALL}")
