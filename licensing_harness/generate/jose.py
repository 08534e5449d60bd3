"""Tokens taken apart and put together wrongly, byte by byte (RFC 7515, 7518).

No JOSE library is used to forge: they refuse to write most of what an attacker
writes. The attacker's key comes from a fixed seed, so a forged token is the
same in every run.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from licensing_harness.errors import NotRun
from licensing_harness.worlds.story import Sign

ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""The order L of the base point (RFC 8032, 5.1)."""
_SEGMENTS: Final = 3
_ED25519_SIGNATURE: Final = 64


def base64url(raw: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def packed(value: Any) -> bytes:
    """JSON without spaces; NaN and Infinity are written as Python writes them."""
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Honest:
    """An honest token taken apart, and what an attacker may know or be lent besides it."""

    token: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    segments: tuple[str, str, str]
    keys: Sequence[Mapping[str, Any]] = ()
    """The target's published keys."""
    signer: Sign | None = None

    @property
    def signature(self) -> bytes:
        """The honest signature."""
        return unbase64url(self.segments[2])

    def altered(self, **claims: Any) -> dict[str, Any]:
        """The claims with some changed; one set to None is left out."""
        return {name: value for name, value in {**self.claims, **claims}.items() if value is not None}

    def headed(self, **header: Any) -> dict[str, Any]:
        """The header with some members changed."""
        return {**self.header, **header}

    def shifted(self, seconds: int) -> dict[str, Any]:
        """The claims as they would be had the token been issued ``seconds`` later."""
        times = {name: self.claims[name] + seconds for name in ("iat", "nbf", "exp") if name in self.claims}
        return {**self.claims, **times}

    @property
    def lifetime(self) -> int:
        """Seconds from the honest token's ``iat`` to its ``exp``. Raises NotRun when it states none."""
        try:
            return int(self.claims["exp"]) - int(self.claims["iat"])
        except (KeyError, TypeError, ValueError):
            raise NotRun("the target's tokens state no exp and iat") from None

    def sign(self, header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes) -> str:
        """A token by the target's own key; bytes are signed as they are. Raises NotRun where no key is lent."""
        if self.signer is None:
            raise NotRun("needs 'test-signer': the harness has no signing key of the target")
        return self.signer(header, claims)

    def published(self) -> Mapping[str, Any]:
        """The published key that the honest token names. Raises NotRun when it was not seen."""
        for key in self.keys:
            if key.get("kid") == self.header.get("kid"):
                return key
        raise NotRun("the target's published keys were not seen: ask for its jwks before the attack")

    def ed25519(self) -> bytes:
        """The honest signature, where it is one by Ed25519. Raises NotRun elsewhere."""
        if self.header.get("alg") not in {"EdDSA", "Ed25519"} or len(self.signature) != _ED25519_SIGNATURE:
            raise NotRun(f"an attack on Ed25519; the target signs with {self.header.get('alg')}")
        return self.signature


def take_apart(token: str, signer: Sign | None, keys: Sequence[Mapping[str, Any]]) -> Honest:
    """An honest token, read as its target means it. Raises NotRun when it is no compact JWS with JSON claims."""
    segments = token.split(".")
    try:
        if len(segments) != _SEGMENTS:
            raise ValueError  # noqa: TRY301 - one way out for every kind of opaque token
        header, claims = (json.loads(unbase64url(segment)) for segment in segments[:2])
    except ValueError:
        raise NotRun("the target's access tokens are no JSON Web Tokens") from None
    return Honest(
        token=token,
        header=header,
        claims=claims,
        segments=(segments[0], segments[1], segments[2]),
        keys=keys,
        signer=signer,
    )


def unsigned(header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, signature: bytes = b"") -> str:
    """A compact JWS with any signature, or none."""
    parts = (part if isinstance(part, bytes) else packed(part) for part in (header, claims))
    return ".".join(base64url(part) for part in (*parts, signature))


def hmac_signed(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes) -> str:
    """An HS256 token under ``secret``."""
    signed = unsigned({**header, "alg": "HS256"}, claims).removesuffix(".")
    return f"{signed}.{base64url(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def attacker_key() -> Ed25519PrivateKey:
    """A key that no target knows."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"licensing-harness: the attacker's key").digest())


def attacker_signed(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A well-made EdDSA token by the attacker's key."""
    signed = unsigned({**header, "alg": "EdDSA"}, claims).removesuffix(".")
    return f"{signed}.{base64url(attacker_key().sign(signed.encode()))}"


def attacker_jwk(kid: Any) -> dict[str, Any]:
    """The attacker's public key, under a name of choice."""
    raw = attacker_key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw), "kid": kid, "use": "sig", "alg": "EdDSA"}


def public_bytes(jwk: Mapping[str, Any], encoding: Encoding) -> bytes:
    """A published key as SubjectPublicKeyInfo: what key confusion uses as an HMAC secret.

    Raises NotRun when the key can't be read.
    """
    import jwt

    try:
        key = jwt.PyJWK(dict(jwk)).key
        return bytes(key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo))
    except (jwt.PyJWTError, AttributeError, ValueError) as error:
        raise NotRun(f"the target's published key can't be read: {error}") from error
