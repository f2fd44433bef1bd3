"""The whole preparation: read, encode, split, write - or find that it was done before."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from data_prep import dividing, opening, progress
from data_prep.catalog.download import fetch
from data_prep.dividing import Divided
from data_prep.given import he2017, transcode
from data_prep.opening import Identity
from data_prep.parallel import Ranks
from data_prep.read import columns
from data_prep.read.source import Source
from data_prep.read.titles import find_titles, read_titles
from data_prep.request import OWN_TABLES, Request
from data_prep.split.result import Split
from data_prep.split.rules import TIME
from data_prep.write import store


def _already_there(request: Request, source: Identity) -> bool:
    """Whether `out` holds this very data set.

    Raises:
        ValueError: it holds another one, and --overwrite was not given.
    """
    found = store.prepared_with(request.out)  # refuses to overwrite what is no data set
    if found is None or request.overwrite:
        return False
    changed = store.differences(found["parameters"], request.parameters())
    if found["source"]["stamps"] != source.stamp() and not _has_contents(source, found["source"]["sha256"]):
        changed.append("the source files differ")
    if not changed and not store.is_complete(request.out, found):
        raise ValueError(f"{request.out} is damaged (a file is missing or cut); prepare it again with --overwrite")
    if changed:
        raise ValueError(
            f"{request.out} holds another data set ({'; '.join(changed)}); choose another --out or add --overwrite"
        )
    return True


def _has_contents(source: Identity, digest: str) -> bool:
    if source.names:
        progress.step(f"comparing {_named(source)} with the source of the data set that is there")
    return bool(source.names) and source.digest() == digest


def _named(source: Identity) -> str:
    """The files, with their size where they are known, for a line of progress."""
    more = f" and {len(source.names) - 1} more" if len(source.names) > 1 else ""
    paths = source.paths or [Path(name) for name in source.names]
    if paths and all(path.is_file() for path in paths):
        return f"{paths[0]}{more} ({progress.amount_text(sum(p.stat().st_size for p in paths), 'B')})"
    return f"{source.names[0]}{more}" if source.names else ""


def _prepared_before(request: Request) -> bool:
    """Whether `out` holds a published data set with these parameters, so that nothing needs to be downloaded."""
    found = None if request.overwrite else store.prepared_with(request.out)
    return found is not None and found["parameters"] == request.parameters() and store.is_complete(request.out, found)


def _reused(request: Request, ranks: Ranks) -> Mapping[str, Any] | None:
    if not ranks.is_first:
        return None
    print(f"{request.out} is already prepared with these parameters")
    return store.prepared_with(request.out)


def _titles(request: Request, folder: Path | None) -> pd.DataFrame | None:
    if request.titles is not None:
        return read_titles(request.titles)
    found = None
    if folder is not None and request.entry is not None:
        found = find_titles(folder) or find_titles(folder / request.name)
    return read_titles(found) if found else None


def _check_titles(request: Request, titles: pd.DataFrame, items: pa.Array) -> list[str]:
    """A note if few of the items have a title in the file of --titles.

    Raises:
        ValueError: none has.
    """
    if request.titles is None:
        return []
    named, count = int(titles.index.isin(list(map(str, items.to_pylist()))).sum()), len(items)
    if not named:
        raise ValueError(
            f"--titles {request.titles} names none of the {count:,} items (its first id is "
            f"{titles.index[0] if len(titles) else 'missing'}, the first item is {items[0]}); the first "
            "column has to hold the item ids of the ratings"
        )
    return [f"{named:,} of {count:,} items have a title in {request.titles}"] if named * 2 <= count else []


def prepare(request: Request) -> Mapping[str, Any] | None:
    """Prepare the data set; returns its manifest, or None on ranks that only helped with reading.

    Raises:
        ValueError: anything wrong with the request or the source, in one line.
        OSError: a file that cannot be read or written.
    """
    ranks = Ranks()
    try:
        return _prepare(request, ranks)
    except BaseException as error:
        ranks.end_job(error)
        raise


def _prepare(request: Request, ranks: Ranks) -> Mapping[str, Any] | None:
    if request.download:
        if _prepared_before(request):
            return _reused(request, ranks)
        assert request.entry is not None
        fetched = ranks.share(fetch(request.entry, request.out.parent) if ranks.is_first else None)
        request = replace(request, asked=replace(request.asked, raw=(str(fetched),)), download=False)
    if request.entry is not None or request.has_lists:
        assert request.raw is not None
        if not request.raw.exists():
            raise ValueError(f"{request.raw} does not exist; name the folder, file or archive with --raw")
    tables = opening.own_tables(request, ranks)
    source = opening.identity(request, tables)
    if _already_there(request, source):
        return _reused(request, ranks)
    with ExitStack() as stack:
        # Files are hashed while they are read. A database is read once: its source hashes what it hands over.
        digest = _in_background(source.digest) if ranks.is_first and not request.asked.sql else None
        if source.names:
            progress.step(f"reading {_named(source)}")
        found = _made(request, tables, ranks, stack)
        if found is None:
            return None
        progress.step(f"writing {request.out}")
        warnings = [*found.divided.notes, *found.notes]
        if found.titles is not None:
            warnings += _check_titles(request, found.titles, found.divided.split.item_ids)
        about = {
            "files": list(source.names[:10]),
            "stamps": source.stamp(),
            "sha256": source.digest() if digest is None else digest.result(),
            **found.divided.about,
        }
        store.write(request.out, found.divided.split, found.titles, request.parameters(), about, warnings)
    return store.prepared_with(request.out)


def _in_background(work: Callable[[], str]) -> Future[str]:
    """The result of `work`, in a thread for which nobody waits after an error or Ctrl-C."""
    result: Future[str] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result


@dataclass(frozen=True, kw_only=True)
class _Made:
    divided: Divided
    titles: pd.DataFrame | None
    notes: list[str]


def _made(request: Request, tables: Mapping[str, Source], ranks: Ranks, stack: ExitStack) -> _Made | None:
    """The data set on rank 0, None elsewhere.

    Args:
        stack: holds what has to stay until the data set is written.
    """
    if request.has_lists:
        if not ranks.is_first:
            return None
        titles = _titles(request, request.raw)  # first: a broken file is known at once
        return _Made(divided=_of_lists(request), titles=titles, notes=[])
    sources, folder = stack.enter_context(opening.opened(request, tables, ranks))
    titles = _titles(request, folder) if ranks.is_first else None
    for line in _described(request, sources):
        progress.tell(line)
    scratch = Path(ranks.share(_scratch(request, stack) if ranks.is_first else None))
    try:
        divided = dividing.divide(request, sources, ranks, scratch)
    except ValueError as error:
        raise ValueError("; ".join([str(error), *_reasons(request, sources)])) from None
    if divided is None:
        return None
    notes = _published_differences(request, divided.split)
    return _Made(divided=divided, titles=titles, notes=notes)


def _reasons(request: Request, sources: Mapping[str, Source]) -> list[str]:
    """Notes of the sources that may explain why nothing is left: unusable times, events that do not occur."""
    notes = [note for source in sources.values() for note in source.schema.notes]
    needs_times = request.rules.protocol == TIME
    return [n for n in notes if n.startswith("none of the first") or (needs_times and ": it was not used" in n)]


def _described(request: Request, sources: Mapping[str, Source]) -> Sequence[str]:
    """Which column is taken for what, of one's own table."""
    if request.name not in OWN_TABLES:
        return ()
    return columns.described(next(iter(sources.values())).schema, request.asked)


def _scratch(request: Request, stack: ExitStack) -> str:
    """A folder beside the data set for what does not fit into memory; it goes when the data set is written."""
    parent = request.out.parent
    store.remove_leftovers(request.out)
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    name = store.working_name(request.out, "rows")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        stack.callback(_remove_empty, missing)
        return stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-", dir=parent))
    except OSError as error:
        reason = f"{error.filename} is a file" if isinstance(error, FileExistsError) else error.strerror or error
        raise ValueError(f"--out {request.out} cannot be written: {reason}; choose a folder that can") from None


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders that are empty, the innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _of_lists(request: Request) -> Divided:
    """The data set of a source that holds lists of candidates."""
    assert request.raw is not None
    if request.name == "transcode":
        split, notes = transcode.transcode(request.raw, request.rules)
    else:
        split, notes = he2017.read(request.raw, request.rules), []
    repeated = split.counts["duplicates_dropped"]
    return Divided(split=split, notes=[*notes, *dividing.repeats_note(repeated, 0, 0.0)])


def _published_differences(request: Request, split: Split) -> list[str]:
    """Sentences on counts that are not those of the publication."""
    if request.entry is None:
        return []
    return request.entry.differences(split.counts, request.follows_publication())
