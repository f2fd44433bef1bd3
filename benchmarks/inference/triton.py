"""A Triton server as a target, over HTTP or gRPC: connections that each have a thread, and a queue before them."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from benchmarks.traffic.queries import Done, Query
from serving.export_folder import open_export
from serving.triton.client import Client, ServerError

CONNECTIONS = 64


class Triton:
    """Requests of an export's test users: a query of size B is one request of B rows.

    A query waits here while all connections are busy, and that counts, as all does from the moment it was due.
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
    ) -> None:
        """
        Raises:
            ValueError: no such export, or the server has no such model ready.
        """
        self._requests = _Requests(export)
        self._url, self._model, self._protocol, self._timeout = url, model, protocol, timeout
        with self._client() as client:
            if not client.ready(model):
                raise ValueError(f"{url} has no model {model!r} ready; start one: python -m serving triton serve")
        self._asked: queue.SimpleQueue[tuple[Query, Done] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, args=(k,), daemon=True) for k in range(connections)]
        for thread in self._threads:
            thread.start()

    def _client(self) -> Client:
        return Client(self._url, protocol=self._protocol, timeout=self._timeout, retries=0)

    def submit(self, query: Query, done: Done) -> None:
        self._asked.put((query, done))

    def _work(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        with self._client() as client:
            while (job := self._asked.get()) is not None:
                query, done = job
                error = None
                try:
                    client.infer(self._model, self._requests.drawn(query.size, rng))
                except ServerError as problem:
                    error = str(problem)
                except Exception as problem:  # else this connection would be gone, and the query a timeout
                    error = f"{type(problem).__name__}: {problem}"
                done(query, time.perf_counter(), error)

    def settle(self) -> None:
        """Wait until no query waits here."""
        while not self._asked.empty():
            time.sleep(1e-3)

    def close(self) -> None:
        """End the connections."""
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join(self._timeout + 1)

    def __enter__(self) -> Triton:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Requests:
    """Inputs as clients send them: original ids."""

    def __init__(self, folder: Path) -> None:
        export = open_export(folder)
        self._audience = export.held_out_users("test")
        self._ids = np.append(export.items["item_id"].to_numpy(np.int64), -1)  # the padding is index I
        self._users = export.users["user_id"].to_numpy(np.int64) if export.knows_users else None

    def drawn(self, size: int, rng: np.random.Generator) -> dict[str, npt.NDArray]:
        """Random users: their histories, or where the model knows users, themselves."""
        rows = rng.integers(0, len(self._audience.fold_in), size)
        k = np.full((size, 1), 10, np.int32)
        if self._users is not None and self._audience.user_ids is not None:
            asked = self._users[self._audience.user_ids[rows]]
            return {"user_id": asked[:, None], "item_ids": np.full((size, 1), -1, np.int64), "k": k}
        padded = self._audience.fold_in.padded(rows, len(self._ids) - 1)
        return {"item_ids": self._ids[padded], "k": k}
