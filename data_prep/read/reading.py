"""Reading a source that still has to be divided: once, or twice where the ratings of a pair contradict each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep import progress
from data_prep.catalog import synthetic
from data_prep.catalog.sources import SOURCES, ratings_file
from data_prep.encode import repeats
from data_prep.parallel import Ranks
from data_prep.read import netflix, readers
from data_prep.read.interactions import Hashes, Interactions, Keep
from data_prep.request import Request
from data_prep.split import filters


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a source holds."""

    events: Interactions
    """Positive events: of the pairs whose latest rating is above the threshold."""
    overridden: int = 0
    """Rows that a later row of their pair overrides, besides repeated positive rows that are still in `events`."""
    rated_down: int = 0
    """Pairs that are left out because their latest rating is not above the threshold."""
    notes: list[str] = field(default_factory=list)


def read(request: Request, folder: Path | None, ranks: Ranks) -> Source | None:
    """All positive events on rank 0, None elsewhere.

    Raises:
        ValueError: the source is broken, or none of its rows is positive.
    """
    keep = Keep(threshold=request.positive_above)
    if request.shape is not None:
        drawn = synthetic.read(request.shape, keep.threshold, request.rules.seed) if ranks.is_first else []
        return Source(events=Interactions.concatenate(drawn)) if ranks.is_first else None
    assert folder is not None
    time = request.time_column if request.leave_one_out else None
    events = _gathered(_share(request, folder, ranks, keep, time), folder, ranks)
    repeated: Hashes = ranks.share(None if events is None else repeats.find(events))
    again, notes = None, list[str]()
    if len(repeated):
        again, notes = _again(request, folder, ranks, replace(keep, repeated=repeated))
    if events is None:
        return None
    notes += filters.of_threshold(events, keep.threshold)
    events = replace(events, low_users=None, low_items=None)
    settled = repeats.settle(events, again) if again is not None else repeats.Settled(events=events)
    if not len(settled.events.users) and settled.rated_down:
        raise ValueError(
            f"no events left of {events.rows_read} rows: {settled.rated_down:,} (user, item) pairs were rated above "
            f"{keep.threshold:g}, and at or below it in a later row, which decides; lower --threshold"
        )
    return Source(events=settled.events, overridden=settled.overridden, rated_down=settled.rated_down, notes=notes)


def _again(request: Request, folder: Path, ranks: Ranks, keep: Keep) -> tuple[Interactions | None, list[str]]:
    """All rows of the pairs that repeat, on rank 0, with times if they can be read; and notes.

    Raises:
        ValueError: the column of times was asked for, and cannot be read.
    """
    assert keep.repeated is not None
    progress.step(f"reading again: {len(keep.repeated):,} pairs were rated above and below the threshold")
    mine, failure = None, None
    try:
        mine = _share(request, folder, ranks, keep, request.time_column)
    except ValueError as error:
        failure = str(error)
    failure = ranks.first_error(failure)  # the ranks must agree on whether there are times
    if failure is not None and (request.time_column or request.leave_one_out):
        raise ValueError(failure)
    if failure is not None or mine is None:
        mine = _share(request, folder, ranks, keep, None)
    rows, notes = _gathered(mine, folder, ranks), []
    if failure is not None:
        notes = [f"of repeated pairs the later row of the file decided, the times cannot be read ({failure})"]
    elif rows is not None and rows.times is None:
        notes = ["of repeated pairs the later row of the file decided: there is no column of times"]
    return rows, notes


def _share(request: Request, folder: Path, ranks: Ranks, keep: Keep, time: str | None) -> Interactions | netflix.Part:
    """The events that this rank reads.

    Args:
        time: the column of times of CSV and Parquet, "" for the usual name; None: times are not read.
    """
    if request.name == "netflix":
        return readers.read_netflix(folder, keep, ranks, time is not None)
    columns = (request.user_column, request.item_column, request.rating_column)
    named = request.time_column or None  # must be there even where it is not read
    if request.name == "parquet":
        return readers.read_parquet(folder, *columns, keep, ranks, named if time is None else time, time is not None)
    if request.name == "csv":
        layout, skip = readers.text_layout(folder, request.delimiter, *columns, named if time is None else time)
        return readers.read_text(folder, layout if time is not None else replace(layout, time=None), skip, keep, ranks)
    source = SOURCES[request.name]
    known = source.layout
    assert known is not None
    path, layout, skip = ratings_file(folder, source, request.name), known, 0
    if known.header:
        layout, skip = readers.known_layout(path, known, request.name, time)
    elif time is not None:  # the last column of every known format
        layout = replace(known, time=known.columns[-1])
    return readers.read_text(path, layout, skip, keep, ranks)


def _gathered(mine: Interactions | netflix.Part, source: Path, ranks: Ranks) -> Interactions | None:
    """The events of all ranks on rank 0, None elsewhere."""
    if isinstance(mine, netflix.Part):
        movies, gathered = ranks.gather(mine.last_movie), ranks.gather_events(mine.events)
        pieces = [netflix.Part(events=e, last_movie=m) for e, m in zip(gathered, movies, strict=True)]
        return netflix.joined_ranks(pieces, source) if ranks.is_first else None
    gathered = ranks.gather_events(mine)
    return Interactions.concatenate(gathered) if ranks.is_first else None
