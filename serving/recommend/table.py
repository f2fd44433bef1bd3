"""The table of recommendations that the command line and the client print."""

from __future__ import annotations

from collections.abc import Iterable

from serving.recommend.recommender import POPULAR


def format_table(titles: Iterable[str], item_ids: Iterable[int], scores: Iterable[float], source: str) -> str:
    """A table with rank, title, id and score; ids and counts are written with all their digits.

    Args:
        titles: [k] best item first, as `item_ids` and `scores`.
        source: `Recommendation.source`.
    """
    from tabulate import tabulate

    popular = source == POPULAR
    rows = [
        (str(rank), title, str(item), f"{score:.0f}" if popular else f"{score:.4f}")
        for rank, (title, item, score) in enumerate(zip(titles, item_ids, scores, strict=True), 1)
    ]
    headers = ("rank", "title", "id", "users who have it" if popular else "score")
    alignment = ("right", "left", "right", "right") if rows else None  # tabulate fails for a table without rows
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=alignment)
