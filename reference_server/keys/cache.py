"""Tokens verified before: their signature is not checked twice, their times always are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference_server.keys.verifier import Verifier


class VerifiedTokens:
    """``verify`` of a :class:`Verifier`, with the last ``capacity`` good tokens remembered.

    Only accepted tokens are kept, so a flood of forged ones evicts nothing.
    Make a new object when keys change: what a retired key signed is in here.
    """

    def __init__(self, verifier: Verifier, capacity: int = 10_000) -> None:
        self._verifier = verifier
        self._capacity = capacity
        self._known: dict[str, Mapping[str, Any]] = {}

    def verify(self, token: str, now: float) -> Mapping[str, Any]:
        """The claims of ``token``, good at ``now`` (Unix seconds). Raises TokenInvalid."""
        claims = self._known.get(token) if type(token) is str else None
        if claims is not None:
            self._verifier.timely(claims, now)
            return claims
        claims = self._verifier.verify(token, now)
        if len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[token] = claims
        return claims
