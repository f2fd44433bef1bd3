"""The web application: the page's files, its API as JSON, and the model cards, with headers that let nothing else in.

Only this machine is answered: the Host header must name it, so that no other site's name can be pointed at the page.
The page may load its own files only (Content-Security-Policy). A request that takes too long ends with status 503.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.demo.api import Api
from serving.demo.parameters import BadRequest, Parameters

PAGE = Path(__file__).parent / "page"
HOSTS = ["127.0.0.1", "localhost"]
LONGEST_S = 10.0
"""Seconds after which a request is given up."""
WORKERS = 2
"""Requests that are computed at once; others wait."""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
CARD_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
"""A model card is shown inside the page; it may run no program and load nothing."""


class OverdueError(Exception):
    """A request took longer than LONGEST_S."""


class Headers:
    """Adds HEADERS to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.decode().lower() for name, _ in message["headers"]}
                added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n not in own]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, with_headers)


def _error(text: object, status: int) -> JSONResponse:
    return JSONResponse({"error": " ".join(str(text).split())}, status)


def _endpoint(
    workers: ThreadPoolExecutor, longest_s: float, name: str, api: Api
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of one method of the API, which runs in a thread."""
    method, known = api.methods[name]

    async def answer(request: Request) -> Response:
        ends = time.monotonic() + longest_s

        def check() -> None:
            if time.monotonic() > ends:
                raise OverdueError

        def work() -> dict[str, Any]:
            check()  # it may have waited
            return method(Parameters.read(request.query_params.multi_items(), known), check)

        started = time.perf_counter()
        try:
            running = asyncio.get_running_loop().run_in_executor(workers, work)
            content = await asyncio.wait_for(running, longest_s)
        except BadRequest as error:
            return _error(error, 400)
        except (OverdueError, asyncio.TimeoutError):
            return _error(f"the request took longer than {longest_s:g} s and was given up; ask for less", 503)
        except (ValueError, OSError) as error:  # the store is down, a file is damaged
            return _error(error, 503)
        return JSONResponse({**content, "ms": round(1000 * (time.perf_counter() - started), 1)})

    return answer


def _card(api: Api) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        number = request.path_params["model"]
        card = api.models[number].card if number < len(api.models) else None
        if card is None:
            return _error(f"model {number} has no model card", 404)
        return Response(card, media_type="text/html", headers={"content-security-policy": CARD_POLICY})

    return answer


async def _http_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return _error(error.detail, error.status_code)


def application(api: Api, longest_s: float = LONGEST_S) -> Starlette:
    """
    Args:
        longest_s: seconds after which a request is given up.
    """
    workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="demo")
    return Starlette(
        routes=[
            *(Route(f"/api/{name}", _endpoint(workers, longest_s, name, api), methods=["GET"]) for name in api.methods),
            Route("/card/{model:int}", _card(api), methods=["GET"]),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[Middleware(Headers), Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
        exception_handlers={HTTPException: _http_error},
    )
