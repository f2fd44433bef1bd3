"""Comparison of a stored notebook with what its code gives today.

Tags of a cell say what may differ (no tag: nothing):
    training  numbers, within `TOLERANCE`
    ranking   the order and a part of the items, and scores
    kinds     everything but the kinds of outputs: progress lines and times
Pictures are compared by kind.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?")
TOLERANCE = 0.03
"""Training gives slightly other numbers on another CPU: this, or 5 % of the number."""
LEAST_SHARED = 0.5
"""Share of the words of a ranking that must be the stored ones."""


def kinds(cell: Any) -> list[str]:
    """The kinds of a cell's outputs: streams by name, results by their formats; in no order."""
    found = set()
    for output in cell.outputs:
        data = output.get("data", {})
        found.add(output.name if output.output_type == "stream" else f"{output.output_type} {sorted(data)}")
    return sorted(found)


def text(cell: Any) -> str:
    """What a cell's outputs say; nothing for pictures."""
    parts = [
        output.text if output.output_type == "stream" else output.data["text/plain"]
        for output in cell.outputs
        if "image/png" not in output.get("data", {})
    ]
    return "\n".join(parts)


def _numbers(words: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(words)]


def _close(stored: float, found: float) -> bool:
    return abs(stored - found) <= max(TOLERANCE, 0.05 * abs(stored))


def _same_text(tags: list[str], stored: str, found: str) -> bool:
    if "kinds" in tags:
        return True
    if "training" in tags:
        pairs = list(zip(_numbers(stored), _numbers(found), strict=False))
        same_words = NUMBER.sub("#", stored).split() == NUMBER.sub("#", found).split()
        return same_words and all(_close(*pair) for pair in pairs)
    if "ranking" in tags:
        before, after = Counter(stored.split()), Counter(found.split())
        shared = (before & after).total() >= LEAST_SHARED * before.total()
        return shared and len(stored.splitlines()) == len(found.splitlines())
    return stored == found


def differences(stored: Any, found: Any) -> list[str]:
    """A line for each cell whose output is not what is stored."""
    lines = []
    for place, (before, after) in enumerate(zip(stored.cells, found.cells, strict=True)):
        if before.cell_type != "code":
            continue
        if kinds(before) != kinds(after):
            lines.append(f"cell {place}: {kinds(before)} stored, {kinds(after)} found")
        elif not _same_text(before.metadata.get("tags", []), text(before), text(after)):
            lines.append(f"cell {place}: stored\n{text(before)}\nfound\n{text(after)}")
    return lines
