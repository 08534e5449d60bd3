"""Bugs of the keys and of what bad tokens do to the server."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reference_server.keys import TokenInvalid, Verifier
from reference_server.service import VerifiesTokens

if TYPE_CHECKING:
    from reference_server.composition import Parts


def private_key_published(parts: Parts) -> Parts:
    """The key set is written from the private key."""

    def jwks() -> dict[str, Any]:
        # The member is what matters; the real private value must not leave even a broken server.
        return {"keys": [{**key, "d": "A" * 43} for key in parts.jwks()["keys"]]}

    return replace(parts, jwks=jwks)


def bad_token_crashes(parts: Parts) -> Parts:
    """A token is taken apart outside the verifier's error boundary, so a malformed one is a 500."""

    class Fragile:
        """Looks into the payload first, to log whose it is."""

        def __init__(self, verifier: Verifier) -> None:
            self._verified = parts.remembered(verifier)

        def verify(self, token: str, now: float) -> Mapping[str, Any]:
            payload = token.split(".")[1]
            json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return self._verified.verify(token, now)

    def remembered(verifier: Verifier) -> VerifiesTokens:
        return Fragile(verifier)

    return replace(parts, remembered=remembered)


def refusal_outlives_forgery(parts: Parts) -> Parts:
    """Refusals are remembered by header and payload alone, so a forged signature condemns the honest token."""

    class Grudge:
        """Asks once for each header and payload."""

        def __init__(self, verifier: Verifier) -> None:
            self._verified = parts.remembered(verifier)
            self._refused: dict[str, TokenInvalid] = {}

        def verify(self, token: str, now: float) -> Mapping[str, Any]:
            signed, _, _ = token.rpartition(".")
            if signed in self._refused:
                raise self._refused[signed]
            try:
                return self._verified.verify(token, now)
            except TokenInvalid as refusal:
                self._refused[signed] = refusal
                raise

    def remembered(verifier: Verifier) -> VerifiesTokens:
        return Grudge(verifier)

    return replace(parts, remembered=remembered)
