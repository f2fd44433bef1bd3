"""Print recommendations for a user, for items or for titles; without any of them, the most popular items.

A title may be given without its year, with its article first or last, in any case, or by its beginning. It must mean
one item: if several match, the command lists them with their ids and ends with status 2. A title or an id that is not
known is reported and left out; if none of them is known, the command ends with status 2 and names similar titles.
A filter (--where) and lists of allowed and denied items choose among all items: the answer has as many as are left,
up to -k.

python -m serving recommend --export runs/first --user 42
python -m serving recommend --export runs/first --titles "Shawshank Redemption, The" --titles Heat -k 5
python -m serving recommend --export runs/first --user 42 --where "genre = 'Drama' and year > 1990"
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from serving import targets
from serving.command_help import EXPORT_HELP, MODELS_HELP, CommandParser
from serving.data_set import DATA_HELP
from serving.engines import providers
from serving.engines.engine import Engine, open_engine, reference_engine
from serving.export_folder import SERVING, ExportFolder, Id, open_export
from serving.histories.command import STORE_HELP
from serving.histories.store import HistoryStore
from serving.progress import step
from serving.reasons.explainer import Explainer, require_histories
from serving.recommend.answers import ERROR
from serving.recommend.item_lists import ids_or_file, item_ids
from serving.recommend.item_table import item_table
from serving.recommend.known_users import require_store, types_of_users
from serving.recommend.recommender import Recommender
from serving.recommend.request_flags import add_request_flags, check_allow, format_of
from serving.recommend.requests import Request, RequestError, check_request, parse_user
from serving.recommend.table import print_answer
from serving.recommend.titles import TitleIndex
from serving.recommend.where import ItemFilter
from serving.recommend.why import NO_CSV, reasons_of

LISTED = 10
"""Largest number of unknown ids that are named."""


def open_model(
    export: ExportFolder, models: Path | None, name: str | None, provider: str = providers.AUTO
) -> tuple[Engine, int | None]:
    """A verified converted model, or the exported model if no name is given; and its limit on histories.

    Raises:
        ValueError: the name is unknown, or the model is missing or was not verified.
    """
    if name is None:
        providers.check_name(targets.parse_target("savedmodel-fp32"), provider)
        step("loading TensorFlow and the exported model (a converted model loads faster: --model onnx-fp32)")
        return reference_engine(export, SERVING, "tensorflow" if provider == providers.AUTO else provider), None
    artifact = targets.artifact(models or targets.default_folder(export.folder), name)
    artifact.require_model()
    provider = providers.choose(artifact, provider)
    artifact.require_verified(export.identity, provider)
    step(f"loading {name}")
    return open_engine(artifact, provider=provider), artifact.history_limit(
        export.history_limit(artifact.target.signature)
    )


def add_arguments(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--export", metavar="RUN", type=Path, required=True, help=EXPORT_HELP)
    add_request_flags(parser, "each in quotes; may be repeated", "ID,...|FILE")
    add("--why", action="store_true", help="name the items of the history that carry each recommendation")
    add("--model", help="a verified converted model, as onnx-int8 (default: the exported model in TensorFlow)")
    parser.add_rare(
        "--items-table", metavar="FILE", type=Path, help="CSV or Parquet with item_id and further columns for --where"
    )
    add("--store", metavar="ADDRESS", help=f"where the items of --user are: {STORE_HELP} (default: the data set)")
    parser.add_rare("--data", metavar="D", type=Path, help=DATA_HELP)
    parser.add_rare("--models", type=Path, help=MODELS_HELP)
    parser.add_rare("--provider", choices=providers.CHOICES, default=providers.AUTO, help=providers.HELP)


def _with_titles(request: Request, values: list[str], export: ExportFolder) -> tuple[Request, list[str]]:
    """The request with the items of all --titles, and a line for each title that no item has.

    Raises:
        RequestError: several items match a title, or the data set has no titles.
    """
    if not any(export.titles):
        raise RequestError("--titles: this data set has no titles; name items by id with --items")
    index = TitleIndex(export.titles, export.item_ids.tolist())
    ids, unknown_titles = index.find([title for value in values for title in index.split(value)])
    if ids:
        title_of = dict(zip(export.item_ids.tolist(), export.titles, strict=True))
        named = ", ".join(f"{title_of[i]} (id {i})" for i in ids)
        print(f"for a user who has: {named}", file=sys.stderr, flush=True)
    unknown = []
    for title in unknown_titles:
        similar = " or ".join(f'"{t}"' for t in index.nearest(title))
        several = "; several titles: repeat --titles" if "," in title or ";" in title else ""
        unknown.append(f'no item has the title "{title}"' + (f"; do you mean {similar}?" if similar else "") + several)
    return replace(request, item_ids=tuple(dict.fromkeys((*request.item_ids, *ids)))), unknown


def _report_unknown(
    request: Request, unknown_titles: list[str], export: ExportFolder, store: HistoryStore | None
) -> None:
    """Say which items are not known.

    Raises:
        RequestError: items were named, and neither one of them nor the user is known.
    """
    known = set(export.item_ids.tolist())
    unknown = [i for i in request.item_ids if i not in known]
    lines = [*unknown_titles, *(f"no item has the id {i}" for i in unknown[:LISTED])]
    if len(unknown) > LISTED:
        lines.append(f"{len(unknown) - LISTED:,} more ids are not known")
    if lines and len(unknown) == len(request.item_ids) and not _is_known(request.user_id, store):
        example = ", ".join(str(i) for i in export.item_ids[:3])
        if unknown:
            lines.append(f"this data set has ids such as {example}")
        raise RequestError("; ".join(lines) if len(lines) < 3 else "\n  ".join(["nothing is known:", *lines]))
    for line in lines:
        print(f"ignored: {line}", file=sys.stderr)


def _is_known(user: Id | None, store: HistoryStore | None) -> bool:
    return user is not None and store is not None and store.histories([user]) != [None]


def _request_of(args: argparse.Namespace, export: ExportFolder, store: HistoryStore | None) -> Request:
    """The request of the flags. It is checked before a model is loaded, which takes seconds."""
    types = types_of_users(export, store)
    request = check_request(
        user_id=parse_user(args.user, types.user),
        item_ids=item_ids(args.items, "--items", export),
        k=args.k,
        deny=ids_or_file(args.deny, "--deny", export),
        allow=ids_or_file(args.allow, "--allow", export) if args.allow is not None else None,
        where=args.where,
        top_k=export.n_items,
        n_items=export.n_items,
        id_types=types,
    )
    titles = [value for value in args.titles if value.strip(" ,;")]
    unknown_titles: list[str] = []
    if titles:
        request, unknown_titles = _with_titles(request, titles, export)
    if request.item_ids or unknown_titles:
        _report_unknown(request, unknown_titles, export, store)
    return request


def main(args: argparse.Namespace) -> int:
    """0 if the table was printed."""
    form = format_of(args)
    check_allow(args.allow)
    if args.why and form == "csv":
        raise ValueError(NO_CSV)
    export = open_export(args.export, args.data)
    if args.why:
        require_histories(export)
    asks_store = args.user is not None or args.store is not None
    store = require_store(export, args.store) if asks_store else None
    request = _request_of(args, export, store)
    item_filter = None
    if request.where:
        item_filter = ItemFilter(item_table(export, args.items_table))
        item_filter.mask(request.where)  # what is wrong with it is said before the model is loaded
    engine, history_limit = open_model(export, args.models, args.model, args.provider)
    recommender = Recommender(export, engine, history_limit, store, item_filter=item_filter)
    (answer,) = recommender.recommend([request])
    if answer.source == ERROR:
        raise RequestError(answer.note)
    reasons = reasons_of(answer, Explainer(export, engine, history_limit), export) if args.why else None
    items, scores = answer.item_ids.tolist(), answer.scores.tolist()
    print_answer(answer.titles, items, scores, answer.source, answer.note, form, reasons)
    return 0
