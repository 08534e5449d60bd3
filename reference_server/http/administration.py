"""The audit trail, API tokens, and the server's own condition."""

from __future__ import annotations

from functools import partial
from typing import Final, cast

import msgspec

from reference_server.entropy import identifier, secret
from reference_server.errors import StoreError
from reference_server.http import shapes
from reference_server.http.endpoint import Call, Operation
from reference_server.http.query import number
from reference_server.ledger import FORMAT, GENESIS
from reference_server.rules import commands
from reference_server.service import Service, digest_of

_PAGE: Final = 100
_MOST: Final = 1000
_LAST: Final = 2**53 - 1


async def audit(service: Service, call: Call) -> msgspec.Struct:
    """Read the audit trail. The events are sent in the bytes that were hashed."""
    after = number(call.query, "after", 0, least=0, most=_LAST)
    limit = number(call.query, "limit", _PAGE, most=_MOST)
    page, head = await service.store.read(partial(service.store.statements.events, after=after, count=limit))
    last_seq, last_hash = (head[0][0], head[0][3]) if head else (0, GENESIS)
    return shapes.RawAudit(
        events=[
            shapes.RawEntry(event=msgspec.Raw(body), previous=previous.hex(), hash=digest.hex())
            for _, body, previous, digest in page
        ],
        head=shapes.AuditHead(seq=last_seq, hash=last_hash.hex()),
        server_time=service.ticks(),
    )


async def create_api_token(service: Service, call: Call) -> msgspec.Struct:
    """Make an API token; its secret is answered once and only its digest is kept."""
    asked = cast("shapes.ApiTokenRequest", call.request)
    made = secret(service.entropy, "lat")
    command = commands.CreateApiToken(
        actor=call.actor, token_id=identifier(service.entropy, "tok"), name=asked.name, digest=digest_of(made)
    )
    answered = cast("shapes.ApiTokenAnswer", await service.submit(service, command))
    answered.api_token.secret = made
    return answered


async def list_api_tokens(service: Service, call: Call) -> msgspec.Struct:
    """List API tokens, without their secrets."""
    del call
    return shapes.ApiTokensAnswer(
        api_tokens=[shapes.api_token(each) for each in service.book.api_tokens.values()],
        server_time=service.ticks(),
    )


async def revoke_api_token(service: Service, call: Call) -> msgspec.Struct:
    """Take an API token out of force."""
    command = commands.RevokeApiToken(actor=call.actor, idempotency=call.idempotency, token_id=call.path["token_id"])
    return await service.submit(service, command)


async def health(service: Service, call: Call) -> msgspec.Struct:
    """Whether the process can do its work at all: its writer still runs."""
    del call
    if not service.alive:
        raise StoreError("the writer has stopped")
    return shapes.Condition(status="ok", server_time=service.ticks())


async def ready(service: Service, call: Call) -> msgspec.Struct:
    """Whether a change would be committed now: something just was."""
    del call
    await service.ready()
    return shapes.Condition(status="ready", server_time=service.ticks())


OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="readAudit",
        method="GET",
        path="/v1/audit",
        summary=f"Read the audit trail, oldest first. {FORMAT}",
        run=audit,
        answer=shapes.AuditAnswer,
        query=("after", "limit"),
        problems=((503, "store-unavailable"),),
    ),
    Operation(
        name="createApiToken",
        method="POST",
        path="/v1/api-tokens",
        summary="Make an API token; its secret is answered once",
        run=create_api_token,
        request=shapes.ApiTokenRequest,
        answer=shapes.ApiTokenAnswer,
        status=201,
    ),
    Operation(
        name="listApiTokens",
        method="GET",
        path="/v1/api-tokens",
        summary="List API tokens, without their secrets",
        run=list_api_tokens,
        answer=shapes.ApiTokensAnswer,
    ),
    Operation(
        name="revokeApiToken",
        method="DELETE",
        path="/v1/api-tokens/{token_id}",
        summary="Take an API token out of force; the last one stays",
        run=revoke_api_token,
        answer=shapes.ApiTokenAnswer,
        idempotency="optional",
        problems=((404, "unknown-api-token"), (409, "last-api-token")),
    ),
    Operation(
        name="getHealth",
        method="GET",
        path="/health",
        summary="Whether the process can work at all",
        run=health,
        answer=shapes.Condition,
        auth=False,
        problems=((503, "store-unavailable"),),
    ),
    Operation(
        name="getReadiness",
        method="GET",
        path="/ready",
        summary="Whether a change would be committed now",
        run=ready,
        answer=shapes.Condition,
        auth=False,
        problems=((503, "store-unavailable"), (503, "draining")),
    ),
)
