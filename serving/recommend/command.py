"""Print recommendations for a user, for items or for titles; without any of them, the most popular items.

python -m serving recommend --export runs/first/export --user 42
python -m serving recommend --export runs/first/export --titles "Toy Story,Heat (1995)" -k 5
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from serving import targets
from serving.engines.engine import Engine, open_engine, reference_engine
from serving.export_folder import SERVING, ExportFolder, open_export
from serving.recommend.recommender import POPULAR, Recommender
from serving.recommend.requests import Request, check_request, find_titles, parse_ids, parse_user
from serving.recommend.table import format_table


def open_model(export: ExportFolder, models: Path | None, name: str | None) -> tuple[Engine, int | None]:
    """A verified converted model, or the exported model if no name is given; and its limit on histories.

    Raises:
        ValueError: the name is unknown, or the model is missing or was not verified.
    """
    if name is None:
        return reference_engine(export, SERVING), None
    artifact = targets.artifact(models or targets.default_folder(export.folder), name)
    artifact.require_verified(export.identity)
    return open_engine(artifact), export.history_limit(artifact.target.signature)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--export", type=Path, required=True, help="RUN_DIR/export")
    add("--model", help="a verified converted model, as onnx-int8 (default: the exported model in TensorFlow)")
    add("--models", type=Path, help="folder of converted models (default: converted/ beside the export)")
    add("--user", metavar="ID", help="a user of the data set")
    add("--items", metavar="ID,ID,...", default="", help="items that the user has")
    add("--titles", metavar="TITLE,...", default="", help="the same by title or its beginning (or separated by ;)")
    add("-k", type=int, default=10, help="number of recommendations (default: %(default)s)")
    add("--deny", metavar="ID,...", default="", help="never recommend these")
    add("--allow", metavar="ID,...", default="", help="recommend nothing else")


def _request_of(args: argparse.Namespace, top_k: int) -> Request:
    """The request of the flags, without --titles. It is checked before a model is loaded, which takes seconds."""
    return check_request(
        user_id=parse_user(args.user),
        item_ids=parse_ids(args.items, "--items"),
        k=args.k,
        deny=parse_ids(args.deny, "--deny"),
        allow=parse_ids(args.allow, "--allow") if args.allow else None,
        top_k=top_k,
    )


def main(args: argparse.Namespace) -> int:
    """0 if the table was printed."""
    export = open_export(args.export)
    request = _request_of(args, export.top_k)
    engine, history_limit = open_model(export, args.models, args.model)
    recommender = Recommender(export, engine, history_limit)
    separator = ";" if ";" in args.titles else ","
    found, unknown_titles = find_titles(args.titles.split(separator), recommender.titles)
    item_ids = dict.fromkeys((*request.item_ids, *recommender.original_ids(found)))
    (answer,) = recommender.recommend([replace(request, item_ids=tuple(item_ids))])
    for title in unknown_titles:
        print(f"ignored: no title {title}", file=sys.stderr)
    for item in answer.unknown:
        print(f"ignored: item {item} is not known", file=sys.stderr)
    if answer.note:
        print(f"note: {answer.note}", file=sys.stderr)
    if answer.source == POPULAR:
        print("no known user or item: the most popular items")
    print(format_table(answer.titles, answer.item_ids, answer.scores, answer.source))
    return 0
