"""Reading one entry of the catalogue from YAML, and the one-line errors about what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_prep.catalog.entry import PROTOCOLS, READERS, ROLES, VALUES, Download, Entry
from data_prep.read.asked import FORMATS, Asked

SUFFIXES = (".yaml", ".yml")
Check = Callable[[Any, "Place"], Any]
COUNTS = (
    "rows_read",
    "events",
    "users",
    "items",
    "train_users",
    "train_items",
    "train_events",
    "held_out_users",
    "validation_users",
)
"""Counts of a manifest that an entry may state."""


class Place:
    """A field of a file, for messages."""

    def __init__(self, path: Path, field: str) -> None:
        self.path, self.field = path, field

    def below(self, name: str) -> Place:
        """A field of this field."""
        return Place(self.path, f"{self.field}.{name}" if self.field else str(name))

    def wrong(self, given: Any, expected: str) -> ValueError:
        """The error: file, field, what was given and what was expected, in one line."""
        shown = repr(given)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        field = f"field {self.field!r} is {shown}" if self.field else f"holds {shown}"
        return ValueError(f"{self.path}: {field}, expected {expected}")


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str) or not value.strip():
        raise place.wrong(value, "a text")
    return value.strip(" ")


def _exact_text(value: Any, place: Place) -> str:
    """A text in which spaces count, as a delimiter."""
    if not isinstance(value, str) or not value:
        raise place.wrong(value, 'a text (in double quotes, as "\\t" for a tab)')
    return value


def _column(value: Any, place: Place) -> str | None:
    return None if value is None else _text(value, place)


def _number(value: Any, place: Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise place.wrong(value, "a number")
    return float(value)


def _whole(value: Any, place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise place.wrong(value, "a whole number from 0")
    return value


def _one_of(known: tuple[str, ...]) -> Check:
    def check(value: Any, place: Place) -> str:
        if value not in known:
            raise place.wrong(value, f"one of {', '.join(known)}")
        return value

    return check


def _texts(value: Any, place: Place) -> tuple[str, ...]:
    if isinstance(value, str):
        return (_text(value, place),)
    if not isinstance(value, list) or not value:
        raise place.wrong(value, "a text or a list of texts")
    return tuple(_text(one, place) for one in value)


def _weights(value: Any, place: Place) -> dict[str, float]:
    if not isinstance(value, dict) or not value:
        raise place.wrong(value, "names of events with their weights, as {view: 1, buy: 5}")
    return {_text(name, place): _number(weight, place.below(str(name))) for name, weight in value.items()}


def _counts(value: Any, place: Place) -> dict[str, int]:
    return _mapping(value, place, dict.fromkeys(COUNTS, _whole))


def _files(value: Any, place: Place) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        return {"raw": _texts(value, place)}
    found = _mapping(value, place, dict.fromkeys(ROLES, _texts))
    if "raw" not in found and not {"train", "test"} <= found.keys():
        raise place.wrong(value, "files to be divided, or train and test (and valid) of a split that was published")
    return found


def _digest(value: Any, place: Place) -> str:
    if not isinstance(value, str) or len(value) != 32 or set(value.lower()) - set("0123456789abcdef"):
        raise place.wrong(value, "an MD5 digest of 32 hexadecimal digits (in quotes if it is digits only)")
    return value.lower()


def _address(value: Any, place: Place) -> str:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")) or value.endswith("/"):
        raise place.wrong(value, "the address of a file, beginning with http:// or https://")
    return value


def _downloads(value: Any, place: Place) -> tuple[Download, ...]:
    several = value if isinstance(value, list) else [value]
    found = []
    for one in several:
        fields = _mapping({"url": one} if isinstance(one, str) else one, place, {"url": _address, "md5": _digest})
        if "url" not in fields:
            raise place.wrong(one, "a mapping with url and perhaps md5")
        found.append(Download(**fields))
    if not found:
        raise place.wrong(value, "an address or a list of addresses")
    return tuple(found)


def _parts(value: Any, place: Place) -> dict[str, dict[str, int]]:
    if not isinstance(value, dict) or not value:
        raise place.wrong(value, "names of parts, each with its counts or nothing")
    return {_text(n, place): {} if c is None else _counts(c, place.below(str(n))) for n, c in value.items()}


READ: Mapping[str, Check] = {
    "format": _one_of(FORMATS),
    "delimiter": _exact_text,
    "header": _texts,
    "encoding": _text,
    "user": _text,
    "item": _text,
    "rating": _column,
    "time": _column,
    "event": _text,
    "event_weights": _weights,
    "positive_events": _texts,
}
"""Fields of `read:`, which are those of `Asked`."""


def _read(value: Any, place: Place) -> Asked:
    return Asked(**_mapping(value, place, READ))


FIELDS: Mapping[str, Check] = {
    "about": _text,
    "licence": _text,
    "page": _text,
    "how": _text,
    "download": _downloads,
    "files": _files,
    "reader": _one_of(READERS),
    "read": _read,
    "values": _one_of(VALUES),
    "protocol": _one_of(PROTOCOLS),
    "threshold": _number,
    "min_user_items": _whole,
    "min_item_users": _whole,
    "held_out_users": _whole,
    "counts": _counts,
    "counts_from": _text,
    "parts": _parts,
}
"""Field of an entry -> the function that checks and converts its value."""
NEEDED = ("about", "licence", "files")


def _mapping(value: Any, place: Place, fields: Mapping[str, Check]) -> dict[str, Any]:
    """The fields of a mapping, checked.

    Raises:
        ValueError: no mapping, an unknown field, or a wrong value.
    """
    known = ", ".join(fields)
    if not isinstance(value, dict):
        raise place.wrong(value, f"fields with values; known fields are: {known}")
    for name in value:
        if name not in fields:
            raise ValueError(
                f"{place.path}: field {place.below(name).field!r} (value {str(value[name])[:40]!r}) is not known, "
                f"known fields are: {known}"
            )
    return {name: fields[name](given, place.below(name)) for name, given in value.items()}


def _parsed(path: Path) -> Any:
    """The contents of a YAML file.

    Raises:
        ValueError: it cannot be read, or is no YAML.
    """
    import yaml  # late: 20 ms

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Refuses a field that is there twice, of which YAML takes the last one."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            found = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    reason = "the name of a field is no text; put texts with braces or brackets in quotes"
                    raise yaml.constructor.ConstructorError(None, None, reason, key.start_mark)
                if key.value in found:
                    reason = f"{key.value!r} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, reason, key.start_mark)
                found.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist, expected a YAML file that describes a data set") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ValueError(f"{path}{where}: no valid YAML ({reason}), expected FIELD: VALUE") from None


def read_entry(path: Path) -> Entry:
    """The entry of a file; its name is that of the file without the suffix.

    Raises:
        ValueError: one line with the file, the field, what was given and what was expected.
    """
    whole = Place(path, "")
    fields = _mapping(_parsed(path), whole, FIELDS)
    if missing := [name for name in NEEDED if name not in fields]:
        raise ValueError(
            f"{path}: no field {', '.join(map(repr, missing))}, expected {', '.join(NEEDED)}; "
            f"known fields are: {', '.join(FIELDS)}"
        )
    entry = Entry(name=path.stem, downloads=fields.pop("download", ()), **fields)
    _check_together(entry, path)
    return entry


def _check_together(entry: Entry, path: Path) -> None:
    """Raise ValueError if fields contradict each other."""
    given = "raw" not in entry.files
    if given != (entry.protocol == "given"):
        expected = "train and test (and valid), or another protocol" if not given else "given, since files has train"
        field, value = ("files", sorted(entry.files)) if not given else ("protocol", entry.protocol)
        raise Place(path, field).wrong(value, expected)
    if not entry.downloads and not entry.how:
        raise ValueError(f"{path}: no field 'download' and no field 'how', expected one: how the files are obtained")
    if (entry.counts or any(entry.parts.values())) and not entry.counts_from:
        raise ValueError(f"{path}: no field 'counts_from', expected the publication of the counts")
    texts = [*(d.url for d in entry.downloads), *(n for names in entry.files.values() for n in names)]
    if entry.parts and not all("{part}" in text for text in texts):
        raise Place(path, "files").wrong(texts, "{part} in every name and address, since the entry has parts")
