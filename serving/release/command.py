"""Publish a new version of a model into a repository if it is verified and not worse than the served one; or roll back.

Both are measured on the test users of the new version's data set. With --url, the running server loads the new version
beside the old one and then switches, so that no request fails. With --shadow, the new version first answers a share of
the real requests too, without being shown.

  python -m serving publish --export runs/tuesday --repository models --name vaecf --url 127.0.0.1:8000
  python -m serving publish --export runs/tuesday --repository models --name vaecf --shadow 0.1
  python -m serving publish --repository models --name vaecf --promote --url 127.0.0.1:8000
  python -m serving publish --repository models --name vaecf --rollback --url 127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from serving.command_help import MODELS_HELP, CommandParser
from serving.release import publishing, shadowing, switch
from serving.triton import publish_lock, repository

MARGIN, KEPT_VERSIONS = 0.002, 3
ACTIONS = ("rollback", "promote", "drop_shadow", "shadow_report")
"""Flags of which one may be given, in place of --export."""


def add_arguments(parser: CommandParser) -> None:
    add, add_rare = parser.add_argument, parser.add_rare
    add("--export", metavar="RUN", type=Path, help="folder of the run of the new model, or the export in it")
    add("--model", default="onnx-fp32", help="the converted model to publish (default: %(default)s)")
    add("--repository", type=Path, required=True, help="folder that `triton build` wrote")
    add("--name", default="recommender", help="of the model (default: %(default)s)")
    add("--url", help="HTTP host:port of a running server that loads the new version")
    add("--margin", type=float, help=f"how much worse it may be, by the metric's interval (default: {MARGIN:g})")
    add(
        "--shadow",
        type=float,
        metavar="SHARE",
        help="let it answer this share of the requests, unseen",
    )
    add("--shadow-report", action="store_true", help="show how the shadow has answered so far")
    add("--promote", action="store_true", help="serve the version that is the shadow")
    add("--drop-shadow", action="store_true", help="end the shadow")
    add("--rollback", action="store_true", help="serve the version that was served before the present one")
    add_rare("--data", type=Path, help="the new model's data set, if it is not where its run names it")
    add_rare("--served-data", type=Path, help="the served version's data set, if it is not where it was")
    add_rare("--models", type=Path, help=MODELS_HELP)
    add_rare("--metric", help="NAME@K, the metric to compare (default: the first of the run's test metrics)")
    add_rare("--allowed-loss", type=float, help="former name of --margin")
    add_rare("--force", action="store_true", help="publish or promote a verified model whatever the numbers say")
    add_rare("--keep", type=int, default=KEPT_VERSIONS, help="number of versions to keep (default: %(default)s)")
    add_rare("--json", action="store_true", help="print the report of the shadow as JSON")
    add_rare(
        "--wait",
        type=float,
        default=publish_lock.WAIT_SECONDS,
        metavar="SECONDS",
        help="longest wait for another publisher (default: %(default)g)",
    )
    add_rare(
        "--load-seconds",
        type=float,
        default=switch.LOAD_SECONDS,
        metavar="SECONDS",
        help="longest time for the server to load a version (default: %(default)g)",
    )


def margin_of(args: argparse.Namespace) -> float:
    """
    Raises:
        ValueError: --margin or --allowed-loss is no number from 0.
    """
    if args.allowed_loss is not None:
        if args.margin is not None:
            raise ValueError("--allowed-loss is the former name of --margin; give one of them")
        print(
            "note: --allowed-loss is now --margin: the lower end of the interval counts, not the mean", file=sys.stderr
        )
    given = args.margin if args.margin is not None else args.allowed_loss
    margin = MARGIN if given is None else given
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"--margin is {margin:g}, expected a number from 0, in units of the metric, as {MARGIN:g}")
    return margin


def _chosen_action(args: argparse.Namespace) -> str | None:
    """The flag of ACTIONS that was given.

    Raises:
        ValueError: several, or --export or --shadow beside one, or nothing to do.
    """
    given = [f"--{name.replace('_', '-')}" for name in ACTIONS if getattr(args, name)]
    beside = [flag for flag, value in (("--export", args.export), ("--shadow", args.shadow)) if value is not None]
    if len(given) > 1 or (given and beside):
        raise ValueError(f"{', '.join([*given, *beside])}: give one of them")
    if not given and args.export is None:
        raise ValueError("--export is missing: which run's export shall be published? (or --rollback)")
    return next((name for name in ACTIONS if getattr(args, name)), None)


def main(args: argparse.Namespace) -> int:
    """0 done, 1 the new version is worse, or not shown to be as good, and was not published."""
    repository.check_name(args.name)
    action = _chosen_action(args)
    if action is None:
        return publishing.publish(args, margin_of(args))
    if action == "shadow_report":
        return shadowing.show_report(args)
    acts = {"rollback": publishing.roll_back, "promote": shadowing.promote, "drop_shadow": shadowing.drop}
    with publish_lock.publishing(args.repository, args.wait):
        return acts[action](args)
