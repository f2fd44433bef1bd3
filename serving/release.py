"""A new version into a model repository, if it verified and is not worse than the one that is served; or back.

  python -m serving publish --export runs/tuesday/export --repository models --name vaecf --url 127.0.0.1:8000
  python -m serving publish --repository models --name vaecf --rollback --url 127.0.0.1:8000

With --url the running server changes over: it loads the new version beside the old one, so no request fails.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from serving import targets as variants
from serving.export_folder import ExportFolder, open_export
from serving.triton import repository
from serving.triton.client import Client

WORSE = 1
KEPT_VERSIONS = 3


def metrics_of(export: ExportFolder) -> dict[str, Any]:
    """Test metrics of the run that made an export: name -> mean and standard error."""
    found = export.content["test"]
    return {name: value for name, value in found.get("metrics", found).items() if isinstance(value, dict)}


def compare(new: dict[str, Any], old: dict[str, Any], metric: str | None, allowed: float) -> tuple[bool, str]:
    """Whether a model may take another's place.

    Args:
        metric: what decides; None for the first one that both have.
        allowed: how much worse, absolute, it may be.

    Returns:
        The verdict, and a line that says why.
    """
    both = [name for name in new if name in old]
    if not old:
        return True, "nothing was served before"
    if metric is not None and metric not in both:
        raise ValueError(f"--metric {metric} is not known of both versions; they share: {', '.join(both) or 'none'}")
    if not both:
        raise ValueError("the new and the served version share no metric; take --force to publish all the same")
    name = metric or both[0]
    ours, theirs = float(new[name]["mean"]), float(old[name]["mean"])
    return ours >= theirs - allowed, f"{name} {ours:.4f}, served {theirs:.4f}, allowed loss {allowed:g}"


def _change_over(args: argparse.Namespace, version: int) -> None:
    """Have the configuration name a version, and a running server follow; back again if it cannot."""
    model = args.repository / args.name
    before = repository.served(model)
    repository.require_whole(model, version)  # a server whose load failed would have to be asked again
    repository.serve_version(args.repository, args.name, version)
    if args.url:
        try:
            with Client(args.url, timeout=60.0, retries=3, key=repository.key(args.repository)) as client:
                client.load(args.name)
                if version not in client.versions(args.name):
                    raise ValueError(f"the server at {args.url} did not load version {version}")
        except ValueError:
            if before is not None:
                repository.serve_version(args.repository, args.name, before)
            raise
    print(f"{model}: version {version} is served{'' if args.url else ' from the next start on'}", end="")
    print(f" (before: {before})" if before not in (None, version) else "")


def _rollback(args: argparse.Namespace) -> int:
    model = args.repository / repository.check_name(args.name)
    now = repository.served(model)
    there = repository.versions(model)
    before = repository.published(model, now).get("before") if now is not None else None
    if before not in there:
        raise ValueError(f"{model} has no version before {now} to go back to")
    _change_over(args, before)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--export", type=Path, help="RUN_DIR/export of the new model")
    add("--models", type=Path, help="folder of its conversions (default: converted/ beside the export)")
    add("--model", default="onnx-fp32", help="which of them (default: %(default)s)")
    add("--repository", type=Path, required=True)
    add("--name", default="recommender", help="of the model (default: %(default)s)")
    add("--url", help="HTTP host:port of a running server that should change over")
    add("--metric", help="what decides (default: the first of the run's test metrics)")
    add("--allowed-loss", type=float, default=0.0, help="how much worse it may be, absolute (default: %(default)s)")
    add("--force", action="store_true", help="publish whatever the metrics say (never what is not verified)")
    add("--rollback", action="store_true", help="serve what was served before the present version")
    add("--keep", type=int, default=KEPT_VERSIONS, help="versions that stay (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """0 done, 1 the new version is worse and was not published."""
    repository.check_name(args.name)
    if args.rollback:
        return _rollback(args)
    if args.export is None:
        raise ValueError("--export is missing: which run's export shall be published? (or --rollback)")
    export, model = open_export(args.export), args.repository / args.name
    made = variants.converted(args.models or variants.default_folder(args.export), args.model)
    made.require_verified(export.identity)
    metrics, before = metrics_of(export), repository.served(model)
    if not args.force:
        old = repository.published(model, before)["metrics"] if before is not None else {}
        good, why = compare(metrics, old, args.metric, args.allowed_loss)
        print(why)
        if not good:
            print("not published: it is worse than what is served (--allowed-loss, --force)")
            return WORSE
    version = repository.add_version(args.repository, args.name, export, made, metrics)
    _change_over(args, version)
    if removed := repository.keep(args.repository, args.name, args.keep):
        print(f"removed old versions: {', '.join(map(str, removed))}")
    return 0
