"""Text in any encoding as UTF-8 without a byte order mark."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from data_prep.read.streams import Entry, Stream, Unreadable

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order mark -> what follows it."""
_SAMPLE = 1 << 16


def mark_of(head: bytes) -> tuple[bytes, str]:
    """The byte order mark of a text and its encoding; b"" and "" where there is none."""
    return next(((mark, name) for mark, name in MARKS if head.startswith(mark)), (b"", ""))


def encoding_of(entry: Entry, asked: str) -> str:
    """The encoding of a text: that of its byte order mark, else the one asked for; "" is UTF-8.

    Raises:
        ValueError: the encoding is not known.
    """
    with entry.open() as stream:
        head = stream.read(4)
    _, found = mark_of(head)
    name = found or asked or "utf-8"
    try:
        known = codecs.lookup(name)
        "".encode(name)
    except (LookupError, UnicodeError):
        raise ValueError(f"--encoding is {asked!r}, expected a name that Python knows, as latin-1 or utf-16") from None
    if not getattr(known, "_is_text_encoding", True):
        raise ValueError(f"--encoding is {asked!r}, which is no encoding of text; latin-1 and utf-16 are examples")
    if not found and head and known.name in ("utf-16", "utf-32"):
        ends = " or ".join(f"--encoding {known.name}-{order}" for order in ("le", "be"))
        reason = f"say which of its two forms it has: {ends}" if 0 in head else "leave --encoding out if it is UTF-8"
        raise ValueError(f"{entry.shown} is --encoding {asked} without a byte order mark; {reason}")
    return "" if known.name in ("utf-8", "utf-8-sig", "ascii") else known.name


def text_of(entry: Entry, encoding: str) -> Stream:
    """The bytes of a text as UTF-8. Of UTF-8 itself the byte order mark is kept, so that offsets are those of the file.

    Args:
        encoding: a name from `encoding_of`.
    """
    stream = entry.open()
    if not encoding:
        return stream
    return Stream(_Recoded(stream, encoding, entry.shown), entry.shown, "", [stream])


class _Recoded:
    """Reads another encoding as UTF-8."""

    def __init__(self, stream: Stream, encoding: str, shown: str) -> None:
        self._stream, self._encoding, self._shown = stream, encoding, shown
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._begun, self._ready, self._ended = False, b"", False

    def read(self, amount: int = -1) -> bytes:
        while not self._ended and (amount < 0 or len(self._ready) < amount):
            raw = self._stream.read(_SAMPLE if amount < 0 else max(_SAMPLE, amount))
            self._ended = not raw
            try:
                text = self._decoder.decode(raw, final=self._ended)
            except UnicodeDecodeError as error:
                found = error.object[error.start : error.start + 4]
                raise Unreadable(
                    f"{self._shown} is not {self._encoding}: it holds the bytes {found!r}; name its encoding with "
                    "--encoding"
                ) from None
            if not self._begun and text:
                text, self._begun = text.removeprefix("\ufeff"), True
            self._ready += text.encode()
        amount = len(self._ready) if amount < 0 else amount
        given, self._ready = self._ready[:amount], self._ready[amount:]
        return given

    def close(self) -> None:
        """Nothing to close: the stream below is closed by its owner."""


def looks_wide(head: bytes) -> bool:
    """Whether a text without a byte order mark looks as UTF-16 or UTF-32 does: much of it is the byte 0."""
    return len(head) >= 2 and head.count(0) * 4 >= len(head)


def check_utf8(head: bytes, shown: str, encodings: Sequence[str] = ("latin-1", "cp1252", "utf-16")) -> None:
    """Raise ValueError if the beginning of a text is not UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{shown} is not UTF-8: it holds the bytes {head[error.start : error.start + 4]!r}; name its encoding with "
            f"--encoding, as {', '.join(encodings)}"
        ) from None
