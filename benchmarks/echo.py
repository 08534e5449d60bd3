"""What a validate is compared with: an echo by Starlette and msgspec, and one by nothing but ASGI.

Both decode the request's JSON and encode it again, under the settings of uvicorn
that the reference server uses. ``python -m benchmarks.echo starlette|bare``
prints its address as JSON, as the server does.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

Message = MutableMapping[str, Any]


class Body(msgspec.Struct):
    """What is validated, and here only sent back."""

    token: str


_decode: Final = msgspec.json.Decoder(Body).decode
_encode: Final = msgspec.json.Encoder().encode


def starlette_app() -> Any:
    """The echo as Starlette's documentation would have it, with msgspec for JSON."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def echo(request: Request) -> Response:
        return Response(_encode(_decode(await request.body())), media_type="application/json")

    return Starlette(routes=[Route("/v1/validate", echo, methods=["POST"])])


async def bare_app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The least that an ASGI application can do with a request."""
    del scope
    body = _encode(_decode((await receive())["body"]))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(kind: str) -> None:
    """Serve until SIGTERM."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        starlette_app() if kind == "starlette" else bare_app,
        access_log=False,
        log_config=None,
        lifespan="off",
        loop="auto",
        http="auto",
        ws="none",
        server_header=False,
    )
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}", "pid": os.getpid()}), flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
