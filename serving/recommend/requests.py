"""Requests with original ids: checks their values, and reads ids from text."""

from __future__ import annotations

from collections.abc import Collection, Sized
from dataclasses import dataclass

import numpy as np

from serving.export_folder import WHOLE_NUMBERS, Id, IdType, IdTypes

MAX_IDS = 10_000
"""Largest number of ids in each list of a request, unless the catalogue has more items."""
MAX_ID = 2**63 - 1
LONGEST_TEXT = 1_000
"""Largest number of characters of a text id or of a title."""


class RequestError(ValueError):
    """A value of a request is not valid. The message holds the value and the expected range."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request."""

    user_id: Id | None = None
    item_ids: tuple[Id, ...] = ()
    """Items of the user, without duplicates, in the order of the request."""
    k: int = 10
    deny: frozenset[Id] = frozenset()
    """Items that are not recommended."""
    allow: frozenset[Id] | None = None
    """The only items that are recommended; None for all."""
    where: str = ""
    """A filter on the columns of the items (see `where`), "" for none."""
    unknown_titles: tuple[str, ...] = ()
    """Titles of the request that no item has."""


def shorten(value: object) -> str:
    """The value as text of at most 40 characters."""
    try:
        text = str(value)
    except ValueError:  # Python refuses to write out numbers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _check_text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{name} holds {shorten(value)!r}, expected text: the ids of this data set are no numbers")
    if not 1 <= len(value) <= LONGEST_TEXT:
        raise RequestError(f"{name} holds an id of {len(value):,} characters, expected 1 to {LONGEST_TEXT:,}")
    return value


def _check_id(value: object, name: str, id_type: IdType, smallest: int) -> Id:
    if id_type is str:
        return _check_text(value, name)
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise RequestError(f"{name} holds {shorten(value)!r}, expected whole numbers")
    if not smallest <= int(value) <= MAX_ID:
        raise RequestError(f"{name} holds {shorten(value)}, expected {smallest} to {MAX_ID}")
    return int(value)


def check_length(values: Sized, name: str, n_items: int) -> None:
    """Raise RequestError if a list holds more ids than MAX_IDS and than there are items."""
    if len(values) > max(MAX_IDS, n_items):
        raise RequestError(f"{name} holds {len(values):,} ids, at most {max(MAX_IDS, n_items):,} are taken")


def _check_where(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RequestError(f"where is {shorten(value)!r}, expected text")
    if len(value) > LONGEST_TEXT:
        raise RequestError(f"where has {len(value):,} characters, at most {LONGEST_TEXT:,} are taken")
    return value.strip()


def check_request(
    *,
    user_id: object = None,
    item_ids: Collection[object] = (),
    k: object = 10,
    deny: Collection[object] = (),
    allow: Collection[object] | None = None,
    where: object = None,
    top_k: int,
    n_items: int = 0,
    id_types: IdTypes = WHOLE_NUMBERS,
    unknown_titles: tuple[str, ...] = (),
) -> Request:
    """Make a request of values that have not been checked.

    Args:
        where: a filter on the columns of the items; None or "" for none.
        top_k: the largest `k`: the number of items in an answer of the model, or that of all items where the model
            gives the scores of all (`Recommender.largest_k`).
        n_items: of the catalogue; lists may be as long, and in any case MAX_IDS.
        id_types: the types of the data set's ids.
        unknown_titles: titles of the request that no item has.

    Raises:
        RequestError: an id has another type or is out of range, a list is too long, or `k` is out of range.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= int(k) <= top_k:
        raise RequestError(f"k is {shorten(k)!r}, expected a whole number from 1 to {top_k}")
    least = id_types.smallest

    def ids(values: Collection[object], name: str) -> tuple[Id, ...]:
        """The ids without duplicates, in their order."""
        check_length(values, name, n_items)
        return tuple(dict.fromkeys(_check_id(v, name, id_types.item, least) for v in values))

    return Request(
        user_id=None if user_id is None else _check_id(user_id, "user", id_types.user, least),
        item_ids=ids(item_ids, "items"),
        k=int(k),
        deny=frozenset(ids(deny, "deny")),
        allow=None if allow is None else frozenset(ids(allow, "allow")),
        where=_check_where(where),
        unknown_titles=unknown_titles,
    )


def parse_ids(text: str, flag: str, id_type: IdType = int) -> list[Id]:
    """Read comma-separated ids.

    Raises:
        RequestError: the ids are whole numbers and the text holds anything else.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if id_type is str:
        return list(parts)
    try:
        return [int(part) for part in parts]
    except ValueError:
        raise RequestError(f"{flag} is {text[:60]!r}, expected whole numbers separated by commas") from None


def parse_user(text: str | None, id_type: IdType = int) -> Id | None:
    """Read the value of --user; None if the flag was not given.

    Raises:
        RequestError: the text is not exactly one id.
    """
    if text is None:
        return None
    user = text.strip()
    if not user:
        raise RequestError(f"--user is {text!r}, expected one user")
    if id_type is str:
        return user
    try:
        return int(user)
    except ValueError:
        raise RequestError(f"--user is {text[:60]!r}, expected one whole number, as the ids of the users are") from None
