"""The model that Triton's Python backend runs: original ids in, recommendations out.

An error in one request is answered to that request only; the other requests of the batch get their answers. In a
request of several rows of which some can be answered, the others have the source "error" and the reason as their note.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving import targets
from serving.engines import providers
from serving.engines.blocks import SHORT, EngineInBlocks
from serving.engines.engine import open_engine
from serving.engines.savedmodel import SavedModelEngine
from serving.export_folder import WHOLE_NUMBERS, IdTypes, open_export, padding_id
from serving.histories.events import StoreUnavailableError
from serving.recommend.known_users import DOWN
from serving.recommend.recommender import ERROR, Recommendation, Recommender
from serving.recommend.requests import Request, RequestError, check_length, check_request
from serving.recommend.titles import TitleIndex
from serving.targets import PROVIDERS
from serving.triton import repository, store_settings
from serving.triton.fields import check_fields
from serving.triton.monitoring import Counters

DEFAULT_K = 10
INPUTS = ("user_id", "item_ids", "titles", "k", "deny", "allow", "where")


def input_array(request: Any, name: str, utils: Any) -> npt.NDArray | None:
    """An input of one of Triton's requests; None if the request does not have it."""
    found = utils.get_input_tensor_by_name(request, name)
    return None if found is None else found.as_numpy()


def row_values(name: str, row: npt.NDArray, below_zero: bool, n_items: int) -> list[Any]:
    """A row of an input as Python values, without the padding of id lists (see `padding_id`)."""
    check_length(row, name, n_items)  # before a long array becomes a list of Python numbers
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
    n_items: int = 0,
) -> list[Request | RequestError]:
    """One request for each row of the input arrays; in the place of one that `check_request` refuses, the error.

    Args:
        arrays: by input name; [B, ...] each, None if the input is missing.
        top_k: the largest k.
        titles: finds the items of the input `titles`.
        n_items: of the catalogue.

    Raises:
        RequestError: the arrays have different numbers of rows, or no row can be answered.
    """
    present = {name: values for name, values in arrays.items() if values is not None}
    sizes = {len(values) for values in present.values()}
    if len(sizes) != 1:
        raise RequestError(f"inputs have {sorted(sizes)} rows, expected the same number of each")
    # An array without columns is an empty list. In an array with columns, a row of padding only means: no list.
    empty = {name for name, values in present.items() if values.shape[1] == 0}

    def read(k: int) -> Request:
        row = {name: row_values(name, v[k], id_types.below_zero, n_items) for name, v in present.items()}
        user, count, allow, where = (row.get(name) for name in ("user_id", "k", "allow", "where"))
        items, texts = row.get("item_ids", []), row.get("titles", [])
        unknown: tuple[str, ...] = ()
        if titles is not None and texts:
            found, unknown = titles.find(texts)
            items = [*items, *found]
        return check_request(
            user_id=user[0] if user else None,
            item_ids=items,
            k=count[0] if count else min(DEFAULT_K, top_k),
            deny=row.get("deny", []),
            allow=allow if allow or (allow is not None and "allow" in empty) else None,
            where=where[0] if where else None,
            top_k=top_k,
            n_items=n_items,
            id_types=id_types,
            unknown_titles=unknown,
        )

    def read_or_error(k: int) -> Request | RequestError:
        try:
            return read(k)
        except RequestError as error:
            return RequestError(" ".join(str(error).split()))

    requests = [read_or_error(k) for k in range(sizes.pop())]
    errors = [request for request in requests if isinstance(request, RequestError)]
    if errors and len(errors) == len(requests):
        raise errors[0]
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


Place = tuple[int, int, int]
"""Position of a request in the batch, its first row among the rows of all requests, and the end of its rows."""


class TritonPythonModel:
    """The class that the Python backend looks for in model.py."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load a version: its export and its converted model, which must be the verified one."""
        import triton_python_backend_utils as utils

        self._utils = utils
        self._counters = Counters(utils, args["model_name"], args["model_version"])
        folder = Path(args["model_repository"]) / args["model_version"]
        name = repository.read_published(folder.parent, int(folder.name))["model"]
        artifact = targets.artifact(folder, name)
        repository.verify_integrity(folder.parent, int(args["model_version"]))
        export = open_export(folder / "export")
        self._n_items, self._id_types = export.n_items, store_settings.id_types(folder.parent, export)
        settings = store_settings.read(folder.parent)
        self._title_index = TitleIndex(export.titles, export.item_ids.tolist())
        config = json.loads(args["model_config"])
        instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1
        on_gpu = args.get("model_instance_kind") == "GPU"
        provider = providers.choose(artifact) if on_gpu else PROVIDERS[artifact.target.format][0]
        threads = max(1, len(os.sched_getaffinity(0)) // instances)
        engine = open_engine(artifact, threads=threads, provider=provider)
        padding, block = export.n_items, artifact.largest_batch(int(config["max_batch_size"]))
        history_limit = artifact.history_limit(export.history_limit(artifact.target.signature))
        golden = export.golden(artifact.target.signature)[0]  # warm-up
        engine({n: v[:block, :history_limit] if n == "item_ids" else v[:block] for n, v in golden.items()})
        if provider == "xla":
            assert isinstance(engine, SavedModelEngine)
            engine.warm_up(block, SHORT, padding)
        self._recommender = Recommender(
            export,
            EngineInBlocks(engine, padding, block),
            history_limit,
            store=settings.open() if settings is not None else None,
            popular_if_down=settings is not None and settings.if_down == store_settings.POPULAR,
        )

    def execute(self, batch: list[Any]) -> list[Any]:
        """One response for each request of a dynamic batch."""
        utils = self._utils
        responses: list[Any] = [None] * len(batch)
        requests: list[Request | RequestError] = []
        ranges: list[tuple[int, int, int]] = []  # position in the batch, first row, end of its rows
        for k, triton_request in enumerate(batch):
            try:
                check_fields(triton_request, INPUTS)
                arrays = {name: input_array(triton_request, name, utils) for name in INPUTS}
                largest = self._recommender.largest_k
                rows = read_requests(arrays, largest, self._id_types, self._title_index, self._n_items)
            except RequestError as error:
                self._counters.refused()
                responses[k] = self._error_response(" ".join(str(error).split()), utils.TritonError.INVALID_ARG)
                continue
            ranges.append((k, len(requests), len(requests) + len(rows)))
            requests += rows
        try:
            try:
                answers = self._recommender.recommend(requests) if requests else []
            except StoreUnavailableError as error:  # requests that name no user do not need the store
                requests, ranges = self._refuse_users(requests, ranges, responses, error)
                answers = self._recommender.recommend(requests) if requests else []
        except Exception as error:  # any error of an engine; the model stays loaded and answers the next batch
            self._counters.failed(len(ranges))
            for k, _, _ in ranges:
                responses[k] = self._error_response(f"the engine failed: {error}", utils.TritonError.INTERNAL)
            return responses
        self._counters.answered(requests, answers)
        for k, start, end in ranges:
            if end > start and all(answer.source == ERROR for answer in answers[start:end]):  # a filter that is none
                responses[k] = self._error_response(answers[start].note, utils.TritonError.INVALID_ARG)
                continue
            outputs = to_arrays(answers[start:end], self._id_types)
            responses[k] = utils.InferenceResponse([utils.Tensor(name, values) for name, values in outputs.items()])
        return responses

    def _refuse_users(
        self,
        requests: list[Request | RequestError],
        ranges: list[Place],
        responses: list[Any],
        error: StoreUnavailableError,
    ) -> tuple[list[Request | RequestError], list[Place]]:
        """Answer the requests that name a user with an error; returns the rows of the others, and their places."""
        self._utils.Logger.log_error(str(error))  # with the address, which clients are not told
        kept: list[Request | RequestError] = []
        places: list[Place] = []
        for k, start, end in ranges:
            rows = requests[start:end]
            if any(isinstance(row, Request) and row.user_id is not None for row in rows):
                responses[k] = self._error_response(DOWN, self._utils.TritonError.UNAVAILABLE)
                continue
            places.append((k, len(kept), len(kept) + len(rows)))
            kept += rows
        return kept, places

    def _error_response(self, message: str, code: Any) -> Any:
        return self._utils.InferenceResponse(error=self._utils.TritonError(message, code))
