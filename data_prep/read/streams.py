"""The bytes of files, decompressed: gz, bz2, zst, xz, lz4, zip and tar, recognised by their first bytes."""

from __future__ import annotations

import lzma
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa

from data_prep.read import addresses
from data_prep.read.paths import File, find, is_marker, partition_of

HEAD_BYTES = 512
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
"""First bytes of a file -> its compression; all but xz are names of Arrow's codecs."""
_TAR_AT = 257
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of a zip, and of an empty one."""
_BROKEN = (
    pa.ArrowException,
    EOFError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
    tarfile.TarError,
    OSError,
    RuntimeError,
)


class Unreadable(ValueError):
    """A file that is damaged or cut, or that cannot be reached, in one line."""


class Stream:
    """Bytes that are read in order, with errors that name the file."""

    def __init__(self, raw: Any, shown: str, packed: str, close_too: Sequence[Any] = ()) -> None:
        self._raw, self._shown, self._packed, self._close_too = raw, shown, packed, close_too
        self.closed = False

    def read(self, amount: int = -1) -> bytes:
        """The next bytes: `amount`, fewer only at the end; -1: all.

        Raises:
            ValueError: the file is damaged or cut.
        """
        parts, left = [], amount
        try:
            while left and (part := self._raw.read(*(() if amount < 0 else (left,)))):
                parts.append(part)
                left -= len(part) if amount >= 0 else 0
        except Unreadable:
            raise
        except _BROKEN as error:
            raise Unreadable(self._explained(error)) from None
        except Exception as error:  # file systems of addresses have their own classes of errors
            raise Unreadable(f"{self._shown} cannot be read: {addresses.reason(error)}") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int) -> None:
        self._raw.seek(offset)

    def _explained(self, error: Exception) -> str:
        text = addresses.reason(error)
        if not self._packed:
            return f"{self._shown} cannot be read: {text}"
        cut = isinstance(error, EOFError) or "runcated" in text or "ended before" in text
        what = f"ends in the middle of its {self._packed} data" if cut else f"is damaged {self._packed} data ({text})"
        return f"{self._shown} {what}, so rows are missing; copy or download it again"

    def close(self) -> None:
        self.closed = True
        for one in (self._raw, *self._close_too):
            one.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one stream of bytes is read from: a file, or a member of an archive."""

    file: File
    compression: str = ""
    """Of the file, or of the member."""
    member: str = ""
    archive: _Archive | None = field(default=None, repr=False)
    length: int = 0
    """Bytes, of compressed ones as they are on disk; at least 1."""

    @property
    def shown(self) -> str:
        return f"{self.file.shown}: {self.member}" if self.member else self.file.shown

    @property
    def name(self) -> str:
        return self.member or self.file.name

    @property
    def partition(self) -> dict[str, str | None]:
        return dict(self.file.partition) | partition_of(self.member)

    @property
    def can_seek(self) -> bool:
        """Whether reading may begin in the middle, so that ranks can share it."""
        return self.file.can_seek and not self.compression and self.archive is None

    def open(self) -> Stream:
        """The bytes, decompressed.

        Raises:
            ValueError: it cannot be opened.
        """
        raw = _opened(self.file) if self.archive is None else self.archive.opened(self.member)
        return _decompressed(raw, self.compression, self.shown, self.archive.kind if self.archive else "")


def _opened(file: File) -> IO[bytes]:
    try:
        return file.open()
    except OSError as error:
        raise ValueError(f"{file.shown} cannot be opened: {error.strerror or error}") from None


def _decompressed(raw: Any, compression: str, shown: str, packed: str = "") -> Stream:
    if not compression:
        return Stream(raw, shown, packed)
    if compression == "xz":
        return Stream(lzma.LZMAFile(raw), shown, "xz", [raw])
    # Arrow takes a short answer for the end of the file
    whole = pa.PythonFile(Stream(raw, shown, packed), mode="r")
    return Stream(pa.CompressedInputStream(whole, compression), shown, compression, [raw])


def compression_of(head: bytes) -> str:
    """The compression of a file that begins so; "" of others."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")


class _Archive:
    """The members of a zip or tar, read where they lie. A tar is read on from where it is, if possible."""

    def __init__(self, open_file: Callable[[], Any], kind: str, shown: str) -> None:
        self._open_file, self.kind, self._shown = open_file, kind, shown
        self._tar: tarfile.TarFile | None = None
        self._passed: set[str] = set()
        self._lock = threading.Lock()

    def members(self) -> list[tuple[str, int]]:
        """Names and sizes of its files, without hidden ones, markers and notes.

        Raises:
            ValueError: it is damaged.
        """
        try:
            if self.kind == "zip":
                with zipfile.ZipFile(self._open_file()) as zipped:
                    found = [(m.filename, m.file_size) for m in zipped.infolist() if not m.is_dir()]
            else:
                with tarfile.open(fileobj=self._open_file(), mode="r|") as tarred:
                    found = [(m.name, m.size) for m in tarred if m.isfile()]
        except _BROKEN as error:
            raise ValueError(f"{self._shown} is not a readable archive ({_first_line(error)}); get it again") from None
        return [(name, size) for name, size in found if size and not is_marker(name.removeprefix("./"))]

    def opened(self, member: str) -> Any:
        """The bytes of a member; of a tar, only until the next one is opened.

        Raises:
            ValueError: it cannot be opened.
        """
        try:
            if self.kind == "zip":
                return zipfile.ZipFile(self._open_file()).open(member)
            with self._lock:
                return self._of_tar(member)
        except _BROKEN as error:
            raise ValueError(f"{self._shown}: {member} cannot be read ({_first_line(error)}); get it again") from None

    def _of_tar(self, member: str) -> Any:
        if self._tar is None or member in self._passed:
            self._tar = tarfile.open(fileobj=self._open_file(), mode="r|")  # noqa: SIM115 - read on later
            self._passed = set()
        while (entry := self._tar.next()) is not None:
            self._passed.add(entry.name)
            if entry.name == member and (stream := self._tar.extractfile(entry)):
                return stream
        raise ValueError(f"{self._shown} holds no {member} any more")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def entries(raw: Sequence[str]) -> tuple[list[File], list[Entry]]:
    """The files that were named, and what is read from them: the files, or the members of archives.

    Raises:
        ValueError: something is not there, cannot be read, or holds nothing.
    """
    files = find(raw)
    return files, [entry for file in files for entry in _entries_of(file)]


def _entries_of(file: File) -> list[Entry]:
    with _decompressed(_opened(file), "", file.shown) as stream:
        head = stream.read(HEAD_BYTES)
    compression = compression_of(head)
    length = max(1, file.size)
    kind = "zip" if head.startswith(_ZIP) else "tar" if _is_tar(head) else ""
    if compression and not kind:
        with _decompressed(_opened(file), compression, file.shown) as inner:
            kind = "tar" if _is_tar(inner.read(HEAD_BYTES)) else ""
    if not kind:
        return [Entry(file=file, compression=compression, length=length)]

    def open_file() -> Any:
        return _decompressed(_opened(file), compression, file.shown) if compression else _opened(file)

    archive = _Archive(open_file, kind, file.shown)
    members = archive.members()
    if any(name == "[Content_Types].xml" for name, _ in members):
        raise ValueError(f"{file.shown} is an Office document, expected text or Parquet; save the table as CSV")
    if not members:
        raise ValueError(f"{file.shown} holds no files to read")
    return [
        Entry(
            file=file,
            member=name,
            archive=archive,
            length=size,
            compression=_compression_of_member(archive, name, file.shown),
        )
        for name, size in (sorted(members) if kind == "zip" else members)
    ]


def _compression_of_member(archive: _Archive, member: str, shown: str) -> str:
    with _decompressed(archive.opened(member), "", f"{shown}: {member}", archive.kind) as stream:
        return compression_of(stream.read(HEAD_BYTES))


def _is_tar(head: bytes) -> bool:
    return head[_TAR_AT : _TAR_AT + 5] == b"ustar"
