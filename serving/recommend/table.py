"""Recommendations as the command line and the client print them: a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence

from serving.export_folder import Id
from serving.recommend.answers import POPULAR


def format_table(titles: Sequence[str], item_ids: Sequence[Id], scores: Sequence[float], source: str) -> str:
    """A table with rank, title (if an item has one), id and score; ids and counts are written with all their digits.

    Args:
        titles: [k] best item first, as `item_ids` and `scores`.
        source: `Recommendation.source`.
    """
    from tabulate import tabulate

    popular, titled = source == POPULAR, any(titles)
    rows = [
        (str(rank), *([title] if titled else []), str(item), f"{score:.0f}" if popular else f"{score:.4f}")
        for rank, (title, item, score) in enumerate(zip(titles, item_ids, scores, strict=True), 1)
    ]
    if not rows:
        return "no item is left to recommend"
    headers = ("rank", *(["title"] if titled else []), "id", "users who have it" if popular else "score")
    alignment = ("right", *(["left"] if titled else []), "right", "right")
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=alignment)


def format_json(titles: Sequence[str], item_ids: Sequence[Id], scores: Sequence[float], source: str, note: str) -> str:
    """The same as one line of JSON; `source` is "model" or "popular"."""
    items = [
        {"rank": rank, "id": item, "title": title, "score": round(score, 6)}
        for rank, (title, item, score) in enumerate(zip(titles, item_ids, scores, strict=True), 1)
    ]
    return json.dumps({"source": source, "note": note, "items": items}, ensure_ascii=False)


def format_csv(titles: Sequence[str], item_ids: Sequence[Id], scores: Sequence[float]) -> str:
    """The same as CSV with a header: rank, id, title, score; no line end after the last line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("rank", "id", "title", "score"))
    for rank, (title, item, score) in enumerate(zip(titles, item_ids, scores, strict=True), 1):
        writer.writerow((rank, item, title, round(score, 6)))
    return text.getvalue().removesuffix("\n")


def print_answer(
    titles: Sequence[str], item_ids: Sequence[Id], scores: Sequence[float], source: str, note: str, form: str
) -> None:
    """Print an answer as "table", "json" or "csv", and its note to standard error."""
    if note:
        print(f"note: {note}", file=sys.stderr)
    if form == "json":
        print(format_json(titles, item_ids, scores, source, note))
        return
    if source == POPULAR:
        print("no known user or item: the most popular items", file=sys.stderr if form == "csv" else sys.stdout)
    print(format_csv(titles, item_ids, scores) if form == "csv" else format_table(titles, item_ids, scores, source))
