"""Recommendations for a user, for a few items or titles, or for nobody in particular.

python -m serving recommend --export runs/first/export --user 42
python -m serving recommend --export runs/first/export --titles "Toy Story,Heat (1995)" -k 5
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tabulate import tabulate

from serving import targets as variants
from serving.engines.engine import Runner, open_runner, reference_runner
from serving.export_folder import SERVING, ExportFolder, open_export
from serving.recommend import requests
from serving.recommend.recommender import POPULAR, Recommendation, Recommender


def open_model(export: ExportFolder, models: Path | None, name: str | None) -> tuple[Runner, int | None]:
    """A verified conversion by name, or the exported model itself; and the history it takes at most.

    Raises:
        ValueError: unknown, not there, or not verified.
    """
    if name is None:
        return reference_runner(export, SERVING), None
    made = variants.converted(models or variants.default_folder(export.folder), name)
    made.require_verified(export.identity)
    return open_runner(made), export.history_limit(made.variant.signature)


def show(answer: Recommendation) -> str:
    """The table that people read."""
    popular = answer.source == POPULAR
    rows = [
        (k + 1, title, item, f"{score:.0f}" if popular else f"{score:.4f}")
        for k, (title, item, score) in enumerate(zip(answer.titles, answer.item_ids, answer.scores, strict=True))
    ]
    return tabulate(rows, headers=("rank", "title", "id", "users who have it" if popular else "score"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--export", type=Path, required=True, help="RUN_DIR/export")
    add("--model", help="a verified conversion, as onnx-int8 (default: the exported model in TensorFlow)")
    add("--models", type=Path, help="folder of the conversions (default: converted/ beside the export)")
    add("--user", metavar="ID", help="a user of the data set")
    add("--items", metavar="ID,ID,...", default="", help="items that someone likes")
    add(
        "--titles",
        metavar="TITLE,...",
        default="",
        help="the same by title or its beginning (or separated by ;)",
    )
    add("-k", type=int, default=10, help="how many (default: %(default)s)")
    add("--deny", metavar="ID,...", default="", help="never recommend these")
    add("--allow", metavar="ID,...", default="", help="recommend nothing else")


def _asked(args: argparse.Namespace, top_k: int) -> requests.Asked:
    """What the flags ask for, all but the titles: checked before a model is loaded, which takes seconds."""
    user = requests.numbers(args.user, "--user") if args.user is not None else []
    if args.user is not None and len(user) != 1:
        raise ValueError(f"--user is {args.user!r}, expected one user")
    return requests.checked(
        user_id=user[0] if user else None,
        item_ids=requests.numbers(args.items, "--items"),
        k=args.k,
        deny=requests.numbers(args.deny, "--deny"),
        allow=requests.numbers(args.allow, "--allow") if args.allow else None,
        top_k=top_k,
    )


def main(args: argparse.Namespace) -> int:
    """0 with an answer."""
    export = open_export(args.export)
    asked = _asked(args, export.top_k)
    runner, limit = open_model(export, args.models, args.model)
    recommender = Recommender(export, runner, limit)
    separator = ";" if ";" in args.titles else ","
    found, unknown_titles = requests.named(args.titles.split(separator), recommender.titles)
    liked = dict.fromkeys((*asked.item_ids, *recommender.original(found)))
    (answer,) = recommender.recommend([replace(asked, item_ids=tuple(liked))])
    for name in unknown_titles:
        print(f"ignored: no title {name}", file=sys.stderr)
    for item in answer.unknown:
        print(f"ignored: item {item} is not known", file=sys.stderr)
    if answer.note:
        print(f"note: {answer.note}", file=sys.stderr)
    if answer.source == POPULAR:
        print("nobody known was named: the most popular items")
    print(show(answer))
    return 0
