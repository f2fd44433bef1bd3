"""A request as people make it - original ids, any number of them, anything at all - checked and turned into indices.

One bad request is one clear error; the next request is served.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

MOST_ITEMS = 10_000
"""Ids that one request may name."""
LARGEST_ID = 2**63 - 1


class RequestError(ValueError):
    """A request that cannot be answered; says what was given and what is expected."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A checked request."""

    user_id: int | None = None
    item_ids: tuple[int, ...] = ()
    """Original ids, each once, in the order given."""
    k: int = 10
    deny: frozenset[int] = frozenset()
    """Original ids never to recommend."""
    allow: frozenset[int] | None = None
    """If given, nothing else is recommended."""


def _shown(value: object) -> str:
    """A value as a message can hold it."""
    try:
        text = str(value)
    except ValueError:  # Python refuses to write out numbers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _identifier(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise RequestError(f"{name} holds {_shown(value)!r}, expected whole numbers")
    if not 0 <= int(value) <= LARGEST_ID:
        raise RequestError(f"{name} holds {_shown(value)}, expected 0 to {LARGEST_ID}")
    return int(value)


def _identifiers(values: Collection[object], name: str) -> tuple[int, ...]:
    if len(values) > MOST_ITEMS:
        raise RequestError(f"{name} holds {len(values):,} ids, at most {MOST_ITEMS:,} are taken")
    return tuple(dict.fromkeys(_identifier(v, name) for v in values))


def checked(
    *,
    user_id: object = None,
    item_ids: Collection[object] = (),
    k: object = 10,
    deny: Collection[object] = (),
    allow: Collection[object] | None = None,
    top_k: int,
) -> Asked:
    """Check a request.

    Args:
        top_k: answers that the model gives at most.

    Raises:
        RequestError: not numbers, negative, too many, or K out of range.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= int(k) <= top_k:
        raise RequestError(f"k is {_shown(k)!r}, expected a whole number from 1 to {top_k}")
    return Asked(
        user_id=None if user_id is None else _identifier(user_id, "user"),
        item_ids=_identifiers(item_ids, "items"),
        k=int(k),
        deny=frozenset(_identifiers(deny, "deny")),
        allow=None if allow is None else frozenset(_identifiers(allow, "allow")),
    )


def numbers(text: str, flag: str) -> list[int]:
    """Comma-separated whole numbers.

    Raises:
        RequestError: anything else.
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise RequestError(f"{flag} is {text[:60]!r}, expected whole numbers separated by commas") from None


def named(titles: Sequence[str], known: Sequence[str | None]) -> tuple[list[int], list[str]]:
    """Items by title: exactly, else by the only title that begins with it, whatever the case.

    Returns:
        Their indices, and the names that nothing or more than one thing has.
    """
    lowered = [t.casefold() if isinstance(t, str) else "" for t in known]
    exact = {t: k for k, t in enumerate(lowered) if t}
    found, unknown = [], []
    for title in (t.strip() for t in titles):
        wanted = title.casefold()
        if not wanted:
            continue
        begins = [k for k, t in enumerate(lowered) if t.startswith(wanted)]
        if wanted in exact:
            found.append(exact[wanted])
        elif len(begins) == 1:
            found.append(begins[0])
        else:
            unknown.append(f"{title} ({len(begins)} titles begin so)" if begins else title)
    return found, unknown
