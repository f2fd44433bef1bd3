"""Saving a `Recommender` and loading it again.

FOLDER/model.json        format version, class, settings, shape
FOLDER/parameters.npz    the parameters, by their place in `Recommender.parameters`
FOLDER/items.parquet     index, item_id, title, count
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import dacite
import numpy as np
import pandas as pd

from recsys_core.config import plain
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.files import publish, write_json
from recsys_core.matrices import storable
from recsys_core.parquet import read_frame

MODEL_VERSION = 1


def save(model: Any, folder: Path) -> None:
    """See `Recommender.save`."""
    if folder.exists() and not (folder / "model.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and holds no saved model; choose another folder")
    if model.is_closed_form and not model.parameters:
        raise UserError(f"{type(model).__name__} has no parameters yet; fit it first")

    def write(working: Path) -> None:
        working.mkdir(parents=True)
        np.savez(working / "parameters.npz", **{str(k): v.numpy() for k, v in enumerate(model.parameters)})
        storable(model.data.items, "item_id").to_parquet(working / "items.parquet", index=False)
        content = {
            "format_version": MODEL_VERSION,
            "class": f"{type(model).__module__}:{type(model).__qualname__}",
            "seed": model.seed,
            "preset": model.preset,
            "users": model.data.n_users,
            "user_digest": model.data.user_digest,
            "item_digest": model.data.item_digest,
            "settings": {name: plain(component) for name, component in model.settings.items()},
        }
        write_json(working / "model.json", content)

    publish(folder, write)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], pd.DataFrame]:
    try:
        content = json.loads((folder / "model.json").read_text())
        version = content["format_version"]
        with np.load(folder / "parameters.npz", allow_pickle=False) as file:
            parameters = {name: file[name] for name in file.files}
        items = read_frame(folder / "items.parquet")
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no saved model ({Path(error.filename or 'model.json').name} is missing)"
        ) from None
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile) as error:
        raise UserError(f"{folder} holds a damaged model ({error!r})") from None
    if version != MODEL_VERSION:
        raise UserError(f"{folder} has model format version {version}, this program reads {MODEL_VERSION}")
    return content, parameters, items


def _class_and_settings(folder: Path, content: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model's class, and its settings by component."""
    try:
        module, _, name = content["class"].partition(":")
        kind = getattr(import_module(module), name)
        settings, rules = content["settings"], dacite.Config(cast=[tuple])
        return kind, {c: dacite.from_dict(config, settings.get(c, {}), rules) for c, config in kind.configs.items()}
    except (ImportError, AttributeError, KeyError, dacite.DaciteError) as error:
        raise UserError(
            f"{folder} holds a model that cannot be made here ({error!r}); is its module installed?"
        ) from None


def load(folder: Path, data: Dataset | None) -> Any:
    """See `model.load`."""
    content, parameters, items = _read(folder)
    kind, settings = _class_and_settings(folder, content)
    if data is None:
        nobody = pd.DataFrame({"split": [], "index": [], "user_id": []})
        data = replace(Dataset.empty(content["users"], len(items)), item_frame=items, user_frame=nobody)
    elif data.item_digest != content["item_digest"]:
        raise UserError(f"{data.name} has other items than the model in {folder} ({data.n_items:,} and {len(items):,})")
    elif kind.needs_known_users and data.user_digest != content["user_digest"]:
        raise UserError(
            f"{data.name} has other users than the model in {folder} ({data.n_users:,} and {content['users']:,})"
        )
    model = kind(data, preset=content["preset"] or None, seed=content["seed"], **settings)
    if model.is_closed_form:
        model.allocate()
    shapes = {str(k): tuple(variable.shape) for k, variable in enumerate(model.parameters)}
    if (stored := {name: value.shape for name, value in parameters.items()}) != shapes:
        raise UserError(f"{folder} holds a damaged model: its parameters have shapes {stored}, expected {shapes}")
    for k, variable in enumerate(model.parameters):
        variable.assign(parameters[str(k)])
    return model
