"""Files that others read are written whole: temporary name, fsync, rename."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsys_core.errors import UserError


def sync(path: Path) -> None:
    """Flush one file or folder entry to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file or folder, then give it its name; an older one is replaced whole.

    Raises:
        UserError: the disk is full or the place cannot be written; nothing is left behind.
    """
    working = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(working)
        for part in sorted(working.rglob("*")) if working.is_dir() else []:
            if part.is_file():
                sync(part)
        sync(working)
        if path.is_dir():  # a folder cannot be replaced in one call; the old one goes aside first
            aside = path.with_name(f".replaced-{os.getpid()}-{path.name}")
            path.rename(aside)
            working.rename(path)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            working.replace(path)
        sync(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _remove(working)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Publish a value as indented JSON (NaN is refused: it is not JSON and must not pass a check)."""
    publish(path, lambda p: (p.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n"), None)[1])


def write_text(path: Path, text: str) -> None:
    """Publish a text file."""
    publish(path, lambda p: (p.write_text(text), None)[1])
