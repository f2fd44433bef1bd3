"""The data set that an exported model was trained on: an export holds its fingerprint, and its run the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys_core.dataset import Dataset

DATA_HELP = "the data set of the run, if it was moved"


class MissingDataError(ValueError):
    """The data set of an export is not to be had. The message is one line that names --data."""


def run_folder(export: Path) -> tuple[Path | None, str]:
    """The folder of the data set that the run of an export names (None if it names none), and its view."""
    try:
        about = json.loads((export.parent / "run.json").read_text())["data"]
        return Path(about["folder"]) if about["folder"] else None, str(about["view"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""


def write_place(export: Path, given: Path | None, file: Path) -> None:
    """Write where the data set of an export is, for a copy of the export in a folder beside the file.

    Args:
        given: where it is if the run does not tell.
        file: the run.json to write; nothing is written if nobody knows.
    """
    named, view = run_folder(export)
    folder = given or named
    if folder is not None:
        file.write_text(json.dumps({"data": {"folder": str(folder.absolute()), "view": view}}, indent=2) + "\n")


def open_data_set(export: Path, content: dict[str, Any], given: Path | None = None) -> Dataset:
    """The data set in the view that the model was trained on.

    Args:
        export: the folder of the export.
        content: its export.json.
        given: where the data set is; None for the folder that the run names.

    Raises:
        MissingDataError: it is not there, or it is another one.
        ValueError: what was given is no data set, or another one.
    """
    from recsys_core.dataset import Dataset

    named, view = run_folder(export)
    folder, wanted = given or named, content["data_set"]
    if folder is None:
        raise MissingDataError(f"{export} does not tell where its data set is: name it with --data")
    if given is None and not (folder / "manifest.json").is_file():
        raise MissingDataError(f"the data set of {export} is not in {folder} any more: name it with --data")
    data = Dataset.open(folder)
    if data.fingerprint != wanted:
        flag, error = ("--data: ", ValueError) if given else ("", MissingDataError)
        raise error(
            f"{flag}{folder} is not the data set that {export} was trained on (fingerprint {data.fingerprint[:12]}, "
            f"expected {wanted[:12]}): name that one with --data"
        )
    return data.viewed(content.get("view", view))
