"""Which columns of a table are users, items, values and times, by their names, contents and flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from data_prep.read import ids, known_names, times, values
from data_prep.read.asked import Asked
from data_prep.read.schema import Schema

FLAGS = {
    "user": "--user-column",
    "item": "--item-column",
    "value": "--rating-column",
    "time": "--time-column",
    "event": "--event-column",
}
MOST_LISTED = 500
"""Characters of the columns that an error lists."""
_PLURAL = {"user": "users", "item": "items", "value": "ratings", "time": "times", "event": "events"}


@dataclass(frozen=True)
class _Table:
    """What is known of a source before its columns are chosen."""

    names: tuple[str, ...]
    sample: pa.Table
    where: str
    hint: str
    typed: bool

    def column(self, name: str) -> pa.ChunkedArray:
        return self.sample.column(self.names.index(name))


def choose(
    names: Sequence[str], sample: pa.Table, asked: Asked, where: str, *, hint: str = "", typed: bool | None = None
) -> Schema:
    """The schema of a source.

    Args:
        names: every column, in order.
        sample: its first rows, columns in the same order; those of text formats are all strings.
        where: the source, for messages.
        hint: what may be wrong otherwise, before the flags: "check the delimiter (',') or ".
        typed: whether the source knows types, so that texts are texts even if they look like numbers; None: if a
            column is no text.

    Raises:
        ValueError: a column is missing, is there twice, could be two, or holds values that cannot be used.
    """
    names = tuple(names)
    if typed is None:
        typed = not all(ids.is_text(kind) for kind in sample.schema.types)
    table = _Table(names, sample, where, hint, typed)
    if twice := [n for n in dict.fromkeys(names) if names.count(n) > 1]:
        raise ValueError(f"{where}: column {twice[0]!r} is there twice, every column needs its own name")
    found = _found(table, asked)
    try:
        return _schema(table, found, asked)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _found(table: _Table, asked: Asked) -> dict[str, str | None]:
    """Role -> its column: the one that a flag names, else the one with a usual name."""
    events = bool(asked.event or asked.event_weights or asked.positive_events)
    named: dict[str, str | None] = {"user": asked.user, "item": asked.item, "time": asked.time}
    named["event" if events else "value"] = asked.event if events else asked.rating
    if events and asked.rating:
        raise ValueError("--rating-column does not go with events (--event-column, --event-weights, --positive-events)")
    if asked.event and not values.asked_events(asked):
        raise ValueError("--event-column needs --event-weights view=1,buy=5 or --positive-events buy beside it")
    roles: dict[str, str | None] = {role: name for role, name in named.items() if name}
    for role, name in named.items():
        if name:
            if other := [r for r, n in roles.items() if n == name and r != role]:
                raise ValueError(f"{FLAGS[role]} and {FLAGS[other[0]]} both name {name!r}, expected two columns")
            continue
        free = [n for n in table.names if n not in roles.values()]
        roles[role] = None if name is None else _recognised(role, free, table.where)
    _check_there(table, roles, named)
    return roles


def _recognised(role: str, names: Sequence[str], where: str) -> str | None:
    """The column with the best known name for a role, None where there is none.

    Raises:
        ValueError: two are equally good.
    """
    if role == "time":
        found = known_names.best_times(names)
    elif role == "value":
        found = known_names.best_values(names)
    else:
        known = {"user": known_names.USERS, "item": known_names.ITEMS, "event": known_names.EVENTS}
        found = known_names.best(names, known[role])
    if len(found) > 1:
        raise ValueError(
            f"{where}: each of the columns {listed(found)} could be that of {_PLURAL[role]}; name the right one with "
            f"{FLAGS[role]}"
        )
    return found[0] if found else None


def _check_there(table: _Table, roles: dict[str, str | None], named: dict[str, str | None]) -> None:
    """Raise ValueError if a column is missing, with those that there are and the flags to name others."""
    usual = {"user": "userId", "item": "movieId", "event": "event"}
    missing = {
        role: roles[role] or usual[role]
        for role in ("user", "item", "value", "time", "event")
        if (named.get(role) and named[role] not in table.names) or (role in usual and roles.get(role, "") is None)
    }
    if missing:
        raise ValueError(
            f"{table.where}: no column {', '.join(map(repr, missing.values()))} among {listed(table.names)}; "
            f"{table.hint}name {'the right one' if len(missing) == 1 else 'the right ones'} with "
            f"{', '.join(FLAGS[role] for role in missing)}"
        )


def listed(names: Sequence[str]) -> str:
    """Columns for a message, cut where they are very many."""
    text = ", ".join(map(repr, names))
    if len(text) <= MOST_LISTED:
        return text
    return f"{text[:MOST_LISTED].rsplit(', ', 1)[0]} and others ({len(names)} columns)"


def _schema(table: _Table, roles: dict[str, str | None], asked: Asked) -> Schema:
    """The schema, once the columns are chosen."""
    user, item = str(roles["user"]), str(roles["item"])
    types = {name: ids.read_type(table.column(name), name, table.typed) for name in (user, item)}
    notes, kind, unit = list[str](), "none", ""
    value, time = roles.get("value"), roles["time"]
    if (event := roles.get("event")) is not None:
        value, kind = event, "event"
        types[event] = pa.string()
        notes += _unseen(table, event, asked)
    elif value is not None:
        form = _value_form(table, value)
        kind, types[value] = form.kind, form.type
        notes += form.notes
    if event is None and asked.rating == "":
        notes += _unused_events(table, set(types))
    if time is not None:
        try:
            written = times.form(table.column(time), time)
        except ValueError as error:
            if asked.time:
                raise ValueError(f"{error}; name another column with {FLAGS['time']}") from None
            notes.append(f"{error}: it was not used; name another column with {FLAGS['time']}")
            time = None
        else:
            types[time], unit = written.type, written.unit
            notes += written.notes
    return Schema(
        names=table.names,
        user=user,
        item=item,
        value=value,
        kind=kind,
        time=time,
        types=types,
        time_unit=unit,
        notes=tuple(notes),
    )


def _value_form(table: _Table, name: str) -> values.Form:
    word = "".join(known_names.words(name))
    usual = {"rating": known_names.RATINGS, "boolean": known_names.LABELS, "count": known_names.COUNTS}
    try:
        return values.form(table.column(name), name, next((k for k, known in usual.items() if word in known), ""))
    except ValueError as error:
        raise ValueError(
            f"{error}; name another column with {FLAGS['value']}, or choose among its texts with "
            f"{FLAGS['event']} {name} --positive-events NAME"
        ) from None


def _unused_events(table: _Table, used: set[str]) -> list[str]:
    found = known_names.best([n for n in table.names if n not in used], known_names.EVENTS[:1])
    if not found:
        return []
    some = values.names_of(table.column(found[0]))
    example = some[-1] if some else "buy"
    return [
        f"column {found[0]!r} was not used; choose among its events ({', '.join(some[:5]) or 'none'}) with "
        f"--positive-events {example} or --event-weights {example}=1"
    ]


def _unseen(table: _Table, event: str, asked: Asked) -> list[str]:
    """A note on events that were asked for and that the first rows do not have."""
    some = values.names_of(table.column(event))
    unseen = [name for name in values.asked_events(asked) if name not in some]
    if not unseen:
        return []
    return [
        f"none of the first {table.sample.num_rows:,} rows has the event {', '.join(map(repr, unseen))}; those of "
        f"column {event!r} are {listed(some[:20])}"
    ]


def widened(schema: Schema, column: str, found: Sequence[str]) -> Schema:
    """The schema with a wider type of a column whose values could not be read.

    Args:
        found: values of the column that could not be read, as they are written.

    Raises:
        ValueError: no wider type can hold them; the message has no place.
    """
    first = found[0] if found else ""
    kind = schema.types[column]
    if column in (schema.user, schema.item):
        if pa.types.is_int64(kind):
            return _with_type(schema, column, pa.string())
    elif column == schema.time:
        wider = times.wider(kind, schema.time_unit, found, column)
        if wider is not None:
            notes = tuple(dict.fromkeys((*schema.notes, *wider.notes)))
            return replace(_with_type(schema, column, wider.type), time_unit=wider.unit, notes=notes)
        raise ValueError(f"{first[:40]!r} in column {column!r} is no time, as those before; {times.EXPECTED}")
    elif column == schema.value and schema.kind == "boolean" and pa.types.is_boolean(kind):
        if all(value.strip().lower() in (*values.TRUE, *values.FALSE) for value in found):
            return _with_type(schema, column, pa.string())
        raise ValueError(f"{first[:40]!r} in column {column!r} is not true or false")
    elif column == schema.value and pa.types.is_floating(kind) and values.has_decimal_commas(_as_column(found)):
        return replace(_with_type(schema, column, pa.string()), notes=(*schema.notes, values.comma_note(column, first)))
    raise ValueError(f"{first[:40]!r} in column {column!r} is not a number that can be read")


def _as_column(texts: Sequence[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def _with_type(schema: Schema, column: str, kind: pa.DataType) -> Schema:
    return replace(schema, types={**schema.types, column: kind})


_KINDS = {"rating": "ratings", "boolean": "true or false", "count": "counts", "event": "names of events"}
_TIMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "D": "dates"}


def described(schema: Schema, asked: Asked) -> list[str]:
    """A line for each of users, items, values and times: the column, how it is read, and the flag for another."""

    def line(role: str, column: str, how: str) -> str:
        return f"{_PLURAL[role]}: column {column!r} ({how}; another: {FLAGS[role]})"

    def of_ids(column: str) -> str:
        return "text" if pa.types.is_string(schema.types[column]) else "whole numbers"

    lines = [line("user", schema.user, of_ids(schema.user)), line("item", schema.item, of_ids(schema.item))]
    if schema.value is None:
        lines.append(f"ratings: none, every row is an interaction (a column of them: {FLAGS['value']})")
    elif schema.kind == "event":
        kept = ", ".join(f"{n}={w:g}" if asked.event_weights else n for n, w in values.asked_events(asked).items())
        lines.append(line("event", schema.value, f"kept: {kept}"))
    else:
        lines.append(line("value", schema.value, _KINDS[schema.kind]))
    if schema.time is None:
        lines.append(f"times: none (a column of them: {FLAGS['time']})")
    else:
        lines.append(line("time", schema.time, _time_words(schema)))
    return lines


def _time_words(schema: Schema) -> str:
    kind, unit = schema.types[str(schema.time)], schema.time_unit
    if unit == "D":
        return "dates"
    if pa.types.is_string(kind) or pa.types.is_timestamp(kind):
        return "dates and times"
    return f"{_TIMES[unit]} since 1970" if unit in _TIMES else "numbers that give the order"
