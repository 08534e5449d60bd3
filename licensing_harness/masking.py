"""Secrets are registered once and masked in every output.

A masked secret keeps a short fingerprint, so that two different keys stay two
different keys in a report: ``[masked:1f3a9c]``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from typing import Final
from urllib.parse import quote

SHORTEST: Final = 6
"""Shorter texts are not masked: they would blank out ordinary words."""

_CHARACTERS: Final = "[A-Za-z0-9._~+/=-]"
"""What keys and tokens are made of. A secret with other characters is searched for on its own."""

_PLAIN: Final = re.compile(_CHARACTERS + "+")

_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]+")
"""RFC 3986, 2.3: what neither JSON nor a URL writes in another way."""

_JWS: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?")
_AUTHORISATION: Final = re.compile(r"(?i)(\b(?:bearer|basic)\s+)([A-Za-z0-9._~+/=-]{6,})")


def fingerprint(secret: str) -> str:
    """Six hexadecimal digits that tell secrets apart and don't reveal them."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def _spellings(secret: str) -> set[str]:
    """A secret as text, JSON and URLs write it."""
    if _UNRESERVED.fullmatch(secret):
        return {secret}  # all of them write it as it is
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
    }


class Masker:
    """Replaces registered secrets, JSON Web Tokens and Authorization values in text.

    The cost of masking does not grow with the number of secrets: a run registers
    one for every licence that it issues. Safe to use from several threads: live
    clients register keys while others write.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[str, str] = {}
        self._heads: set[str] = set()
        self._lengths: tuple[int, ...] = ()
        self._odd: re.Pattern[str] | None = None
        self._runs = _PLAIN

    def register(self, secret: str) -> None:
        """From now on ``secret`` is masked, also as JSON and URLs write it.

        Texts under six characters are left alone.
        """
        if len(secret) < SHORTEST or secret in self._secrets:
            return
        with self._lock:
            mask = f"[masked:{fingerprint(secret)}]"
            spellings = _spellings(secret)
            for spelling in spellings:
                self._secrets[spelling] = mask
            plain = [spelling for spelling in spellings if _PLAIN.fullmatch(spelling)]
            self._heads.update(spelling[:SHORTEST] for spelling in plain)
            if not {len(spelling) for spelling in plain} <= set(self._lengths):
                self._lengths = tuple(sorted({*self._lengths, *map(len, plain)}, reverse=True))
                # A run of characters shorter than the shortest secret holds none.
                self._runs = re.compile(f"{_CHARACTERS}{{{self._lengths[-1]},}}")
            if len(plain) < len(spellings):
                odd = [spelling for spelling in self._secrets if not _PLAIN.fullmatch(spelling)]
                self._odd = re.compile("|".join(map(re.escape, sorted(odd, key=len, reverse=True))))

    def mask(self, text: str) -> str:
        """``text`` without any secret this masker knows or recognises."""
        if self._odd is not None:
            text = self._odd.sub(lambda found: self._secrets[found.group()], text)
        if self._heads:
            text = self._runs.sub(self._mask_run, text)
        if "eyJ" in text:
            text = _JWS.sub(lambda found: f"[masked:{fingerprint(found.group())}]", text)
        lowered = text.lower()
        if "bearer" in lowered or "basic" in lowered:
            text = _AUTHORISATION.sub(r"\1[masked]", text)
        return text

    def _mask_run(self, found: re.Match[str]) -> str:
        run = found.group()
        whole = self._secrets.get(run)
        if whole is not None:
            return whole
        heads, at, done, parts = self._heads, 0, 0, []
        while at + SHORTEST <= len(run):
            if run[at : at + SHORTEST] in heads:
                mask, length = self._longest(run, at)
                if length:
                    parts += [run[done:at], mask]
                    at = done = at + length
                    continue
            at += 1
        return "".join([*parts, run[done:]]) if parts else run

    def _longest(self, run: str, at: int) -> tuple[str, int]:
        for length in self._lengths:
            mask = self._secrets.get(run[at : at + length])
            if mask is not None and at + length <= len(run):
                return mask, length
        return "", 0
