"""Machine code of GPUs inside a shared library: zero that of other architectures, so that it compresses to nothing.

A library holds fat binaries. Each is a header (uint32 0xBA55ED50, uint16 version, uint16 size of the header, uint64
size of what follows) and entries: uint16 kind (1: PTX, 2: machine code), uint16 version, uint32 size of the entry's
header, uint64 size of its payload, and at byte 28 the uint32 architecture (90 for Hopper).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FIRST_BYTES = struct.pack("<I", 0xBA55ED50)
HEADER = struct.Struct("<IHHQ")
ENTRY = struct.Struct("<HHIQ")
ARCHITECTURE_AT, LEAST_ENTRY = 28, 64
PTX, MACHINE_CODE = 1, 2
KINDS = frozenset((PTX, MACHINE_CODE, 4, 8, 16, 32, 64))
LARGEST_HEADER = 4096


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Code of one architecture."""

    kind: int
    start: int
    """Where the payload begins in the file."""
    size: int
    """Bytes of the payload."""
    architecture: int


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Bytes of code in a library."""

    zeroed: int
    kept: int


def _entries(data: mmap.mmap, at: int, end: int) -> Iterator[Entry]:
    """Entries from `at` on, until `end` or until the bytes are no entry."""
    while at + LEAST_ENTRY <= end:
        kind, _, header, size = ENTRY.unpack_from(data, at)
        fits = 32 <= header <= LARGEST_HEADER and at + header + size <= end + LEAST_ENTRY
        if kind not in KINDS or not fits:
            return
        architecture = struct.unpack_from("<I", data, at + ARCHITECTURE_AT)[0]
        yield Entry(kind=kind, start=at + header, size=size, architecture=architecture)
        at += header + size


def fat_binaries(data: mmap.mmap) -> Iterator[list[Entry]]:
    """The entries of each fat binary. Its first bytes may also be there by chance, without a header behind it."""
    at = data.find(FIRST_BYTES)
    while 0 <= at <= len(data) - HEADER.size:
        _, version, header, size = HEADER.unpack_from(data, at)
        following = at + len(FIRST_BYTES)
        if version == 1 and header == HEADER.size and LEAST_ENTRY <= size <= len(data) - at:
            found = list(_entries(data, at + header, at + header + size))
            if found:
                yield found
                following = at + header + size
        at = data.find(FIRST_BYTES, following)


def needed(entries: list[Entry], architecture: int) -> list[Entry]:
    """The entries that a GPU of the architecture runs: machine code of its generation, else the newest PTX it takes.

    Entries of other kinds than PTX and machine code are kept.
    """
    other = [e for e in entries if e.kind not in (PTX, MACHINE_CODE)]
    code = [e for e in entries if e.kind == MACHINE_CODE and e.architecture // 10 == architecture // 10]
    if code:
        return other + code
    texts = [e for e in entries if e.kind == PTX and e.architecture <= architecture]
    newest = max((e.architecture for e in texts), default=0)
    return other + [e for e in texts if e.architecture == newest]


def prune(library: Path, architecture: int) -> Pruned:
    """Zero, in place, the code that a GPU of the architecture (as 90) does not run."""
    zeroed = kept = 0
    with library.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        for entries in list(fat_binaries(data)):
            starts = {entry.start for entry in needed(entries, architecture)}
            for entry in entries:
                if entry.start in starts:
                    kept += entry.size
                else:
                    data[entry.start : entry.start + entry.size] = bytes(entry.size)
                    zeroed += entry.size
    return Pruned(zeroed=zeroed, kept=kept)
