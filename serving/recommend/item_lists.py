"""Lists of items on the command line: ids separated by commas, or a file of ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from serving.export_folder import ExportFolder
from serving.ids import Id
from serving.recommend.id_files import PARQUET, read_items, suffix_of
from serving.recommend.requests import RequestError, parse_ids

SUFFIXES = (*PARQUET, ".csv", ".tsv", ".txt")
"""Of a text that is taken for the name of a file if no item has it as its id."""


def item_ids(values: list[str], flag: str, export: ExportFolder) -> list[Id]:
    """The ids of a flag, separated by commas. Ids that hold commas are found too."""
    id_type = export.id_types.item
    with_commas = {i for i in export.item_ids.tolist() if "," in i} if id_type is str else set()
    if not with_commas:
        return parse_ids(",".join(values), flag, id_type)
    return [i for value in values for i in _divided(value, with_commas)]


def _divided(text: str, with_commas: set[str]) -> Iterator[str]:
    """The ids of a list, each the longest that is possible."""
    parts, most = text.split(","), max(i.count(",") for i in with_commas) + 1
    start = 0
    while start < len(parts):
        ends = range(min(len(parts), start + most), start, -1)
        joined = ((end, ",".join(parts[start:end]).strip()) for end in ends)
        end, found = next(pair for pair in joined if pair[1] in with_commas or pair[0] == start + 1)
        if found:
            yield found
        start = end


def ids_or_file(text: str, flag: str, export: ExportFolder) -> list[Id]:
    """The ids of a list; if the text is the name of a file, the items that it lists, as `read_items` reads them.

    Raises:
        ValueError: the file cannot be read or names no item of the model; or the text is neither a file nor a list.
    """
    path = Path(text)
    if text and _is_file(path):
        return export.item_ids[read_items(path, flag, export)].tolist()
    try:
        ids = item_ids([text], flag, export)
    except RequestError as error:
        raise RequestError(f"{error}, or a file of ids; there is no file of this name") from None
    if suffix_of(path) in SUFFIXES and not set(ids) & set(export.item_ids.tolist()):
        raise RequestError(f"{flag} {text} does not exist, and no item has such an id")
    return ids


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a list of ids that is longer than the name of a file may be
        return False
