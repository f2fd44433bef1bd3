"""The whole preparation: read, split, write - or find that it was done before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep import progress
from data_prep.catalog.download import download
from data_prep.catalog.sources import GENERIC, HELD_OUT_ALREADY, SOURCES, count_differences, ratings_file
from data_prep.given import he2017, transcode
from data_prep.parallel import Ranks
from data_prep.read import archive, reading
from data_prep.read.titles import find_titles, read_titles
from data_prep.request import Request
from data_prep.split import leave_one_out
from data_prep.split.users import Split, split
from data_prep.write import store


def _source_files(request: Request) -> list[Path]:
    if request.raw is None:
        return []
    if request.name == "he2017":
        return he2017.source_files(request.raw)
    if request.name == "transcode":
        return transcode.source_files(request.raw)
    if request.raw.is_file():
        return [request.raw]
    if request.name == "netflix":
        return sorted(request.raw.rglob("combined_data_*.txt")) or sorted(request.raw.rglob("mv_*.txt"))
    return [ratings_file(request.raw, SOURCES[request.name], request.name)] if request.name in SOURCES else []


def _stamps(files: list[Path]) -> str:
    """A digest of names, sizes and times: equal means the source is the one that was read before."""
    rows = [f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _contents(files: list[Path]) -> str:
    digests = [store.sha256(p) for p in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _has_contents(files: list[Path], digest: str) -> bool:
    if files:
        progress.step(f"comparing {_named(files)} with the source of the data set that is there")
    return bool(files) and _contents(files) == digest


def _already_there(request: Request, files: list[Path]) -> bool:
    """Whether `out` holds this very data set.

    Raises:
        ValueError: it holds another one, and --overwrite was not given.
    """
    found = store.prepared_with(request.out)  # refuses to overwrite what is no data set
    if found is None or request.overwrite:
        return False
    changed = store.differences(found["parameters"], request.parameters())
    if found["source"]["stamps"] != _stamps(files) and not _has_contents(files, found["source"]["sha256"]):
        changed.append("the source files differ")
    if not changed and not store.is_complete(request.out, found):
        raise ValueError(f"{request.out} is damaged (a file is missing or cut); prepare it again with --overwrite")
    if changed:
        raise ValueError(
            f"{request.out} holds another data set ({'; '.join(changed)}); choose another --out or add --overwrite"
        )
    return True


def _named(files: list[Path]) -> str:
    """The files with their size, for a line of progress."""
    size = progress.amount_text(sum(p.stat().st_size for p in files), "B")
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]}{more} ({size})" if files else ""


def _prepared_before(request: Request) -> bool:
    """Whether `out` holds a published data set with these parameters, so that nothing needs to be downloaded."""
    found = None if request.overwrite else store.prepared_with(request.out)
    return found is not None and found["parameters"] == request.parameters() and store.is_complete(request.out, found)


def _reused(request: Request, ranks: Ranks) -> Mapping[str, Any] | None:
    if not ranks.is_first:
        return None
    print(f"{request.out} is already prepared with these parameters")
    return store.prepared_with(request.out)


def _titles(request: Request, folder: Path | None) -> pd.Series | None:
    if request.titles is not None:
        return read_titles(request.titles)
    beside = folder if folder is None or folder.is_dir() else folder.parent
    found = None
    if beside is not None and request.name not in GENERIC:
        found = find_titles(beside) or find_titles(beside / request.name)
    return read_titles(found) if found else None


def _check_titles(request: Request, titles: pd.Series, result: Split) -> list[str]:
    """A note if few of the items have a title in the file of --titles.

    Raises:
        ValueError: none has.
    """
    if request.titles is None:
        return []
    named, items = int(titles.index.isin(result.item_ids).sum()), len(result.item_ids)
    if not named:
        raise ValueError(
            f"--titles {request.titles} names none of the {items:,} items (its first id is "
            f"{titles.index[0] if len(titles) else 'missing'}, the first item is {result.item_ids[0]}); the first "
            "column has to hold the item ids of the ratings"
        )
    return [f"{named:,} of {items:,} items have a title in {request.titles}"] if named * 2 <= items else []


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
        if ranks.is_first:
            source = SOURCES[request.name]
            assert source.url is not None
            progress.step(f"downloading {source.url} to {request.out.parent}")
            download(source.url, request.out.parent / Path(source.url).name, source.md5)
        ranks.share(None)
        request = replace(request, raw=request.out.parent / f"{request.name}.zip", download=False)
    if request.raw is not None and not (request.raw.is_file() or request.raw.is_dir()):
        raise ValueError(f"{request.raw} does not exist; name the folder, file or archive with --raw")
    files = _source_files(request)
    if _already_there(request, files):
        return _reused(request, ranks)
    if request.raw is None:
        return _finish(request, None, files, ranks)
    if request.name in HELD_OUT_ALREADY:
        return _finish(request, request.raw, files, ranks)
    with archive.opened_on_first(request.raw, request.out.parent, ranks) as folder:
        return _finish(request, folder, files, ranks)


def _held_out_already(request: Request, ranks: Ranks) -> tuple[Split, list[str]] | None:
    """The data set of a source that says itself what is held out, on rank 0; None for other sources."""
    if request.name not in HELD_OUT_ALREADY or not ranks.is_first:
        return None
    assert request.raw is not None
    if request.name == "he2017":
        return he2017.read(request.raw, request.rules), []
    return transcode.transcode(request.raw, request.rules)


def _divided(request: Request, folder: Path | None, ranks: Ranks) -> tuple[Split, list[str]] | None:
    """Read and divide; the data set and notes for its owner on rank 0, None elsewhere."""
    if request.name in HELD_OUT_ALREADY:
        return None
    source = reading.read(request, folder, ranks)
    if source is None:
        return None
    progress.step(f"splitting {len(source.events.users):,} events ({request.rules.protocol})")
    try:
        if request.leave_one_out:
            result = leave_one_out.split(source.events, request.rules)
        else:
            result = split(source.events, replace(request.rules, held_out_users=request.held_out_users()))
    except ValueError as error:
        raise ValueError("; ".join([str(error), *source.notes])) from None
    notes = [*source.notes, *result.notes]
    if request.leave_one_out and source.events.times is None:
        notes.insert(0, "no column of times: the held-out items were drawn at random")
    result.counts["duplicates_dropped"] += source.overridden
    if source.rated_down:
        result.counts["pairs_rated_down"] = source.rated_down
    return result, notes + count_differences(request.name, result.counts, request.follows_publication())


def _repeats_note(counts: Mapping[str, int], threshold: float) -> list[str]:
    """A sentence about repeated pairs, if there are any."""
    rows, down = counts["duplicates_dropped"], counts.get("pairs_rated_down", 0)
    if not rows:
        return []
    if not down:
        return [f"{rows:,} repeated (user, item) pairs were kept once"]
    return [
        f"{rows:,} rows were overridden by a later row of the same user and item; {down:,} pairs are left out: they "
        f"were rated above {threshold:g}, and later at or below it"
    ]


def _finish(request: Request, folder: Path | None, files: list[Path], ranks: Ranks) -> Mapping[str, Any] | None:
    with ThreadPoolExecutor(1) as hasher:
        digest = hasher.submit(_contents, files if ranks.is_first else [])  # while the rows are read
        if request.raw is not None:
            progress.step(f"reading {_named(files) or request.raw}")
        titles = _titles(request, folder) if ranks.is_first else None  # first: a broken file is known at once
        divided = _held_out_already(request, ranks) or _divided(request, folder, ranks)
    if divided is None:
        return None
    result, warnings = divided
    progress.step(f"writing {request.out}")
    if titles is not None:
        warnings += _check_titles(request, titles, result)
    warnings += _repeats_note(result.counts, request.positive_above)
    source = {"files": [p.name for p in files[:10]], "stamps": _stamps(files), "sha256": digest.result()}
    store.write(request.out, result, titles, request.parameters(), source, warnings)
    return store.prepared_with(request.out)
