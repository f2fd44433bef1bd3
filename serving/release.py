"""Publish a new version of a model into a repository if it is verified and not worse than the served one; or roll back.

  python -m serving publish --export runs/tuesday --repository models --name vaecf --url 127.0.0.1:8000
  python -m serving publish --repository models --name vaecf --rollback --url 127.0.0.1:8000

With --url, the running server loads the new version beside the old one and then switches, so that no request fails.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from serving import targets
from serving.command_help import MODELS_HELP, CommandParser
from serving.export_folder import open_export
from serving.triton import repository
from serving.triton.client import Client

WORSE = 1
KEPT_VERSIONS = 3


def compare(new: dict[str, Any], served: dict[str, Any], metric: str | None, allowed_loss: float) -> tuple[bool, str]:
    """Whether a new version may replace the served one, and one line with the reason.

    Args:
        new: metrics of the new version: name -> {"mean": value}.
        served: metrics of the served version; empty if there is none.
        metric: the metric to compare; None for the first that both versions have.
        allowed_loss: how much lower, absolute, the new value may be.

    Raises:
        ValueError: the versions have no metric to compare.
    """
    shared = [name for name in new if name in served]
    if not served:
        return True, "nothing was served before"
    if metric is not None and metric not in shared:
        raise ValueError(f"--metric {metric} is not known of both versions; they share: {', '.join(shared) or 'none'}")
    if not shared:
        raise ValueError("the new and the served version share no metric; take --force to publish all the same")
    name = metric or shared[0]
    new_mean, served_mean = float(new[name]["mean"]), float(served[name]["mean"])
    line = f"{name} {new_mean:.4f}, served {served_mean:.4f}, allowed loss {allowed_loss:g}"
    return new_mean >= served_mean - allowed_loss, line


def _load(url: str, name: str, version: int, key: str | None) -> None:
    """Tell a running server to read the model's configuration again.

    Raises:
        ValueError: the server does not answer, or did not load the version.
    """
    with Client(url, timeout=60.0, retries=3, key=key) as client:
        client.load(name)
        if version not in client.versions(name):
            raise ValueError(f"the server at {url} did not load version {version}")


def _switch_version(args: argparse.Namespace, version: int) -> None:
    """Write a version into the model's configuration and have the server of --url load it.

    If the server fails, the configuration is set back to the version that was served before.
    """
    model = args.repository / args.name
    before = repository.served_version(model)
    repository.verify_integrity(model, version)  # checked here, because a server retries no load that failed
    repository.serve_version(args.repository, args.name, version)
    if args.url:
        try:
            _load(args.url, args.name, version, repository.read_key(args.repository))
        except ValueError:
            if before is not None:
                repository.serve_version(args.repository, args.name, before)
            raise
    print(f"{model}: version {version} is served{'' if args.url else ' from the next start on'}", end="")
    print(f" (before: {before})" if before not in (None, version) else "")


def _rollback(args: argparse.Namespace) -> int:
    model = args.repository / repository.check_name(args.name)
    served = repository.served_version(model)
    before = repository.read_published(model, served).get("before") if served is not None else None
    if before not in repository.versions(model):
        raise ValueError(f"{model} has no version before {served} to go back to")
    _switch_version(args, before)
    return 0


def add_arguments(parser: CommandParser) -> None:
    add, add_rare = parser.add_argument, parser.add_rare
    add("--export", metavar="RUN", type=Path, help="folder of the run of the new model, or the export in it")
    add("--model", default="onnx-fp32", help="the converted model to publish (default: %(default)s)")
    add("--repository", type=Path, required=True, help="folder that `triton build` wrote")
    add("--name", default="recommender", help="of the model (default: %(default)s)")
    add("--url", help="HTTP host:port of a running server that loads the new version")
    add("--rollback", action="store_true", help="serve the version that was served before the present one")
    add_rare("--models", type=Path, help=MODELS_HELP)
    add_rare("--metric", help="the metric to compare (default: the first of the run's test metrics)")
    add_rare("--allowed-loss", type=float, default=0.0, help="how much lower it may be (default: %(default)s)")
    add_rare("--force", action="store_true", help="publish a verified model without comparing metrics")
    add_rare("--keep", type=int, default=KEPT_VERSIONS, help="number of versions to keep (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """0 done, 1 the new version is worse and was not published."""
    repository.check_name(args.name)
    if args.rollback:
        return _rollback(args)
    if args.export is None:
        raise ValueError("--export is missing: which run's export shall be published? (or --rollback)")
    export, model = open_export(args.export), args.repository / args.name
    artifact = targets.artifact(args.models or targets.default_folder(export.folder), args.model)
    artifact.require_verified(export.identity)
    before = repository.served_version(model)
    if not args.force:
        served_metrics = repository.read_published(model, before)["metrics"] if before is not None else {}
        may_replace, line = compare(export.test_metrics, served_metrics, args.metric, args.allowed_loss)
        print(line)
        if not may_replace:
            print("not published: it is worse than what is served (--allowed-loss, --force)")
            return WORSE
    version = repository.add_version(args.repository, args.name, export, artifact)
    _switch_version(args, version)
    if removed := repository.remove_old_versions(args.repository, args.name, args.keep):
        print(f"removed old versions: {', '.join(map(str, removed))}")
    return 0
