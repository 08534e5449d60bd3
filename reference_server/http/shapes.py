"""The public JSON: what is asked and what is answered. OpenAPI is made from these types.

Every time is in Unix milliseconds. Unknown members of a request are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from reference_server.rules.decision import Reason
from reference_server.rules.lifecycle import status
from reference_server.rules.states import ApiToken as ApiTokenState
from reference_server.rules.states import LicenceState, Outcome, Status

LONGEST: Final = 100 * 366 * 86_400_000

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\u0000-\u001f\u007f]*$")]
Text = Annotated[str, Meta(max_length=500, pattern=r"^[^\u0000-\u001f\u007f]*$")]
Milliseconds = Annotated[int, Meta(ge=1, le=LONGEST, description="milliseconds; at most 100 years")]
At = Annotated[int, Meta(ge=0, description="Unix milliseconds")]
LicenceKey = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\u0000-\u001f\u007f]*$")]
AccessToken = Annotated[str, Meta(min_length=1, max_length=8192)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every request body is."""


class IssueRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A licence to be made. ``duration`` null means for ever."""

    plan: Name
    seats: Annotated[int, Meta(ge=1, le=100_000)]
    features: Annotated[list[Name], Meta(max_length=200)]
    duration: Milliseconds | None
    customer: Text


class RenewRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new term, counted from now."""

    duration: Milliseconds


class ReasonRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a licence is suspended, reinstated or revoked; it is kept in the audit trail."""

    reason: Text


class SeatRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device that wants, keeps or gives back a seat."""

    key: LicenceKey
    device: Line


class ValidateRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of ``key`` and ``token``. ``device`` may say who asks; it needs no seat."""

    key: LicenceKey | None = None
    token: AccessToken | None = None
    device: Line | None = None


class TokenRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The licence for which an access token is wanted; its key is the credential."""

    key: LicenceKey


class ApiTokenRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of the person or system that will use the API token."""

    name: Line


class Licence(msgspec.Struct, kw_only=True):
    """A licence as it stands. ``key`` is in the answer to its issue only."""

    id: str
    key: str | UnsetType = UNSET
    plan: str
    seats: int
    features: tuple[str, ...]
    status: Status
    issued_at: At
    expires_at: At | None
    customer: str


class LicenceAnswer(msgspec.Struct, kw_only=True):
    """One licence."""

    licence: Licence
    server_time: At


class LicencesAnswer(msgspec.Struct, kw_only=True):
    """A page of licences, oldest first; ``next`` is the ``after`` of the next page, null on the last one."""

    licences: list[Licence]
    next: str | None
    server_time: At


class SeatAnswer(msgspec.Struct, kw_only=True):
    """The seat's lease (null when it was given back), and how many seats are taken."""

    lease_until: At | None
    seats_taken: int
    seats: int
    server_time: At


class ValidateAnswer(msgspec.Struct, kw_only=True):
    """Whether the licence is in force. ``as_of`` is the number of the last audit entry that was looked at."""

    valid: bool
    reason: Reason | None
    features: tuple[str, ...]
    expires_at: At | None
    status: Status | None
    as_of: int
    server_time: At


class TokenAnswer(msgspec.Struct, kw_only=True):
    """A short-lived access token (a JWS signed with EdDSA)."""

    token: str
    expires_at: At
    server_time: At


class Jwks(msgspec.Struct, kw_only=True):
    """The public keys with which access tokens are verified (RFC 7517)."""

    keys: list[dict[str, str]]


class AuditEvent(msgspec.Struct, kw_only=True):
    """One change, as it is hashed."""

    seq: int
    time: At
    actor: str
    action: str
    licence: str
    data: dict[str, Any]


class AuditEntry(msgspec.Struct, kw_only=True):
    """An event, the hash of the entry before it, and its own."""

    event: AuditEvent
    previous: str
    hash: str


class AuditHead(msgspec.Struct, kw_only=True):
    """The newest entry: 0 and zeros when there is none."""

    seq: int
    hash: str


class AuditAnswer(msgspec.Struct, kw_only=True):
    """A page of the audit trail, oldest first."""

    events: list[AuditEntry]
    head: AuditHead
    server_time: At


class RawEntry(msgspec.Struct, kw_only=True):
    """An ``AuditEntry`` whose event is sent in the very bytes that were hashed."""

    event: msgspec.Raw
    previous: str
    hash: str


class RawAudit(msgspec.Struct, kw_only=True):
    """An ``AuditAnswer`` of such entries."""

    events: list[RawEntry]
    head: AuditHead
    server_time: At


class ApiToken(msgspec.Struct, kw_only=True):
    """A named API token. ``secret`` is in the answer to its creation only, and once."""

    id: str
    secret: str | UnsetType = UNSET
    name: str
    created_at: At
    revoked_at: At | None


class ApiTokenAnswer(msgspec.Struct, kw_only=True):
    """One API token."""

    api_token: ApiToken
    server_time: At


class ApiTokensAnswer(msgspec.Struct, kw_only=True):
    """All API tokens, revoked ones too."""

    api_tokens: list[ApiToken]
    server_time: At


class Condition(msgspec.Struct, kw_only=True):
    """The server's own state."""

    status: Literal["ok", "ready"]
    server_time: At


class Problem(msgspec.Struct, kw_only=True):
    """An error (RFC 9457). ``code`` is stable; ``detail`` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    server_time: At


def licence(state: LicenceState, now: int) -> Licence:
    """A licence as the public sees it at a time."""
    return Licence(
        id=state.id,
        plan=state.plan,
        seats=state.seats,
        features=state.features,
        status=status(state, now),
        issued_at=state.issued_at,
        expires_at=state.expires_at,
        customer=state.customer,
    )


def api_token(state: ApiTokenState) -> ApiToken:
    """An API token as the public sees it."""
    return ApiToken(id=state.id, name=state.name, created_at=state.created_at, revoked_at=state.revoked_at)


def render(outcome: Outcome, now: int) -> msgspec.Struct:
    """The public answer to an accepted command."""
    if outcome.seat is not None:
        seat = outcome.seat
        return SeatAnswer(lease_until=seat.until, seats_taken=seat.taken, seats=seat.seats, server_time=now)
    if outcome.licence is not None:
        return LicenceAnswer(licence=licence(outcome.licence, now), server_time=now)
    if outcome.api_token is not None:
        return ApiTokenAnswer(api_token=api_token(outcome.api_token), server_time=now)
    message = f"{outcome.action} changes nothing that could be shown"
    raise AssertionError(message)
