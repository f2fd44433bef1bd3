"""Reading one column of numbers from a file, with errors that name the line."""

from __future__ import annotations

import csv
import math
from pathlib import Path


def is_number(text: str) -> bool:
    """Whether it is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def column(path: Path, name: str) -> list[tuple[int, float]]:
    """(line number, value) of one number a line, or of the column `name` of a CSV file with a header.

    Raises:
        ValueError: no such file, no such column, a line that is not a number, or nothing in it.
    """
    if not path.is_file():
        raise ValueError(f"there is no {path}, expected a file with one of {name} a line, or a CSV column {name!r}")
    with path.open(newline="") as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    place, found = 0, []
    for at, (number, row) in enumerate(rows):
        if at == 0 and name in row:
            place = row.index(name)
        elif len(row) <= place or (len(row) > 1 and name not in rows[0][1]) or not is_number(row[place]):
            raise ValueError(f"line {number} of {path} is {','.join(row)!r}, expected a number ({name})")
        else:
            found.append((number, float(row[place])))
    if not found:
        raise ValueError(f"{path} holds no line, expected one of {name} a line")
    return found
