"""Attacks on access tokens: each turns an honest token into one that must be refused.

Ids keep their meaning between versions; a suffix tells variants apart
(``ALG-07.pem``). What an attack proves needs its control: the honest token is
accepted before and after. Everything is deterministic.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from licensing_harness.errors import UsageError
from licensing_harness.generate.jose import (
    ED25519_ORDER,
    Honest,
    attacker_jwk,
    attacker_signed,
    base64url,
    hmac_signed,
    packed,
    public_bytes,
    take_apart,
    unbase64url,
    unsigned,
)
from licensing_harness.worlds.story import Sign

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_YEARS: Final = 10 * 365 * 86400


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """One way to make a bad token out of an honest one."""

    id: str
    cwe: str
    name: str
    sentence: str
    """What is wrong with the forged token."""
    forge: Callable[[Honest], str]
    needs_signer: bool = False
    """The bad token carries a good signature: needs ``Cap.TEST_SIGNER``."""
    needs_keys: bool = False
    """The target's published keys must have been seen by the story."""

    @property
    def asked(self) -> dict[str, str]:
        """What an operation that tries this attack carries, so that its history explains itself."""
        return {"attack": self.id, "cwe": self.cwe, "sentence": self.sentence}


def forge(attack_id: str, honest_token: str, sign: Sign | None, keys: Sequence[Mapping[str, Any]] = ()) -> str:
    """The honest token turned bad by one attack.

    ``sign`` signs with the target's own key; ``keys`` are its published ones.
    Raises UsageError for an attack that there is none of, NotRun where this
    target's tokens don't allow it.
    """
    attack = ATTACKS.get(attack_id)
    if attack is None:
        message = f"there is no token attack {attack_id!r}; known are {', '.join(ATTACKS)}"
        raise UsageError(message)
    return attack.forge(take_apart(honest_token, sign, keys))


def _bad_alg(value: Any, signature: bool = False) -> Callable[[Honest], str]:  # noqa: FBT001, FBT002 - two shapes
    return lambda honest: unsigned(honest.headed(alg=value), honest.claims, honest.signature if signature else b"")


def _without_alg(honest: Honest) -> str:
    return unsigned({name: value for name, value in honest.header.items() if name != "alg"}, honest.claims)


def _confused(secret: Callable[[Mapping[str, Any]], bytes]) -> Callable[[Honest], str]:
    return lambda honest: hmac_signed(honest.header, honest.claims, secret(honest.published()))


def _embedded(honest: Honest) -> str:
    kid = honest.header.get("kid")
    return attacker_signed(honest.headed(jwk=attacker_jwk(kid)), honest.claims)


def _embedded_secret(honest: Honest) -> str:
    secret = b"the attacker chose this secret....."
    return hmac_signed(honest.headed(jwk={"kty": "oct", "k": base64url(secret)}), honest.claims, secret)


def _flipped(honest: Honest) -> str:
    signature = bytearray(honest.signature)
    signature[0] ^= 1
    return ".".join((*honest.segments[:2], base64url(bytes(signature))))


def _resigned(signature: Callable[[Honest], bytes]) -> Callable[[Honest], str]:
    return lambda honest: ".".join((*honest.segments[:2], base64url(signature(honest))))


def _plus_order(honest: Honest) -> bytes:
    signature = honest.ed25519()
    return signature[:32] + (int.from_bytes(signature[32:], "little") + ED25519_ORDER).to_bytes(32, "little")


def _identity(honest: Honest) -> bytes:
    return (1).to_bytes(len(honest.ed25519()), "little")


def _promoted(honest: Honest) -> str:
    claims = honest.altered(features=[*honest.claims.get("features", ()), "everything"])
    return ".".join((honest.segments[0], base64url(packed(claims)), honest.segments[2]))


def _stray_bits(honest: Honest) -> str:
    # Two or four bits of the last character carry nothing; a lenient decoder drops them.
    last = _ALPHABET.index(honest.token[-1])
    stray = honest.token[:-1] + _ALPHABET[last ^ 1]
    return stray if unbase64url(stray.rpartition(".")[2]) == honest.signature else honest.token + "="


def _as_json(honest: Honest) -> str:
    header, payload, signature = honest.segments
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


def _signed_header(**header: Any) -> Callable[[Honest], str]:
    return lambda honest: honest.sign(honest.headed(**header), honest.claims)


def _signed_without(name: str) -> Callable[[Honest], str]:
    return lambda honest: honest.sign(
        {member: value for member, value in honest.header.items() if member != name}, honest.claims
    )


def _signed_claims(**claims: Any) -> Callable[[Honest], str]:
    return lambda honest: honest.sign(honest.header, honest.altered(**claims))


def _signed_raw(claims: Callable[[Honest], bytes]) -> Callable[[Honest], str]:
    return lambda honest: honest.sign(packed(dict(honest.header)), claims(honest))


def _twice(honest: Honest) -> bytes:
    return packed({"sub": "another-licence"})[:-1] + b"," + packed(dict(honest.claims))[1:]


def _twice_escaped(honest: Honest) -> bytes:
    return b'{"s\\u0075b":"another-licence",' + packed(dict(honest.claims))[1:]


def _algorithm_twice(honest: Honest) -> str:
    return honest.sign(b'{"alg":"none",' + packed(dict(honest.header))[1:], packed(dict(honest.claims)))


def _expired(honest: Honest) -> str:
    return honest.sign(honest.header, honest.shifted(-honest.lifetime - 60))


def _attack(
    attack_id: str,
    cwe: int,
    name: str,
    sentence: str,
    how: Callable[[Honest], str],
    *,
    signer: bool = False,
    keys: bool = False,
) -> Attack:
    return Attack(
        id=attack_id,
        cwe=f"CWE-{cwe}",
        name=name,
        sentence=sentence,
        forge=how,
        needs_signer=signer,
        needs_keys=keys,
    )


_ALL: Final = (
    # The algorithm -------------------------------------------------------------------------
    _attack("ALG-01", 347, "alg none", "the header says alg none and there is no signature", _bad_alg("none")),
    _attack("ALG-01.case", 347, "alg nOnE", "as alg none, in another case", _bad_alg("nOnE")),
    _attack("ALG-02", 347, "alg none, signed", "alg none with the honest signature left on", _bad_alg("none", True)),  # noqa: FBT003
    _attack("ALG-03", 347, "alg ' none'", "alg none behind a space, past a block list", _bad_alg(" none")),
    _attack("ALG-03.empty", 347, "alg ''", "the header's alg is empty and there is no signature", _bad_alg("")),
    _attack("ALG-04", 347, "no alg", "the header has no alg", _without_alg),
    _attack("ALG-05", 843, "alg null", "alg is null instead of text", _bad_alg(None)),
    _attack("ALG-05.list", 843, "alg as a list", "alg is a list with the right name in it", _bad_alg(["EdDSA"])),
    _attack(
        "ALG-07.pem",
        347,
        "key confusion, PEM",
        "HS256 with the published key's PEM as its secret",
        _confused(lambda jwk: public_bytes(jwk, Encoding.PEM)),
        keys=True,
    ),
    _attack(
        "ALG-07.der",
        347,
        "key confusion, DER",
        "HS256 with the published key's DER as its secret",
        _confused(lambda jwk: public_bytes(jwk, Encoding.DER)),
        keys=True,
    ),
    _attack(
        "ALG-07.x",
        347,
        "key confusion, raw key",
        "HS256 with the published key's own bytes as its secret",
        _confused(lambda jwk: unbase64url(str(jwk.get("x") or jwk.get("n") or ""))),
        keys=True,
    ),
    _attack(
        "ALG-09",
        1391,
        "empty HMAC secret",
        "HS256 under an empty secret",
        lambda honest: hmac_signed(honest.header, honest.claims, b""),
    ),
    _attack(
        "ALG-13",
        347,
        "alg Ed25519",
        "signed by the right key under the other name of its algorithm (RFC 9864)",
        _signed_header(alg="Ed25519"),
        signer=True,
    ),
    # The signature -------------------------------------------------------------------------
    _attack("SIG-01", 347, "no signature", "the signature is empty", _resigned(lambda _: b"")),
    _attack(
        "SIG-01.cut",
        347,
        "no third segment",
        "the signature and its dot are cut off",
        lambda honest: ".".join(honest.segments[:2]),
    ),
    _attack("SIG-02", 347, "short signature", "the last byte is missing", _resigned(lambda h: h.signature[:-1])),
    _attack("SIG-02.long", 347, "long signature", "one byte too many", _resigned(lambda h: h.signature + b"\0")),
    _attack("SIG-03", 347, "one bit flipped", "one bit of the signature is wrong", _flipped),
    _attack("SIG-03.claims", 347, "altered claims", "more features, under the honest signature", _promoted),
    _attack(
        "SIG-04",
        347,
        "another key",
        "well made, but signed by the attacker's key under the honest key's name",
        lambda honest: attacker_signed(honest.header, honest.claims),
    ),
    _attack("SIG-09", 347, "S + L", "Ed25519's second form of the same signature", _resigned(_plus_order)),
    _attack("SIG-10", 347, "identity signature", "R is the identity and S is zero", _resigned(_identity)),
    # The key -------------------------------------------------------------------------------
    _attack("KEY-01", 347, "embedded key", "the attacker's key comes with the token, as jwk", _embedded),
    _attack("KEY-02", 347, "embedded secret", "an HMAC secret comes with the token, as jwk", _embedded_secret),
    _attack(
        "KEY-07",
        22,
        "kid as a path",
        "kid leads to an empty file, and HS256 uses what is in it",
        lambda honest: hmac_signed(honest.headed(kid="../../../../../../dev/null"), honest.claims, b""),
    ),
    _attack(
        "KEY-08",
        89,
        "kid as SQL",
        "kid makes a query return the attacker's secret",
        lambda honest: hmac_signed(honest.headed(kid="x' UNION SELECT 'secret';--"), honest.claims, b"secret"),
    ),
    _attack("KEY-10", 20, "kid as a number", "kid is a number", _signed_header(kid=5), signer=True),
    _attack("KEY-10.list", 20, "kid as a list", "kid is a list", _signed_header(kid=["k"]), signer=True),
    _attack("KEY-10.unknown", 20, "unknown kid", "kid names no key", _signed_header(kid="no-such-key"), signer=True),
    _attack("KEY-13", 347, "no kid", "the header names no key", _signed_without("kid"), signer=True),
    # The header ----------------------------------------------------------------------------
    _attack(
        "HDR-01",
        358,
        "unknown crit",
        "a critical extension that nobody knows",
        _signed_header(crit=["x-licence-policy"], **{"x-licence-policy": 1}),
        signer=True,
    ),
    _attack("HDR-04", 843, "another typ", "typ is at+jwt", _signed_header(typ="at+jwt"), signer=True),
    _attack("HDR-04.none", 843, "no typ", "the header has no typ", _signed_without("typ"), signer=True),
    _attack(
        "HDR-07", 409, "zip", "the header says that the payload is compressed", _signed_header(zip="DEF"), signer=True
    ),
    _attack(
        "HDR-08", 436, "alg twice", "the header has alg twice: none, then the right one", _algorithm_twice, signer=True
    ),
    # The encoding --------------------------------------------------------------------------
    _attack("ENC-01", 180, "padding", "the signature is padded with =", lambda honest: honest.token + "=="),
    _attack("ENC-02", 180, "stray bits", "unused bits of the last character are set", _stray_bits),
    _attack("ENC-04", 180, "newline", "a newline follows the signature", lambda honest: honest.token + "\n"),
    _attack(
        "ENC-04.junk",
        180,
        "junk within",
        "characters outside the alphabet stand in the signature",
        lambda honest: honest.token[:-4] + "!*" + honest.token[-4:],
    ),
    _attack("ENC-05", 20, "four segments", "a fourth segment", lambda honest: honest.token + "." + honest.segments[2]),
    _attack("ENC-05.dots", 20, "nothing but dots", "three empty segments", lambda _: ".."),
    _attack("ENC-06", 436, "JSON serialisation", "the same token as a JSON object", _as_json),
    _attack(
        "ENC-09",
        176,
        "UTF-16",
        "the claims are UTF-16",
        _signed_raw(lambda honest: json.dumps(dict(honest.claims)).encode("utf-16")),
        signer=True,
    ),
    _attack(
        "ENC-10",
        770,
        "too large",
        "16 KB of padding in a claim, signed",
        _signed_claims(padding="x" * 16384),
        signer=True,
    ),
    # The JSON ------------------------------------------------------------------------------
    _attack("JSN-01", 436, "sub twice", "the claims have sub twice", _signed_raw(_twice), signer=True),
    _attack("JSN-02", 436, "sub twice, escaped", "sub twice, once escaped", _signed_raw(_twice_escaped), signer=True),
    _attack("JSN-03", 1284, "exp NaN", "exp is NaN", _signed_claims(exp=float("nan")), signer=True),
    _attack(
        "JSN-05",
        674,
        "deep nesting",
        "a claim of 900 nested lists",
        _signed_raw(lambda honest: packed(dict(honest.claims))[:-1] + b',"d":' + b"[" * 900 + b"]" * 900 + b"}"),
        signer=True,
    ),
    _attack("JSN-07", 20, "claims as a list", "the payload is a list", _signed_raw(lambda _: b"[]"), signer=True),
    # The claims ----------------------------------------------------------------------------
    _attack("CLM-01", 613, "expired", "properly signed, and its time is over", _expired, signer=True),
    _attack("CLM-01.none", 613, "no exp", "properly signed, and it never ends", _signed_claims(exp=None), signer=True),
    _attack(
        "CLM-03",
        613,
        "too long a life",
        "it would be good for ten years more",
        lambda honest: honest.sign(honest.header, honest.altered(exp=honest.claims["iat"] + honest.lifetime + _YEARS)),
        signer=True,
    ),
    _attack(
        "CLM-04",
        1287,
        "exp as text",
        "exp is text instead of a number",
        lambda honest: honest.sign(honest.header, honest.altered(exp=str(honest.claims["iat"] + honest.lifetime))),
        signer=True,
    ),
    _attack(
        "CLM-05",
        613,
        "not yet valid",
        "properly signed, and its time begins in an hour",
        lambda honest: honest.sign(honest.header, honest.shifted(3600)),
        signer=True,
    ),
    _attack(
        "CLM-06", 346, "another issuer", "iss is another issuer", _signed_claims(iss="another-issuer"), signer=True
    ),
    _attack(
        "CLM-07", 863, "another audience", "aud is another product", _signed_claims(aud="another-product"), signer=True
    ),
    _attack("CLM-07.none", 863, "no audience", "aud is missing", _signed_claims(aud=None), signer=True),
    _attack("CLM-08", 20, "no subject", "sub is missing", _signed_claims(sub=None), signer=True),
    _attack(
        "CLM-11",
        843,
        "a receipt as a token",
        "signed by the right key for another purpose",
        _signed_header(typ="licence-receipt+jwt"),
        signer=True,
    ),
)

ATTACKS: Final[Mapping[str, Attack]] = MappingProxyType({attack.id: attack for attack in _ALL})
"""Every attack by id."""
