"""The page of two models, served by the real server in a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from serving.demo.api import Api
from serving.demo.app import LONGEST_S, application
from serving.demo.command import HOST, listening_socket
from serving.demo.served_model import ServedModel
from serving.histories.store import HistoryStore


@contextmanager
def serving(
    models: Sequence[ServedModel], store: HistoryStore | None = None, longest_s: float = LONGEST_S
) -> Iterator[str]:
    """The address of the page while the block runs."""
    app = application(Api(models, store), longest_s)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False, lifespan="off"))
    with listening_socket(0) as opened:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        ends = time.monotonic() + 30
        while not server.started and time.monotonic() < ends:
            time.sleep(0.02)
        try:
            yield f"http://{HOST}:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
