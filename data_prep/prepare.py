"""The whole preparation: read, split, write - or find that it was done before."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep import archive, readers, store, synthetic
from data_prep.download import download
from data_prep.interactions import Interactions
from data_prep.parallel import Ranks
from data_prep.sources import GENERIC, SOURCES, count_differences, ratings_file
from data_prep.split import LIANG2018_SEED, PROTOCOLS, SplitRules, split
from data_prep.titles import find_titles, read_titles

NAMES = (*SOURCES, *GENERIC)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for."""

    name: str
    out: Path
    raw: Path | None = None
    download: bool = False
    overwrite: bool = False
    threshold: float = 3.5
    """A row counts as positive if its rating is greater."""
    rules: SplitRules = field(default_factory=SplitRules)
    held_out: float | None = None
    """Users a held-out set: a number (1 or more) or a share (below 1); None: as published, else a tenth."""
    user_column: str = "userId"
    item_column: str = "movieId"
    rating_column: str | None = None
    delimiter: str = ","
    titles: Path | None = None
    shape: synthetic.Shape | None = None
    """Sizes of synthetic data."""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"unknown data set {self.name!r}, known are: {', '.join(NAMES)}")
        if self.rules.protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {self.rules.protocol!r}, known are: {', '.join(PROTOCOLS)}")
        if self.rules.protocol == "liang2018" and self.rules.seed != LIANG2018_SEED:
            raise ValueError(
                f"--protocol liang2018 is one published split with seed {LIANG2018_SEED}; leave --seed out"
            )
        if not 0 < self.rules.fold_out_share < 1:
            raise ValueError(f"--fold-out-share is {self.rules.fold_out_share}, expected a share between 0 and 1")
        held_out = self.held_out
        if held_out is not None and not (0 < held_out < 1 or (held_out >= 1 and held_out == held_out // 1 < math.inf)):
            raise ValueError(f"--held-out-users is {held_out:g}, expected a whole number of users or a share below 1")
        if self.rules.seed < 0:
            raise ValueError(f"--seed is {self.rules.seed}, expected 0 or more")
        if self.titles is not None and not self.titles.is_file():
            raise ValueError(f"--titles {self.titles} does not exist, expected a file of item titles")
        if self.name == "synthetic" and self.shape is None:
            raise ValueError("synthetic data needs --like NAME or --users, --items and --interactions")
        if self.name != "synthetic" and self.raw is None and not self.download:
            raise ValueError(f"{self.name} needs --raw PATH{' or --download' if self.name in SOURCES else ''}")
        if self.download and (self.name not in SOURCES or SOURCES[self.name].url is None):
            about = f": {SOURCES[self.name].about}" if self.name in SOURCES else ""
            raise ValueError(f"{self.name} cannot be downloaded{about}")

    def held_out_users(self) -> float:
        """Users a held-out set, a number or a share: as asked, else as published, else a tenth."""
        published = SOURCES[self.name].held_out_users if self.name in SOURCES else 0
        return self.held_out or published or SplitRules.held_out_users

    def parameters(self) -> dict[str, Any]:
        """Everything that changes the result, for the manifest."""
        chosen = {
            "name": self.name,
            "threshold": self.threshold,
            **asdict(self.rules),
            "held_out_users": self.held_out_users(),
        }
        if self.name in ("csv", "parquet"):
            chosen |= {"user": self.user_column, "item": self.item_column, "rating": self.rating_column}
        if self.name == "csv":
            chosen["delimiter"] = self.delimiter
        if self.titles is not None and self.titles.is_file():
            chosen["titles"] = store.sha256(self.titles)
        return chosen | ({"shape": asdict(self.shape)} if self.shape else {})

    def follows_publication(self) -> bool:
        """Whether the rules are the paper's, so that the known counts must come out."""
        return self.rules == SplitRules(protocol="liang2018") and self.threshold == 3.5 and self.held_out is None


def _source_files(request: Request) -> list[Path]:
    if request.raw is None:
        return []
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


def _already_there(request: Request, files: list[Path]) -> bool:
    """Whether `out` holds this very data set.

    Raises:
        ValueError: it holds another one, and --overwrite was not given.
    """
    found = store.prepared_with(request.out)  # refuses to overwrite what is no data set
    if found is None or request.overwrite:
        return False
    changed = store.differences(found["parameters"], request.parameters())
    same_source = found["source"]["stamps"] == _stamps(files) or (
        files and found["source"]["sha256"] == _contents(files)
    )
    if not same_source:
        changed.append("the source files differ")
    if not changed and not store.is_complete(request.out, found):
        raise ValueError(f"{request.out} is damaged (a file is missing or cut); prepare it again with --overwrite")
    if changed:
        raise ValueError(
            f"{request.out} holds another data set ({'; '.join(changed)}); choose another --out or add --overwrite"
        )
    return True


def _prepared_before(request: Request) -> bool:
    """Whether `out` holds a published data set with these parameters, so that nothing needs to be downloaded."""
    found = None if request.overwrite else store.prepared_with(request.out)
    return found is not None and found["parameters"] == request.parameters() and store.is_complete(request.out, found)


def _reused(request: Request, ranks: Ranks) -> Mapping[str, Any] | None:
    if not ranks.is_first:
        return None
    print(f"{request.out} is already prepared with these parameters")
    return store.prepared_with(request.out)


def _read(request: Request, folder: Path | None, ranks: Ranks) -> list[Interactions]:
    """Every event, on rank 0."""
    if request.shape is not None:
        return synthetic.read(request.shape, request.threshold, request.rules.seed) if ranks.is_first else []
    assert folder is not None
    if request.name == "netflix":
        return readers.read_netflix(folder, request.threshold, ranks)
    if request.name == "parquet":
        columns = (request.user_column, request.item_column, request.rating_column)
        return readers.read_parquet(folder, *columns, request.threshold, ranks)
    if request.name == "csv":
        layout, skip = readers.text_layout(
            folder, request.delimiter, request.user_column, request.item_column, request.rating_column
        )
        return readers.read_text(folder, layout, skip, request.threshold, ranks)
    source = SOURCES[request.name]
    known = source.layout
    assert known is not None
    path, layout, skip = ratings_file(folder, source, request.name), known, 0
    if known.header:
        layout, skip = readers.text_layout(path, known.delimiter, known.user, known.item, known.rating)
    return readers.read_text(path, layout, skip, request.threshold, ranks)


def _titles(request: Request, folder: Path | None) -> pd.Series | None:
    if request.titles is not None:
        return read_titles(request.titles)
    beside = folder if folder is None or folder.is_dir() else folder.parent
    found = None
    if beside is not None and request.name not in GENERIC:
        found = find_titles(beside) or find_titles(beside / request.name)
    return read_titles(found) if found else None


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
    with archive.opened_on_first(request.raw, request.out.parent, ranks) as folder:
        return _finish(request, folder, files, ranks)


def _finish(request: Request, folder: Path | None, files: list[Path], ranks: Ranks) -> Mapping[str, Any] | None:
    with ThreadPoolExecutor(1) as hasher:
        digest = hasher.submit(_contents, files if ranks.is_first else [])  # while the rows are read
        parts = _read(request, folder, ranks)
    if not ranks.is_first:
        return None
    events = Interactions.concatenate(parts)
    parts.clear()
    titles = _titles(request, folder)
    result = split(events, replace(request.rules, held_out_users=request.held_out_users()))
    del events
    warnings = count_differences(request.name, result.counts, request.follows_publication())
    if result.counts["duplicates_dropped"]:
        warnings.append(f"{result.counts['duplicates_dropped']:,} repeated (user, item) pairs were kept once")
    source = {"files": [p.name for p in files[:10]], "stamps": _stamps(files), "sha256": digest.result()}
    store.write(request.out, result, titles, request.parameters(), source, warnings)
    return store.prepared_with(request.out)
