"""A real web server for tests: of the files of a folder, with and without parts of files, with a password."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import re
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

PASSWORD = "s3cret-Word"
TOKEN = "sig-1234567890"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; below /locked only with the password or the token, below /broken never."""

    with_parts = False

    def send_head(self):  # type: ignore[no-untyped-def]
        if self.path.startswith("/broken"):
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return None
        wanted = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
        allowed = self.headers.get("Authorization") == wanted or TOKEN in self.path
        if self.path.startswith("/locked") and not allowed:
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        found = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not (self.with_parts and path.is_file()):
            return super().send_head()
        content = path.read_bytes()
        start = int(found[1]) if found else 0
        end = min(int(found[2] or len(content) - 1) if found else len(content) - 1, len(content) - 1)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if found else HTTPStatus.OK)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end + 1 - start))
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.end_headers()
        file = path.open("rb")
        file.seek(start)
        return file

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


class _WithParts(_Handler):
    with_parts = True


@contextlib.contextmanager
def web_server(folder: Path, with_parts: bool = False) -> Iterator[str]:
    """The address of a server of a folder."""
    handler = functools.partial(_WithParts if with_parts else _Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
