"""Every error that the server answers with, by its stable code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from reference_server.http.shapes import Problem

TYPE: Final = "urn:licensing-harness:problem:"


class Known(NamedTuple):
    """What is always true of a problem: its title, and how to get out."""

    title: str
    detail: str


PROBLEMS: Final[Mapping[str, Known]] = MappingProxyType(
    {
        "not-authorised": Known(
            "No valid API token", "Send 'Authorization: Bearer <api token>' with a token in force."
        ),
        "unknown-licence": Known("There is no such licence", "Check the licence's id or key."),
        "unknown-api-token": Known("There is no such API token in force", "List them with GET /v1/api-tokens."),
        "last-api-token": Known("This is the last API token", "Make another one first: nobody could change anything."),
        "revoked": Known("The licence is revoked", "A revoked licence stays revoked; issue a new one."),
        "suspended": Known("The licence is suspended", "Reinstate it first."),
        "not-suspended": Known("The licence is not suspended", "There is nothing to reinstate."),
        "expired": Known("The licence's term is over", "Renew it first."),
        "no-free-seat": Known("All seats are taken", "Release one, or wait until a lease is over."),
        "no-such-seat": Known("The device holds no seat", "Activate it first; a lease that is over is no seat."),
        "idempotency-key-required": Known("An Idempotency-Key is needed", "Send one that is unique to this licence."),
        "idempotency-key-invalid": Known(
            "The Idempotency-Key is not usable", "Send one, of 1 to 200 printable ASCII characters."
        ),
        "idempotency-conflict": Known(
            "The Idempotency-Key was used for another request", "Take a new key for a new request."
        ),
        "malformed-json": Known("The body is not JSON", "Send one JSON object in UTF-8, without duplicate members."),
        "invalid-request": Known("The request does not fit", "See /openapi.json for what this operation takes."),
        "body-too-large": Known("The body is too large", "Send at most 65536 bytes."),
        "unsupported-media-type": Known("The body's media type is not JSON", "Send 'Content-Type: application/json'."),
        "not-found": Known("There is nothing here", "See /openapi.json for what there is."),
        "method-not-allowed": Known("This can't be done here", "See the Allow header, and /openapi.json."),
        "store-unavailable": Known(
            "The store does not commit", "Whether the change took effect is unknown; ask again with the same key."
        ),
        "overloaded": Known("Too many changes are waiting", "Nothing was done; try again later."),
        "draining": Known("The server is stopping", "Nothing was done; try again later."),
        "internal-error": Known("The server has a bug", "See the server's log."),
    }
)


def problem(code: str, status: int, server_time: int, detail: str = "") -> Problem:
    """The problem with this code; ``detail`` instead of the usual one."""
    known = PROBLEMS[code]
    return Problem(
        type=TYPE + code,
        title=known.title,
        status=status,
        code=code,
        detail=detail or known.detail,
        server_time=server_time,
    )
