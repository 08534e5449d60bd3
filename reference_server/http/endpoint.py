"""One operation as an ASGI endpoint: authorise, read, run, answer; every error becomes a problem."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from reference_server.errors import NotAuthorised, Refused, Unavailable
from reference_server.http import wire
from reference_server.http.problems import problem
from reference_server.http.wire import BadRequest, ClientLeft, Receive, Scope, Send
from reference_server.rules.commands import Idempotency
from reference_server.service import Service
from reference_server.writer import Recalled

_LOG: Final = logging.getLogger(__name__)
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,200}")
_CHALLENGE: Final = ((b"www-authenticate", b"Bearer"),)
_RETRY: Final = ((b"retry-after", b"1"),)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, read and authorised. ``actor`` is the API token's id, '' where none is needed."""

    request: Any
    path: dict[str, str]
    query: dict[str, str]
    actor: str
    idempotency: Idempotency | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What an operation takes and gives. Routes and the OpenAPI document are made from these."""

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    summary: str
    run: Callable[[Service, Call], Awaitable[msgspec.Struct]]
    answer: type[msgspec.Struct]
    finish: Callable[[Service, Any], None] | None = None
    """Adds to the answer what is not stored with it."""
    request: type[msgspec.Struct] | None = None
    status: int = 200
    auth: bool = True
    idempotency: Literal["none", "optional", "required"] = "none"
    problems: tuple[tuple[int, str], ...] = ()
    query: tuple[str, ...] = ()


class Endpoint:
    """See the module."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self._decode = None if operation.request is None else msgspec.json.Decoder(operation.request).decode
        self._recalled = msgspec.json.Decoder(operation.answer).decode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        service: Service = scope["app"].service
        try:
            call = await self._read(service, scope, receive)
            answered = await self.operation.run(service, call)
            if type(answered) is Recalled:
                answered = self._recalled(answered.body)
            if self.operation.finish is not None:
                self.operation.finish(service, answered)
            await wire.answer(send, wire.encode(answered), self.operation.status)
        except ClientLeft:
            return
        except Exception as error:  # noqa: BLE001 - every error is a problem
            await refuse(service, send, error)

    async def _read(self, service: Service, scope: Scope, receive: Receive) -> Call:
        operation = self.operation
        actor = authorised(service, scope) if operation.auth else ""
        key = _idempotency_key(scope, operation)
        request = None
        if self._decode is not None:
            wire.check_media_type(scope)
            request = wire.decoded(self._decode, await wire.body_of(receive))
        path = scope.get("path_params", {})
        idempotency = None
        if key is not None:
            asked = "\n".join((operation.name, *path.values())).encode() + b"\n" + wire.encode(request)
            idempotency = Idempotency(key, hashlib.sha256(asked).digest())
        query = wire.query_of(scope, operation.query) if operation.query else {}
        return Call(request=request, path=path, query=query, actor=actor, idempotency=idempotency)


def authorised(service: Service, scope: Scope) -> str:
    """The id of the API token that came with the request. Raises NotAuthorised."""
    scheme, _, secret = (wire.header(scope, b"authorization") or b"").partition(b" ")
    token = None
    if scheme.lower() == b"bearer":
        token = service.book.by_digest.get(hashlib.sha256(secret.strip()).digest())
    if token is None:
        raise NotAuthorised("not-authorised")
    return token.id


def _idempotency_key(scope: Scope, operation: Operation) -> str | None:
    if operation.idempotency == "none":
        return None
    key = wire.header(scope, b"idempotency-key")
    if key is None:
        if operation.idempotency == "required":
            raise BadRequest("idempotency-key-required", 400)
        return None
    if _KEY.fullmatch(key) is None:
        raise BadRequest("idempotency-key-invalid", 400)
    return key.decode("ascii")


async def refuse(service: Service, send: Send, error: Exception) -> None:
    """Send the problem that an error is."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    detail = ""
    match error:
        case BadRequest():
            code, status, detail, headers = error.code, error.status, error.detail, error.headers
        case Refused():
            code, status = error.code, error.status
            headers = _CHALLENGE if isinstance(error, NotAuthorised) else ()
        case Unavailable():
            code, status, headers = error.code, 503, _RETRY
        case _:
            _LOG.error("a request failed", exc_info=error)
            code, status = "internal-error", 500
    body = wire.encode(problem(code, status, service.ticks(), detail))
    await wire.refuse(send, body, status, headers)
