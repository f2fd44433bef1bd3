"""Finding the files that the user named: files, globs, folders of parts, addresses. Nothing is read here."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote

from data_prep.read import addresses

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""The name that Hive and Spark give to the folder of the rows whose value is missing."""
_NOTES = re.compile(r"(readme|licen[cs]e|copying|notice|checksums?|md5sums?|sha256sums?)(\.|$)", re.IGNORECASE)
_MARKERS = (".crc", ".md5", ".sha256", ".sha1", ".asc", ".tmp", ".lock")
_GLOB = re.compile(r"[*?[]")
_GLOB_OF_ADDRESSES = re.compile(r"[*[]")


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a source."""

    path: str
    """A path, or an address, which may hold a password: show `shown`."""
    name: str
    """The name, of a part of a folder with the folders above it: "year=2020/part-0.parquet"."""
    size: int
    """Bytes; -1 where a server does not tell."""
    stamp: str = ""
    """What changes when the file changes."""
    partition: Mapping[str, str | None] = field(default_factory=dict)
    """Columns that stand in the names of folders ("year=2020"); None: the value is missing."""
    node: tuple[int, int] | None = None
    """The same for all links to a file; None where it is not known."""

    @property
    def shown(self) -> str:
        return addresses.shown(self.path) if self.is_remote else self.path

    @property
    def is_remote(self) -> bool:
        return addresses.is_address(self.path)

    @property
    def can_seek(self) -> bool:
        return not (self.is_remote and addresses.is_web(self.path))

    def open(self) -> IO[bytes]:
        """The bytes of the file.

        Raises:
            ValueError: an address that cannot be opened.
            OSError: a file that cannot be opened.
        """
        return addresses.opened(self.path) if self.is_remote else Path(self.path).open("rb")


def find(raw: Sequence[str]) -> list[File]:
    """All files of what was named, in the order of the names; those of a folder or glob in the order of their paths.

    Of a folder these are left out: hidden files and markers (_SUCCESS, .crc), empty files, notes (README, LICENSE).

    Raises:
        ValueError: something does not exist or holds no files, or folders have different partition columns.
    """
    files: list[File] = []
    for one in raw:
        files += _found_at_address(one) if addresses.is_address(one) else _found_locally(one)
    _check_once(files)
    _check_partitions(files)
    return files


def _check_once(files: Sequence[File]) -> None:
    """Raise ValueError if a file is there twice, by name or as a link."""
    named: dict[object, File] = {}
    for file in files:
        for key in (file.path, file.node):
            if key is None:
                continue
            if (other := named.setdefault(key, file)) is not file:
                link = "" if other.path == file.path else f" and is the same file as {other.shown}"
                raise ValueError(f"{file.shown} is named twice{link}, every file is read once; leave one out")


def _found_at_address(raw: str) -> list[File]:
    if addresses.scheme(raw) in ("file", "local"):
        return _found_locally(raw.split("://", 1)[1])
    base = _before_wildcards(raw) if _GLOB_OF_ADDRESSES.search(raw) else raw.rstrip("/")
    files, single = [], True
    for address, info in addresses.found(raw):
        single = address == raw
        inside = address[len(base) :].lstrip("/") if address.startswith(base) and not single else ""
        name = inside or PurePosixPath(addresses.shown(address)).name
        size = -1 if info.get("size") is None else int(info["size"])
        files.append(
            File(path=address, name=name, size=size, stamp=addresses.stamp(info), partition=partition_of(name))
        )
    return files if single and files else _parts(files, addresses.shown(raw))


def _before_wildcards(raw: str) -> str:
    """The folder in which the first part with a wildcard stands: "data" of "data/part-*.csv"."""
    found = _GLOB.search(raw)
    return raw[: found.start()].rpartition("/")[0] if found else raw


def _local(path: Path, name: str) -> File:
    state = path.stat()
    return File(
        path=str(path),
        name=name,
        size=state.st_size,
        stamp=str(state.st_mtime_ns),
        partition=partition_of(name),
        node=(state.st_dev, state.st_ino) if state.st_ino else None,
    )


def _inside(folder: Path) -> list[Path]:
    """All files below a folder, by their paths; links to folders are followed once.

    Raises:
        ValueError: a folder cannot be read, so that its files would be missing.
    """
    return sorted(_walked(folder, frozenset()))


def _walked(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder above: it would never end
        return
    try:
        found = list(folder.iterdir())
        for path in found:
            if path.is_dir():
                yield from _walked(path, above | {real})
            elif path.is_file():
                yield path
    except PermissionError as error:
        raise ValueError(
            f"{error.filename or folder} cannot be read: {error.strerror}; allow it, or leave the folder out"
        ) from None


def _check_readable_twice(raw: str, path: Path) -> None:
    """Raise ValueError if a name stands for a pipe or a device: a source is read several times."""
    is_standard = raw in ("-", "/dev/stdin", "/dev/fd/0")
    if (raw == "-" and not path.exists()) or (path.exists() and not path.is_file() and not path.is_dir()):
        what = "the standard input" if is_standard else "a pipe or a device"
        raise ValueError(
            f"--raw {raw} is {what}, which can be read only once, and a source is read several times; write it to a "
            "file first and name that"
        )


def _found_locally(raw: str) -> list[File]:
    if not raw.strip():
        raise ValueError("--raw is an empty name; name the file, the folder, a glob or an address with --raw")
    path = Path(raw)
    _check_readable_twice(raw, path)
    if path.is_file():
        return [_local(path, path.name)]
    if path.is_dir():
        return _parts([_local(p, p.relative_to(path).as_posix()) for p in _inside(path)], raw)
    if not _GLOB.search(raw):
        raise ValueError(f"{raw} does not exist; name the file, the folder, a glob or an address with --raw")
    base = Path(_before_wildcards(raw))
    matched: list[File] = []
    for one in sorted(Path(p) for p in glob.glob(raw, recursive=True)):  # noqa: PTH207 - an absolute pattern too
        inside = _inside(one) if one.is_dir() else [one]
        matched += [_local(p, p.relative_to(base).as_posix()) for p in inside]
    unique = {file.path: file for file in matched}  # "**" matches a folder and its files
    return _parts(list(unique.values()), raw)


def _parts(files: Sequence[File], raw: str) -> list[File]:
    """The files that hold rows.

    Raises:
        ValueError: none is left.
    """
    kept = [f for f in files if not is_marker(f.name)]
    full = [f for f in kept if f.size != 0]
    if not full:
        reason = f"{len(kept)} files, all empty" if kept else f"no files to read ({len(files)} hidden or markers)"
        reason = reason if files else "no files"
        raise ValueError(f"{raw} holds {reason}; name the file, the folder or a glob of the interactions with --raw")
    return full


def is_marker(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(p.startswith((".", "_")) and "=" not in p for p in parts) or "__MACOSX" in parts
    return hidden or parts[-1].lower().endswith(_MARKERS) or _NOTES.match(parts[-1]) is not None


def partition_of(name: str) -> dict[str, str | None]:
    """The columns that the folders of a part name: {"year": "2020"} of "year=2020/part-0.csv"."""
    found: dict[str, str | None] = {}
    for folder in PurePosixPath(name).parts[:-1]:
        column, equals, value = folder.partition("=")
        if equals and column:
            found[unquote(column)] = None if value == NULL_PARTITION else unquote(value)
    return found


def _check_partitions(files: Sequence[File]) -> None:
    for file in files[1:]:
        if list(file.partition) != list(files[0].partition):
            first, this = (", ".join(f.partition) or "none" for f in (files[0], file))
            raise ValueError(
                f"{file.shown} is in folders with the partition columns {this}, {files[0].shown} with {first}; "
                "every part needs the same"
            )


def stamps(files: Sequence[File]) -> str:
    """A digest of names, sizes and times (or ETags): equal means that the files are those that were read before."""
    rows = [f"{f.name} {f.size} {f.stamp}" for f in files]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def contents(files: Sequence[File]) -> str:
    """SHA-256 over the contents: of one file that of the file, of several that of the list of theirs."""
    digests = [_sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _sha256(file: File) -> str:
    digest = hashlib.sha256()
    with file.open() as opened:
        while block := opened.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
