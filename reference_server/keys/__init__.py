"""Signing keys and access tokens: minted by one key, verified by strict rules, refused by default."""

from __future__ import annotations

from reference_server.keys.cache import VerifiedTokens
from reference_server.keys.file import KeyFileError, load_or_make, make_pem
from reference_server.keys.ring import TOKEN_TYPE, KeyRefused, KeyRing, import_public
from reference_server.keys.strict import TokenInvalid
from reference_server.keys.verifier import Verifier

__all__ = [
    "TOKEN_TYPE",
    "KeyFileError",
    "KeyRefused",
    "KeyRing",
    "TokenInvalid",
    "VerifiedTokens",
    "Verifier",
    "import_public",
    "load_or_make",
    "make_pem",
]
