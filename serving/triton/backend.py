"""The model that Triton's Python backend runs: original ids in, recommendations out.

An error in one request is answered to that request only; the other requests of the batch get their answers.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.export_folder import WHOLE_NUMBERS, IdTypes, padding_id
from serving.recommend.recommender import Recommendation
from serving.recommend.requests import MAX_IDS, Request, RequestError, check_request
from serving.recommend.titles import TitleIndex
from serving.triton.fields import check_fields
from serving.triton.loading import Placement, open_version
from serving.triton.monitoring import Counters
from serving.triton.shadow.hook import of_backend

DEFAULT_K = 10
INPUTS = ("user_id", "item_ids", "titles", "k", "deny", "allow")


def _input_array(request: Any, name: str, utils: Any) -> npt.NDArray | None:
    """An input of one of Triton's requests; None if the request does not have it."""
    found = utils.get_input_tensor_by_name(request, name)
    return None if found is None else found.as_numpy()


def _row_values(name: str, row: npt.NDArray, below_zero: bool) -> list[Any]:
    """A row of an input as Python values, without the padding of id lists (see `padding_id`)."""
    if len(row) > MAX_IDS:  # checked here, before a long array becomes a list of Python numbers
        raise RequestError(f"{name} holds {len(row):,} ids, at most {MAX_IDS:,} are taken")
    if name == "k":
        return row.tolist()
    try:
        values = [v.decode() if isinstance(v, bytes) else v for v in row.tolist()]
    except UnicodeDecodeError:
        raise RequestError(f"{name} holds bytes that are no UTF-8 text") from None
    return [v for v in values if v not in (padding_id(int, below_zero), padding_id(str))]


def read_requests(
    arrays: dict[str, npt.NDArray | None],
    top_k: int,
    id_types: IdTypes = WHOLE_NUMBERS,
    titles: TitleIndex | None = None,
) -> list[Request]:
    """One request for each row of the input arrays.

    Args:
        arrays: by input name; [B, ...] each, None if the input is missing.
        titles: finds the items of the input `titles`.

    Raises:
        RequestError: the arrays have different numbers of rows, several items match a title, or `check_request`
            refuses a row.
    """
    present = {name: values for name, values in arrays.items() if values is not None}
    sizes = {len(values) for values in present.values()}
    if len(sizes) != 1:
        raise RequestError(f"inputs have {sorted(sizes)} rows, expected the same number of each")

    def row(name: str, k: int) -> list[Any] | None:
        values = present.get(name)
        return None if values is None else _row_values(name, values[k], id_types.below_zero)

    # An array without columns is an empty list. In an array with columns, a row of padding only means: no list.
    empty = {name for name, values in present.items() if values.shape[1] == 0}
    requests = []
    for k in range(sizes.pop()):
        user, count, allow = row("user_id", k), row("k", k), row("allow", k)
        items, texts = row("item_ids", k) or [], row("titles", k) or []
        unknown: tuple[str, ...] = ()
        if titles is not None and texts:
            found, unknown = titles.find(texts)
            items = [*items, *found]
        requests.append(
            check_request(
                user_id=user[0] if user else None,
                item_ids=items,
                k=count[0] if count else min(DEFAULT_K, top_k),
                deny=row("deny", k) or [],
                allow=allow if allow or (allow is not None and "allow" in empty) else None,
                top_k=top_k,
                id_types=id_types,
                unknown_titles=unknown,
            )
        )
    return requests


def to_arrays(answers: list[Recommendation], id_types: IdTypes = WHOLE_NUMBERS) -> dict[str, npt.NDArray]:
    """The output arrays: items, scores and titles [B, k], source and note [B, 1].

    Short rows are filled up with `padding_id` and scores of minus infinity.
    """
    width = max((len(a.item_ids) for a in answers), default=1) or 1
    is_number, padding = id_types.item is int, padding_id(id_types.item, id_types.below_zero)
    items = np.full((len(answers), width), padding, np.int64 if is_number else object)
    encode = (lambda ids: ids) if is_number else (lambda ids: [i.encode() for i in ids])
    scores = np.full((len(answers), width), -np.inf, np.float32)
    titles = np.full((len(answers), width), b"", object)
    for k, answer in enumerate(answers):
        count = len(answer.item_ids)
        items[k, :count], scores[k, :count] = encode(answer.item_ids), answer.scores
        titles[k, :count] = [title.encode() for title in answer.titles]
    notes = [
        "; ".join(n for n in (a.note, f"not known: {', '.join(map(str, a.unknown[:10]))}" if a.unknown else "") if n)
        for a in answers
    ]
    return {
        "items": items,
        "scores": scores,
        "titles": titles,
        "source": np.array([[a.source.encode()] for a in answers], object),
        "note": np.array([[n.encode()] for n in notes], object),
    }


class TritonPythonModel:
    """The class that the Python backend looks for in model.py."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load a version: its export and its converted model, which must be the verified one."""
        import triton_python_backend_utils as utils

        self._utils = utils
        self._counters = Counters(utils, args["model_name"], args["model_version"])
        folder = Path(args["model_repository"]) / args["model_version"]
        placement = Placement.of(json.loads(args["model_config"]), args.get("model_instance_kind"))
        loaded = open_version(folder, placement)
        export, self._recommender = loaded.export, loaded.recommender
        self._top_k, self._id_types = export.top_k, export.id_types
        self._title_index = TitleIndex(export.titles, export.item_ids.tolist())
        self._shadow = of_backend(folder.parent, int(folder.name), args["model_instance_name"], placement, utils)
        self._shadow.start()

    def finalize(self) -> None:
        """End what the version started."""
        self._shadow.stop()

    def execute(self, batch: list[Any]) -> list[Any]:
        """One response for each request of a dynamic batch."""
        utils = self._utils
        responses: list[Any] = [None] * len(batch)
        requests: list[Request] = []
        ranges: list[tuple[int, int, int]] = []  # position in the batch, first row, end of its rows
        for k, triton_request in enumerate(batch):
            try:
                check_fields(triton_request, INPUTS)
                arrays = {name: _input_array(triton_request, name, utils) for name in INPUTS}
                rows = read_requests(arrays, self._top_k, self._id_types, self._title_index)
            except RequestError as error:
                self._counters.refused()
                responses[k] = self._error_response(" ".join(str(error).split()), utils.TritonError.INVALID_ARG)
                continue
            ranges.append((k, len(requests), len(requests) + len(rows)))
            requests += rows
        start = time.perf_counter()
        try:
            answers = self._recommender.recommend(requests) if requests else []
        except Exception as error:  # any error of an engine; the model stays loaded and answers the next batch
            self._counters.failed(len(ranges))
            for k, _, _ in ranges:
                responses[k] = self._error_response(f"the engine failed: {error}", utils.TritonError.INTERNAL)
            return responses
        self._counters.answered(requests, answers)
        self._shadow.offer(requests, answers, time.perf_counter() - start)
        for k, first, end in ranges:
            outputs = to_arrays(answers[first:end], self._id_types)
            responses[k] = utils.InferenceResponse([utils.Tensor(name, values) for name, values in outputs.items()])
        return responses

    def _error_response(self, message: str, code: Any) -> Any:
        return self._utils.InferenceResponse(error=self._utils.TritonError(message, code))
