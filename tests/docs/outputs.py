"""Comparison of what a command printed with what a page shows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.docs.blocks import WILDCARDS

NUMBER = re.compile(r"\b[0-9a-f]{12,}\b|(?<![A-Za-z_\d])[-+]?\d+(,\d{3})*(\.\d+)?([eE][-+]?\d+)?")
TITLE = re.compile(r".*\(\d{4}\).*")


def form(line: str, titles: bool) -> str:
    """A line with # for every number, and without differences in blanks.

    Args:
        titles: False: a line with the title of a film is "TITLE", because other data have other films.
    """
    if not titles and TITLE.fullmatch(line):
        return "TITLE"
    return " ".join(re.sub(r"-{3,}", "---", NUMBER.sub("#", line)).split())


def _place_of(chunk: Sequence[str], lines: Sequence[str], start: int) -> int | None:
    """First index from `start` at which the lines of `chunk` stand one after another."""
    for place in range(start, len(lines) - len(chunk) + 1):
        if list(lines[place : place + len(chunk)]) == list(chunk):
            return place
    return None


def difference(shown: Sequence[str], printed: Sequence[str], exact: bool = False, titles: bool = True) -> str:
    """The first lines of the page that the command did not print there; "" if all agree.

    Args:
        shown: output in the page; a line "..." stands for any number of lines.
        printed: output of the command.
        exact: compare digits too.
        titles: whether titles of films are those of the page.
    """

    def key(line: str) -> str:
        return line.rstrip() if exact else form(line, titles)

    chunks: list[list[str]] = [[]]
    for line in shown:
        if line.strip() in WILDCARDS:
            chunks.append([])
        elif line.strip():
            chunks[-1].append(key(line))
    lines = [key(line) for line in printed if line.strip()]
    at = 0
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        free = number > 0
        if last and free and chunk:
            place = len(lines) - len(chunk) if lines[at:][-len(chunk) :] == chunk else None
        else:
            place = _place_of(chunk, lines, at) if free else (0 if lines[: len(chunk)] == chunk else None)
        if place is None:
            text = "\n  ".join
            return f"the page shows\n  {text(chunk)}\nand from line {at + 1} on was printed\n  {text(lines[at:])}"
        at = place + len(chunk)
        if last and not free and at != len(lines):
            return f"printed, and not on the page: {lines[at:]}"
    return ""
