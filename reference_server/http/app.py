"""The ASGI application: Starlette's router around the operations, with a table of their routes in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reference_server.http import validation, wire
from reference_server.http.endpoint import Endpoint
from reference_server.http.openapi import DocumentEndpoint
from reference_server.http.operations import OPERATIONS
from reference_server.http.problems import problem
from reference_server.http.table import RouteTable
from reference_server.http.wire import Receive, Scope, Send
from reference_server.service import Service

ROUTES: Final = [
    *(Route(each.path, Endpoint(each), methods=[each.method], name=each.name) for each in OPERATIONS),
    Route(validation.PATH, validation.ValidateEndpoint(), methods=["POST"], name="validate"),
    Route("/openapi.json", DocumentEndpoint(), methods=["GET"], name="openapi"),
]
"""Shared by all applications: the service that they work on is in ``scope['app'].state``."""

_TABLE: Final = RouteTable(ROUTES)

Start = Callable[[], Awaitable[Service]]
Stop = Callable[[Service], Awaitable[None]]


class LicensingApp(Starlette):
    """One server. All start-up happens in its lifespan; then ``state.secrets`` tells what was made only now."""

    service: Service
    """There once start-up is over."""
    failure: Exception | None = None
    """Why start-up failed."""

    def __init__(self, start: Start, stop: Stop, more: Sequence[Route] = ()) -> None:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            try:
                service = await start()
            except Exception as error:
                self.failure = error
                raise
            self.state.service = service
            self.state.secrets = service.secrets
            self.service = service
            yield
            # No `finally`: a server that was killed does not clean up.
            await stop(service)

        super().__init__(routes=[*ROUTES, *more], lifespan=lifespan, exception_handlers={HTTPException: _unrouted})
        self.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; validations go straight to their function, other operations to their endpoint.

        Endpoints answer every error of their own, so they need nothing of what
        Starlette wraps around its router.
        """
        if scope["type"] == "http":
            scope["app"] = self
            if scope["path"] == validation.PATH and scope["method"] == "POST":
                await validation.validate(self.service, scope, receive, send)
                return
            endpoint = _TABLE.find(scope)
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


async def _unrouted(request: Request, error: Exception) -> Response:
    """What the router refuses, as a problem."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not-found", 405: "method-not-allowed"}.get(status, "internal-error")
    headers = {"cache-control": "no-store"}
    if code == "method-not-allowed":
        headers["allow"] = ", ".join(sorted(_methods_of(request.url.path)))
    service: Service = request.app.state.service
    body = wire.encode(problem(code, status, service.ticks()))
    return Response(body, status, headers=headers, media_type="application/problem+json")


def _methods_of(path: str) -> set[str]:
    """The methods of all routes with this path; the router itself names only those of the first."""
    return {method for route in ROUTES if route.path_regex.match(path) for method in route.methods or ()}
