"""Licence keys: ``<licence id>.<mac>``. Nothing is looked up and nothing secret is stored.

The MAC is HMAC-SHA-256 over the id, in base64url, under a secret that is derived
from the signing key: the same key file gives the same licence keys, so that a
repeated issue answers with the same one.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

LABEL: Final = b"licensing-harness licence keys, version 1"
"""What the secret is derived for: ``ring.derive(LABEL)``."""


class LicenceKeys:
    """Makes licence keys and opens them."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def key_of(self, licence_id: str) -> str:
        """The key of a licence."""
        return f"{licence_id}.{self._mac(licence_id)}"

    def id_of(self, key: str) -> str | None:
        """The licence that a key is for; None for a key that this server did not make. Constant time in the MAC."""
        licence_id, dot, mac = key.rpartition(".")
        if not dot or not key.isascii():
            return None
        return licence_id if hmac.compare_digest(mac, self._mac(licence_id)) else None

    def _mac(self, licence_id: str) -> str:
        digest = hmac.digest(self._secret, licence_id.encode(), "sha256")
        return base64.urlsafe_b64encode(digest)[:-1].decode()
