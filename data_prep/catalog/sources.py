"""The data sets of the first readers (MovieLens, Netflix) in the terms of `Layout`, taken from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.catalog import entries
from data_prep.catalog.entry import Entry
from data_prep.read.layout import Layout

NAMES = ("ml-100k", "ml-latest-small", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "netflix")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One public data set."""

    ratings: str
    """Name of the ratings file in its folder ("" for Netflix, which has several)."""
    layout: Layout | None
    about: str
    url: str | None = None
    """Archive that may be fetched freely, None where it may not."""
    md5: str | None = None
    """Digest of the archive; None asks the server."""
    held_out_users: int = 0
    """Users held out for validation and for test as published, 0 for a share."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What the preparation with the paper's rules must give."""


def _layout(entry: Entry) -> Layout:
    """The layout of a delimited text; "::" is ":" with an empty column between two others."""
    read = entry.read
    columns = read.header or tuple(name for name in (read.user, read.item, read.rating, read.time) if name)
    if read.delimiter == "::":
        gaps = [word for k, name in enumerate(columns, start=1) for word in (name, f"_gap{k}")]
        columns = tuple(gaps[:-1])
    return Layout(
        delimiter=read.delimiter[0],
        columns=columns,
        user=read.user,
        item=read.item,
        rating=read.rating,
        header=not read.header,
    )


def _source(name: str) -> Source:
    entry = entries.load(name)
    table = entry.reader == "table"
    return Source(
        ratings=entry.files["raw"][0] if table else "",
        layout=_layout(entry) if table else None,
        about=f"{entry.about}; {entry.how}" if entry.how else entry.about,
        url=entry.downloads[0].url if entry.downloads else None,
        md5=(entry.downloads[0].md5 or None) if entry.downloads else None,
        held_out_users=entry.held_out_users,
        counts=entry.counts,
    )


SOURCES: dict[str, Source] = {name: _source(name) for name in NAMES}
GENERIC = ("csv", "parquet", "synthetic", "he2017", "transcode")
HELD_OUT_ALREADY = ("he2017", "transcode")
"""Sources that say themselves what is held out."""


def ratings_file(raw: Path, source: Source, name: str) -> Path:
    """The file to read: `raw` itself, or the one of the expected name in that folder or one below it.

    Raises:
        ValueError: the folder has no such file.
    """
    if raw.is_file():
        return raw
    found = [p for p in (raw / source.ratings, raw / name / source.ratings) if p.is_file()]
    if not found:
        raise ValueError(f"{raw} holds no {source.ratings}, the ratings file of {name}; name its folder with --raw")
    return found[0]


def count_differences(name: str, counts: Mapping[str, int], rules_as_published: bool) -> list[str]:
    """One sentence for each count that is not what the known data set has.

    `train_items` depends on which users are drawn, so only the published protocol must match it.
    """
    if name not in SOURCES:
        return []
    known = SOURCES[name].counts
    expected = known if rules_as_published else {k: v for k, v in known.items() if k == "rows_read"}
    return [
        f"{name}: {counts[key]:,} {key.replace('_', ' ')}, {value:,} expected"
        for key, value in expected.items()
        if counts[key] != value
    ]
