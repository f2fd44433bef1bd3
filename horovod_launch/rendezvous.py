"""The HTTP server through which ranks under Gloo find each other: values by scope and key, as horovodrun serves them.

Horovod's C++ side (http_store.cc) puts addresses with PUT /scope/key, reads those of the others with GET until they are
there, and sends DELETE at its end.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    timeout = 60
    server: Rendezvous

    def _answer(self, status: int, value: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(value)))
        self.end_headers()
        self.wfile.write(value)

    def do_GET(self) -> None:
        value = self.server.values.get(self.path)
        self._answer(200 if value is not None else 404, value or b"")

    def do_PUT(self) -> None:
        self.server.values[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200)

    def do_DELETE(self) -> None:
        self._answer(200)  # the server ends with the job

    def log_message(self, format: str, *args: object) -> None:
        del format, args


class Rendezvous(ThreadingHTTPServer):
    """The server, running until the process ends."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: str = "") -> None:
        """Listen on a free port.

        Args:
            address: of the interface; "" is all of them.
        """
        super().__init__((address, 0), _Handler)
        self.values: dict[str, bytes] = {}
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, daemon=True).start()
