"""The best of all scores on the host, exactly: what a request with constraints takes instead of the model's own top-k.

Shape legend: B requests, I items, K top-k.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def _best(scores: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.intp]:
    """At most k indices of scores [I] above minus infinity, best first; on a tie the lower one."""
    if k < len(scores):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        indices = np.flatnonzero((scores >= threshold) & (scores > -np.inf))
    else:
        indices = np.flatnonzero(scores > -np.inf)
    return indices[np.argsort(-scores[indices], kind="stable")[:k]]


def top_k(
    all_scores: npt.NDArray[np.float32], k: int, allowed: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k best items of each row and their scores. Higher score first; on a tie the lower item index.

    Args:
        all_scores: [B, I], minus infinity where an item must not be recommended.
        allowed: [B, I] or [I] the items that may be recommended; None for all.

    Returns:
        items int32 [B, K] and scores float32 [B, K]; -1 and minus infinity where fewer than k are allowed.
    """
    items = np.full((len(all_scores), k), -1, np.int32)
    scores = np.full((len(all_scores), k), -np.inf, np.float32)
    for row, own in enumerate(all_scores):
        if allowed is None:
            found = _best(own, k)
        else:
            places = np.flatnonzero(allowed if allowed.ndim == 1 else allowed[row])
            found = places[_best(own[places], k)]
        items[row, : len(found)], scores[row, : len(found)] = found, own[found]
    return items, scores
