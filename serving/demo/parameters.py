"""Reads the parameters of an API request; each has one meaning, and anything else is an error of one line."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

MAX_HISTORY = 200
"""Largest number of items in a request; the page keeps to it too."""
MAX_K = 100
MAX_TEXT = 200
"""Largest number of characters of a typed text."""
MAX_ID = 1_000
"""Largest number of characters of an id."""


class BadRequest(ValueError):
    """A parameter of a request cannot be used; the message says which, and what was expected."""


def shortened(value: str) -> str:
    """The value in quotes, at most 40 characters of it."""
    return repr(value if len(value) <= 40 else f"{value[:37]}...")


@dataclass(frozen=True)
class Parameters:
    """The parameters of one request."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]], known: Collection[str]) -> Parameters:
        """
        Args:
            known: names that this request may have.

        Raises:
            BadRequest: another name.
        """
        own = tuple(pairs)
        for name, _ in own:
            if name not in known:
                raise BadRequest(f"unknown parameter {shortened(name)}, expected: {', '.join(known)}")
        return cls(own)

    def all(self, name: str) -> list[str]:
        """Every value of a parameter that may be repeated."""
        return [value for other, value in self.pairs if other == name]

    def text(self, name: str, longest: int, default: str | None = None) -> str:
        """The value of a parameter.

        Raises:
            BadRequest: it is given twice, is too long, or is missing and has no default.
        """
        values = self.all(name)
        if not values and default is not None:
            return default
        if len(values) != 1:
            raise BadRequest(f"{name} is given {len(values)} times, expected once")
        if len(values[0]) > longest:
            raise BadRequest(f"{name} has {len(values[0]):,} characters, expected at most {longest:,}")
        return values[0]

    def whole(self, name: str, smallest: int, largest: int, default: int | None = None) -> int:
        """A whole number; see `text`."""
        value = self.text(name, MAX_ID, None if default is None else str(default))
        if not (value.isascii() and value.isdecimal() and len(value) < 10 and smallest <= int(value) <= largest):
            raise BadRequest(f"{name} is {shortened(value)}, expected a whole number from {smallest} to {largest}")
        return int(value)

    def share(self, name: str) -> float:
        """A number from 0 to 1, 0 if it is missing; see `text`."""
        value = self.text(name, MAX_ID, "0")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:  # NaN too
            raise BadRequest(f"{name} is {shortened(value)}, expected a number from 0 to 1")
        return number

    def ids(self, name: str) -> list[str]:
        """The ids of a parameter that is repeated for each, without duplicates.

        Raises:
            BadRequest: there are too many, or one is too long.
        """
        values = list(dict.fromkeys(self.all(name)))
        if len(values) > MAX_HISTORY:
            raise BadRequest(f"{name} is given {len(values):,} times, expected at most {MAX_HISTORY} items")
        for value in values:
            if not 1 <= len(value) <= MAX_ID:
                raise BadRequest(f"{name} has {len(value):,} characters, expected 1 to {MAX_ID:,}")
        return values
