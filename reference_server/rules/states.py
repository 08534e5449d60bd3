"""What the rules know and what they decide: plain, immutable values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

Standing = Literal["active", "suspended", "revoked"]
"""What was done to a licence. Whether it is over is a question of time, not of standing."""

Status = Literal["active", "suspended", "expired", "revoked"]


class LicenceState(msgspec.Struct, frozen=True, kw_only=True):
    """One licence as committed. ``number`` is the ledger number of its issue: it orders licences."""

    id: str
    plan: str
    seats: int
    features: tuple[str, ...]
    customer: str
    standing: Standing
    issued_at: int
    expires_at: int | None
    number: int = 0


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """A named right to change things. ``digest`` is the SHA-256 of its secret, which is not kept."""

    id: str
    name: str
    digest: bytes
    created_at: int
    revoked_at: int | None = None


class Stored(msgspec.Struct, frozen=True):
    """The answer once given under an idempotency key. ``request`` is the digest of what was asked."""

    request: bytes
    body: bytes


class Seat(msgspec.Struct, frozen=True):
    """A seat after a command: when its lease is over (None: given back), and how many are taken."""

    device: str
    until: int | None
    taken: int
    seats: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an accepted command does: one event, and the new values of what it changed."""

    action: str
    data: dict[str, Any]
    licence_id: str = ""
    licence: LicenceState | None = None
    seat: Seat | None = None
    api_token: ApiToken | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the server promises of itself: the length of a seat's lease (ms) and of an access token's life (s)."""

    lease: int = 60_000
    token_lifetime: int = 300


class Licences(Protocol):
    """Where licences are looked up."""

    def licence(self, licence_id: str) -> LicenceState | None:
        """The licence, or None."""
        ...


class View(Licences, Protocol):
    """State as a decision sees it: what is committed, and what earlier commands of the batch did to it."""

    def leases(self, licence_id: str) -> Mapping[str, int]:
        """The leases of a licence that are not over: device to the end of its lease."""
        ...

    def api_token(self, token_id: str) -> ApiToken | None:
        """The API token, revoked or not, or None."""
        ...

    def active_api_tokens(self) -> int:
        """How many API tokens are not revoked."""
        ...

    def stored(self, actor: str, key: str) -> Stored | None:
        """The answer kept under an actor's idempotency key."""
        ...


Decide = Callable[[View, Any, int, Terms], Outcome]
"""``decide(view, command, now, terms)``; raises Refused."""
