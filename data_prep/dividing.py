"""From sources to a divided data set: in memory, or by way of the disk where they do not fit."""

from __future__ import annotations

import contextlib
import errno
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from data_prep import progress
from data_prep.encode import external, gather, settle
from data_prep.encode.events import FILE, ITEM, TIME, EventsInMemory
from data_prep.encode.gather import Use
from data_prep.encode.on_disk import EventsOnDisk
from data_prep.given import parts
from data_prep.opening import RAW
from data_prep.parallel import Ranks
from data_prep.read import moments
from data_prep.read.source import Source
from data_prep.request import Request
from data_prep.split import by_time, filters, leave_one_out, per_user, rules, users
from data_prep.split.result import Split
from data_prep.watch import Watch

SHARE_OF_FREE = 0.5
"""Part of the free memory that the preparation takes where --memory does not say."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class Divided:
    """A data set and what its owner is told."""

    split: Split
    notes: list[str]
    about: Mapping[str, Any] = field(default_factory=dict)
    """More about the source, for the manifest."""


def divide(request: Request, sources: Mapping[str, Source], ranks: Ranks, scratch: Path) -> Divided | None:
    """Read and divide; the data set on rank 0, None elsewhere.

    Args:
        sources: by role: `opening.RAW`, or train, test and perhaps valid.
        scratch: folder for what does not fit into memory; all ranks see it.

    Raises:
        ValueError: the sources are broken, or what is left of them cannot be divided.
    """
    try:
        if RAW in sources:
            found = _of_table(request, sources[RAW], ranks, scratch)
        else:
            found = _given(request, sources, ranks)
    except BaseException as error:
        if ranks.size > 1:  # the whole job is ended, also the rank that would remove the folder
            _remove(scratch)
        if isinstance(error, OSError) and error.errno in FULL and not error.filename:
            raise ValueError(
                f"cannot write in {scratch.parent}, where rows lie that do not fit into memory: {error.strerror}; "
                "nothing was left behind; free some space, name another --out or raise --memory"
            ) from None
        raise
    if found is None:
        return None
    source = next(iter(sources.values()))
    notes = [*_notes_of(source, request), *found.notes]
    return replace(found, notes=notes, about=_about(source, request.positive_above(source.schema.kind)))


def _remove(scratch: Path, seconds: float = 5.0) -> None:
    """Remove the folder, although other ranks may be writing there or removing it too."""
    gone, end = scratch.with_name(f"{scratch.name}-gone"), time.monotonic() + seconds
    is_mine = scratch.exists()
    with contextlib.suppress(OSError):
        scratch.rename(gone)  # from now on nobody can open a file there
    while gone.exists() and time.monotonic() < end:
        shutil.rmtree(gone, ignore_errors=True)
    if not is_mine:  # this rank failed because of the removal: the rank that failed before says why and ends the job
        time.sleep(seconds)


def _notes_of(source: Source, request: Request) -> list[str]:
    """Notes on the columns of a source; those on times only where the times are used."""
    uses_times = request.rules.protocol == rules.TIME
    return [n for n in source.schema.notes if uses_times or not n.startswith(f"column {source.schema.time!r}: ")]


def _about(source: Source, threshold: float) -> dict[str, Any]:
    """What the manifest says about a source.

    Args:
        threshold: that its values were compared with.
    """
    schema = source.schema
    has_threshold = schema.value is not None and math.isfinite(threshold)
    columns = {"user": schema.user, "item": schema.item, schema.kind: schema.value, "time": schema.time}
    return {
        "columns": {role: name for role, name in columns.items() if name},
        "time_unit": schema.time_unit,
        "threshold": threshold if has_threshold else None,
    }


def _order(request: Request, source: Source) -> str:
    """The order of a user's interactions that a protocol needs."""
    protocol, choice = request.rules.protocol, request.rules.choice
    if protocol == rules.LIANG2018:
        return FILE
    latest = protocol == rules.PER_USER and choice == rules.LATEST
    by_time = protocol in (rules.LEAVE_ONE_OUT, rules.TIME) or latest or request.rules.max_user_items
    return TIME if by_time and source.schema.time else ITEM


def memory_of(request: Request) -> int:
    """Bytes that the preparation may take."""
    return request.memory or int(SHARE_OF_FREE * psutil.virtual_memory().available)


def _of_table(request: Request, source: Source, ranks: Ranks, scratch: Path) -> Divided | None:
    """One table, divided by a protocol."""
    order = _order(request, source)
    limits = replace(request.rules, held_out_users=request.held_out_users())
    watch = Watch(source)
    threshold = request.positive_above(source.schema.kind)
    memory = ranks.share(memory_of(request) if ranks.is_first else None)
    events = _events(watch, ranks, scratch, threshold=threshold, order=order, memory=memory)
    suspicious, times = watch.notes(ranks), watch.times(ranks)
    if events is None:
        return None
    on_disk = isinstance(events, EventsOnDisk)
    progress.step(f"splitting {events.count:,} events ({request.rules.protocol})")
    notes = [*suspicious, *filters.of_threshold(events, threshold)]
    try:
        kept = filters.filtered(events, limits)
        split = _split(kept, limits, source, scratch if on_disk else None)
    except ValueError as error:
        raise ValueError("; ".join([str(error), *notes])) from None
    if times:
        split = replace(split, details={"times": times} | dict(split.details))
    facts = events.facts
    if facts.rows_overridden and facts.rows_below and not events.has_times and source.schema.time is None:
        notes.append("of repeated pairs the later row of the file decided: there is no column of times")
    notes += [*split.notes, *_dropped(request, threshold, facts.rows_below)]
    return Divided(split=split, notes=[*notes, *repeats_note(facts.rows_overridden, facts.rated_down, threshold)])


def _events(
    source: Watch, ranks: Ranks, scratch: Path, *, threshold: float, order: str, memory: int
) -> EventsInMemory | EventsOnDisk | None:
    """The interactions on rank 0, None elsewhere: in memory if they fit there."""
    rows = ranks.share(source.rows_estimate())
    most = max(0, memory - external.BASE_BYTES) // gather.row_bytes(source.schema)
    if order == FILE:
        _check_memory("--protocol liang2018 keeps the order of the source", rows, source, memory)
        return gather.gather(source, ranks, threshold=threshold, order=order)
    if rows <= most:
        try:
            return gather.gather(source, ranks, threshold=threshold, order=order, most_rows=most)
        except gather.TooManyRows:
            progress.step(f"reading again: there are more than {most:,} rows, which do not fit into the memory")
            rows = 0
    return external.gather(source, ranks, scratch, threshold=threshold, order=order, memory=memory, rows=rows)


def _check_memory(why: str, rows: int, source: Watch | Source, memory: int) -> None:
    """Raise ValueError if so many rows do not fit into memory, where they have to."""
    needed = rows * gather.row_bytes(source.schema) + external.BASE_BYTES
    if rows and needed > memory:
        raise ValueError(
            f"{why} and needs about {needed / 2**30:.1f} GiB of memory, it may take {memory / 2**30:.1f} GiB; raise "
            "--memory" + ("" if "given" in why else " or use --protocol default")
        )


def _split(kept: filters.Filtered, limits: rules.SplitRules, source: Source, scratch: Path | None) -> Split:
    if limits.protocol == rules.LEAVE_ONE_OUT:
        return leave_one_out.split(kept, limits, scratch)
    if limits.protocol == rules.PER_USER:
        return per_user.split(kept, limits, scratch)
    if limits.protocol == rules.TIME:
        schema = source.schema
        validation_from, test_from = (
            moments.moment(text, schema) if text else None for text in (limits.validation_from, limits.test_from)
        )
        split = by_time.split(
            kept,
            limits,
            validation_from,
            test_from,
            scratch=scratch,
            shown=lambda value: moments.written(value, schema.time_unit),
        )
        return replace(split, details={"times": {**split.details["times"], "unit": schema.time_unit}})
    return users.split(kept, limits, scratch)


def _given(request: Request, sources: Mapping[str, Source], ranks: Ranks) -> Divided | None:
    """Parts that are given."""
    found: dict[str, parts.Given] = {}
    memory = ranks.share(memory_of(request) if ranks.is_first else None)
    rows = ranks.share(sum(source.rows_estimate() for source in sources.values()))
    _check_memory("--protocol given reads all parts at once", rows, next(iter(sources.values())), memory)
    threshold = {source.schema.kind: request.positive_above(source.schema.kind) for source in sources.values()}
    for role in ("train", "valid", "test"):
        if role in sources:
            source = sources[role]
            use = Use(rule=settle.RULES[source.schema.kind], threshold=threshold[source.schema.kind])
            rows = gather.read(source, ranks, use)
            if rows is not None:
                found[role] = parts.Given(rows=rows, kind=source.schema.kind)
    if not ranks.is_first:
        return None
    _check_types(found)
    split = parts.split(found, request.rules, threshold)
    repeated, down = (split.counts.get(name, 0) for name in ("duplicates_dropped", "pairs_rated_down"))
    return Divided(split=split, notes=[*split.notes, *repeats_note(repeated, down, max(threshold.values()))])


def _check_types(found: Mapping[str, parts.Given]) -> None:
    """Raise ValueError if the ids of one part are whole numbers and those of another text."""
    for kind in ("user", "item"):
        is_text = {role: bool(given.rows.names.get(kind)) for role, given in found.items()}
        if len(set(is_text.values())) > 1:
            numbers, text = (" and ".join(f"--{role}" for role in is_text if is_text[role] is t) for t in (False, True))
            raise ValueError(
                f"the {kind} ids of {numbers} are whole numbers and those of {text} are text; write them alike"
            )


def _dropped(request: Request, threshold: float, rows_below: int) -> list[str]:
    """A sentence on rows that a threshold drops, where every row was to be expected to count."""
    if not rows_below or request.rules.protocol != rules.LEAVE_ONE_OUT:
        return []
    return [f"{rows_below:,} rows are at or below the threshold {threshold:g} and are no interactions"]


def repeats_note(rows: int, down: int, threshold: float) -> Sequence[str]:
    """A sentence about repeated pairs, if there are any."""
    if not rows:
        return []
    if not down:
        return [f"{rows:,} repeated (user, item) pairs were kept once"]
    return [
        f"{rows:,} rows were overridden by a later row of the same user and item; {down:,} pairs are left out: they "
        f"were rated above {threshold:g}, and later at or below it"
    ]
