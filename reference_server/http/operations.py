"""The operations on licences, seats and access tokens, and the table from which routes and OpenAPI are made."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from reference_server.entropy import identifier
from reference_server.errors import Missing
from reference_server.http import administration, shapes
from reference_server.http.endpoint import Call, Operation
from reference_server.http.query import number
from reference_server.http.wire import BadRequest
from reference_server.rules import commands
from reference_server.rules.lifecycle import status
from reference_server.service import Service

_PAGE: Final = 100
_MOST: Final = 1000
_STATUSES: Final = frozenset({"active", "suspended", "expired", "revoked"})


async def issue(service: Service, call: Call) -> msgspec.Struct:
    """Make a licence."""
    asked = cast("shapes.IssueRequest", call.request)
    command = commands.Issue(
        actor=call.actor,
        idempotency=call.idempotency,
        licence_id=identifier(service.entropy, "lic"),
        plan=asked.plan,
        seats=asked.seats,
        features=tuple(asked.features),
        duration=asked.duration,
        customer=asked.customer,
    )
    return await service.submit(service, command)


def add_key(service: Service, answered: Any) -> None:
    """The licence's key is computed for each answer and never stored."""
    answered.licence.key = service.keys.key_of(answered.licence.id)


async def get(service: Service, call: Call) -> msgspec.Struct:
    """Look at a licence."""
    licence = service.book.licence(call.path["licence_id"])
    if licence is None:
        raise Missing("unknown-licence")
    now = service.ticks()
    return shapes.LicenceAnswer(licence=shapes.licence(licence, now), server_time=now)


async def listed(service: Service, call: Call) -> msgspec.Struct:
    """List licences, oldest first."""
    now = service.ticks()
    wanted = call.query.get("status")
    if wanted is not None and wanted not in _STATUSES:
        raise BadRequest("invalid-request", 422, f"The status must be one of {', '.join(sorted(_STATUSES))}.")
    limit = number(call.query, "limit", _PAGE, most=_MOST)
    try:
        page, more = service.book.page(
            call.query.get("after", ""), limit, lambda each: wanted is None or status(each, now) == wanted
        )
    except KeyError as error:
        raise Missing("unknown-licence") from error
    return shapes.LicencesAnswer(
        licences=[shapes.licence(each, now) for each in page],
        next=page[-1].id if more else None,
        server_time=now,
    )


async def renew(service: Service, call: Call) -> msgspec.Struct:
    """Start a new term."""
    return await service.submit(
        service,
        commands.Renew(
            actor=call.actor,
            idempotency=call.idempotency,
            licence_id=call.path["licence_id"],
            duration=call.request.duration,
        ),
    )


async def suspend(service: Service, call: Call) -> msgspec.Struct:
    """Stop a licence."""
    return await service.submit(service, _with_reason(commands.Suspend, call))


async def reinstate(service: Service, call: Call) -> msgspec.Struct:
    """Lift a suspension."""
    return await service.submit(service, _with_reason(commands.Reinstate, call))


async def revoke(service: Service, call: Call) -> msgspec.Struct:
    """End a licence for good."""
    return await service.submit(service, _with_reason(commands.Revoke, call))


def _with_reason(
    kind: type[commands.Suspend | commands.Reinstate | commands.Revoke], call: Call
) -> commands.Suspend | commands.Reinstate | commands.Revoke:
    return kind(
        actor=call.actor,
        idempotency=call.idempotency,
        licence_id=call.path["licence_id"],
        reason=call.request.reason,
    )


async def activate(service: Service, call: Call) -> msgspec.Struct:
    """Take a seat."""
    return await service.submit(service, _of_seat(commands.Activate, service, call))


async def heartbeat(service: Service, call: Call) -> msgspec.Struct:
    """Keep a seat."""
    return await service.submit(service, _of_seat(commands.Heartbeat, service, call))


async def release(service: Service, call: Call) -> msgspec.Struct:
    """Give a seat back."""
    return await service.submit(service, _of_seat(commands.Release, service, call))


def _of_seat(
    kind: type[commands.Activate | commands.Heartbeat | commands.Release], service: Service, call: Call
) -> commands.Activate | commands.Heartbeat | commands.Release:
    asked = cast("shapes.SeatRequest", call.request)
    return kind(
        actor=call.actor,
        idempotency=call.idempotency,
        licence_id=_opened(service, asked.key),
        device=asked.device,
    )


def _opened(service: Service, key: str) -> str:
    licence_id = service.keys.id_of(key)
    if licence_id is None:
        raise Missing("unknown-licence")
    return licence_id


async def token(service: Service, call: Call) -> msgspec.Struct:
    """Get an access token for a licence that is in force."""
    asked = cast("shapes.TokenRequest", call.request)
    now = service.ticks()
    licence = service.for_token(service.book, _opened(service, asked.key), now)
    claims = service.claims(licence, now, service.terms, service.entropy)
    return shapes.TokenAnswer(token=service.mint(claims), expires_at=claims["exp"] * 1000, server_time=now)


async def jwks(service: Service, call: Call) -> msgspec.Struct:
    """The public keys."""
    del call
    return shapes.Jwks(keys=service.jwks()["keys"])


_EXISTING: Final = ((404, "unknown-licence"),)
_IN_FORCE: Final = ((403, "revoked"), (403, "suspended"), (403, "expired"), (404, "unknown-licence"))

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="issueLicence",
        method="POST",
        path="/v1/licences",
        summary="Make a licence",
        run=issue,
        finish=add_key,
        request=shapes.IssueRequest,
        answer=shapes.LicenceAnswer,
        status=201,
        idempotency="required",
    ),
    Operation(
        name="listLicences",
        method="GET",
        path="/v1/licences",
        summary="List licences, oldest first",
        run=listed,
        answer=shapes.LicencesAnswer,
        query=("after", "limit", "status"),
        problems=_EXISTING,
    ),
    Operation(
        name="getLicence",
        method="GET",
        path="/v1/licences/{licence_id}",
        summary="Look at a licence",
        run=get,
        answer=shapes.LicenceAnswer,
        problems=_EXISTING,
    ),
    Operation(
        name="renewLicence",
        method="POST",
        path="/v1/licences/{licence_id}/renew",
        summary="Start a new term, counted from now",
        run=renew,
        request=shapes.RenewRequest,
        answer=shapes.LicenceAnswer,
        idempotency="optional",
        problems=(*_EXISTING, (409, "revoked")),
    ),
    Operation(
        name="suspendLicence",
        method="POST",
        path="/v1/licences/{licence_id}/suspend",
        summary="Stop a licence until it is reinstated",
        run=suspend,
        request=shapes.ReasonRequest,
        answer=shapes.LicenceAnswer,
        idempotency="optional",
        problems=(*_EXISTING, (409, "revoked"), (409, "suspended")),
    ),
    Operation(
        name="reinstateLicence",
        method="POST",
        path="/v1/licences/{licence_id}/reinstate",
        summary="Lift a suspension",
        run=reinstate,
        request=shapes.ReasonRequest,
        answer=shapes.LicenceAnswer,
        idempotency="optional",
        problems=(*_EXISTING, (409, "revoked"), (409, "not-suspended")),
    ),
    Operation(
        name="revokeLicence",
        method="POST",
        path="/v1/licences/{licence_id}/revoke",
        summary="End a licence for good",
        run=revoke,
        request=shapes.ReasonRequest,
        answer=shapes.LicenceAnswer,
        idempotency="optional",
        problems=(*_EXISTING, (409, "revoked")),
    ),
    Operation(
        name="activateSeat",
        method="POST",
        path="/v1/seats/activate",
        summary="Take a seat, or get a new lease for the one that the device holds",
        run=activate,
        request=shapes.SeatRequest,
        answer=shapes.SeatAnswer,
        idempotency="optional",
        problems=(*_IN_FORCE, (409, "no-free-seat")),
    ),
    Operation(
        name="heartbeatSeat",
        method="POST",
        path="/v1/seats/heartbeat",
        summary="Get a new lease for the seat that the device holds",
        run=heartbeat,
        request=shapes.SeatRequest,
        answer=shapes.SeatAnswer,
        idempotency="optional",
        problems=(*_IN_FORCE, (409, "no-such-seat")),
    ),
    Operation(
        name="releaseSeat",
        method="POST",
        path="/v1/seats/release",
        summary="Give a seat back, whatever the licence's status",
        run=release,
        request=shapes.SeatRequest,
        answer=shapes.SeatAnswer,
        idempotency="optional",
        problems=(*_EXISTING, (409, "no-such-seat")),
    ),
    Operation(
        name="issueToken",
        method="POST",
        path="/v1/tokens",
        summary="Get a short-lived access token; the licence key is the credential",
        run=token,
        request=shapes.TokenRequest,
        answer=shapes.TokenAnswer,
        auth=False,
        problems=_IN_FORCE,
    ),
    Operation(
        name="getJwks",
        method="GET",
        path="/.well-known/jwks.json",
        summary="The public keys with which access tokens are verified",
        run=jwks,
        answer=shapes.Jwks,
        auth=False,
    ),
    *administration.OPERATIONS,
)
