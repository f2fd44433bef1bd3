"""Cutting text into blocks of whole lines, and sharing those among ranks.

A line end inside of a quoted field ends no line. Whether a line end is inside is known by counting the quotes from the
start of the file: a field has an even number of them, because a quote inside of it is written twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data_prep.read.encodings import text_of
from data_prep.read.streams import Entry, Stream

BLOCK_BYTES = 16 << 20
LONGEST_LINE = 64 << 20
LONGEST_QUOTED = 1 << 20
"""Bytes after which a quote that was not closed is taken for a character of its field."""
_STEP = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Text:
    """The text of an entry, in UTF-8, and what is known of it."""

    entry: Entry
    encoding: str = ""
    """As in `encodings.text_of`; "" is UTF-8."""
    skip: int = 0
    """Bytes of the byte order mark and the header line, which nobody reads."""
    quotes: bool = True
    """Whether fields can be in quotes."""
    quoted: bool = False
    """Whether there are quotes in its first rows."""

    def open(self) -> Stream:
        return text_of(self.entry, self.encoding)

    @property
    def shown(self) -> str:
        return self.entry.shown

    @property
    def can_seek(self) -> bool:
        return self.entry.can_seek and not self.encoding


@dataclass(frozen=True, kw_only=True)
class Span:
    """A range of bytes of a text; it owns the lines that start in it."""

    text: Text
    start: int
    end: int | None
    """None: to the end, of texts whose length is not known before they were read."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Whole lines."""

    text: Text
    offset: int
    """Where it begins in the text."""
    content: bytes
    written: bytes | None = None
    """The content as it is in the text, where it was changed without a change of its length."""

    def line(self, row: int = 0) -> int:
        """1-based number of the line in which a row (from 0) begins; the text is read again up to there."""
        written = self.content if self.written is None else self.written
        return _lines_before(self.text, self.offset) + written.count(b"\n", 0, self.row_offset(row)) + 1

    def row_offset(self, row: int) -> int:
        """Where in the content a row begins; empty lines are no rows."""
        position, is_open = 0, False
        for line in _lines(self.content):
            if not is_open and line.strip(b"\r\n"):
                if row == 0:
                    return position
                row -= 1
            is_open ^= self.text.quotes and bool(line.count(b'"') % 2)
            position += len(line)
        return position

    def line_text(self, row: int) -> str:
        """The beginning of a row, for a message."""
        start = self.row_offset(row)
        return self.content[start : start + 200].split(b"\n")[0].decode(errors="replace").strip()[:80]


def _lines(content: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        yield content[start:end]
        start = end


def _lines_before(text: Text, offset: int) -> int:
    lines = 0
    with text.open() as stream:
        while offset > 0 and (block := stream.read(min(BLOCK_BYTES, offset))):
            lines += block.count(b"\n")
            offset -= len(block)
    return lines


def shares(texts: Sequence[Text], rank: int, size: int) -> list[Span]:
    """The ranges of one rank: all texts laid end to end and cut into `size` consecutive ranges of about equal length.

    Texts in which one cannot seek are read whole, by the rank in whose range they begin.
    """
    lengths = [t.entry.length for t in texts]
    total, before, mine = sum(lengths), 0, []
    first, last = total * rank // size, total * (rank + 1) // size
    for text, length in zip(texts, lengths, strict=True):
        if text.can_seek:
            start, end = max(first - before, text.skip), min(last - before, length)
            if start < end:
                mine.append(Span(text=text, start=start, end=end))
        elif first <= before < last:
            mine.append(Span(text=text, start=text.skip, end=None))
        before += length
    return mine


def bytes_of_share(texts: Sequence[Text], rank: int, size: int) -> int:
    """Bytes of the share of a rank; 0 where some of it is compressed."""
    spans = shares(texts, rank, size)
    return sum((s.end or 0) - s.start for s in spans) if all(s.end for s in spans) else 0


def rows_by_length(texts: Sequence[Text], row_bytes: float, packed: int) -> int:
    """About how many rows there are; 0 where that is unknown.

    Args:
        row_bytes: length of the first rows, on average.
        packed: how many times longer the text of a compressed file is.
    """
    size = sum(t.entry.length * (packed if t.entry.compression else 1) for t in texts)
    return round(size / row_bytes) if row_bytes else 0


def blocks(span: Span, block_bytes: int | None = None) -> Iterator[Block]:
    """The lines that start inside of the span, in blocks of about `block_bytes` (default: BLOCK_BYTES).

    Raises:
        ValueError: a line that is too long, or one that cannot be shared among ranks.
    """
    with span.text.open() as stream:
        cutter = _Cutter(stream, span)
        while content := cutter.next(block_bytes or BLOCK_BYTES):
            yield Block(text=span.text, offset=cutter.offset - len(content), content=content)


class _Cutter:
    """Reads on in a span, whole lines at a time."""

    def __init__(self, stream: Stream, span: Span) -> None:
        self._stream, self._span = stream, span
        self._rest = b""
        self.offset = span.start
        """Where the next line begins."""
        if span.start <= span.text.skip:
            self._skip(span.text.skip)
        else:
            self._find_start()

    def _skip(self, amount: int) -> None:
        if self._span.text.can_seek:
            self._stream.seek(amount)
        else:
            self._stream.read(amount)

    def _find_start(self) -> None:
        """Go to the first line that starts in the span: a line that began before belongs to the span before."""
        is_open, before = False, self._span.start - 1
        if self._span.text.quoted:
            self._skip(0)
            left = before
            while left and (block := self._stream.read(min(BLOCK_BYTES, left))):
                is_open ^= self._leaves_open(block)
                left -= len(block)
        self._skip(before)
        self.offset = before + len(self._line(is_open))

    def _leaves_open(self, content: bytes, start: int = 0, end: int | None = None) -> bool:
        """Whether a field in quotes goes on behind a part of the content that begins outside of quotes."""
        return self._span.text.quotes and bool(content.count(b'"', start, end) % 2)

    def _line(self, is_open: bool = False) -> bytes:
        """The next line; `is_open`: it begins inside of quotes."""
        line, searched, first_end = self._rest, 0, 0
        while True:
            while end := line.find(b"\n", searched) + 1:
                is_open ^= self._leaves_open(line, searched, end)
                first_end = first_end or end
                if not is_open:
                    return self._cut(line, end)
                searched = end
            if first_end and len(line) > LONGEST_QUOTED:
                return self._cut(line, self._unclosed(first_end))
            if len(line) > LONGEST_LINE:
                raise ValueError(
                    f"{self._span.text.shown}: a line of more than {LONGEST_LINE >> 20} MiB; is it text with a row a "
                    "line?"
                )
            if not (more := self._stream.read(max(_STEP, len(line)))):  # doubled, or a long line is copied often
                return self._cut(line, self._unclosed(first_end) if first_end else len(line))
            line += more

    def _cut(self, line: bytes, end: int) -> bytes:
        self._rest = line[end:]
        return line[:end]

    def _unclosed(self, first_end: int) -> int:
        """Where a line ends whose quote is a character of its field.

        Raises:
            ValueError: other ranks read the text too, and would take other line ends for ends of rows.
        """
        if self._span.text.quoted and self._is_shared:
            raise ValueError(
                f"{self._span.text.shown}: a quote behind byte {self.offset} is not closed; close it, or prepare this "
                "file with one process"
            )
        return first_end

    @property
    def _is_shared(self) -> bool:
        span = self._span
        return span.start > span.text.skip or (span.end is not None and span.end < span.text.entry.length)

    def next(self, amount: int) -> bytes:
        """The next lines, about `amount` bytes; b"" at the end of the span."""
        end = self._span.end
        wanted = amount if end is None else min(amount, end - self.offset)
        if wanted <= 0:
            return b""
        content = self._rest + self._stream.read(max(0, wanted - len(self._rest)))
        content, self._rest = content[:wanted], content[wanted:]
        if not content:
            return b""
        is_last = end is not None and self.offset + len(content) >= end
        if not is_last and (cut := self._last_line_end(content)):
            content, self._rest = content[:cut], content[cut:] + self._rest
        elif not content.endswith(b"\n") or self._leaves_open(content):
            rest = self._line(self._leaves_open(content))
            if is_last and (content.endswith(b"\n") or b"\n" in rest[:-1]):
                self._check_next_rank(content)
            content += rest
        self.offset += len(content)
        return content

    def _last_line_end(self, content: bytes) -> int:
        """After the last line end outside of quotes; 0 where there is none."""
        cut = content.rfind(b"\n") + 1
        is_open = self._leaves_open(content, 0, cut)
        while is_open and cut:
            quote = content.rfind(b'"', 0, cut)
            before = content.rfind(b"\n", 0, max(quote, 0)) + 1
            is_open ^= self._leaves_open(content, before, cut)
            cut = before
        return cut

    def _check_next_rank(self, content: bytes) -> None:
        """Raise ValueError if the next rank takes another line end for the end of this row.

        It counts the quotes before its range only if there are some in the first rows.
        """
        text = self._span.text
        if text.quoted or self._span.end is None or self._span.end >= text.entry.length:
            return
        raise ValueError(
            f"{text.shown}: a quoted field with a line break lies where two ranks meet (byte "
            f"{self.offset + len(content)}); prepare this file with one process"
        )
