"""A Triton server as a target, over HTTP or gRPC: one queue, client processes, and a thread for each connection."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from load_study.engines.processes import ProcessPool
from load_study.engines.worker import FAILED, READY, AnswerPipe, end_with_parent, error_text
from serving.triton.client import Client, ServerError

CONNECTIONS = 64
MOST_CLIENTS = 4
"""Client processes; with fewer cores, half as many as cores."""


class Triton(ProcessPool):
    """Sends requests of an export's test users: a query of size B is one request of B rows.

    The clients are processes, so that their threads do not take the interpreter lock from the generator. A query waits
    in the queue while all connections are busy; its latency includes this wait.
    """

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
            connections: of all client processes together.
            data: the data set of the export's run, if it was moved.

        Raises:
            ValueError: no such export, or the server has no such model ready.
            RuntimeError: a client did not start; the message says why.
        """
        ExportRequests(export, data)  # a wrong export is an error of this process
        with Client(url, protocol=protocol, timeout=timeout, retries=0) as client:
            if not client.ready(model):
                raise ValueError(f"{url} has no model {model!r} ready; start one: python -m serving triton serve")
        clients = min(MOST_CLIENTS, max(len(os.sched_getaffinity(0)) // 2, 1), connections)
        shares = [connections // clients + (k < connections % clients) for k in range(clients)]
        server = {"url": url, "model": model, "protocol": protocol, "timeout": timeout}
        super().__init__([(run_client, (server, export, data, n, k)) for k, n in enumerate(shares)], name="a client")


def run_client(
    server: dict[str, Any],
    export: Path,
    data: Path | None,
    connections: int,
    number: int,
    requests: Any,
    answers: AnswerPipe,
) -> None:
    """Send the (number, size) of the queue to the server over some connections, until the process is ended."""
    end_with_parent()
    try:
        inputs = ExportRequests(export, data)
    except Exception as error:
        answers.send(FAILED, error_text(error))
        return
    threads = [
        threading.Thread(target=_send_requests, args=(server, inputs, [number, k], requests, answers))
        for k in range(connections)
    ]
    for thread in threads:
        thread.start()
    answers.send(READY)
    for thread in threads:
        thread.join()


def _send_requests(
    server: dict[str, Any], inputs: ExportRequests, seed: list[int], requests: Any, answers: AnswerPipe
) -> None:
    """One connection: a request at a time."""
    rng = np.random.default_rng(seed)
    with Client(server["url"], protocol=server["protocol"], timeout=server["timeout"], retries=0) as client:
        while True:
            number, size = requests.get()
            error = None
            try:
                client.infer(server["model"], inputs.draw(size, rng))
            except ServerError as problem:
                error = str(problem)
            except Exception as problem:  # otherwise the thread would end and the query would time out
                error = error_text(problem)
            answers.send(number, error)


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
