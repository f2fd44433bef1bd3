"""The reasons for an answer in original ids, as `recommend --why` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serving.export_folder import ExportFolder, Id
from serving.reasons.explainer import Explainer
from serving.recommend.answers import MODEL, Recommendation

SHOWN = 3
"""Largest number of items of the history in a table, for each recommended item."""
NO_CSV = "--why needs --format table or json: a row of CSV has no room for reasons"


class Reason(NamedTuple):
    """An item of the history, and how much lower the recommended item would score without it."""

    id: Id
    title: str
    lower_by: float


def reasons_of(answer: Recommendation, explainer: Explainer, export: ExportFolder) -> list[list[Reason]]:
    """For each recommended item, all items of the history, the one without which it would score lowest first.

    Nothing if the answer does not come from the model.
    """
    if answer.source != MODEL:
        return []
    found = explainer.explain(answer.history, answer.indices)
    ids = export.item_ids.tolist()
    history = found.items.tolist()
    return [
        [Reason(ids[i], export.titles[i], round(by, 6)) for i, by in _strongest_first(history, lower_by.tolist())]
        for lower_by in found.lower_by
    ]


def _strongest_first(items: list[int], lower_by: list[float]) -> list[tuple[int, float]]:
    """Pairs of an item and how much lower the score would be without it, the largest first."""
    return sorted(zip(items, lower_by, strict=True), key=lambda pair: -pair[1])


def format_reasons(reasons: Sequence[Sequence[Reason]]) -> str:
    """A table of the strongest reasons of each recommended item that raise its score."""
    from tabulate import tabulate

    rows = []
    for rank, found in enumerate(reasons, 1):
        raising = [reason for reason in found if reason.lower_by > 0][:SHOWN]
        for place, reason in enumerate(raising):
            rows.append((str(rank) if place == 0 else "", reason.title or str(reason.id), f"{reason.lower_by:.4f}"))
    if not rows:
        return "no item of the history raises these scores"
    headers = ("rank", "would score lower without", "by")
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=("right", "left", "right"))
