"""nginx with the configuration of `triton template proxy`, and certificates made for a test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.__main__ import main
from serving.triton.client import Access
from serving.triton.server import Ports, free_ports

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx here: apt-get install nginx-light")


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A running proxy."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def key(self) -> str:
        return (self.folder / "client.key").read_text().strip()

    @property
    def access(self) -> Access:
        return Access(authority=self.authority, token=self.key)


def sign(folder: Path, name: str, authority: str | None = None) -> None:
    """Write NAME.key and NAME.crt, signed by AUTHORITY.crt or by itself."""
    words = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN={name}".split()
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
    if authority is not None:
        words += ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def proxy(folder: Path, ports: Ports, *words: str) -> Iterator[Proxy]:
    """nginx in front of a server, with the flags `words` of the command."""
    port = free_ports().http
    folder.mkdir(parents=True, exist_ok=True)
    given = ["--port", port, "--http-port", ports.http, "--grpc-port", ports.grpc, "--metrics-port", ports.metrics]
    assert main(["triton", "template", "proxy", "--out", str(folder), *map(str, given), *words]) == 0
    if not (folder / "tls.crt").exists():
        sign(folder, "tls")
    nginx = subprocess.Popen([str(NGINX), "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"])
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert nginx.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield Proxy(folder=folder, port=port)
    finally:
        nginx.terminate()
        nginx.wait(20)
