"""What all ranks of a job must have alike, compared before anything is written: program, settings, devices, data set.

Each difference changes numbers, or breaks the exchange, without a word: every rank trains on with what its host has.
Ranks are compared with rank 0. Differences of hardware are told and not refused: jobs on hosts of several kinds are
usual, and their ranks compute the same but for the last bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_core.errors import SharedError, one_line, place

if TYPE_CHECKING:
    from recsys_core.dataset import Dataset
    from recsys_core.world import World

PACKAGES = ("data_prep", "recsys_core", "vaecf", "ncf_tf")
"""Packages whose source has to be the same on all hosts."""
LIBRARIES = {"TensorFlow": ("tensorflow", "tensorflow-cpu"), "Horovod": ("horovod",), "NumPy": ("numpy",)}
SETTINGS = (
    "TF_ENABLE_ONEDNN_OPTS",
    "NVIDIA_TF32_OVERRIDE",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "TF_DETERMINISTIC_OPS",
    "TF_CUDNN_DETERMINISTIC",
)
"""Variables that TensorFlow reads and that change numbers."""
PLACES = re.compile(r"--xla_(gpu_cuda_data_dir|dump\w*)=\S+")
"""Flags of XLA that change no number, and may name another folder on each host."""
HARDWARE = "hardware"


def record(device: str, hardware: str) -> dict[str, str]:
    """What this process has, by name, as it is shown.

    Args:
        device: "a GPU" or "a CPU", which this rank computes on.
        hardware: its model.
    """
    found = {"program": f"with source {_source_digest()[:8]}", "Python": ".".join(platform.python_version_tuple()[:2])}
    found |= {name: _version(names) for name, names in LIBRARIES.items()}
    for name in SETTINGS:
        value = os.environ.get(name, "")
        found[name] = " ".join(PLACES.sub("", value).split()) if name == "XLA_FLAGS" else value
    return found | {"device": device, HARDWARE: hardware}


def _version(names: Sequence[str]) -> str:
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return "not installed"


def _source_digest() -> str:
    """Digest of the program's source files."""
    root, digest = Path(__file__).resolve().parent.parent, hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def differences(records: Sequence[Mapping[str, str]], hosts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Errors and notes on each host that differs from rank 0's, a text each.

    Args:
        records: of each rank.
        hosts: name of each rank's host.
    """
    errors, notes = list[str](), list[str]()
    seen = set()
    for rank, (found, host) in enumerate(zip(records, hosts, strict=True)):
        for name, own in found.items():
            if own == records[0].get(name) or (host, name, own) in seen:
                continue
            seen.add((host, name, own))
            texts = notes if name == HARDWARE else errors
            shown, first = (value or "not set" for value in (own, records[0].get(name, "")))
            texts.append(f"{name} is {shown} for {place(rank, host)}, {first} for {place(0, hosts[0])}")
    return errors, notes


def check(world: World, device: str, hardware: str) -> None:
    """Refuse ranks whose program, libraries, settings or kind of device differ from those of rank 0.

    Raises:
        SharedError: on every rank; names host, rank, and what differs.
    """
    if world.size == 1:
        return
    found = world.gather((socket.gethostname(), json.dumps(record(device, hardware))))
    errors, notes = differences([json.loads(text) for _, text in found], [host for host, _ in found])
    if errors:
        raise SharedError(f"{one_line(errors)}; all ranks need the same")
    if notes and world.is_rank0:
        print(f"note: {one_line(notes)}; the slowest decides the speed", file=sys.stderr, flush=True)


def opened(folder: Path, view: str, world: World) -> Dataset:
    """The data set of all ranks in a view. Of the ranks that share a copy, one compares its files with their digests.

    Args:
        folder: where this host has it.

    Raises:
        SharedError: it is missing or damaged on some host, or another one than rank 0's; the hosts are named.
    """
    from recsys_core.dataset import Dataset, verify_integrity

    places = world.gather((socket.gethostname(), str(folder.absolute())))

    def own() -> Dataset:
        if places.index(places[world.rank]) == world.rank:
            verify_integrity(folder)
        return Dataset.open(folder).viewed(view)

    data = world.run_on_all(own)
    check_data(data, world)
    return data


def check_data(data: Dataset, world: World) -> None:
    """Refuse ranks that opened different data sets.

    Raises:
        SharedError: on every rank; names host, rank, and what differs from the data set of rank 0.
    """
    if world.size == 1:
        return
    own = (socket.gethostname(), {"training users": data.n_users, "items": data.n_items}, data.fingerprint)
    found = world.gather(own)
    hosts, counts, fingerprints = zip(*found, strict=True)
    if errors := data_differences(hosts, counts, fingerprints):
        raise SharedError(f"{one_line(errors)}; copy the same data set to every host")


def data_differences(
    hosts: Sequence[str], counts: Sequence[Mapping[str, int]], fingerprints: Sequence[str]
) -> list[str]:
    """A text on each host whose data set is not that of rank 0.

    Args:
        hosts, counts, fingerprints: of each rank; a count by the name of what is counted.
    """
    texts, seen, first = [], set(), place(0, hosts[0])
    for rank, (host, own, fingerprint) in enumerate(zip(hosts, counts, fingerprints, strict=True)):
        if fingerprint == fingerprints[0] or (host, fingerprint) in seen:
            continue
        seen.add((host, fingerprint))
        other = [f"{n:,} {what} ({counts[0][what]:,} for {first})" for what, n in own.items() if n != counts[0][what]]
        digests = f"the fingerprint {fingerprint[:8]} ({fingerprints[0][:8]} for {first})"
        texts.append(f"the data set of {place(rank, host)} has {' and '.join(other) or digests}")
    return texts
