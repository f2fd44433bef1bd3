"""From a request to sources: one table to be divided, or the parts of a split that is given."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep.catalog.synthetic import SyntheticSource
from data_prep.given import he2017, transcode
from data_prep.parallel import Ranks
from data_prep.read import archive
from data_prep.read.asked import Asked
from data_prep.read.source import Source, open_netflix, open_source
from data_prep.request import LISTS_GIVEN, ROLES, Request
from data_prep.split.rules import GIVEN
from data_prep.write import store

RAW = "raw"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What tells a source from another one."""

    names: Sequence[str] = ()
    """Files, for display."""
    paths: Sequence[Path] = ()
    """The files, where they are on this machine and read as they are."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """One's own tables, which know their files."""

    def stamp(self) -> str:
        """A digest of names, sizes and times: equal means the source is the one that was read before."""
        if self.sources:
            return _together([source.stamp() for source in self.sources.values()])
        rows = [f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in self.paths]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def digest(self) -> str:
        """SHA-256 over the contents."""
        if self.sources:
            return _together([source.digest() for source in self.sources.values()])
        digests = [store.sha256(p) for p in self.paths]
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _together(digests: Sequence[str]) -> str:
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def own_tables(request: Request, ranks: Ranks) -> dict[str, Source]:
    """Role -> one's own table; empty where the source is none.

    Raises:
        ValueError: a table cannot be read.
    """
    if request.entry is not None or request.name in LISTS_GIVEN or request.shape is not None:
        return {}
    if request.rules.protocol != GIVEN:
        return {RAW: open_source(request.asked, ranks.rank, ranks.size)}
    first = open_source(replace(request.asked, raw=request.parts["train"]), ranks.rank, ranks.size)
    named = _columns_of(first, request.asked)
    others = {
        role: open_source(replace(named, raw=request.parts[role]), ranks.rank, ranks.size)
        for role in ROLES[1:]
        if role in request.parts
    }
    return {"train": first, **others}


def _columns_of(source: Source, asked: Asked) -> Asked:
    """The request with the columns that were taken in a source, so that other parts have the same ones."""
    schema = source.schema
    if not {schema.user, schema.item} <= set(schema.names):
        return asked
    return replace(asked, user=schema.user, item=schema.item) if asked.format != "lists" else asked


def identity(request: Request, tables: Mapping[str, Source]) -> Identity:
    """The identity of what is read."""
    if tables:
        return Identity(names=[file for source in tables.values() for file in source.files], sources=tables)
    paths = _paths(request)
    return Identity(names=[p.name for p in paths], paths=paths)


def _paths(request: Request) -> list[Path]:
    """The files of a known data set, or of lists that are given."""
    raw = request.raw
    if raw is None:
        return []
    if request.name == "transcode":
        return transcode.source_files(raw)
    if request.has_lists:
        return he2017.source_files(raw)
    if raw.is_file() or request.entry is None:
        return [raw]
    return [path for paths in request.entry.files_in(raw).values() for path in paths]


@contextlib.contextmanager
def opened(request: Request, tables: Mapping[str, Source], ranks: Ranks) -> Iterator[tuple[dict[str, Source], Path]]:
    """Role -> source (RAW, or train, test and perhaps valid), and the folder where titles may be.

    Raises:
        ValueError: an archive or a file is damaged, or lacks what the data set has.
    """
    if request.shape is not None:
        yield {RAW: SyntheticSource(request.shape, request.rules.seed)}, Path()
        return
    if tables:
        yield dict(tables), Path()
        return
    assert request.entry is not None and request.raw is not None
    with archive.opened_on_first(request.raw, request.out.parent, ranks, _wanted(request)) as place:
        yield _of_entry(request, place, ranks), place if place.is_dir() else place.parent


def _wanted(request: Request) -> tuple[str, ...]:
    """Names of the members of an archive that are read; `*` stands for any text."""
    assert request.entry is not None
    return tuple(name for names in request.entry.files.values() for name in names)


def _of_entry(request: Request, place: Path, ranks: Ranks) -> dict[str, Source]:
    entry = request.entry
    assert entry is not None
    if entry.reader == "netflix":
        return {RAW: open_netflix(str(place))}
    files = {RAW: [place]} if place.is_file() else entry.files_in(place)
    try:
        return {
            role: open_source(entry.asked(paths, **_changed(request)), ranks.rank, ranks.size)
            for role, paths in files.items()
        }
    except ValueError as error:
        found, is_column, _ = str(error).partition("; ")
        if not is_column or "no column" not in found:
            raise
        raise ValueError(
            f"{found}, expected those of {entry.name}; a file of your own is read with: python -m data_prep table "
            "--raw FILE --user-column NAME --item-column NAME"
        ) from None


def _changed(request: Request) -> dict[str, object]:
    """What the user says otherwise than the entry."""
    return {
        name: getattr(request.asked, name)
        for name in ("user", "item", "rating", "time", "delimiter", "encoding")
        if getattr(request.asked, name)
    }
