"""Access tokens are good when strict rules, PyJWT and the clock all say so.

The order is: shape and size, strict parse, header, types of claims, then PyJWT
(signature by the key that ``kid`` names, issuer, audience, required claims),
then the times. PyJWT reads the machine's clock; here time is an argument, so
``exp``, ``nbf`` and ``iat`` are compared here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.api_jws import PyJWS

from reference_server.keys.ring import ALGORITHM, TOKEN_TYPE, KeyRing
from reference_server.keys.strict import (
    Decode,
    Read,
    Rule,
    Split,
    TokenInvalid,
    base64url,
    claim_types,
    header_names,
    json_object,
    one_of,
    split,
)

if TYPE_CHECKING:
    from jwt.types import Options

_REQUIRED: Final = ["iss", "aud", "sub", "jti", "iat", "nbf", "exp"]


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token taken apart; nothing in it is to be believed yet."""

    token: str
    signed: bytes
    """What the signature covers: header and payload as they came."""
    signature: bytes
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


FindKey = Callable[[Mapping[str, Any], KeyRing], Ed25519PublicKey | None]
Judge = Callable[[Unverified, Ed25519PublicKey], Mapping[str, Any]]
Timely = Callable[[Mapping[str, Any], float, float], None]


class StrictSegments(PyJWS):
    """PyJWT's JWS with our base64url.

    PyJWT looks at every character of a token in a Python generator, which takes
    more than half of its own time. Ours is stricter (no padding) and decodes in
    C. Should PyJWT ever rename this method, its own one is used: slower, not weaker.
    """

    @staticmethod
    def _decode_base64url_segment(segment: bytes, name: str) -> bytes:
        try:
            return base64url(segment)
        except TokenInvalid as error:
            message = f"Invalid {name} padding"
            raise jwt.DecodeError(message) from error


class PyJwtJudge:
    """PyJWT, told exactly what to expect. Raises TokenInvalid."""

    def __init__(self, *, issuer: str, audience: str, jws: type[PyJWS] = StrictSegments, **options: bool) -> None:
        self._issuer = issuer
        self._audience = audience
        settings: Options = {
            "require": _REQUIRED,
            "strict_aud": True,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        settings.update(options)  # type: ignore[typeddict-item]
        self._jwt = jwt.PyJWT(settings)
        self._jwt._jws = jws([ALGORITHM])  # noqa: SLF001 - see StrictSegments

    def but(self, jws: type[PyJWS] = StrictSegments, **options: bool) -> PyJwtJudge:
        """The same judge with other PyJWT options, or another of its parts."""
        return PyJwtJudge(issuer=self._issuer, audience=self._audience, jws=jws, **options)

    def __call__(self, unverified: Unverified, key: Ed25519PublicKey) -> Mapping[str, Any]:
        """The claims, when PyJWT agrees with them."""
        try:
            return self._jwt.decode(
                unverified.token, key, algorithms=[ALGORITHM], issuer=self._issuer, audience=self._audience
            )
        except jwt.InvalidSignatureError:
            raise TokenInvalid("signature") from None
        except jwt.InvalidAudienceError:
            raise TokenInvalid("aud") from None
        except jwt.InvalidIssuerError:
            raise TokenInvalid("iss") from None
        except jwt.PyJWTError as error:
            raise TokenInvalid(type(error).__name__) from None


def named_key(header: Mapping[str, Any], ring: KeyRing) -> Ed25519PublicKey | None:
    """The ring's key that ``kid`` names, and no other."""
    return ring.public(header.get("kid"))


def timely(claims: Mapping[str, Any], now: float, lifetime: float) -> None:
    """In force at ``now``, and never for longer than ``lifetime`` seconds.

    The end is exclusive: at ``exp`` itself a token is no longer good (RFC 7519,
    4.1.4). Raises TokenInvalid.
    """
    issued, starts, ends = claims["iat"], claims["nbf"], claims["exp"]
    if now >= ends:
        raise TokenInvalid("expired")
    if issued > now or starts > now:
        raise TokenInvalid("not-yet-valid")
    if not 0 < ends - issued <= lifetime or starts >= ends:
        raise TokenInvalid("lifetime")


_algorithm: Final = one_of("alg", ALGORITHM)
_kind: Final = one_of("typ", TOKEN_TYPE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """What a verifier is made of. A planted defect replaces one or two of them."""

    judge: Judge
    split: Split = split
    decode: Decode = base64url
    read: Read = json_object
    names: Rule = header_names
    algorithm: Rule = _algorithm
    kind: Rule = _kind
    types: Rule = claim_types
    key: FindKey = named_key
    timely: Timely = timely


class Verifier:
    """Says whether an access token is good. Keeps no state and changes none.

    ``lifetime`` is the longest time, in seconds, that a token of this server lives.
    """

    def __init__(self, ring: KeyRing, *, issuer: str, audience: str, lifetime: float) -> None:
        self._ring = ring
        self._lifetime = lifetime
        self.pieces = Pieces(judge=PyJwtJudge(issuer=issuer, audience=audience))

    @property
    def ring(self) -> KeyRing:
        """The keys that this verifier believes."""
        return self._ring

    def but(self, **pieces: Any) -> Self:
        """The same verifier with other pieces: how a weak one is made to prove that an attack finds it."""
        other = object.__new__(type(self))
        other._ring = self._ring
        other._lifetime = self._lifetime
        other.pieces = replace(self.pieces, **pieces)
        return other

    def verify(self, token: str, now: float) -> Mapping[str, Any]:
        """The claims of ``token``, good at ``now`` (Unix seconds).

        Raises TokenInvalid, and nothing else, for everything that is no good
        token, of whatever type or size it is.
        """
        claims = self.authenticate(token)
        self.timely(claims, now)
        return claims

    def authenticate(self, token: str) -> Mapping[str, Any]:
        """As ``verify``, but whatever the time is."""
        try:
            return self._authenticate(token)
        except TokenInvalid:
            raise
        except Exception as error:  # what no rule foresaw is refused as well
            raise TokenInvalid("unforeseen") from error

    def timely(self, claims: Mapping[str, Any], now: float) -> None:
        """Raises TokenInvalid when authenticated claims are not in force at ``now``."""
        self.pieces.timely(claims, now, self._lifetime)

    def _authenticate(self, token: str) -> Mapping[str, Any]:
        pieces = self.pieces
        header_segment, payload_segment, signature_segment = pieces.split(token)
        header = pieces.read(pieces.decode(header_segment))
        pieces.names(header)
        pieces.algorithm(header)
        pieces.kind(header)
        key = pieces.key(header, self._ring)
        if key is None:
            raise TokenInvalid("kid")
        claims = pieces.read(pieces.decode(payload_segment))
        pieces.types(claims)
        return pieces.judge(
            Unverified(
                token,
                b"%b.%b" % (header_segment, payload_segment),
                pieces.decode(signature_segment),
                header,
                claims,
            ),
            key,
        )
