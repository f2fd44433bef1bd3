"""`run.json` of a run folder: everything that a resumed, evaluated or served run needs to know of it.

Runs of format 1 have no `run.json`; their `config.yaml` and their checkpoints are read instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recsys_core.config import FINAL_FIT
from recsys_core.errors import UserError
from recsys_core.files import write_json

RUN_VERSION = 2
MANIFEST = "run.json"


@dataclass(frozen=True, kw_only=True)
class RunManifest:
    """What a run was started with."""

    family: str
    """The package of its model: vaecf or ncf_tf; "" where format 1 does not say."""
    config: Mapping[str, Any]
    """The configuration as plain values."""
    data: Path | None
    """The data set's folder; None for a data set in memory."""
    fingerprint: str | None
    """Of the data set as it was split; None where format 1 does not say."""
    view: str
    """See `dataset.Dataset.viewed`."""
    environment: Mapping[str, Any]
    """Versions, hardware and ranks."""
    items: str | None = None
    """`Dataset.item_digest`; None where format 1 does not say."""
    users: str | None = None
    """`Dataset.user_digest`; None where format 1 does not say."""
    model: str = ""
    """Name of the model's class; "" where an earlier version wrote it."""
    started_from: Mapping[str, Any] | None = None
    """`warm_start.WarmStart` as plain values; None for a run that started with fresh parameters."""
    schedule_epochs: int | None = None
    """Epochs that schedules are shares of, for a run that was resumed with more epochs than it was started with."""

    def write(self, folder: Path) -> None:
        """Publish it in the folder of a run."""
        data = {"folder": str(self.data) if self.data else None, "fingerprint": self.fingerprint, "view": self.view}
        data |= {"items": self.items, "users": self.users}
        content = {"format_version": RUN_VERSION, "family": self.family, "model": self.model, "data": data}
        content |= {"config": dict(self.config), "started_from": self.started_from}
        content |= {"schedule_epochs": self.schedule_epochs} if self.schedule_epochs else {}
        write_json(folder / MANIFEST, content | {"environment": dict(self.environment)})


def read(
    folder: Path, flag: str = "--run-dir", family: str = "", renamed: Mapping[str, str] | None = None
) -> RunManifest:
    """The manifest of a run.

    Args:
        flag: the flag that named the folder, for messages.
        family: the family that is expected; "" for any.
        renamed: settings of format 1 -> their names today (`config.ModelSpec.renamed`).

    Raises:
        UserError: the folder holds no run, a damaged one, one of a newer format, or one of another family.
    """
    if not (folder / MANIFEST).is_file():
        return _read_format_1(folder, flag, renamed or {})
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text())
        version = content["format_version"]
        if version != RUN_VERSION:
            raise UserError(f"{folder} has run format version {version}, this program reads 1 and {RUN_VERSION}")
        data = content["data"]
        found = RunManifest(
            family=content["family"],
            config=content["config"],
            data=Path(data["folder"]) if data["folder"] else None,
            fingerprint=data["fingerprint"],
            view=data["view"],
            environment=content["environment"],
            items=data["items"],
            users=data["users"],
            model=content.get("model", ""),
            started_from=content.get("started_from"),
            schedule_epochs=content.get("schedule_epochs"),
        )
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r})") from None
    if family and found.family != family:
        other = found.family
        raise UserError(f"{flag} {folder} holds a run of {other}; use python -m {other}.train or {other}.evaluate")
    return found


def _read_format_1(folder: Path, flag: str, renamed: Mapping[str, str]) -> RunManifest:
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{flag}: {folder} holds no run (no {MANIFEST})")
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds {type(config).__name__}, expected names and values")
    training = config.get("training") or {}
    return RunManifest(
        family="",
        config=with_new_names(config, renamed),
        data=Path(config["data"]) if config.get("data") else None,
        fingerprint=None,
        view=FINAL_FIT if training.get("final_fit") else "",
        environment={},
    )


def with_new_names(settings: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Settings of format 1 under the names of today."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        new = with_new_names(value, renamed) if isinstance(value, Mapping) else value
        found[renamed.get(name, name)] = new
    if isinstance(found.get("resume"), bool):  # a flag of the command line, no setting
        del found["resume"]
    if isinstance(hardware := found.get("hardware"), dict) and hardware.pop("amp", False):
        hardware["precision"] = "auto"
    return found


def identity_of_format_1(identity: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """The identity in a checkpoint of format 1, in the form of `training.task.TrainTask.identity`."""
    found = with_new_names(identity, renamed)
    found["data_set"] = found.pop("data set", None)
    return found
