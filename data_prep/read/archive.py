"""Opening what a user names: a folder, a file, a zip or a tar. Archives are unpacked into a temporary folder."""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from data_prep import progress
from data_prep.parallel import Ranks
from data_prep.read.titles import KNOWN_FILES

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
ALWAYS = (*KNOWN_FILES, "training_set.tar")
"""Members that are unpacked of every archive: titles, and the archive inside that of Netflix."""


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.endswith(SUFFIXES)


@contextlib.contextmanager
def opened(raw: Path, scratch: Path, wanted: Sequence[str]) -> Iterator[Path]:
    """Yield the folder or file to read; an archive's wanted members lie in a temporary folder under `scratch`.

    Args:
        wanted: names of members; `*` stands for any text.

    Raises:
        ValueError: the path does not exist, or the archive is damaged.
    """
    if not raw.exists():
        raise ValueError(f"{raw} does not exist; name the folder, file or archive with --raw, or add --download")
    if not is_archive(raw):
        yield raw
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=scratch) as folder:
        try:
            _unpack(raw, Path(folder), wanted)
            for inner in sorted(Path(folder).rglob("training_set.tar")):  # the Netflix archive holds another one
                _unpack(inner, Path(folder), wanted)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{raw} is not a readable archive ({reason}); download it again") from None
        yield Path(folder)


@contextlib.contextmanager
def opened_on_first(raw: Path, scratch: Path, ranks: Ranks, wanted: Sequence[str]) -> Iterator[Path]:
    """`opened` on rank 0, and the same folder on every rank until all are done with it."""
    if not ranks.is_first:
        yield ranks.share(None)
        ranks.share(None)
        return
    with opened(raw, scratch, wanted) as folder:
        ranks.share(folder)
        yield folder
        ranks.share(None)


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in (*wanted, *ALWAYS))


def _unpack(archive: Path, target: Path, wanted: Sequence[str]) -> None:
    """Extract the members we read, flat (their own folders are dropped, so no name can leave `target`)."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            members = [m for m in zipped.infolist() if _is_wanted(Path(m.filename).name, wanted) and not m.is_dir()]
            with progress.bar(f"unpacking {archive.name}", sum(m.file_size for m in members), "B") as bar:
                for member in members:
                    with zipped.open(member) as source:
                        _copy(source, target / Path(member.filename).name, bar)
        return
    with tarfile.open(archive) as tarred, progress.bar(f"unpacking {archive.name}", None, "B") as bar:
        for entry in tarred:
            name = Path(entry.name).name
            if _is_wanted(name, wanted) and entry.isfile() and (stream := tarred.extractfile(entry)):
                with stream:
                    _copy(stream, target / name, bar)


def _copy(source: IO[bytes], target: Path, bar: progress.Bar) -> None:
    with target.open("wb") as out:
        while chunk := source.read(1 << 22):
            out.write(chunk)
            bar.update(len(chunk))
