"""Completes what a person types to items: by title, or by id."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

END = "\n"
"""Separates titles in the searched text; no typed text holds it."""

LOOKED_AT = 5_000
"""Titles with the longest typed word in which the other words are looked for."""


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

    def _places(self, text: str) -> Iterator[int]:
        """Places, in the order of the searched text, of the titles that hold a text: most users first."""
        found = self._text.find(text)
        while found >= 0:
            place = int(np.searchsorted(self._starts, found, side="right")) - 1
            yield place
            found = self._text.find(text, int(self._starts[place + 1]))

    def _candidates(self, typed: str) -> Iterator[int]:
        """Indices of the items that fit a text, the best first; an item may come twice."""
        if typed.strip() in self._index_of:
            yield self._index_of[typed.strip()]
        words = folded(typed).split()
        if not words:
            return
        text = " ".join(words)
        for pattern in (f"{END} {text}", f" {text}", text):
            yield from (int(self._by_count[place]) for place in self._places(pattern))
        for place in islice(self._places(f" {max(words, key=len)}"), LOOKED_AT):
            title = self._text[self._starts[place] : self._starts[place + 1]]
            if all(f" {word}" in title for word in words):
                yield int(self._by_count[place])

    def __call__(self, typed: str, count: int) -> list[int]:
        """Indices of at most `count` items: that with this id, those whose title begins with the text, those that hold
        it at the beginning of a word, those that hold it, and those that hold the beginning of each word.
        """
        found: dict[int, None] = {}
        for item in self._candidates(typed):
            found[item] = None
            if len(found) == count:
                break
        return list(found)
