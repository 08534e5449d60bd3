"""Secrets are registered once and masked in every output.

A masked secret keeps a short fingerprint, so that two different keys stay two
different keys in a report: ``[masked:1f3a9c]``.
"""

from __future__ import annotations

import hashlib
import re
import threading
from typing import Final

SHORTEST: Final = 6
"""Shorter texts are not masked: they would blank out ordinary words."""

_JWS: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")


def fingerprint(secret: str) -> str:
    """Six hexadecimal digits that tell secrets apart and don't reveal them."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:6]


class Masker:
    """Replaces registered secrets, JSON Web Tokens and Authorization values in text.

    Safe to use from several threads: live clients register keys while others write.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def register(self, secret: str) -> None:
        """From now on ``secret`` is masked. Texts under six characters are left alone."""
        if len(secret) >= SHORTEST and secret not in self._secrets:
            with self._lock:
                self._secrets[secret] = f"[masked:{fingerprint(secret)}]"
                self._pattern = None

    def mask(self, text: str) -> str:
        """``text`` without any secret this masker knows or recognises."""
        if self._secrets:
            with self._lock:
                pattern = self._pattern
                if pattern is None:
                    longest_first = sorted(self._secrets, key=len, reverse=True)
                    pattern = self._pattern = re.compile("|".join(map(re.escape, longest_first)))
            text = pattern.sub(lambda found: self._secrets[found.group()], text)
        text = _JWS.sub(lambda found: f"[masked:{fingerprint(found.group())}]", text)
        return _BEARER.sub(lambda found: f"{found.group(1)} [masked]", text)
