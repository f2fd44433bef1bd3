"""Finds items by title: without the year, with the article first or last, or by the beginning of the title.

MovieLens writes "Shawshank Redemption, The (1994)" and "City of Lost Children, The (Cité des enfants perdus, La)
(1995)". A title is compared without regard to case, and so are its other forms: without the year, with the article
first or left out, and the title in parentheses.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from serving.export_folder import Id
from serving.recommend.requests import LONGEST_TEXT, RequestError, shorten

YEAR = re.compile(r"\s*\((\d{4})(?:[-–]\d{0,4})?\)$")
ARTICLE = re.compile(
    r"(.+), (the|a|an|le|la|les|l'|il|lo|i|gli|el|los|las|der|die|das|den|det|de|het|un|une|una|ein|eine|o|os|as)"
)
IN_PARENTHESES = re.compile(r"\s*\(([^()]*)\)")
LISTED = 100
"""Largest number of matching titles that an error lists: all but those of a text that is the beginning of very many."""
SIMILAR = 70
"""Least likeness, of 100, of a title that is suggested."""


def _normal(text: str) -> str:
    """Lower case, single spaces, without quotes around it."""
    return " ".join(text.casefold().split()).strip('"“”').strip()


def _without_year(text: str) -> tuple[str, str]:
    """A title without its year, and the year ("" if there is none)."""
    found = YEAR.search(text)
    return (text[: found.start()], found[1]) if found else (text, "")


def _article_first(name: str) -> tuple[str, str] | None:
    """ "matrix, the" as ("the matrix", "matrix"); None if no article is at the end."""
    found = ARTICLE.fullmatch(name)
    if found is None:
        return None
    return f"{found[2]}{'' if found[2].endswith(chr(39)) else ' '}{found[1]}", found[1]


def _forms(name: str) -> tuple[list[str], list[str]]:
    """Forms of a normalised title without its year: its own, and looser ones (no article, the title in parentheses)."""
    own, loose = [name], list[str]()
    main = IN_PARENTHESES.sub("", name).strip()
    for part in [main, *(p.removeprefix("a.k.a. ").strip() for p in IN_PARENTHESES.findall(name))]:
        target = own if part == main else loose
        target.append(part)
        if moved := _article_first(part):
            target.append(moved[0])
            loose.append(moved[1])
    return own, loose


class TitleIndex:
    """Finds items by title. I items."""

    def __init__(self, titles: Sequence[str], item_ids: Sequence[Id]) -> None:
        """
        Args:
            titles: [I] "" for an item without title.
            item_ids: [I] original ids.
        """
        self._titles, self._ids = titles, item_ids
        self._years: list[str] = []
        self._full: dict[str, list[int]] = defaultdict(list)
        self._own: dict[str, list[int]] = defaultdict(list)
        self._loose: dict[str, list[int]] = defaultdict(list)
        for index, title in enumerate(titles):
            full = _normal(title)
            name, year = _without_year(full)
            self._years.append(year)
            if not full:
                continue
            self._full[full].append(index)
            for forms, places in zip(_forms(name), (self._own, self._loose), strict=True):
                for form in filter(None, dict.fromkeys(forms)):
                    places[form].append(index)

    def matches(self, text: str) -> list[int]:
        """Indices of the items that a title may mean: the equal title, else another form of it, else its beginning."""
        full = _normal(text)
        if not full:
            return []
        if full in self._full:
            return self._full[full]
        name, year = _without_year(full)
        for forms in (self._own, self._loose):
            if found := [k for k in forms.get(name, ()) if year in ("", self._years[k])]:
                return found
        return list(dict.fromkeys(k for forms in (self._full, self._own) for t, found in forms.items()
                                  if t.startswith(full) for k in found))  # fmt: skip

    def split(self, value: str) -> list[str]:
        """The titles of a list that is separated by ; or by commas, also where the titles themselves hold commas.

        Where it is not plain that the text is such a list (one of its parts is no title), it is one title.
        """
        if self.matches(value):
            return [value]
        found = list(self._parts(value, ";" if ";" in value else ","))
        return found if found and all(self._is_title(title) for title in found) else [value]

    def _is_title(self, text: str) -> bool:
        """Whether an item has this title in one of its forms, not only one that begins so."""
        full = _normal(text)
        name, _ = _without_year(full)
        return full in self._full or name in self._own or name in self._loose

    def _parts(self, value: str, separator: str) -> Iterator[str]:
        """The parts of a list, each the longest that is a title."""
        parts = value.split(separator)
        start = 0
        while start < len(parts):
            ends = range(len(parts), start, -1) if separator == "," else [start + 1]
            joined = ((end, separator.join(parts[start:end]).strip()) for end in ends)
            end, title = next(pair for pair in joined if pair[0] == start + 1 or self.matches(pair[1]))
            if title:
                yield title
            start = end

    def find(self, titles: Sequence[str]) -> tuple[list[Id], tuple[str, ...]]:
        """Original ids of the items with these titles, and the titles that no item has.

        Raises:
            RequestError: several items match a title, or a title is too long.
        """
        ids, unknown = [], []
        for title in titles:
            if len(title) > LONGEST_TEXT:
                raise RequestError(f"a title has {len(title):,} characters, at most {LONGEST_TEXT:,} are taken")
            found = self.matches(title)
            if len(found) > 1:
                raise RequestError(self._ambiguous(title, found))
            ids += [self._ids[k] for k in found]
            unknown += [] if found else [title]
        return ids, tuple(unknown)

    def _ambiguous(self, title: str, found: Sequence[int]) -> str:
        lines = [f'  id {self._ids[k]}: "{self._titles[k]}"' for k in found[:LISTED]]
        more = [f"  and {len(found) - LISTED} more"] if len(found) > LISTED else []
        equal = len({self._titles[k] for k in found}) == 1
        give = "give the id of one" if equal else "give the full title or the id of one"
        head = f'{len(found)} items match the title "{shorten(title)}"; {give}:'
        return "\n".join([head, *lines, *more])

    def nearest(self, title: str, count: int = 3) -> list[str]:
        """The titles that look most like a text, the most similar first."""
        from rapidfuzz import fuzz, process

        known = [*dict.fromkeys((*self._own, *self._loose))]
        text = _without_year(_normal(title))[0]
        close = process.extract(text, known, scorer=fuzz.WRatio, limit=4 * count, score_cutoff=SIMILAR)
        indices = dict.fromkeys(k for form, *_ in close for k in (*self._own.get(form, ()), *self._loose.get(form, ())))
        return list(dict.fromkeys(self._titles[k] for k in indices))[:count]
