"""Answers to requests, and the notes that say why one is short or comes from elsewhere than the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.export_folder import Id
from serving.recommend.requests import Request

MODEL, POPULAR, ERROR = "model", "popular", "error"


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The answer to a request, best item first."""

    source: str
    """MODEL; POPULAR if the request holds no known user and no known item; ERROR if it could not be answered."""
    item_ids: npt.NDArray
    """[k] original ids (int64, or str in an object array); fewer than requested if no more items are allowed."""
    titles: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    """[k] scores of the model; for POPULAR, the number of users who have the item."""
    unknown: tuple[Id, ...] = ()
    """Original ids and titles of the request that are not known."""
    note: str = ""
    """Why the answer is short, or why the model was not used; for ERROR, what is wrong."""


def shortfall_note(request: Request, found: int, *, seen: int, fitting: int | None, n_items: int) -> str:
    """Why an answer holds fewer items than asked for, although all items were ranked.

    Args:
        found: items in the answer.
        seen: items that the user has.
        fitting: items that the request allows, those of the user among them; None if it allows all.
        n_items: of the catalogue.
    """
    if fitting == 0:
        wish = "no item fits where" if request.where else "the request allows no known item"
        return f"0 of {request.k}: {wish}"
    if fitting is not None:
        own = "; the user has the others" if found < fitting else ""
        return f"{found} of {request.k}: the request allows {fitting:,} of {n_items:,} items{own}"
    if found == 0:
        return f"0 of {request.k}: the user has all {n_items:,} items, nothing is left to recommend"
    return f"{found} of {request.k}: the user has {seen:,} of the {n_items:,} items, no more are left"
