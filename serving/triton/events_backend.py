"""The model NAME_events, which Triton's Python backend runs: appends events to the store of the model NAME.

Inputs: user_id [B, 1], item_ids [B, L] and time [B, 1] (whole seconds since 1970; 0 or missing: now).
Outputs: written int64 [B, 1], how many events of a row made the history longer or moved an item to its end, and
note [B, 1]. A row that is refused has -1 and the reason as its note; the other rows are written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.histories.events import Event, StoreUnavailableError, checked, types_of
from serving.histories.store import HistoryStore
from serving.ids import IdTypes
from serving.recommend.known_users import DOWN
from serving.recommend.requests import MAX_IDS, RequestError
from serving.triton import store_settings
from serving.triton.backend import input_array, row_values
from serving.triton.config import BELOW_ZERO
from serving.triton.fields import check_fields

INPUTS = ("user_id", "item_ids", "time")
REFUSED = -1
"""`written` of a row that is refused."""
Row = list[Event] | ValueError
"""The events of a row, or why it is refused."""


def read_rows(arrays: dict[str, npt.NDArray | None], below_zero: bool) -> list[Row]:
    """The rows of the input arrays.

    Raises:
        RequestError: an input is missing, or the inputs have different numbers of rows.
    """
    users, items, times = (arrays[name] for name in INPUTS)
    if users is None or items is None:
        raise RequestError("an event needs user_id and item_ids")
    if len({len(values) for values in (users, items, times) if values is not None}) != 1:
        raise RequestError("the inputs have different numbers of rows")

    def read(k: int) -> Row:
        try:
            user = row_values("user_id", users[k], below_zero, MAX_IDS)
            taken = row_values("item_ids", items[k], below_zero, MAX_IDS)
        except RequestError as error:
            return error
        if len(user) != 1 or not taken:
            return RequestError(f"{len(user)} users and {len(taken)} items, expected one user and at least one item")
        when = int(times[k][0]) if times is not None and times[k][0] else None
        return [Event(user[0], item, when) for item in taken]

    return [read(k) for k in range(len(users))]


def check_rows(rows: Sequence[Row], types: IdTypes | None) -> list[Row]:
    """The rows; in the place of one with an id or a time that the store does not take, the reason.

    Args:
        types: of the ids in the store; None for those of the first event.
    """
    found: list[Row] = []
    for row in rows:
        if not isinstance(row, list):
            found.append(row)
            continue
        types = types or types_of(row[0])
        try:
            found.append(checked(row, types))
        except ValueError as error:
            found.append(error)
    return found


def to_arrays(rows: Sequence[Row], written: Sequence[int]) -> dict[str, npt.NDArray]:
    """The output arrays of a request.

    Args:
        written: of each row that is not refused.

    Raises:
        RequestError: all rows are refused.
    """
    notes = [f"row {k}: {' '.join(str(r).split())}" if isinstance(r, ValueError) else "" for k, r in enumerate(rows)]
    if rows and all(notes):
        others = f" (and {len(rows) - 1} more rows are refused)" if len(rows) > 1 else ""
        raise RequestError(f"{notes[0] if others else notes[0].removeprefix('row 0: ')}{others}")
    counts = iter(written)
    return {
        "written": np.array([[REFUSED if note else next(counts)] for note in notes], np.int64),
        "note": np.array([[note.encode()] for note in notes], object),
    }


class TritonPythonModel:
    """The class that the Python backend looks for in model.py."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the store, which may be down."""
        import triton_python_backend_utils as utils

        self._utils = utils
        settings = store_settings.read(Path(args["model_repository"]))
        if settings is None:
            raise ValueError(f"{args['model_repository']} has no {store_settings.FILE}; build the repository again")
        self._store: HistoryStore = settings.open()
        self._below_zero = BELOW_ZERO in json.loads(args["model_config"]).get("parameters", {})

    def execute(self, batch: list[Any]) -> list[Any]:
        """One response for each request. The rows of all requests that are not refused are one transaction."""
        utils = self._utils
        read = [self._read(request) for request in batch]
        try:
            types = self._store.id_types if any(isinstance(rows, list) for rows in read) else None
            checks = [check_rows(rows, types) if isinstance(rows, list) else rows for rows in read]
            groups = [row for rows in checks if isinstance(rows, list) for row in rows if isinstance(row, list)]
            written = iter(self._store.append_groups(groups) if groups else [])
        except StoreUnavailableError as error:
            utils.Logger.log_error(str(error))  # with the address, which clients are not told
            return [self._refusal(rows, DOWN, utils.TritonError.UNAVAILABLE) for rows in read]
        except ValueError as error:  # the store was exchanged for another one
            return [self._refusal(rows, str(error), utils.TritonError.INVALID_ARG) for rows in read]
        return [self._answer(rows, written) for rows in checks]

    def _read(self, request: Any) -> list[Row] | RequestError:
        try:
            check_fields(request, INPUTS)
            return read_rows({name: input_array(request, name, self._utils) for name in INPUTS}, self._below_zero)
        except RequestError as error:
            return error

    def _answer(self, rows: list[Row] | RequestError, written: Any) -> Any:
        utils = self._utils
        try:
            if isinstance(rows, RequestError):
                raise rows
            counts = [next(written) for row in rows if isinstance(row, list)]
            arrays = to_arrays(rows, counts)
        except RequestError as error:
            return self._error(str(error), utils.TritonError.INVALID_ARG)
        return utils.InferenceResponse([utils.Tensor(name, values) for name, values in arrays.items()])

    def _refusal(self, rows: list[Row] | RequestError, message: str, code: Any) -> Any:
        """The error of a request that was not written; its own one if it has one."""
        if isinstance(rows, RequestError):
            return self._error(str(rows), self._utils.TritonError.INVALID_ARG)
        return self._error(message, code)

    def _error(self, message: str, code: Any) -> Any:
        utils = self._utils
        return utils.InferenceResponse(error=utils.TritonError(" ".join(message.split()), code))
