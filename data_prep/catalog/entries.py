"""The known data sets: an entry a YAML file beside this module, or anywhere for a data set of one's own.

`load` gives one of them. Importing this module reads no file; `known` reads all, once.
"""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

from data_prep.catalog.entry import Entry
from data_prep.catalog.entry_file import SUFFIXES, read_entry

FOLDER = Path(__file__).parent
OWN = ("table", "he2017", "transcode", "synthetic")
"""Names of the command that are no known data sets: forms of one's own data."""


@cache
def names() -> tuple[str, ...]:
    """Names of the known data sets; numbers in them are sorted by value."""

    def order(name: str) -> list[tuple[int, str]]:
        words = name.replace("-", " ").split()
        return [(_size(word), word) for word in words]

    return tuple(sorted((path.stem for path in FOLDER.glob("*.yaml")), key=order))


def _size(word: str) -> int:
    """The number that a word begins with, with k and m as thousand and million; 0 for other words."""
    digits = "".join(c for c in word if c.isdigit())
    if not digits or not word[0].isdigit():
        return 0
    return int(digits) * {"k": 10**3, "m": 10**6}.get(word[-1].lower(), 1)


@cache
def known() -> dict[str, Entry]:
    """Name -> entry of every known data set."""
    return {name: read_entry(FOLDER / f"{name}.yaml") for name in names()}


def is_file_name(name: str) -> bool:
    """Whether a NAME of the command is the path of a YAML file."""
    return name.endswith(SUFFIXES)


def is_known(name: str) -> bool:
    """Whether `load` finds an entry of this name, or the name is that of a YAML file."""
    return is_file_name(name) or name.partition("/")[0] in names()


def load(name_or_path: str | Path) -> Entry:
    """The entry of a known data set, of one part of it (NAME/PART), or of a YAML file.

    Raises:
        ValueError: unknown, or the file is wrong: one line with file, field, what was given and what was expected.
    """
    text = str(name_or_path)
    if is_file_name(text):
        return read_entry(Path(text))
    name, _, part = text.partition("/")
    if name not in names():
        close = difflib.get_close_matches(name, (*OWN, *names()), 1)
        hint = f" (is {close[0]!r} meant?)" if close else ""
        raise ValueError(
            f"unknown data set {text!r}{hint}, known are: {', '.join((*OWN, *names()))}; a data set of your "
            "own is described in a YAML file, and NAME is its path (NAME.yaml)"
        )
    entry = read_entry(FOLDER / f"{name}.yaml")
    return entry.of_part(part) if part else entry
