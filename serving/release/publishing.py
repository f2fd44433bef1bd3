"""Publishing a candidate: compare it with the served version, add it, serve it or shadow it; rolling back."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving import targets
from serving.export_folder import ExportFolder, open_export
from serving.release import shadowing
from serving.release.switch import switch
from serving.targets import Artifact
from serving.triton import publish_lock, repository, retention
from serving.triton.shadow import settings as shadow_files

if TYPE_CHECKING:
    from serving.release.comparison import Comparison

REJECTED = 1
COMPARISONS = 3
"""How often a candidate is compared anew because another process published meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A verified converted model that is to be published."""

    export: ExportFolder
    artifact: Artifact
    digest: str
    """`repository.content_digest`"""


def _candidate(args: argparse.Namespace) -> Candidate:
    """
    Raises:
        ValueError: there is no export, or its converted model is not verified.
    """
    export = open_export(args.export)
    artifact = targets.artifact(args.models or targets.default_folder(export.folder), args.model)
    artifact.require_verified(export.identity)
    return Candidate(export=export, artifact=artifact, digest=repository.content_digest(export.folder, artifact))


def _is(model: Path, version: int | None, candidate: Candidate) -> bool:
    """Whether a version is this candidate, by digest. A damaged version is not."""
    try:
        return version is not None and repository.version_digest(model, version) == candidate.digest
    except (ValueError, OSError):
        return False


def _compare(args: argparse.Namespace, candidate: Candidate, served: int, margin: float) -> Comparison:
    from serving.release.comparison import compare

    return compare(
        candidate.export,
        candidate.artifact,
        args.repository / args.name,
        served,
        data=args.data,
        served_data=args.served_data,
        metric=args.metric,
        margin=margin,
    )


def publish(args: argparse.Namespace, margin: float) -> int:
    """Publish the candidate of --export. The same command again finds what is done already, and ends with 0.

    The candidate is compared without the lock, so that a rollback need not wait for it. If another version is served
    by then, the candidate is compared with that one.

    Raises:
        ValueError: bad input, or the server did not load the version.
    """
    if args.shadow is not None:
        shadow_files.check_share(args.shadow)
    candidate, model = _candidate(args), args.repository / args.name
    for _ in range(COMPARISONS):
        served, comparison = repository.served_version(model), None
        if args.shadow is not None and served is None:
            raise ValueError(
                f"{model} has no served version whose requests could be shadowed; publish without --shadow"
            )
        is_served, is_shadow = _is(model, served, candidate), _is(model, shadowing.version(model), candidate)
        if not is_shadow:
            shadowing.require_none(model)
        if not (args.force or served is None or is_served or is_shadow):
            comparison = _compare(args, candidate, served, margin)
            print("\n".join(comparison.lines()))
            if not comparison.passed:
                print(comparison.refusal())
                return REJECTED
        with publish_lock.publishing(args.repository, args.wait):
            if repository.served_version(model) == served:
                return _change_over(args, candidate, served, comparison)
        print(f"version {served} is not served any more; the candidate is compared with the version that is")
    raise ValueError(f"{model} was changed {COMPARISONS} times while the candidate was compared; publish it again")


def _change_over(
    args: argparse.Namespace, candidate: Candidate, served: int | None, comparison: Comparison | None
) -> int:
    """Add the candidate and serve or shadow it. The caller holds the lock, and `served` is still served."""
    model = args.repository / args.name
    if served is None:
        print("nothing was served before")
    if _is(model, served, candidate):
        assert served is not None
        print(f"{model}: version {served} is this model already")
        print(switch(args.repository, args.name, served, args.url, args.load_seconds))
        return 0
    if _is(model, shadow := shadowing.version(model), candidate):
        print(f"{model}: version {shadow} is this model already, and is the shadow; --promote serves it")
        return 0 if args.shadow is not None else REJECTED
    shadowing.require_none(model)
    more = {"comparison": comparison.as_json()} if comparison is not None else {}
    version = _written_version(model, served, candidate) or repository.add_version(
        args.repository, args.name, candidate.export, candidate.artifact, more
    )
    if args.shadow is not None:
        assert served is not None
        shadowing.start(args, version, served)
    else:
        print(switch(args.repository, args.name, version, args.url, args.load_seconds))
    remove_old_versions(args)
    return 0


def _written_version(model: Path, served: int | None, candidate: Candidate) -> int | None:
    """The newest version, if it is this candidate and was written when `served` was served: nothing is copied again."""
    newest = max(repository.versions(model), default=None)
    if newest is None or newest == served or retention.links(model)[newest] != served:
        return None
    return newest if _is(model, newest, candidate) else None


def remove_old_versions(args: argparse.Namespace) -> None:
    """Remove the versions that are not kept (`retention.kept`). The caller holds the lock."""
    model = args.repository / args.name
    shadow = shadowing.version(model)
    needed = () if shadow is None else (shadow,)
    if removed := retention.remove_old_versions(args.repository, args.name, args.keep, needed):
        print(f"removed old versions: {', '.join(map(str, removed))}")


def roll_back(args: argparse.Namespace) -> int:
    """Serve the version that was served before the present one. A shadow ends. The caller holds the lock."""
    model = args.repository / args.name
    version = retention.version_before(model)
    if shadow_files.remove(model):
        print(f"{model}: the shadow was ended; it was compared with the version that is rolled back")
    print(switch(args.repository, args.name, version, args.url, args.load_seconds))
    return 0
