"""Requests with original ids: checks their values, and reads ids and titles from text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

MAX_IDS = 10_000
"""Largest number of ids in each list of a request."""
MAX_ID = 2**63 - 1


class RequestError(ValueError):
    """A value of a request is not valid. The message holds the value and the expected range."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request."""

    user_id: int | None = None
    item_ids: tuple[int, ...] = ()
    """Items of the user, without duplicates, in the order of the request."""
    k: int = 10
    deny: frozenset[int] = frozenset()
    """Items that are not recommended."""
    allow: frozenset[int] | None = None
    """The only items that are recommended; None for all."""


def _shorten(value: object) -> str:
    """The value as text of at most 40 characters."""
    try:
        text = str(value)
    except ValueError:  # Python refuses to write out numbers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _check_id(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise RequestError(f"{name} holds {_shorten(value)!r}, expected whole numbers")
    if not 0 <= int(value) <= MAX_ID:
        raise RequestError(f"{name} holds {_shorten(value)}, expected 0 to {MAX_ID}")
    return int(value)


def _check_ids(values: Collection[object], name: str) -> tuple[int, ...]:
    """The ids without duplicates, in their order."""
    if len(values) > MAX_IDS:
        raise RequestError(f"{name} holds {len(values):,} ids, at most {MAX_IDS:,} are taken")
    return tuple(dict.fromkeys(_check_id(v, name) for v in values))


def check_request(
    *,
    user_id: object = None,
    item_ids: Collection[object] = (),
    k: object = 10,
    deny: Collection[object] = (),
    allow: Collection[object] | None = None,
    top_k: int,
) -> Request:
    """Make a request of values that have not been checked.

    Args:
        top_k: the largest `k`: the number of items in an answer of the model.

    Raises:
        RequestError: an id is no whole number or out of range, a list is too long, or `k` is out of range.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= int(k) <= top_k:
        raise RequestError(f"k is {_shorten(k)!r}, expected a whole number from 1 to {top_k}")
    return Request(
        user_id=None if user_id is None else _check_id(user_id, "user"),
        item_ids=_check_ids(item_ids, "items"),
        k=int(k),
        deny=frozenset(_check_ids(deny, "deny")),
        allow=None if allow is None else frozenset(_check_ids(allow, "allow")),
    )


def parse_ids(text: str, flag: str) -> list[int]:
    """Read comma-separated whole numbers.

    Raises:
        RequestError: the text holds anything else.
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise RequestError(f"{flag} is {text[:60]!r}, expected whole numbers separated by commas") from None


def parse_user(text: str | None) -> int | None:
    """Read the value of --user; None if the flag was not given.

    Raises:
        RequestError: the text is not exactly one whole number.
    """
    if text is None:
        return None
    users = parse_ids(text, "--user")
    if len(users) != 1:
        raise RequestError(f"--user is {text!r}, expected one user")
    return users[0]


def find_titles(titles: Sequence[str], known: Sequence[str | None]) -> tuple[list[int], list[str]]:
    """Find items by title, ignoring case: an equal title, else the only title that begins with the text.

    Args:
        known: [I] title of each item.

    Returns:
        Indices of the items that were found, and one text for each title that was not found or is ambiguous.
    """
    lowered = [t.casefold() if isinstance(t, str) else "" for t in known]
    index_of = {t: k for k, t in enumerate(lowered) if t}
    found, unknown = [], []
    for title in (t.strip() for t in titles):
        text = title.casefold()
        if not text:
            continue
        matches = [k for k, t in enumerate(lowered) if t.startswith(text)]
        if text in index_of:
            found.append(index_of[text])
        elif len(matches) == 1:
            found.append(matches[0])
        else:
            unknown.append(f"{title} ({len(matches)} titles begin so)" if matches else title)
    return found, unknown
