"""Which versions of a model are kept: those that roll-back needs, and the newest.

Each version names the version that was served when it was written (`before` in published.json). Roll-back follows these
links, so that it skips versions that were rolled back before.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from serving.triton import repository

MIN_CHAIN = 2
"""The served version and the one to roll back to are kept whatever `keep` is."""


def chain(before: Mapping[int, int | None], served: int | None) -> list[int]:
    """The served version, the one that roll-back goes to, the one that roll-back goes to from there, and so on.

    Args:
        before: version -> the version that was served when it was written; the existing versions only.
    """
    found: list[int] = []
    while served is not None and served in before and served not in found:
        found.append(served)
        served = before[served]
    return found


def kept(before: Mapping[int, int | None], served: int | None, keep: int, needed: Collection[int] = ()) -> set[int]:
    """The versions that are not removed.

    Args:
        before: see `chain`.
        keep: this many of the newest versions are kept, and as many of the chain (at least MIN_CHAIN). The newest is
            always kept, so that no number is given twice.
        needed: versions that are kept too, as a shadow.
    """
    newest = sorted(before)[-max(keep, 1) :]
    return {*newest, *chain(before, served)[: max(keep, MIN_CHAIN)], *needed} & set(before)


def links(model: Path) -> dict[int, int | None]:
    """See `chain`. A version whose published.json cannot be read has no link."""

    def before(version: int) -> int | None:
        with contextlib.suppress(ValueError):
            return repository.read_published(model, version).get("before")
        return None

    return {version: before(version) for version in repository.versions(model)}


def version_before(model: Path) -> int:
    """The version that roll-back goes to.

    Raises:
        ValueError: there is none; the message names the versions that are there.
    """
    served, before = repository.served_version(model), links(model)
    found = before.get(served) if served is not None else None
    if found is None or found not in before:
        there = ", ".join(map(str, before)) or "none"
        raise ValueError(f"{model} has no version before {served} to go back to (versions: {there})")
    return found


def remove_old_versions(folder: Path, name: str, keep: int, needed: Collection[int] = ()) -> list[int]:
    """Remove the versions that are not `kept`; returns them. The caller holds the repository's lock."""
    model = folder / repository.check_name(name)
    before = links(model)
    old = sorted(set(before) - kept(before, repository.served_version(model), keep, needed))
    for version in old:
        removing = model / f".removing-{version}"
        (model / str(version)).rename(removing)  # from now on it is no version, even if this process is killed
    for leftover in model.glob(".removing-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return old
