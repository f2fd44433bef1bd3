"""The table of recommendations that the command line and the client print, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from serving.export_folder import Id
from serving.recommend.recommender import POPULAR


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
