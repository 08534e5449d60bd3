"""The server's signing key: what it signs, publishes and derives."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Self

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from reference_server.keys.points import weakness

ALGORITHM: Final = "EdDSA"
TOKEN_TYPE: Final = "licence-access+jwt"  # noqa: S105 - a media type, not a secret
_RAW_BYTES: Final = 32
_PRIVATE_MEMBERS: Final = frozenset({"d", "k", "p", "q"})


class KeyRefused(ValueError):
    """A key that must not be used; the text says why and what to give instead."""


class KeyRing:
    """One Ed25519 key pair. Nothing private leaves it but signatures and derived keys."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._public = checked(private.public_key())
        self._kid = thumbprint(self._public)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """The ring of an unencrypted PEM PKCS#8 Ed25519 private key.

        Raises KeyRefused for anything else.
        """
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            message = (
                "the signing key can't be read: give an unencrypted PEM PKCS#8 private key "
                "('openssl genpkey -algorithm ed25519' makes one)"
            )
            raise KeyRefused(message) from error
        if not isinstance(private, Ed25519PrivateKey):
            message = f"the signing key is {type(private).__name__.strip('_')}: give an Ed25519 private key"
            raise KeyRefused(message)
        return cls(private)

    @property
    def kid(self) -> str:
        """The key's RFC 7638 thumbprint: the same wherever the key is used."""
        return self._kid

    def public(self, kid: object) -> Ed25519PublicKey | None:
        """The public key called ``kid``, or None: an unknown name never falls back to another key."""
        return self._public if kid == self._kid else None

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JSON Web Key Set (RFC 7517, RFC 8037)."""
        return {"keys": [{**_thumbprinted(self._public), "kid": self._kid, "use": "sig", "alg": ALGORITHM}]}

    def mint(self, claims: Mapping[str, Any]) -> str:
        """A compact JWS over ``claims``, of type ``licence-access+jwt``."""
        headers = {"typ": TOKEN_TYPE, "kid": self._kid}
        return jwt.encode(dict(claims), self._private, algorithm=ALGORITHM, headers=headers)

    def derive(self, label: bytes) -> bytes:
        """32 secret bytes for another purpose (HKDF-SHA-256, RFC 5869); each label has its own."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(self._private.private_bytes_raw())


def checked(public: Ed25519PublicKey) -> Ed25519PublicKey:
    """``public`` itself; raises KeyRefused when anyone could sign for it."""
    reason = weakness(public.public_bytes_raw())
    if reason is not None:
        message = f"this Ed25519 public key is refused: {reason}"
        raise KeyRefused(message)
    return public


def import_public(jwk: Mapping[str, Any]) -> Ed25519PublicKey:
    """The public key of a JSON Web Key made for EdDSA signatures.

    Raises KeyRefused for another kind, use or algorithm, for private members
    and for points of small order.
    """
    wanted = {"kty": ("OKP",), "crv": ("Ed25519",), "use": ("sig", None), "alg": (ALGORITHM, None)}
    for name, values in wanted.items():
        if jwk.get(name) not in values:
            message = f"this JSON Web Key is refused: {name} is {jwk.get(name)!r:.40}, not {values[0]!r}"
            raise KeyRefused(message)
    if _PRIVATE_MEMBERS & jwk.keys():
        message = "this JSON Web Key is refused: it has private members; publish the public key only"
        raise KeyRefused(message)
    encoded = jwk.get("x")
    try:
        raw = base64.urlsafe_b64decode(f"{encoded}=") if isinstance(encoded, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != _RAW_BYTES or _base64url(raw) != encoded:
        message = "this JSON Web Key is refused: x is not 32 bytes in base64url without padding"
        raise KeyRefused(message)
    try:
        public = Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        message = "this JSON Web Key is refused: x is no point of the curve"
        raise KeyRefused(message) from error
    return checked(public)


def thumbprint(public: Ed25519PublicKey) -> str:
    """The RFC 7638 thumbprint (SHA-256, base64url) of a public key."""
    canonical = json.dumps(_thumbprinted(public), sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(canonical.encode()).digest())


def _thumbprinted(public: Ed25519PublicKey) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public.public_bytes_raw())}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
