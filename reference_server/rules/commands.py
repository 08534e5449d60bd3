"""The commands: what a caller wants changed. One class a verb; the writer decides them in order."""

from __future__ import annotations

import msgspec


class Idempotency(msgspec.Struct, frozen=True):
    """The caller's key, and the digest of the request that came with it."""

    key: str
    request: bytes


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What every command carries: who wants it."""

    actor: str
    idempotency: Idempotency | None = None


class Issue(Command, frozen=True, kw_only=True):
    """Make a licence. ``licence_id`` was drawn by the caller; ``duration`` in ms, None for ever."""

    licence_id: str
    plan: str
    seats: int
    features: tuple[str, ...]
    duration: int | None
    customer: str


class Renew(Command, frozen=True, kw_only=True):
    """Start a new term of ``duration`` ms, from now."""

    licence_id: str
    duration: int


class Suspend(Command, frozen=True, kw_only=True):
    """Stop a licence until it is reinstated."""

    licence_id: str
    reason: str


class Reinstate(Command, frozen=True, kw_only=True):
    """Lift a suspension."""

    licence_id: str
    reason: str


class Revoke(Command, frozen=True, kw_only=True):
    """End a licence for good."""

    licence_id: str
    reason: str


class Activate(Command, frozen=True, kw_only=True):
    """Take a seat for a device, or get a new lease for the seat it holds."""

    licence_id: str
    device: str


class Heartbeat(Command, frozen=True, kw_only=True):
    """Get a new lease for the seat that a device holds."""

    licence_id: str
    device: str


class Release(Command, frozen=True, kw_only=True):
    """Give a device's seat back."""

    licence_id: str
    device: str


class CreateApiToken(Command, frozen=True, kw_only=True):
    """Let somebody change things. ``digest`` is the SHA-256 of the secret that they were given."""

    token_id: str
    name: str
    digest: bytes


class RevokeApiToken(Command, frozen=True, kw_only=True):
    """Take that right away."""

    token_id: str


class Probe(Command, frozen=True, kw_only=True):
    """Commit something that is no event, to see whether the store can."""
