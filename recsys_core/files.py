"""Writing files whole: temporary name, fsync, rename. Leftovers of killed writers are removed by the next writer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from recsys_core.errors import UserError

WRITING, REPLACED = ".writing", ".replaced"


def sync(path: Path) -> None:
    """Flush one file or folder entry to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(path: Path, purpose: str) -> Path:
    """A name beside `path` that says which process of which host writes there."""
    return path.with_name(f"{purpose}-{os.getpid()}@{socket.gethostname()}-{path.name}")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes of this host left in a folder while they wrote there.

    A replaced folder is renamed back where the process was killed before the new one had its name. A leftover that
    cannot be removed, as another user's, stays.
    """
    for purpose in (WRITING, REPLACED):
        for leftover in folder.glob(f"{purpose}-*@*"):
            name = _abandoned_name(leftover, purpose)
            with contextlib.suppress(OSError):
                if name and purpose == REPLACED and not (folder / name).exists():
                    leftover.rename(folder / name)
                elif name:
                    _remove(leftover)


def _abandoned_name(leftover: Path, purpose: str) -> str | None:
    """The name that a temporary file was to have; None if its process runs, or is one of another host."""
    pid, _, rest = leftover.name.removeprefix(f"{purpose}-").partition("@")
    own = f"{socket.gethostname()}-"
    if not rest.startswith(own) or not pid.isdigit() or psutil.pid_exists(int(pid)):
        return None
    return rest.removeprefix(own)


def remove_all_leftovers(folder: Path, replaced: Sequence[str] = ()) -> None:
    """Remove temporary files of all writers, also of other hosts and earlier versions.

    Args:
        folder: locked by the caller.
        replaced: names of folders that are replaced here; one that a killed process left without its name has it back.
    """
    for leftover in folder.glob(f"{REPLACED}-*"):
        name = next((n for n in replaced if leftover.name.endswith(f"-{n}")), None)
        if name and not (folder / name).exists():
            leftover.rename(folder / name)
    for purpose in (WRITING, REPLACED):
        for leftover in folder.glob(f"{purpose}-*"):
            with contextlib.suppress(OSError):
                _remove(leftover)


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file or folder, then give it its name; an older one is replaced whole.

    Raises:
        UserError: the disk is full or the place cannot be written; nothing is left behind.
    """
    working = _temporary(path, WRITING)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        write(working)
        for part in sorted(working.rglob("*")) if working.is_dir() else []:
            if part.is_file():
                sync(part)
        sync(working)
        if path.is_dir():  # a folder cannot be replaced in one call; the old one is renamed first
            old = _temporary(path, REPLACED)
            path.rename(old)
            working.rename(path)
            shutil.rmtree(old, ignore_errors=True)
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
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Publish a text file."""
    publish(path, lambda p: (p.write_text(text), None)[1])
