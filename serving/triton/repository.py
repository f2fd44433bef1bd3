"""A model repository: adds versions, and chooses the served one. Who changes it holds its lock (`publish_lock`).

A version is written as a whole and never changes afterwards. The configuration names the version that is served.

REPOSITORY/NAME/config.pbtxt             the configuration
REPOSITORY/NAME/store.json, items.parquet   see `store_settings` and `attributes`
REPOSITORY/NAME/N/model.py               imports the class that Triton's Python backend runs
REPOSITORY/NAME/N/export/                the files of the export that the recommender reads (without the SavedModel)
REPOSITORY/NAME/N/FORMAT-PRECISION/      the verified converted model
REPOSITORY/NAME/N/run.json               where its data set is; the users come from there if the model has no store
REPOSITORY/NAME/N/published.json         its export, data set and metrics, the time, the version that was served before,
                                         and a digest of its content
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsys_core import files
from recsys_core.config import ALL_USERS
from serving import data_set, targets
from serving.data_set import write_place
from serving.export_folder import ExportFolder, digest, open_export
from serving.targets import MODEL_FILES, Artifact
from serving.triton import attributes, store_settings
from serving.triton import config as configuration
from serving.triton.config import Service
from serving.triton.store_settings import StoreSettings

KEY_FILE, GRPC_FILE = ".control-key", ".control-grpc-port"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MODEL_PY = '''"""Run by Triton's Python backend."""

import os
import sys

# The backend's interpreter ignores PYTHONPATH, with which `triton serve` names the code that started the server.
sys.path[:0] = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p not in sys.path]

from serving.triton.backend import TritonPythonModel  # noqa: E402, F401
'''
EXPORT_FILES = ("export.json", "items.parquet", "golden.npz")
"""Files of the export that a version holds."""
USER_FILES = ("users.parquet", "histories.npz", "test.npz")
"""The same of an export that holds its users."""
NATIVE_FILES = {
    "onnx": "model.onnx",
    "tensorrt": "model.plan",
    "savedmodel": "model.savedmodel",
    "tf-trt": "model.savedmodel",
}
"""Format -> the file or folder that Triton's own backend loads."""


def check_name(name: str) -> str:
    """The name of a model, which becomes a folder name.

    Raises:
        ValueError: the name has other characters than those allowed, so it could be a path outside the repository.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"--name is {name[:80]!r}, expected up to 64 letters, digits, _ and -, the first no sign")
    return name


def read_key(repository: Path) -> str | None:
    """The key that the running server requires from clients that load models; None if no server was started yet."""
    path = repository / KEY_FILE
    return path.read_text().strip() if path.is_file() else None


def read_grpc_port(repository: Path) -> int | None:
    """The gRPC port of the running server; None if it is not known."""
    try:
        return int((repository / GRPC_FILE).read_text())
    except (OSError, ValueError):
        return None


def write_new_key(repository: Path, grpc_port: int | None = None) -> str:
    """Make a new key and write it to a file that only its owner can read.

    Args:
        grpc_port: written to another file: `publish` loads versions over gRPC.
    """
    key, path = secrets.token_hex(16), repository / KEY_FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    (repository / GRPC_FILE).unlink(missing_ok=True)
    if grpc_port is not None:
        (repository / GRPC_FILE).write_text(f"{grpc_port}\n")
    return key


def versions(model: Path) -> list[int]:
    """Version numbers in a model's folder, ascending."""
    if not model.is_dir():
        return []
    return sorted(int(p.name) for p in model.iterdir() if p.is_dir() and p.name.isdecimal())


def served_version(model: Path) -> int | None:
    """The version that the configuration names; None if there is no configuration."""
    path = model / "config.pbtxt"
    if not path.is_file():
        return None
    named = configuration.served_versions(configuration.read_config(path))
    return named[-1] if named else None


def read_published(model: Path, version: int) -> dict[str, Any]:
    """published.json of a version.

    Raises:
        ValueError: the file is missing or damaged.
    """
    path = model / str(version) / "published.json"
    try:
        about = json.loads(path.read_text())
        return {"model": about["model"], "export": about["export"], "metrics": about["metrics"], **about}
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); take --force to publish all the same") from None


def verify_integrity(model: Path, version: int) -> None:
    """Raise ValueError unless the converted model of a version was verified and has not changed since."""
    about = read_published(model, version)
    targets.artifact(model / str(version), about["model"]).require_verified(about["export"])


def content_digest(export: Path, artifact: Artifact) -> str:
    """Digest of what a version holds: the converted model, and the files of the export that the recommender reads."""
    parts = [artifact.target.name, digest(artifact.model)]
    parts += [f"{name} {digest(export / name)}" for name in (*EXPORT_FILES, *USER_FILES) if (export / name).is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def version_digest(model: Path, version: int) -> str:
    """`content_digest` of a version of the repository, computed from its files."""
    folder = model / str(version)
    return content_digest(folder / "export", targets.artifact(folder, read_published(model, version)["model"]))


def _copy_export(export: ExportFolder, folder: Path) -> None:
    folder.mkdir()
    for name in (*EXPORT_FILES, *(USER_FILES if export.holds_users else ())):
        shutil.copy2(export.folder / name, folder / name)


def _origin(export: ExportFolder) -> dict[str, str | None]:
    """Where the data set of an export was, and the view of it that was trained on."""
    named, view = data_set.run_folder(export.folder)
    folder = export.data or named
    if "judged_run" in export.content:  # an export that was copied without its run
        view = ALL_USERS
    return {"folder": str(folder.absolute()) if folder else None, "view": str(export.content.get("view", view))}


def add_version(
    repository: Path, name: str, export: ExportFolder, artifact: Artifact, more: Mapping[str, Any] | None = None
) -> int:
    """Write the next version of the recommender; returns its number. `serve_version` makes it the served one.

    Args:
        more: further entries of published.json.

    Raises:
        ValueError: the name is not valid, the converted model was not verified, the files changed meanwhile, or the
            model has a table of other items.
    """
    artifact.require_verified(export.identity)
    model = repository / check_name(name)
    attributes.check(model, export)
    version = max(versions(model), default=0) + 1
    content = content_digest(export.folder, artifact)

    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "model.py").write_text(MODEL_PY)
        _copy_export(export, folder / "export")
        shutil.copytree(artifact.folder, folder / artifact.folder.name)
        write_place(export.folder, export.data, folder / "run.json")
        if content_digest(folder / "export", targets.artifact(folder, artifact.target.name)) != content:
            raise ValueError(f"{export.folder} or {artifact.folder} changed while it was copied; nothing was published")
        about = {
            "model": artifact.target.name,
            "before": served_version(model),
            "metrics": export.test_metrics,
            "export": export.identity,
            "data_set": export.content["data_set"],
            "data": _origin(export),
            "published_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "content": content,
            **(more or {}),
        }
        (folder / "published.json").write_text(json.dumps(about, indent=2) + "\n")

    files.publish(model / str(version), write)
    return version


def serve_version(repository: Path, name: str, version: int, service: Service | None = None) -> None:
    """Write a version into the configuration.

    Args:
        service: options of the served model; None to keep those of the configuration.
    """
    model = repository / check_name(name)
    if version not in versions(model):
        raise ValueError(f"{model} has no version {version}, it has: {', '.join(map(str, versions(model))) or 'none'}")
    path = model / "config.pbtxt"
    id_types = store_settings.id_types(model, open_export(model / str(version) / "export"))
    config = configuration.recommender_config(name, [version], service or Service(), id_types)
    if path.is_file() and service is None:
        config = configuration.with_options_of(config, configuration.read_config(path))
    files.write_text(path, configuration.to_text(config))


def add_native(repository: Path, name: str, export: ExportFolder, artifact: Artifact, service: Service) -> str:
    """Add a converted model for Triton's own backend of its format; returns its name, NAME_FORMAT_PRECISION."""
    artifact.require_verified(export.identity)
    native_name = check_name(f"{name}_{artifact.target.name.replace('-', '_')}")
    model = repository / native_name
    version = max(versions(model), default=0) + 1

    def write(folder: Path) -> None:
        folder.mkdir()
        source = artifact.folder / MODEL_FILES[artifact.target.format]
        copy = folder / NATIVE_FILES[artifact.target.format]
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)

    files.publish(model / str(version), write)
    service = replace(service, max_batch=artifact.largest_batch(service.max_batch))
    config = configuration.native_config(native_name, export, artifact.target, [version], service)
    files.write_text(model / "config.pbtxt", configuration.to_text(config))
    return native_name


def add_events_model(repository: Path, name: str, export: ExportFolder, settings: StoreSettings) -> str:
    """Add the model NAME_events, which appends events to the store of the model NAME; returns its name."""
    events = check_name(f"{name}{configuration.EVENTS}")
    model, folder = repository / events, repository / events / "1"
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "model.py", MODEL_PY.replace("serving.triton.backend", "serving.triton.events_backend"))
    store_settings.write(model, settings)
    config = configuration.events_config(events, store_settings.id_types(model, export))
    files.write_text(model / "config.pbtxt", configuration.to_text(config))
    return events
