"""The description of a data set as text."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.description_facts import Facts, HeldOut, Lengths

BAR = 40
"""Characters of the longest bar."""
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SHOWN = {
    "rows_read",
    "events",
    "users",
    "items",
    "train_users",
    "train_items",
    "train_events",
    "held_out_users",
    "validation_users",
    "duplicates_dropped",
    "pairs_rated_down",
}
"""Counts with a sentence of their own."""


def _share(value: float) -> str:
    """A share in percent with three digits, as 4.26 %, and as 0.00840 % if it is small."""
    return f"{100 * value:.3g} %" if value else "0 %"


def _lengths(found: Lengths) -> str:
    if not found.rows:
        return "no rows"
    if found.least == found.largest:
        return f"{found.largest:,} each"
    return (
        f"{found.least:,} to {found.largest:,}, mean {found.mean:,.1f}, median {found.quantiles['0.5']:,}, "
        f"90 % have at most {found.quantiles['0.9']:,}"
    )


def _histogram(found: Lengths) -> list[str]:
    most = max((rows for _, _, rows in found.bins), default=0)
    lines = []
    for shortest, longest, rows in found.bins:
        label = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
        bar = "#" * max(round(BAR * rows / most), 1 if rows else 0) if most else ""
        lines.append(f"  {label:>18}  {rows:>12,}  {bar}".rstrip())
    return lines


def when(value: float, unit: str) -> str:
    """A time of the manifest in words: a date and a time in UTC, or the number where the unit is none of time."""
    try:
        if unit == "D":
            return str(datetime.date(1970, 1, 1) + datetime.timedelta(days=int(value)))
        if unit in _PER_SECOND:
            moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=value / _PER_SECOND[unit])
            return f"{moment:%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError):  # before year 1 or after 9999
        return f"{value:,} {unit}"
    return f"{value:,}"


def _times(times: Mapping[str, Any]) -> list[str]:
    """Of the whole data set, or of each split."""
    if not times:
        return ["times         not stored"]
    ranges = {name: part for name, part in times.items() if isinstance(part, Mapping) and "first" in part}
    if "first" in times:
        ranges = {"": times} | ranges
    lines: list[str] = []
    for name, part in ranges.items():
        unit = part.get("unit", times.get("unit", ""))
        zone = " UTC" if unit in _PER_SECOND else ""
        title = "" if lines else "times"
        of = f" ({name})" if name else ""
        lines.append(f"{title:13} {when(part['first'], unit)} to {when(part['last'], unit)}{zone}{of}")
    return lines or ["times         not stored"]


def _held_out(name: str, found: HeldOut) -> list[str]:
    rows = found.to_be_found.rows
    whose = "lists of training users" if found.of_training_users else "users who are not in the training"
    lines = [f"{name:13} {whose}: {rows:,}"]
    if found.shown.interactions:
        lines.append(f"{'':13} shown: {_lengths(found.shown)}")
    empty = sum(number for _, longest, number in found.to_be_found.bins if longest == 0)
    without = f"; left out of metrics, with nothing to be found: {empty:,}" if empty else ""
    lines.append(f"{'':13} to be found: {_lengths(found.to_be_found)}{without}")
    if found.candidates:
        lines.append(f"{'':13} ranked among {found.candidates - 1:,} other candidates")
    return lines


def _conditions(parameters: Mapping[str, Any]) -> list[str]:
    """What a row, a user and an item had to fulfil."""
    found = []
    if parameters.get("threshold") is not None:
        found.append(f"a value above {parameters['threshold']:g}")
    for key, text in (
        ("min_user_items", "users with at least {} items"),
        ("min_item_users", "items with at least {} users"),
        ("k_core", "users and items with at least {} of each other"),
        ("max_user_items", "at most {} items of a user"),
    ):
        if parameters.get(key):
            found.append(text.format(parameters[key]))
    return found


def _left_out(found: Facts) -> list[str]:
    counts, lines = found.counts, []
    if "rows_read" in counts:
        events = f", {counts['events']:,} interactions kept" if "events" in counts else ""
        lines.append(f"{counts['rows_read']:,} rows read{events}")
    if conditions := _conditions(found.parameters):
        lines.append(f"kept: {'; '.join(conditions)}")
    for key, text in (
        ("duplicates_dropped", "{} rows of a user and item that another row replaces"),
        ("pairs_rated_down", "{} pairs whose latest value is not above the threshold"),
    ):
        if counts.get(key):
            lines.append(text.format(f"{counts[key]:,}"))
    own = [part for part in found.held_out.values() if not part.of_training_users]
    if "events" in counts and own and len(own) == len(found.held_out):
        used = found.interactions + sum(p.shown.interactions + p.to_be_found.interactions for p in own)
        if (missing := counts["events"] - used) > 0:
            lines.append(f"{missing:,} interactions of held-out users with items that no training user has")
    lines += [f"{key.replace('_', ' ')}: {value:,}" for key, value in counts.items() if key not in _SHOWN and value]
    return lines + [f"note: {warning}" for warning in found.warnings]


def _titled(title: str, lines: list[str]) -> list[str]:
    return [f"{title if not k else '':13} {line}" for k, line in enumerate(lines)]


def as_text(found: Facts) -> str:
    """See `Description.as_text`."""
    parameters = dict(found.parameters)
    name, protocol = parameters.pop("name", "interactions"), parameters.pop("protocol", "")
    unseen = f", {found.unseen_items:,} of them without a training interaction" if found.unseen_items else ""
    heads = "; ".join(
        f"the most popular {_share(head.share_of_items)} ({head.items:,}) have {_share(head.share_of_interactions)}"
        for head in found.heads
    )
    given = ", ".join(
        f"{key} {value}"
        for key, value in parameters.items()
        if value not in (None, "") and not isinstance(value, Mapping)
    )
    lines = [
        f"{found.folder}: {name}{f', protocol {protocol}' if protocol else ''}",
        "",
        f"{'users':13} {found.users:,} in training",
        f"{'items':13} {found.items:,}{unseen}",
        f"{'interactions':13} {found.interactions:,} in training, {_share(found.density)} of all pairs",
        f"{'popularity':13} of the items, {heads} of the interactions",
        *_times(found.times),
        "",
        *(line for part, title in (("valid", "validation"), ("test", "test")) if part in found.held_out
          for line in _held_out(title, found.held_out[part])),
        "",
        f"{'history':13} items of a training user: {_lengths(found.lengths)}",
        *_histogram(found.lengths),
        "",
        *_titled("left out", _left_out(found)),
        *_titled("parameters", [given] if given else []),
    ]  # fmt: skip
    return "\n".join(lines).rstrip()
