"""The hot path: is this licence in force? Decided in memory, answered without a router or a middleware."""

from __future__ import annotations

from typing import Final

import msgspec

from reference_server.http import wire
from reference_server.http.endpoint import refuse
from reference_server.http.shapes import ValidateAnswer, ValidateRequest
from reference_server.http.wire import BadRequest, ClientLeft, Receive, Scope, Send
from reference_server.keys import TokenInvalid
from reference_server.rules.decision import Decision
from reference_server.service import Service

PATH: Final = "/v1/validate"

_decode: Final = msgspec.json.Decoder(ValidateRequest).decode


async def decided(service: Service, request: ValidateRequest) -> Decision:
    """The decision for a key or a token, at one reading of the clock. Raises BadRequest."""
    now = service.ticks()
    if request.token is not None:
        if request.key is not None:
            raise BadRequest("invalid-request", 422, "Send 'key' or 'token', not both.")
        try:
            claims = service.verified.verify(request.token, now / 1000)
        except TokenInvalid:
            return service.validate(None, now, "invalid-token")
        return service.validate(service.book.licences.get(claims["sub"]), now, "invalid-token")
    if request.key is None:
        raise BadRequest("invalid-request", 422, "Send 'key' or 'token'.")
    opened = service.keys.id_of(request.key)
    licence = None if opened is None else service.book.licences.get(opened)
    return service.validate(licence, now, "unknown-licence")


async def validate(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ``POST /v1/validate``."""
    try:
        wire.check_media_type(scope)
        decision = await service.decided(service, wire.decoded(_decode, await wire.body_of(receive)))
        body = wire.encode(
            ValidateAnswer(
                valid=decision.valid,
                reason=decision.reason,
                features=decision.features,
                expires_at=decision.expires_at,
                status=decision.status,
                as_of=service.book.head.seq,
                server_time=decision.at,
            )
        )
        await wire.answer(send, body)
    except ClientLeft:
        return
    except Exception as error:  # noqa: BLE001 - every error is a problem
        await refuse(service, send, error)


class ValidateEndpoint:
    """The same through the router, so that other methods on this path are refused as everywhere."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await validate(scope["app"].service, scope, receive, send)
