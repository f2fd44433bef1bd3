"""A column of ids of any type as `Ids`: whole numbers are their own keys, the key of a text is its hash.

Shape legend: R rows of a block.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.read.rows import Ids, Keys, Names, Place

_CANONICAL = r"^[ \t]*(0|-?[1-9][0-9]{0,18})[ \t]*$"
"""A whole number as it would be printed again; the parsers of numbers cut blanks off too."""
_MAX_EXACT = {16: 1 << 11, 32: 1 << 24, 64: 1 << 53}
"""Bits of a floating type -> the whole numbers up to this one are exact in it."""


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without a dictionary, UUIDs and other kinds of text as strings."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.cast(kind.value_type))
    if isinstance(kind, pa.BaseExtensionType):
        storage = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        return _uuid_texts(storage) if _name(kind) in ("arrow.uuid", "uuid") else plain(storage)
    return column.cast(pa.string()) if is_text(kind) and not pa.types.is_string(kind) else column


def _is_coded(column: pa.ChunkedArray) -> bool:
    """Whether a column is a dictionary of different texts; nulls in its dictionary make it none."""
    if not pa.types.is_dictionary(column.type) or not is_text(column.type.value_type):
        return False
    dictionaries = (chunk.dictionary for chunk in column.chunks)
    return all(not d.null_count and len(pc.unique(d)) == len(d) for d in dictionaries)


def _name(kind: pa.BaseExtensionType) -> str:
    """The name of an extension type, or that of the database's type that Arrow does not know."""
    return kind.type_name if kind.extension_name == "arrow.opaque" else kind.extension_name


def _uuid_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts such as 123e4567-e89b-12d3-a456-426614174000 of 16 bytes each."""
    valid = column.is_valid().to_numpy()
    found = b"".join(column.drop_null().to_pylist())
    digits = np.frombuffer(found.hex().encode(), np.uint8).reshape(-1, 32)
    texts = np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1)
    offsets = np.concatenate([[0], np.cumsum(36 * valid.astype(np.int64))]).astype(np.int32)
    mask = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    buffers = [mask, pa.py_buffer(offsets), pa.py_buffer(texts.tobytes())]
    return pa.chunked_array([pa.Array.from_buffers(pa.string(), len(column), buffers)])


def read_type(column: pa.ChunkedArray, name: str, typed: bool) -> pa.DataType:
    """The type in which a column of ids is read: int64 or string.

    Args:
        column: the first rows.
        name: the column, for the message.
        typed: whether the source knows types; else every column is text, and numbers among it are found.

    Raises:
        ValueError: values of this type are no ids.
    """
    numeric = isinstance(column.type, pa.BaseExtensionType) and _name(column.type) == "numeric"
    column = plain(column)
    kind = column.type
    if is_text(kind):
        return pa.string() if (typed and not numeric) or not _all_canonical(column) else pa.int64()
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_uint64(kind):
        largest = pc.max(column).as_py()
        return pa.string() if largest is not None and largest >= 1 << 63 else pa.int64()
    if pa.types.is_decimal(kind):
        return pa.int64() if _fits(column) else pa.string()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pa.int64()
    raise ValueError(f"column {name!r} is {kind}, expected texts or whole numbers as ids")


def _all_canonical(texts: pa.ChunkedArray) -> bool:
    """Whether all texts that are not empty are numbers of int64 as they would be printed."""
    filled = texts.filter(pc.greater(pc.binary_length(texts), 0))
    if not len(filled) or not pc.all(pc.match_substring_regex(filled, _CANONICAL)).as_py():
        return False
    return _fits(pc.utf8_trim_whitespace(filled))


def _fits(column: pa.ChunkedArray) -> bool:
    try:
        column.cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def convert(column: pa.ChunkedArray, kind: pa.DataType, name: str, what: str, place: Place) -> Ids:
    """A column of a block as ids.

    Args:
        kind: int64 or string, as `read_type` found.
        name: the column; `what`: what its ids are of, "user" or "item"; both for messages.

    Raises:
        ValueError: an id is missing, or is none of this type.
    """
    column = column if _is_coded(column) and pa.types.is_string(kind) else plain(column)
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise _missing(column.null_count, row, what, place)
    if _is_coded(column):
        return _texts(column, what, place)
    if pa.types.is_int64(kind):
        return Ids(keys=smallest(_numbers(column, name, what, place)))
    if pa.types.is_floating(column.type) or pa.types.is_boolean(column.type) or pa.types.is_binary(column.type):
        raise ValueError(f"{place(0)}: column {name!r} is {column.type} here, and text in the rows before")
    return _texts(column if is_text(column.type) else column.cast(pa.string()), what, place)


def _missing(count: int, row: int, what: str, place: Place) -> ValueError:
    return ValueError(f"{place(row)}: {count} rows have an empty {what} id, every row needs one")


def smallest(keys: npt.NDArray[np.int64]) -> Keys:
    """`keys` as int32 where all fit, to halve the memory of every later step."""
    if keys.size and (int(keys.max()) >= 1 << 31 or int(keys.min()) < -(1 << 31)):
        return keys
    return keys.astype(np.int32)


def _numbers(column: pa.ChunkedArray, name: str, what: str, place: Place) -> npt.NDArray[np.int64]:
    """[R] whole numbers without rounding."""
    if pa.types.is_int64(column.type):
        return column.to_numpy()
    if pa.types.is_floating(column.type):
        return _whole(column.to_numpy(), column.type.bit_width, name, what, place)
    if is_text(column.type):
        wrong = np.flatnonzero(~pc.match_substring_regex(column, _CANONICAL).to_numpy())
        if len(wrong):
            found = column[int(wrong[0])].as_py()
            if not found.strip():
                raise _missing(len(wrong), int(wrong[0]), what, place)
            raise ValueError(_mixed(int(wrong[0]), found, name, what, place))
        column = pc.utf8_trim_whitespace(column)
    try:
        return column.cast(pa.int64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row = _first_that_fails(column)
        raise ValueError(_mixed(row, column[row].as_py(), name, what, place)) from None


def _first_that_fails(column: pa.ChunkedArray) -> int:
    return next((row for row in range(len(column)) if not _fits(column.slice(row, 1))), 0)


def _mixed(row: int, found: object, name: str, what: str, place: Place) -> str:
    return (
        f"{place(row)}: {what} id {str(found)[:40]!r} in column {name!r} is not a whole number of 64 bits, as those of "
        "the rows before are; make all ids of the column text"
    )


def _whole(values: npt.NDArray[np.floating], bits: int, name: str, what: str, place: Place) -> npt.NDArray[np.int64]:
    """[R] floating numbers without fractions as int64."""
    wrong = ~(values == np.floor(values)) | (np.abs(values) > _MAX_EXACT[bits])
    if wrong.any():
        row = int(np.argmax(wrong))
        if np.isnan(values[row]):
            raise _missing(int(np.isnan(values).sum()), row, what, place)
        raise ValueError(
            f"{place(row)}: {what} id {values[row]!s} in column {name!r} is not a whole number up to "
            f"{_MAX_EXACT[bits]:,}, which are exact in numbers of this type; make the ids whole numbers or text"
        )
    return values.astype(np.int64)


def hashed(texts: pa.Array) -> npt.NDArray[np.int64]:
    """[N] a number of 64 bits for each text, the same on every machine."""
    return pd.util.hash_array(texts.to_numpy(zero_copy_only=False), categorize=False).view(np.int64)


def _used(texts: pa.Array, codes: npt.NDArray[np.integer]) -> tuple[pa.Array, npt.NDArray[np.integer]]:
    """The texts of a dictionary that occur, and the place of each row's text among them."""
    there = np.zeros(len(texts), bool)
    there[codes] = True
    if there.all():
        return texts, codes
    return texts.filter(pa.array(there)), (np.cumsum(there) - 1)[codes]


def _texts(column: pa.ChunkedArray, what: str, place: Place) -> Ids:
    """The ids of a column of strings, or of a dictionary of them."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    whole = coded.unify_dictionaries().combine_chunks()
    texts, codes = _used(whole.dictionary.cast(pa.string()), whole.indices.to_numpy())
    blank = pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts))
    if pc.any(blank).as_py():
        rows = blank.to_numpy(zero_copy_only=False)[codes]
        raise _missing(int(rows.sum()), int(np.argmax(rows)), what, place)
    keys = hashed(texts)
    return Ids(keys=keys[codes], names=Names(keys=keys, texts=texts))
