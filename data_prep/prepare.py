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

from data_prep import archive, candidates, he2017, leave_one_out, readers, store, synthetic, transcode
from data_prep.download import download
from data_prep.interactions import Interactions
from data_prep.parallel import Ranks
from data_prep.sources import GENERIC, HELD_OUT_ALREADY, SOURCES, count_differences, ratings_file
from data_prep.split import LEAVE_ONE_OUT, LIANG2018_SEED, PROTOCOLS, Split, SplitRules, split
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
    threshold: float | None = None
    """A row counts as positive if its rating is greater; None: 3.5, for leave-one-out 0."""
    rules: SplitRules = field(default_factory=SplitRules)
    held_out: float | None = None
    """Users a held-out set: a number (1 or more) or a share (below 1); None: as published, else a tenth."""
    user_column: str = "userId"
    item_column: str = "movieId"
    rating_column: str | None = None
    time_column: str = ""
    """"": timestamp, if there is one."""
    delimiter: str = ","
    titles: Path | None = None
    shape: synthetic.Shape | None = None
    """Sizes of synthetic data."""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"unknown data set {self.name!r}, known are: {', '.join(NAMES)}")
        if self.rules.protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {self.rules.protocol!r}, known are: {', '.join(PROTOCOLS)}")
        if self.rules.candidates not in candidates.KINDS:
            raise ValueError(
                f"unknown --candidates {self.rules.candidates!r}, known are: {', '.join(candidates.KINDS)}"
            )
        if self.rules.negatives < 1:
            raise ValueError(f"--negatives is {self.rules.negatives}, expected a whole number from 1")
        if self.leave_one_out and self.held_out is not None:
            raise ValueError("--held-out-users does not go with leave-one-out, which holds out one item of every user")
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

    @property
    def leave_one_out(self) -> bool:
        """Whether an item of every user is held out, instead of users."""
        return self.rules.protocol == LEAVE_ONE_OUT or self.name in HELD_OUT_ALREADY

    @property
    def positive_above(self) -> float:
        """The threshold, by default as published: Liang et al. take 4 stars and more, He et al. every rating."""
        if self.threshold is not None:
            return self.threshold
        return 0.0 if self.leave_one_out else 3.5

    def held_out_users(self) -> float:
        """Users a held-out set, a number or a share: as asked, else as published, else a tenth."""
        published = SOURCES[self.name].held_out_users if self.name in SOURCES else 0
        return self.held_out or published or SplitRules.held_out_users

    def parameters(self) -> dict[str, Any]:
        """Everything that changes the result, for the manifest."""
        if self.name in HELD_OUT_ALREADY:
            kept = ("seed", "candidates")
            return {"name": self.name, "protocol": LEAVE_ONE_OUT} | {n: getattr(self.rules, n) for n in kept}
        rules = asdict(self.rules)
        for name in ("held_out_users", "fold_out_share") if self.leave_one_out else ("negatives", "candidates"):
            del rules[name]
        chosen = {"name": self.name, "threshold": self.positive_above, **rules}
        if not self.leave_one_out:
            chosen["held_out_users"] = self.held_out_users()
        if self.name in ("csv", "parquet"):
            chosen |= {"user": self.user_column, "item": self.item_column, "rating": self.rating_column}
            if self.leave_one_out:
                chosen["time"] = self.time_column
        if self.name == "csv":
            chosen["delimiter"] = self.delimiter
        if self.titles is not None and self.titles.is_file():
            chosen["titles"] = store.sha256(self.titles)
        return chosen | ({"shape": asdict(self.shape)} if self.shape else {})

    def follows_publication(self) -> bool:
        """Whether the rules are the paper's, so that the known counts must come out."""
        return self.rules == SplitRules(protocol="liang2018") and self.positive_above == 3.5 and self.held_out is None


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
    """Every event, on rank 0. Times are read where the split needs them."""
    threshold, timed = request.positive_above, request.leave_one_out
    time = request.time_column if timed else None
    if request.shape is not None:
        return synthetic.read(request.shape, threshold, request.rules.seed) if ranks.is_first else []
    assert folder is not None
    if request.name == "netflix":
        return readers.read_netflix(folder, threshold, ranks, timed)
    if request.name == "parquet":
        columns = (request.user_column, request.item_column, request.rating_column)
        return readers.read_parquet(folder, *columns, threshold, ranks, time)
    if request.name == "csv":
        layout, skip = readers.text_layout(
            folder, request.delimiter, request.user_column, request.item_column, request.rating_column, time
        )
        return readers.read_text(folder, layout, skip, threshold, ranks)
    source = SOURCES[request.name]
    known = source.layout
    assert known is not None
    path, layout, skip = ratings_file(folder, source, request.name), known, 0
    if known.header:
        layout, skip = readers.text_layout(path, known.delimiter, known.user, known.item, known.rating, time)
    elif timed:  # the last column of every known format
        layout = replace(known, time=known.columns[-1])
    return readers.read_text(path, layout, skip, threshold, ranks)


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
    parts = _read(request, folder, ranks)
    if not ranks.is_first:
        return None
    events = Interactions.concatenate(parts)
    parts.clear()
    if request.leave_one_out:
        warnings = ["no column of times: the held-out items were drawn at random"] if events.times is None else []
        result = leave_one_out.split(events, request.rules)
    else:
        warnings = []
        result = split(events, replace(request.rules, held_out_users=request.held_out_users()))
    return result, warnings + count_differences(request.name, result.counts, request.follows_publication())


def _finish(request: Request, folder: Path | None, files: list[Path], ranks: Ranks) -> Mapping[str, Any] | None:
    with ThreadPoolExecutor(1) as hasher:
        digest = hasher.submit(_contents, files if ranks.is_first else [])  # while the rows are read
        divided = _held_out_already(request, ranks) or _divided(request, folder, ranks)
    if divided is None:
        return None
    result, warnings = divided
    titles = _titles(request, folder)
    if result.counts["duplicates_dropped"]:
        warnings.append(f"{result.counts['duplicates_dropped']:,} repeated (user, item) pairs were kept once")
    source = {"files": [p.name for p in files[:10]], "stamps": _stamps(files), "sha256": digest.result()}
    store.write(request.out, result, titles, request.parameters(), source, warnings)
    return store.prepared_with(request.out)
