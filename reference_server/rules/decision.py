"""What products ask: whether a licence is in force, and what it grants."""

from __future__ import annotations

from typing import Literal

import msgspec

from reference_server.rules.lifecycle import status
from reference_server.rules.states import LicenceState, Status

Reason = Literal["revoked", "suspended", "expired", "unknown-licence", "invalid-token"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer at a time (``at``, ms). ``status`` is None for a licence that is not known."""

    valid: bool
    reason: Reason | None = None
    features: tuple[str, ...] = ()
    expires_at: int | None = None
    status: Status | None = None
    at: int


def decide(licence: LicenceState | None, now: int, otherwise: Reason = "unknown-licence") -> Decision:
    """Whether the licence is in force; ``otherwise`` is the reason when there is none."""
    if licence is None:
        return Decision(valid=False, reason=otherwise, at=now)
    standing = status(licence, now)
    if standing == "active":
        return Decision(valid=True, features=licence.features, expires_at=licence.expires_at, status=standing, at=now)
    return Decision(valid=False, reason=standing, expires_at=licence.expires_at, status=standing, at=now)
