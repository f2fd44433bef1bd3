"""Recognising the format of a file by its first bytes, and by its name where these leave a choice."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from data_prep.read.asked import FORMATS, Asked
from data_prep.read.encodings import check_utf8, encoding_of, looks_wide, text_of
from data_prep.read.streams import Entry

SAMPLE_BYTES = 1 << 20
MOST_LINES = 50
"""Lines that the delimiter has to fit."""
DELIMITERS = (",", "\t", ";", "|", "::")
SHOWN = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe", "::": "'::'"}
_BINARY = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"FEA1": "arrow",
    b"\xff\xff\xff\xff": "arrow",  # a stream, without the frame of a file
}
_OTHERS = {
    b"ORC": "an ORC file; write it as Parquet",
    b"SQLite format 3\x00": "an SQLite database; read it with --database sqlite:///FILE --sql TABLE",
    b"\x89HDF": "an HDF5 file; write the table as Parquet or CSV",
    b"\x93NUMPY": "a NumPy file; write a table as Parquet or CSV",
    b"Obj\x01": "an Avro file; write it as Parquet",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"%PDF": "a PDF document",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"\x80\x02": "a Python pickle; write the table as Parquet",
    b"\x80\x03": "a Python pickle; write the table as Parquet",
    b"\x80\x04": "a Python pickle; write the table as Parquet",
    b"\x80\x05": "a Python pickle; write the table as Parquet",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with git lfs pull",
}
_SPACED = re.compile(r"[^\s,;|]+( [^\s,;|]+)* ?$")
_TAB_NAMES = (".tsv", ".tab")


def recognise(entry: Entry, asked: Asked) -> str:
    """The format of an entry, one of FORMATS.

    Raises:
        ValueError: it is none of them, or is empty.
    """
    if asked.format and asked.format not in FORMATS:
        raise ValueError(f"--format is {asked.format!r}, known are: {', '.join(FORMATS)}")
    if asked.format:
        return asked.format
    with entry.open() as stream:
        head = stream.read(4096)
    if not head:
        raise ValueError(f"{entry.shown} is empty, expected interactions as CSV, JSON lines, Parquet or Arrow")
    for magic, name in _BINARY.items():
        if head.startswith(magic):
            return name
    for magic, other in _OTHERS.items():
        if head.startswith(magic):
            raise ValueError(f"{entry.shown} is {other}; expected CSV, JSON lines, Parquet or Arrow")
    return _kind_of_text(entry, asked)


def first_text(entry: Entry, asked: Asked, amount: int = SAMPLE_BYTES) -> bytes:
    """The first bytes of a text, in UTF-8, with its byte order mark.

    Raises:
        ValueError: it is not text of its encoding.
    """
    encoding = encoding_of(entry, asked.encoding)
    with text_of(entry, encoding) as stream:
        head = stream.read(amount)
    if b"\x00" in head[:4096]:
        wide = "; it looks like UTF-16: name its encoding with --encoding utf-16-le" if looks_wide(head) else ""
        raise ValueError(
            f"{entry.shown} is no text (it holds the byte 0){wide or ', expected CSV, JSON lines, Parquet or Arrow'}"
        )
    if b"\r" in head and b"\n" not in head:
        raise ValueError(f"{entry.shown} ends its lines with CR alone; convert them with: tr '\\r' '\\n'")
    check_utf8(head, entry.shown)
    return head


def lines_of(head: bytes, count: int = MOST_LINES) -> list[str]:
    """The first lines that are not empty; the last one may be cut, and is left out where there are others."""
    text = head.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    lines = text.split("\n")
    whole = lines[:-1] if len(lines) > 1 and not text.endswith("\n") and len(head) >= 4096 else lines
    return [line.rstrip("\r") for line in whole if line.strip()][:count]


def _kind_of_text(entry: Entry, asked: Asked) -> str:
    lines = lines_of(first_text(entry, asked, 1 << 16))
    if not lines:
        raise ValueError(f"{entry.shown} is empty, expected interactions as CSV, JSON lines, Parquet or Arrow")
    if lines[0].lstrip().startswith("{"):
        return "json"
    if lines[0].lstrip().startswith("[") and re.match(r"\[\s*(\{|$)", lines[0].lstrip()):
        raise ValueError(
            f"{entry.shown} holds one JSON array, expected an object a line; convert it with: jq -c '.[]' FILE"
        )
    if re.match(r"(<!doctype|<html|<\?xml)", lines[0].lstrip(), re.IGNORECASE):
        raise ValueError(f"{entry.shown} is a web page or XML, expected CSV, JSON lines, Parquet or Arrow")
    if asked.header or asked.delimiter or delimiter_of(lines, entry.name):
        return "csv"
    if all(_SPACED.match(line) for line in lines):
        return _spaced(entry, lines)
    return "csv"


def _spaced(entry: Entry, lines: Sequence[str]) -> str:
    """The format of lines that are divided by single blanks: rows of as many fields as the first, or lists.

    Raises:
        ValueError: it could be both.
    """
    widths = {len(line.split()) for line in lines}
    if len(widths) == 1 and max(widths) > 1 and len(lines) > 1:
        raise ValueError(
            f"{entry.shown} holds {max(widths)} fields a line, divided by blanks: say whether these are rows "
            "(--delimiter ' ') or lists of a user and all of its items (--format lists)"
        )
    return "lists" if max(widths) > 1 else "csv"


def fields(line: str, delimiter: str) -> list[str]:
    """The fields of a line, without their quotes."""
    if len(delimiter) > 1:
        return line.split(delimiter)
    return next(csv.reader([line], delimiter=delimiter), [])


def delimiter_of(lines: Sequence[str], name: str = "") -> str:
    """The delimiter that divides all lines into as many fields, at least two; "" where none does.

    Where several do, the one of the file's name decides, then the one with the most fields.
    """
    fitting: dict[str, int] = {}
    for delimiter in DELIMITERS:
        try:
            widths = [len(row) for row in _rows(lines, delimiter)]
        except csv.Error:
            continue
        if widths and widths[0] > 1 and sum(w == widths[0] for w in widths) * 10 >= len(widths) * 9:
            fitting[delimiter] = widths[0]
    if "\t" in fitting and any(ending in name.lower() for ending in _TAB_NAMES):
        return "\t"
    best = max(fitting.values(), default=0)
    return next((d for d in fitting if fitting[d] == best), "")


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if len(delimiter) > 1:
        return [line.split(delimiter) for line in lines]
    rows = list(csv.reader([f"{line}\n" for line in lines], delimiter=delimiter))
    return rows[:-1] if len(rows) > 2 else rows  # a field in quotes may go on behind the last line
