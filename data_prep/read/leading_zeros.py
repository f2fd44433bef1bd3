"""Numbers that are texts: 007 and 0x1f, found in bytes, because a parser takes them for 7 and 31."""

from __future__ import annotations

import numpy as np

PART_BYTES = 1 << 17


def has_leading_zero(content: bytes, delimiter: str, negative: bool) -> bool:
    """Whether a field may begin with a 0 that another digit or an x follows; looks at parts that fit the cache.

    Args:
        negative: look behind minus signs too, which dates have as well.
    """
    before = np.array([ord(delimiter), 10, 34, 32, 43, *((45,) if negative else ())], np.uint8)
    raw = np.frombuffer(content, np.uint8)
    if content[:1] == b"0" and content[1:2] in b"0123456789xX" and len(content) > 1:
        return True
    found, more = np.empty(PART_BYTES, bool), np.empty(PART_BYTES, bool)
    for start in range(0, len(raw), PART_BYTES):
        part = raw[start : start + PART_BYTES + 2]
        first, zero, following = part[:-2], part[1:-1], part[2:]
        is_so, other = found[: len(first)], more[: len(first)]
        np.equal(zero, 48, out=is_so)
        is_so &= np.greater(first - np.uint8(48), 9, out=other)  # no digit: wraps below "0"
        is_so &= np.less(following - np.uint8(48), 75, out=other)  # a digit or a letter
        if is_so.any():
            places = np.flatnonzero(is_so)
            follows = following[places]
            may_be = (follows - np.uint8(48) < 10) | (follows | np.uint8(32) == 120)
            if np.isin(first[places[may_be]], before).any():
                return True
    return False
