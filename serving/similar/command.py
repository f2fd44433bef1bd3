"""Print the items that are most similar to one.

Models with item vectors (VAE-CF, NCF, iALS, BPR) compare them by their cosine, without loading the model. EASE, EDLAE
and ItemKNN give the weight by which the item adds to the score of another. A title must mean one item.

python -m serving similar --export runs/first --title "Toy Story" -k 5
python -m serving similar --export runs/first --item 318 --json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serving.command_help import EXPORT_HELP, MODELS_HELP, CommandParser
from serving.engines import providers
from serving.engines.engine import Engine
from serving.export_folder import ExportFolder, open_export
from serving.recommend.answers import MODEL
from serving.recommend.command import open_model
from serving.recommend.requests import RequestError, parse_ids
from serving.recommend.table import format_json, format_table
from serving.recommend.titles import TitleIndex
from serving.similar.finder import SimilarItems


def add_arguments(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--export", metavar="RUN", type=Path, required=True, help=EXPORT_HELP)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--item", "--items", metavar="ID", help="an item of the data set")
    which.add_argument("--title", "--titles", help="the same by its title, as in recommend")
    add("-k", type=int, default=10, help="number of similar items (default: %(default)s)")
    add("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_rare("--model", help="a verified converted model that gives the weights of a linear model, as onnx-fp32")
    parser.add_rare("--models", type=Path, help=MODELS_HELP)
    parser.add_rare("--provider", choices=providers.CHOICES, default=providers.AUTO, help=providers.HELP)


def _index_of_title(title: str, export: ExportFolder) -> int:
    if not any(export.titles):
        raise RequestError("--title: this data set has no titles; name the item by id with --item")
    index = TitleIndex(export.titles, export.item_ids.tolist())
    ids, unknown = index.find([title])
    if unknown or not ids:
        similar = " or ".join(f'"{t}"' for t in index.nearest(title))
        raise RequestError(f'no item has the title "{title}"' + (f"; do you mean {similar}?" if similar else ""))
    return export.item_ids.tolist().index(ids[0])


def index_of(args: argparse.Namespace, export: ExportFolder) -> int:
    """Index of the item that --item or --title names.

    Raises:
        RequestError: it is not known, or several items match the title.
    """
    if args.title is not None:
        return _index_of_title(args.title, export)
    id_type = export.id_types.item
    ids = [args.item.strip()] if id_type is str else parse_ids(args.item, "--item", id_type)
    known = export.item_ids.tolist()
    if len(ids) != 1 or ids[0] not in known:
        example = ", ".join(str(i) for i in known[:3])
        raise RequestError(f"no item has the id {args.item!r}; this data set has ids such as {example}")
    return known.index(ids[0])


def main(args: argparse.Namespace) -> int:
    """0 if the table was printed."""
    export = open_export(args.export)
    item = index_of(args, export)

    def opened() -> Engine:
        return open_model(export, args.models, args.model, args.provider)[0]

    items, scores = SimilarItems(export, opened).find(item, args.k)
    shown = ([export.titles[i] for i in items], export.item_ids[items].tolist(), scores.tolist(), MODEL)
    if args.json:
        print(format_json(*shown, ""))
        return 0
    title = export.titles[item]
    print(f"similar to: {title + ' ' if title else ''}(id {export.item_ids[item]})", file=sys.stderr)
    print(format_table(*shown))
    return 0
