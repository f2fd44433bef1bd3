"""Events (a user took an item), their rules, and the errors of the stores.

A history is made of events: each item once, in the order of its latest event. Events of equal times stand in the order
in which they arrived. `UNKNOWN_TIME` comes before all times; it is that of events loaded from a data set.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from serving.ids import Id, IdType, IdTypes

T = TypeVar("T")
UNKNOWN_TIME = 0
LATEST_TIME = 2**33 - 1
"""Largest time of an event, in the year 2242. Milliseconds since 1970 are larger."""
LARGEST_ID = 2**63 - 1
RETRY_AFTER_S = 1.0
"""After an error, a server is not asked again for so long: each request would wait for its connection."""
LONGEST_ID = 1_000
"""Largest number of characters of a text id."""


class Event(NamedTuple):
    """A user took an item."""

    user: Id
    item: Id
    time: int | None = None
    """Whole seconds since 1970 (UTC); None for now."""


PlacedEvent = tuple[Event, int, int]
"""An event, the group of a transaction that it belongs to, and its place among all events of the transaction."""


class StoreUnavailableError(OSError):
    """The store of histories cannot be reached. The message is one line with its address, without a password."""


class ReadOnlyStoreError(ValueError):
    """The store takes no events."""


def _check_id(value: object, name: str, id_type: IdType) -> None:
    if id_type is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} is {value!r}, expected text as the other ids of this store")
        if not 1 <= len(value) <= LONGEST_ID or "\0" in value:
            raise ValueError(f"{name} is a text of {len(value):,} characters, expected 1 to {LONGEST_ID:,} without NUL")
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is {str(value)[:60]!r}, expected a whole number as the other ids of this store")
    if not -LARGEST_ID <= value <= LARGEST_ID:
        raise ValueError(f"{name} is {str(value)[:60]}, expected -{LARGEST_ID} to {LARGEST_ID}")


def checked(events: Iterable[Event], types: IdTypes) -> list[Event]:
    """The events with their times.

    Raises:
        ValueError: an id has another type than those of the store or is out of range, or a time is out of range.
    """
    now, found = int(time.time()), []
    for event in events:
        _check_id(event.user, "user", types.user)
        _check_id(event.item, "item", types.item)
        when = now if event.time is None else event.time
        if isinstance(when, bool) or not isinstance(when, int) or not UNKNOWN_TIME <= when <= LATEST_TIME:
            raise ValueError(f"time is {str(when)[:60]}, expected whole seconds since 1970, at most {LATEST_TIME}")
        found.append(Event(event.user, event.item, when))
    return found


def in_blocks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` values."""
    iterator = iter(values)
    while block := list(islice(iterator, size)):
        yield block


def types_of(event: Event) -> IdTypes:
    """The types of the ids of an event; a new store takes those of its first one."""
    return IdTypes(user=str if isinstance(event.user, str) else int, item=str if isinstance(event.item, str) else int)


def no_rows(address: str) -> ValueError:
    """The error of a store that does not know which users a model was trained on, by row."""
    load = f"python -m serving histories load --data D --store {address}"
    return ValueError(f"{address} does not hold the users that the model was trained on; load its data set: {load}")


def of_type(ids: Sequence[Id], id_type: IdType) -> list[Id]:
    """The ids that have a type; ids of another one are not known to a store."""
    return [i for i in ids if type(i) is id_type]


def latest_of_pairs(events: Sequence[Event]) -> list[tuple[Event, int]]:
    """The latest event of each pair of user and item, and its place among the events."""
    found: dict[tuple[Id, Id], tuple[Event, int]] = {}
    for place, event in enumerate(events):
        known = found.get((event.user, event.item))
        if known is None or (event.time or UNKNOWN_TIME) >= (known[0].time or UNKNOWN_TIME):
            found[event.user, event.item] = (event, place)
    return list(found.values())


def placed(groups: Sequence[Iterable[Event]], types: IdTypes) -> list[PlacedEvent]:
    """The events of all groups with their times, in order; of the events of a pair in one group only the latest.

    Raises:
        ValueError: see `checked`.
    """
    found: list[PlacedEvent] = []
    start = 0
    for number, group in enumerate(groups):
        events = checked(group, types)
        latest: Iterable[tuple[Event, int]] = zip(events, range(len(events)), strict=True)
        if len({event[:2] for event in events}) < len(events):
            latest = sorted(latest_of_pairs(events), key=lambda pair: pair[1])
        found += [(event, number, start + place) for event, place in latest]
        start += len(events)
    return found
