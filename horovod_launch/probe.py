"""Facts about one host. `asking` sends the source of this module to a host's Python, so it imports nothing of ours."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
import struct
from pathlib import Path
from typing import Any

PACKAGES = ("horovod_launch", "data_prep", "recsys_core", "vaecf", "ncf_tf")
"""Packages of ours that must be the same on all hosts."""
SIOCGIFADDR, SIOCGIFNETMASK = 0x8915, 0x891B  # linux/sockios.h


def interfaces() -> list[tuple[str, str, int]]:
    """(name, IPv4 address, length of its network's prefix) of each interface; empty on another system than Linux."""
    try:
        import fcntl
    except ImportError:
        return []
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                address = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, request)[20:24]
                mask = fcntl.ioctl(asked.fileno(), SIOCGIFNETMASK, request)[20:24]
            except OSError:  # an interface without an IPv4 address
                continue
            found.append((name, socket.inet_ntoa(address), int.from_bytes(mask, "big").bit_count()))
    return found


def cores() -> int:
    """Cores that a process of this host may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version(*names: str) -> str:
    """The version of the first of some packages that is installed, "" if none is."""
    installed = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
    return next((installed[name.lower()] for name in names if name.lower() in installed), "")


def digest(root: Path) -> str:
    """First eight digits of a SHA-256 over our sources: the same on hosts that have the same program."""
    total = hashlib.sha256()
    for path in sorted(p for name in PACKAGES for p in (root / name).rglob("*.py")):
        total.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return total.hexdigest()[:8]


def facts(folder: str, files: list[str], details: bool) -> dict[str, Any]:
    """What a launch needs to know of a host.

    Args:
        folder: the folder that ranks start in.
        files: files whose presence is asked for; relative ones are looked for in `folder`.
        details: versions and the digest of the sources too.
    """
    found: dict[str, Any] = {
        "hostname": socket.gethostname(),
        "interfaces": interfaces(),
        "cores": cores(),
        "folder": os.path.isdir(folder),  # noqa: PTH112 - the folder may be any text
        "files": [name for name in files if Path(folder, name).exists()],
    }
    if details:
        found["versions"] = {
            "python": platform.python_version(),
            "program": f"{version('recsys-scale')} {digest(Path(folder))}".strip(),
            "TensorFlow": version("tensorflow", "tensorflow-cpu"),
            "Horovod": version("horovod"),
        }
    return found
