"""Completes what a person types to items: by title, or by id."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

END = "\n"
"""Separates titles in the searched text; no typed text holds it."""


def folded(text: str) -> str:
    """Lower case, without accents, with single spaces instead of punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w]+", " ", plain).split())


class Completion:
    """The items whose title, or id, holds a text. I items."""

    def __init__(self, names: Sequence[str], ids: Sequence[str], counts: npt.NDArray) -> None:
        """
        Args:
            names: [I] title of each item, or its id where it has none.
            ids: [I] ids as text.
            counts: [I] users of each item; items of more users come first.
        """
        self._by_count = np.argsort(-counts, kind="stable")
        self._index_of = {text: k for k, text in enumerate(ids)}
        parts = [END + " " + folded(names[k]) for k in self._by_count]
        self._text = "".join(parts) + END
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def _found(self, text: str) -> Iterator[int]:
        """Indices of the items that hold a text, most users first; an item may come twice."""
        place = self._text.find(text)
        while place >= 0:
            at = int(np.searchsorted(self._starts, place, side="right")) - 1
            yield int(self._by_count[at])
            place = self._text.find(text, int(self._starts[at + 1]))

    def __call__(self, typed: str, count: int) -> list[int]:
        """Indices of at most `count` items: that with this id, those whose title begins with the text, those with a word
        that does, the others that hold it.
        """
        found: dict[int, None] = {}
        if typed.strip() in self._index_of:
            found[self._index_of[typed.strip()]] = None
        text = folded(typed)
        for pattern in (f"{END} {text}", f" {text}", text) if text else ():
            for item in self._found(pattern):
                if len(found) == count:
                    return list(found)
                found[item] = None
        return list(found)
