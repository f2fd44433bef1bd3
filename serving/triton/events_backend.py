"""The model NAME_events, which Triton's Python backend runs: appends events to the store of the model NAME.

Inputs: user_id [B, 1], item_ids [B, L] and time [B, 1] (whole seconds since 1970; 0 or missing: now).
Output: written int64 [B, 1], how many events of a row made the history longer or moved an item to its end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from serving.histories.events import Event, StoreUnavailableError
from serving.histories.store import HistoryStore
from serving.recommend.known_users import DOWN
from serving.recommend.requests import MAX_IDS, RequestError
from serving.triton import store_settings
from serving.triton.backend import input_array, row_values
from serving.triton.config import BELOW_ZERO

INPUTS = ("user_id", "item_ids", "time")


def read_events(arrays: dict[str, Any], below_zero: bool) -> list[list[Event]]:
    """The events of each row of the input arrays.

    Raises:
        RequestError: an input is missing, or the inputs have different numbers of rows.
    """
    users, items, times = (arrays[name] for name in INPUTS)
    if users is None or items is None:
        raise RequestError("an event needs user_id and item_ids")
    if len({len(values) for values in (users, items, times) if values is not None}) != 1:
        raise RequestError("the inputs have different numbers of rows")
    found = []
    for k in range(len(users)):
        user, taken = (row_values(name, arrays[name][k], below_zero, MAX_IDS) for name in ("user_id", "item_ids"))
        if len(user) != 1 or not taken:
            raise RequestError(f"row {k} holds {len(user)} users and {len(taken)} items, expected one user and an item")
        when = int(times[k][0]) if times is not None and times[k][0] else None
        found.append([Event(user[0], item, when) for item in taken])
    return found


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
        """One response for each request. Rows are written one by one: those before a row that fails stay written."""
        return [self._answer(request) for request in batch]

    def _answer(self, request: Any) -> Any:
        utils = self._utils
        try:
            arrays = {name: input_array(request, name, utils) for name in INPUTS}
            written = [[self._store.append(events)] for events in read_events(arrays, self._below_zero)]
        except StoreUnavailableError as error:
            utils.Logger.log_error(str(error))  # with the address, which clients are not told
            return utils.InferenceResponse(error=utils.TritonError(DOWN, utils.TritonError.UNAVAILABLE))
        except ValueError as error:
            message = " ".join(str(error).split())
            return utils.InferenceResponse(error=utils.TritonError(message, utils.TritonError.INVALID_ARG))
        return utils.InferenceResponse([utils.Tensor("written", np.array(written, np.int64))])
