"""A Triton server as a target, over HTTP or gRPC: one queue, and a thread for each connection."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from load_study.traffic.queries import AnswerCallback, Query
from serving.triton.client import Client, ServerError

CONNECTIONS = 64


class Triton:
    """Sends requests of an export's test users: a query of size B is one request of B rows.

    A query waits in the queue while all connections are busy; its latency includes this wait.
    """

    is_simulated = False

    def __init__(
        self,
        url: str,
        model: str,
        export: Path,
        *,
        protocol: str = "http",
        timeout: float = 10.0,
        connections: int = CONNECTIONS,
        data: Path | None = None,
    ) -> None:
        """
        Args:
            data: the data set of the export's run, if it was moved.

        Raises:
            ValueError: no such export, or the server has no such model ready.
        """
        self._inputs = ExportRequests(export, data)
        self._url, self._model, self._protocol, self._timeout = url, model, protocol, timeout
        with self._connect() as client:
            if not client.ready(model):
                raise ValueError(f"{url} has no model {model!r} ready; start one: python -m serving triton serve")
        self._requests: queue.SimpleQueue[tuple[Query, AnswerCallback] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._answer_requests, args=(k,), daemon=True) for k in range(connections)
        ]
        for thread in self._threads:
            thread.start()

    def _connect(self) -> Client:
        return Client(self._url, protocol=self._protocol, timeout=self._timeout, retries=0)

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        self._requests.put((query, on_answer))

    def _answer_requests(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        with self._connect() as client:
            while (request := self._requests.get()) is not None:
                query, on_answer = request
                error = None
                try:
                    client.infer(self._model, self._inputs.draw(query.size, rng))
                except ServerError as problem:
                    error = str(problem)
                except Exception as problem:  # otherwise the thread would end and the query would time out
                    error = f"{type(problem).__name__}: {problem}"
                on_answer(query, time.perf_counter(), error)

    def settle(self) -> None:
        """Wait until the queue is empty."""
        while not self._requests.empty():
            time.sleep(1e-3)

    def close(self) -> None:
        """End the connections."""
        for _ in self._threads:
            self._requests.put(None)
        for thread in self._threads:
            thread.join(self._timeout + 1)

    def __enter__(self) -> Triton:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _encoded(ids: npt.NDArray) -> npt.NDArray:
    """Ids as the client sends them: int64, or encoded text in an object array."""
    return ids if ids.dtype == np.int64 else np.array([i.encode() for i in ids], object)


class ExportRequests:
    """Requests of random test users of an export, with the ids of the data set as clients send them."""

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        """
        Args:
            data: the data set of the run, if it was moved.
        """
        from serving.export_folder import open_export, padding_id
        from serving.histories.dataset import DatasetStore

        export = open_export(folder, data)
        self._held_out = export.held_out_users("test")
        padding = np.array([padding_id(export.id_types.item, export.id_types.below_zero)], export.item_ids.dtype)
        self._ids = _encoded(np.append(export.item_ids, padding))  # the padding is index I
        self._users = None
        if export.knows_users:
            known = export.user_ids if export.holds_users else DatasetStore(export.data_set).user_ids
            self._users = _encoded(known)

    def draw(self, size: int, rng: np.random.Generator) -> dict[str, npt.NDArray]:
        """Inputs [size, ...] of random users: their ids if the model knows users, else their histories."""
        rows = rng.integers(0, len(self._held_out.fold_in), size)
        k = np.full((size, 1), 10, np.int32)
        if self._users is not None and self._held_out.user_ids is not None:
            users = self._users[self._held_out.user_ids[rows]]
            return {"user_id": users[:, None], "item_ids": np.full((size, 1), self._ids[-1], self._ids.dtype), "k": k}
        padded = self._held_out.fold_in.padded(rows, len(self._ids) - 1)
        return {"item_ids": self._ids[padded], "k": k}
