"""Verifiers with one thing wrong: each of them is a bug that some licensing server shipped."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.api_jws import PyJWS

from reference_server.keys.ring import KeyRefused, KeyRing, import_public
from reference_server.keys.strict import HEADER_NAMES, Rule, TokenInvalid, claim_types
from reference_server.keys.verifier import Judge, PyJwtJudge, StrictSegments, Unverified, Verifier, named_key, timely


class TokenDefect(NamedTuple):
    """A named bug in the way tokens are verified."""

    name: str
    promise: str
    sentence: str
    make_verifier: Callable[[Verifier], Verifier]


def _anything(_: Mapping[str, Any]) -> None:
    """A rule that has no objection."""


def _believed(unverified: Unverified, _: Ed25519PublicKey) -> Mapping[str, Any]:
    return unverified.claims


def _at_most(*more: str) -> Rule:
    """The rule that a header has no other names; some may be missing."""
    allowed = HEADER_NAMES.union(more)

    def rule(header: Mapping[str, Any]) -> None:
        if not header.keys() <= allowed:
            raise TokenInvalid("header")

    return rule


class _LenientSegments(PyJWS):
    @staticmethod
    def _decode_base64url_segment(segment: bytes, name: str) -> bytes:  # noqa: ARG004 - PyJWT's signature
        return _lenient_base64url(segment)


class _AnyCrit(StrictSegments):
    def _validate_crit(self, headers: dict[str, Any]) -> None:
        """Pass every extension over."""


def _pyjwt(verifier: Verifier, jws: type[PyJWS] = StrictSegments, **options: bool) -> Judge:
    judge = verifier.pieces.judge
    return judge.but(jws, **options) if isinstance(judge, PyJwtJudge) else judge


def _none_allowed(verifier: Verifier) -> Verifier:
    strict = verifier.pieces.judge

    def judge(unverified: Unverified, key: Ed25519PublicKey) -> Mapping[str, Any]:
        return unverified.claims if unverified.header.get("alg") == "none" else strict(unverified, key)

    return verifier.but(algorithm=_anything, judge=judge)


def _header_picks_family(verifier: Verifier) -> Verifier:
    strict = verifier.pieces.judge

    def judge(unverified: Unverified, key: Ed25519PublicKey) -> Mapping[str, Any]:
        if unverified.header.get("alg") != "HS256":
            return strict(unverified, key)
        secret = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        expected = hmac.new(secret, unverified.signed, hashlib.sha256).digest()
        if not hmac.compare_digest(expected, unverified.signature):
            raise TokenInvalid("signature")
        return unverified.claims

    return verifier.but(algorithm=_anything, judge=judge)


def _lenient_base64url(segment: bytes) -> bytes:
    return urlsafe_b64decode(segment + b"===")


def _header_key(header: Mapping[str, Any], ring: KeyRing) -> Ed25519PublicKey | None:
    embedded = header.get("jwk")
    if not isinstance(embedded, dict):
        return named_key(header, ring)
    try:
        return import_public(embedded)
    except KeyRefused:
        return None


def _whatever_key(_: Mapping[str, Any], ring: KeyRing) -> Ed25519PublicKey | None:
    return ring.public(ring.kid)


def _last_wins(raw: bytes) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise TokenInvalid("json")
    return value


def _coerced(claims: Mapping[str, Any]) -> None:
    claim_types({**claims, **{name: int(claims[name]) for name in ("iat", "nbf", "exp")}})


def _timely_as_numbers(claims: Mapping[str, Any], now: float, lifetime: float) -> None:
    timely({name: int(claims[name]) for name in ("iat", "nbf", "exp")}, now, lifetime)


def _never_expires(claims: Mapping[str, Any], now: float, lifetime: float) -> None:
    timely(claims, min(now, claims["exp"] - 1), lifetime)


def _any_life(claims: Mapping[str, Any], now: float, _: float) -> None:
    timely(claims, now, float("inf"))


def _early(claims: Mapping[str, Any], now: float, lifetime: float) -> None:
    timely(claims, max(now, claims["iat"], claims["nbf"]), lifetime)


TOKEN_DEFECTS: Final = (
    TokenDefect(
        "token-alg-none",
        "TOK-001",
        "A token whose header says alg none is believed without a signature.",
        _none_allowed,
    ),
    TokenDefect(
        "token-key-confusion",
        "TOK-001",
        "The header picks the algorithm, so the public key works as an HMAC secret.",
        _header_picks_family,
    ),
    TokenDefect(
        "token-unsigned",
        "TOK-001",
        "The signature is not checked at all.",
        lambda verifier: verifier.but(judge=_believed),
    ),
    TokenDefect(
        "token-any-audience",
        "TOK-001",
        "A token for another product is accepted.",
        lambda verifier: verifier.but(judge=_pyjwt(verifier, verify_aud=False)),
    ),
    TokenDefect(
        "token-any-issuer",
        "TOK-001",
        "A token of another issuer is accepted.",
        lambda verifier: verifier.but(judge=_pyjwt(verifier, verify_iss=False)),
    ),
    TokenDefect(
        "token-never-expires",
        "TOK-001",
        "The end of a token's time is not looked at.",
        lambda verifier: verifier.but(timely=_never_expires),
    ),
    TokenDefect(
        "token-too-early",
        "TOK-001",
        "A token is accepted before its time begins.",
        lambda verifier: verifier.but(timely=_early),
    ),
    TokenDefect(
        "token-any-lifetime",
        "TOK-001",
        "A token may live for years when it was signed so.",
        lambda verifier: verifier.but(timely=_any_life),
    ),
    TokenDefect(
        "token-times-as-text",
        "TOK-001",
        "Times are converted from text instead of refused.",
        lambda verifier: verifier.but(types=_coerced, timely=_timely_as_numbers),
    ),
    TokenDefect(
        "token-lenient-base64",
        "TOK-001",
        "Padding, newlines and junk in a token are skipped, so one token has many spellings.",
        lambda verifier: verifier.but(decode=_lenient_base64url, judge=_pyjwt(verifier, _LenientSegments)),
    ),
    TokenDefect(
        "token-any-typ",
        "TOK-001",
        "Whatever this server signed for another purpose works as an access token.",
        lambda verifier: verifier.but(names=_at_most(), kind=_anything),
    ),
    TokenDefect(
        "token-crit-ignored",
        "TOK-001",
        "Critical extensions that nobody here knows are passed over.",
        lambda verifier: verifier.but(names=_anything, judge=_pyjwt(verifier, _AnyCrit)),
    ),
    TokenDefect(
        "token-embedded-key",
        "TOK-001",
        "A key that comes in the token's own header is trusted.",
        lambda verifier: verifier.but(names=_at_most("jwk"), key=_header_key),
    ),
    TokenDefect(
        "token-duplicate-claims",
        "TOK-001",
        "Of a claim that stands there twice the last one counts.",
        lambda verifier: verifier.but(read=_last_wins),
    ),
    TokenDefect(
        "token-kid-ignored",
        "TOK-001",
        "The key is used whatever the token calls it.",
        lambda verifier: verifier.but(names=_at_most(), key=_whatever_key),
    ),
)
"""Every planted verifier. ``make_verifier`` takes the good one."""
