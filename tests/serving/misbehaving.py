"""A small HTTP server and a small gRPC server that answer, fail, drop and wait as a test says."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

METADATA = json.dumps({"name": "m", "versions": ["7"], "inputs": []}).encode()
SLOW = 3.0
"""Seconds that a slow answer takes."""


@dataclass
class Server:
    """What a server does with the next requests, and what it has seen."""

    url: str
    plan: list[str]
    """For each request: ok, drop, slow, drip, or a status with a message ("503 loading"); ok after the last one."""
    times: list[float] = field(default_factory=list)
    """When each request came."""
    headers: list[dict[str, str]] = field(default_factory=list)

    def next_step(self, headers: dict[str, str]) -> str:
        self.times.append(time.monotonic())
        self.headers.append(headers)
        return self.plan.pop(0) if self.plan else "ok"


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            step = server.next_step({k.lower(): v for k, v in self.headers.items()})
            if step == "drop":
                self.close_connection = True
                return
            if step == "slow":
                time.sleep(SLOW)
            status, _, message = step.partition(" ")
            body = METADATA if not message else json.dumps({"error": message}).encode()
            self.send_response(int(status) if message else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # the client has gone
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    if step == "drip":
                        time.sleep(0.1)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def http_server(*plan: str) -> Iterator[Server]:
    server = Server(url="", plan=list(plan))
    opened = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    opened.daemon_threads = True
    server.url = f"127.0.0.1:{opened.server_address[1]}"
    thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        opened.shutdown()
        opened.server_close()
        thread.join(5)


@contextlib.contextmanager
def grpc_server(*plan: str) -> Iterator[Server]:
    """The same over gRPC, with the names of gRPC's codes instead of statuses ("UNAVAILABLE loading")."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    server = Server(url="", plan=list(plan))

    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelMetadata(self, request: Any, context: Any) -> Any:
            code, _, message = server.next_step(dict(context.invocation_metadata())).partition(" ")
            if code == "slow":
                time.sleep(SLOW)
            if message:
                context.abort(getattr(grpc.StatusCode, code), message)
            return service_pb2.ModelMetadataResponse(name="m", versions=["7"])

    opened = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), opened)
    server.url = f"127.0.0.1:{opened.add_insecure_port('127.0.0.1:0')}"
    opened.start()
    try:
        yield server
    finally:
        opened.stop(None).wait(5)
