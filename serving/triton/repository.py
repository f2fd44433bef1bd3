"""A model repository: versions that are written whole, never changed, and named by the configuration that serves them.

REPOSITORY/NAME/config.pbtxt             which version is served
REPOSITORY/NAME/N/model.py               two lines: the class that Triton's Python backend runs
REPOSITORY/NAME/N/export/                what the recommender needs of the export (no saved_model unless it runs it)
REPOSITORY/NAME/N/FORMAT-PRECISION/      the verified conversion
REPOSITORY/NAME/N/published.json         where it came from, its metrics, when
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from serving import targets as variants
from serving.export_folder import ExportFolder
from serving.targets import FILES, Converted
from serving.triton import config as configuration
from serving.triton.config import Service

KEY_FILE = ".control-key"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
PROGRAM = '''"""Run by Triton's Python backend."""

from serving.triton.backend import TritonPythonModel  # noqa: F401
'''
KEPT_OF_EXPORT = ("export.json", "items.parquet", "users.parquet", "histories.npz", "golden.npz", "test.npz")
NATIVE_FILES = {"onnx": "model.onnx", "tensorrt": "model.plan", "savedmodel": "model.savedmodel"}
NATIVE_FILES["tf-trt"] = NATIVE_FILES["savedmodel"]


def check_name(name: str) -> str:
    """The name of a model, which is a folder's.

    Raises:
        ValueError: it could be another folder than one of the repository.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"--name is {name[:80]!r}, expected up to 64 letters, digits, _ and -, the first no sign")
    return name


def key(repository: Path) -> str | None:
    """What a server on this repository wants to hear before it loads models; None where none was started yet."""
    path = repository / KEY_FILE
    return path.read_text().strip() if path.is_file() else None


def new_key(repository: Path) -> str:
    """Make such a key, for its owner only to read."""
    made, path = secrets.token_hex(16), repository / KEY_FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(made)
    return made


def versions(model: Path) -> list[int]:
    """Version numbers in a model's folder, ascending."""
    if not model.is_dir():
        return []
    return sorted(int(p.name) for p in model.iterdir() if p.is_dir() and p.name.isdecimal())


def served(model: Path) -> int | None:
    """The version that the configuration names, or None."""
    path = model / "config.pbtxt"
    if not path.is_file():
        return None
    named = configuration.served_versions(configuration.read(path))
    return named[-1] if named else None


def published(model: Path, version: int) -> dict[str, Any]:
    """published.json of a version.

    Raises:
        ValueError: it is not there, or cannot be read.
    """
    path = model / str(version) / "published.json"
    try:
        about = json.loads(path.read_text())
        return {"model": about["model"], "export": about["export"], "metrics": about["metrics"], **about}
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); take --force to publish all the same") from None


def require_whole(model: Path, version: int) -> None:
    """Raise ValueError unless a version holds the model that was verified for its export."""
    about = published(model, version)
    variants.converted(model / str(version), about["model"]).require_verified(about["export"])


def _replace(path: Path, content: str) -> None:
    """Write a file whole."""
    working = path.with_name(f".{path.name}.writing-{os.getpid()}")
    working.write_text(content)
    working.replace(path)


def _copy_export(export: ExportFolder, target: Path) -> None:
    target.mkdir()
    for name in KEPT_OF_EXPORT:
        shutil.copy2(export.folder / name, target / name)


def add_version(repository: Path, name: str, export: ExportFolder, made: Converted, metrics: dict[str, Any]) -> int:
    """Write the next version of the recommender; it is not served yet.

    Raises:
        ValueError: the name is no name, or the conversion was not verified.
    """
    made.require_verified(export.identity)
    model = repository / check_name(name)
    model.mkdir(parents=True, exist_ok=True)
    version = max(versions(model), default=0) + 1
    working = model / f".writing-{os.getpid()}"
    try:
        working.mkdir()
        (working / "model.py").write_text(PROGRAM)
        _copy_export(export, working / "export")
        shutil.copytree(made.folder, working / made.folder.name)
        about = {
            "model": made.variant.name,
            "before": served(model),
            "metrics": metrics,
            "export": export.identity,
            "data_set": export.content["data_set"],
            "published_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        (working / "published.json").write_text(json.dumps(about, indent=2) + "\n")
        working.rename(model / str(version))
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return version


def serve_version(repository: Path, name: str, version: int, service: Service | None = None) -> None:
    """Make the configuration name a version. How it is served stays as it was unless `service` says otherwise."""
    model = repository / check_name(name)
    if version not in versions(model):
        raise ValueError(f"{model} has no version {version}, it has: {', '.join(map(str, versions(model))) or 'none'}")
    path = model / "config.pbtxt"
    if path.is_file() and service is None:
        config = configuration.read(path)
        config.version_policy.specific.versions[:] = [version]
    else:
        config = configuration.recommender(name, [version], service or Service())
    _replace(path, configuration.text(config))


def keep(repository: Path, name: str, count: int) -> list[int]:
    """Remove the oldest versions beyond `count`, never the served one; returns those removed."""
    model = repository / check_name(name)
    old = [v for v in versions(model)[: -max(count, 1)] if v != served(model)]
    for version in old:
        shutil.rmtree(model / str(version))
    return old


def add_native(repository: Path, name: str, export: ExportFolder, made: Converted, service: Service) -> str:
    """A model of tensors for Triton's own backend of the format, as NAME_FORMAT_PRECISION; returns its name."""
    made.require_verified(export.identity)
    full = check_name(f"{name}_{made.variant.name.replace('-', '_')}")
    model = repository / full
    version = max(versions(model), default=0) + 1
    working = model / f".writing-{os.getpid()}"
    try:
        working.mkdir(parents=True)
        source, target = made.folder / FILES[made.variant.format], working / NATIVE_FILES[made.variant.format]
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        working.rename(model / str(version))
    finally:
        shutil.rmtree(working, ignore_errors=True)
    _replace(
        model / "config.pbtxt",
        configuration.text(configuration.tensors(full, export, made.variant, [version], service)),
    )
    return full
