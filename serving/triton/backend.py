"""The model that Triton's Python backend runs: requests as people make them, many of them in one call of the engine.

Whatever is wrong with one request is that request's error; the others are answered.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving import targets as variants
from serving.engines.engine import in_blocks, open_runner
from serving.export_folder import open_export
from serving.recommend import requests
from serving.recommend.recommender import Recommendation, Recommender
from serving.recommend.requests import Asked, RequestError
from serving.triton import repository

PADDING = -1
"""Of id lists in a batch."""
DEFAULT_K = 10


def _tensor(request: Any, name: str, utils: Any) -> npt.NDArray | None:
    found = utils.get_input_tensor_by_name(request, name)
    return None if found is None else found.as_numpy()


def asked_of(given: dict[str, npt.NDArray | None], top_k: int) -> list[Asked]:
    """The rows of one request's tensors, checked.

    Args:
        given: by input name; [B, ...] each, None for what the request has not.

    Raises:
        RequestError: rows of different numbers, or a row that `asked.checked` refuses.
    """
    present = {name: values for name, values in given.items() if values is not None}
    sizes = {len(values) for values in present.values()}
    if len(sizes) != 1:
        raise RequestError(f"inputs have {sorted(sizes)} rows, expected the same number of each")

    def row(name: str, k: int) -> list[int] | None:
        values = present.get(name)
        if values is None:
            return None
        if values.shape[1] > requests.MOST_ITEMS:  # before a million ids become Python numbers
            raise RequestError(f"{name} holds {values.shape[1]:,} ids, at most {requests.MOST_ITEMS:,} are taken")
        return [v for v in values[k].tolist() if v != PADDING or name == "k"]

    # A list of no ids allows nothing; a row of padding alone is one that has no list in a batch of those that have.
    empty = {name for name, values in present.items() if values.shape[1] == 0}
    rows = []
    for k in range(sizes.pop()):
        user, count = row("user_id", k), row("k", k)
        allow = row("allow", k)
        rows.append(
            requests.checked(
                user_id=user[0] if user else None,
                item_ids=row("item_ids", k) or [],
                k=count[0] if count else min(DEFAULT_K, top_k),
                deny=row("deny", k) or [],
                allow=allow if allow or (allow is not None and "allow" in empty) else None,
                top_k=top_k,
            )
        )
    return rows


def as_arrays(answers: list[Recommendation]) -> dict[str, npt.NDArray]:
    """[B, k] items (-1 where nothing is left), scores, titles; [B, 1] source and note."""
    width = max((len(a.item_ids) for a in answers), default=1) or 1
    items = np.full((len(answers), width), PADDING, np.int64)
    scores = np.full((len(answers), width), -np.inf, np.float32)
    titles = np.full((len(answers), width), b"", object)
    for k, answer in enumerate(answers):
        count = len(answer.item_ids)
        items[k, :count], scores[k, :count] = answer.item_ids, answer.scores
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
    """What the Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load a version: its export, and its conversion, which must be the verified one."""
        import triton_python_backend_utils as utils

        self._utils = utils
        folder = Path(args["model_repository"]) / args["model_version"]
        made = variants.converted(folder, repository.published(folder.parent, int(folder.name))["model"])
        repository.require_whole(folder.parent, int(args["model_version"]))
        export = open_export(folder / "export")
        self._top_k = export.top_k
        config = json.loads(args["model_config"])
        instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1
        runner = open_runner(made, threads=max(1, len(os.sched_getaffinity(0)) // instances))
        runner(export.golden(made.variant.signature)[0])  # warm
        padding, block = export.n_items, int(config["max_batch_size"])
        self._recommender = Recommender(
            export,
            lambda inputs: in_blocks(runner, inputs, padding, block),
            export.history_limit(made.variant.signature),
        )

    def execute(self, batch: list[Any]) -> list[Any]:
        """One response for each request of a dynamic batch."""
        utils = self._utils
        responses: list[Any] = [None] * len(batch)
        rows: list[Asked] = []
        places: list[tuple[int, int, int]] = []
        for k, request in enumerate(batch):
            try:
                names = ("user_id", "item_ids", "k", "deny", "allow")
                own = asked_of({name: _tensor(request, name, utils) for name in names}, self._top_k)
            except RequestError as error:
                responses[k] = self._failed(str(error), utils.TritonError.INVALID_ARG)
                continue
            places.append((k, len(rows), len(rows) + len(own)))
            rows += own
        try:
            answers = self._recommender.recommend(rows) if rows else []
        except Exception as error:  # an engine's own error: told to those who asked, and service goes on
            for k, _, _ in places:
                responses[k] = self._failed(f"the engine failed: {error}", utils.TritonError.INTERNAL)
            return responses
        for k, start, end in places:
            arrays = as_arrays(answers[start:end])
            responses[k] = utils.InferenceResponse([utils.Tensor(name, values) for name, values in arrays.items()])
        return responses

    def _failed(self, message: str, code: Any) -> Any:
        return self._utils.InferenceResponse(error=self._utils.TritonError(message, code))
