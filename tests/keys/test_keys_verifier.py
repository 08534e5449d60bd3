"""The strict verifier: what is good, what is not, and that nothing but TokenInvalid comes out."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st
from joserfc import jws as other_jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from licensing_harness.target.signing import signer
from reference_server.keys import TOKEN_TYPE, KeyRing, TokenInvalid, VerifiedTokens, Verifier, make_pem
from reference_server.keys.ring import ALGORITHM
from reference_server.keys.strict import base64url, json_object
from reference_server.keys.verifier import StrictSegments

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc's, on RFC 9864

PEM = make_pem(lambda n: bytes(range(n)))
RING = KeyRing.from_pem(PEM)
SIGN = signer(PEM)
NOW = 1_800_000_000.5
HEADER = {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": RING.kid}
CLAIMS = {
    "iss": "licensing",
    "aud": "product",
    "sub": "lic-1",
    "jti": "t-1",
    "iat": 1_800_000_000,
    "nbf": 1_800_000_000,
    "exp": 1_800_000_060,
    "features": ["export"],
    "plan": "standard",
}
GOOD = Verifier(RING, issuer="licensing", audience="product", lifetime=60)
TOKEN = RING.mint(CLAIMS)


def code(token: Any, now: float = NOW, verifier: Any = GOOD) -> str:
    """Why ``token`` is refused; empty when it is accepted."""
    try:
        verifier.verify(token, now)
    except TokenInvalid as error:
        return error.code
    return ""


def test_keys_verifier_accepts_a_minted_token_and_gives_its_claims() -> None:
    """A token that the ring minted is good and comes back as it was."""
    assert GOOD.verify(TOKEN, NOW) == CLAIMS


@pytest.mark.parametrize(
    "claims", [{**CLAIMS, "plan": "größer ☃"}, {**CLAIMS, "plan": "[[[[[[[[[[{{{{{"}, {**CLAIMS, "note": 1.5}]
)
def test_keys_verifier_accepts_unusual_but_honest_claims(claims: dict[str, Any]) -> None:
    """Text outside ASCII, brackets within text and claims that nobody asked for are no reason to refuse."""
    assert GOOD.verify(RING.mint(claims), NOW) == claims


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (1_799_999_999.9, "not-yet-valid"),
        (1_800_000_000, ""),
        (1_800_000_059.999, ""),
        (1_800_000_060, "expired"),
        (float("inf"), "expired"),
    ],
)
def test_keys_verifier_is_good_from_issue_until_just_before_the_end(now: float, expected: str) -> None:
    """The start is inclusive, the end exclusive."""
    assert code(TOKEN, now) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"exp": 1_800_000_061}, "lifetime"),
        ({"nbf": 1_800_000_060}, "not-yet-valid"),
        ({"iat": 1_800_000_001}, "not-yet-valid"),
        ({"exp": 1_800_000_060.0}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": "1800000060"}, "exp"),
        ({"exp": "١٨٠٠٠٠٠٠٦٠"}, "exp"),
        ({"exp": -1}, "exp"),
        ({"exp": 10**18}, "exp"),
        ({"exp": float("inf")}, "Infinity"),
        ({"nbf": "0"}, "nbf"),
        ({"iss": ["licensing"]}, "iss"),
        ({"iss": "licensing/"}, "iss"),
        ({"aud": ["product"]}, "aud"),
        ({"aud": "Product"}, "aud"),
        ({"sub": ""}, "sub"),
        ({"jti": 7}, "jti"),
        ({"features": "export"}, "features"),
        ({"features": [1]}, "features"),
        ({"plan": None}, "plan"),
        ({"deep": [[[[[[[[]]]]]]]]}, "depth"),
        ({"half": "\ud800"}, "json"),
        ({"e\u0301": 1, "\u00e9": 2}, "duplicate"),
    ],
    ids=lambda value: str(value)[:32],
)
def test_keys_verifier_refuses_signed_claims_of_the_wrong_kind(change: dict[str, Any], expected: str) -> None:
    """A good signature does not excuse claims of another type, range or value."""
    token = SIGN(HEADER, {**CLAIMS, **change})

    assert code(token) == expected


def test_keys_verifier_refuses_numbers_of_thousands_of_digits() -> None:
    """An integer too long for Python to read is a refusal like any other."""
    claims = json.dumps({**CLAIMS, "exp": 0}).replace('"exp": 0', f'"exp": {"9" * 5000}')

    assert code(SIGN(json.dumps(HEADER).encode(), claims.encode())) == "json"


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "jti", "iat", "nbf", "exp"])
def test_keys_verifier_needs_every_claim(name: str) -> None:
    """Each registered claim that a token lacks is named."""
    assert code(SIGN(HEADER, {member: value for member, value in CLAIMS.items() if member != name})) == name


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({**HEADER, "alg": "eddsa"}, "alg"),
        ({**HEADER, "alg": None}, "alg"),
        ({**HEADER, "typ": TOKEN_TYPE.upper()}, "typ"),
        ({**HEADER, "typ": f"application/{TOKEN_TYPE}"}, "typ"),
        ({**HEADER, "kid": RING.kid + "="}, "kid"),
        ({**HEADER, "kid": {}}, "kid"),
        ({**HEADER, "b64": True}, "header"),
        ({**HEADER, "crit": []}, "header"),
        ({"alg": ALGORITHM}, "header"),
    ],
    ids=str,
)
def test_keys_verifier_refuses_signed_headers_of_another_kind(header: dict[str, Any], expected: str) -> None:
    """Header members, their names and values are exactly ours."""
    assert code(SIGN(header, CLAIMS)) == expected


@pytest.mark.parametrize(
    "token", [None, 5, b"a.b.c", [], TOKEN.encode(), "", "ä.b.c", "\ud800", type("S", (str,), {})(TOKEN)]
)
def test_keys_verifier_refuses_what_is_no_text(token: Any) -> None:
    """Bytes, None, numbers and subclasses of str are no token."""
    assert code(token) in {"malformed", "segments"}


def test_keys_verifier_refuses_long_tokens_before_it_reads_them() -> None:
    """A token over 8 KB is refused whatever is in it."""
    assert code(SIGN(HEADER, {**CLAIMS, "plan": "x" * 8192})) == "malformed"


def test_keys_verifier_raises_token_invalid_even_when_a_piece_fails() -> None:
    """An error that no piece foresaw is a refusal, never a crash."""

    def broken(_: Any) -> Any:
        raise ZeroDivisionError

    assert code(TOKEN, verifier=GOOD.but(read=broken)) == "unforeseen"


def test_keys_verifier_leaves_the_signature_to_pyjwt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyJWT's consent no token is good: it is asked for every one of them."""

    def refuses(*_: Any, **__: Any) -> None:
        raise jwt.InvalidSignatureError

    monkeypatch.setattr(jwt.PyJWT, "decode", refuses)

    assert code(TOKEN) == "signature"


def test_keys_verifier_replaces_pyjwts_base64url() -> None:
    """PyJWT really uses our decoder: should it rename its own, this says so (it would only be slower)."""
    assert callable(jwt.api_jws.PyJWS._decode_base64url_segment)
    with pytest.raises(jwt.DecodeError, match="padding"):
        StrictSegments([ALGORITHM]).decode(TOKEN + "==", RING.public(RING.kid), algorithms=[ALGORITHM])


def test_keys_cache_remembers_good_tokens_only_and_always_looks_at_the_time() -> None:
    """A remembered token expires like any other, forged ones are not kept, and the oldest gives way."""
    asked = []

    def judge(unverified: Any, key: Any) -> Any:
        asked.append(unverified.token)
        return GOOD.pieces.judge(unverified, key)

    cache = VerifiedTokens(GOOD.but(judge=judge), capacity=2)
    forged = TOKEN[:-4] + ("AAAA" if not TOKEN.endswith("AAAA") else "BBBB")

    assert cache.verify(TOKEN, NOW) == cache.verify(TOKEN, NOW) == CLAIMS
    assert asked == [TOKEN]
    assert code(TOKEN, 1_800_000_060, cache) == "expired"
    assert code(TOKEN, 1_799_999_999, cache) == "not-yet-valid"
    assert code(forged, verifier=cache) == code(forged, verifier=cache) != ""
    assert code([TOKEN], verifier=cache) == "malformed"
    for number in range(2):
        cache.verify(RING.mint({**CLAIMS, "jti": str(number)}), NOW)
    asked.clear()
    cache.verify(TOKEN, NOW)
    assert asked == [TOKEN]


# Anything at all ----------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text() | st.binary() | _json)
@example("." * 10_000)
@example("eyJ.eyJ.")
def test_keys_verifier_survives_anything(token: Any) -> None:
    """Whatever is given instead of a token, TokenInvalid is all that comes out."""
    assert code(token)


@given(st.data())
def test_keys_verifier_refuses_every_edit_of_a_good_token(data: st.DataObject) -> None:
    """One character replaced, put in or left out anywhere, and the token is no good."""
    place = data.draw(st.integers(0, len(TOKEN) - 1))
    put = data.draw(st.text(max_size=2))
    edited = TOKEN[:place] + put + TOKEN[place + 1 :]

    assert edited == TOKEN or code(edited)


def _read_by_others(token: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    key = OKPKey.import_key(RING.jwks()["keys"][0])
    registry = other_jws.JWSRegistry(algorithms=["EdDSA"])
    signed = other_jws.deserialize_compact(token, key, registry=registry)
    return signed.headers(), json.loads(signed.payload)


def _opinion_of_others(token: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    try:
        return _read_by_others(token)
    except (JoseError, ValueError, TypeError, RecursionError):
        return None


def test_keys_second_opinion_agrees_on_a_good_token() -> None:
    """joserfc reads the same header and claims from a good token, and none from a forged one."""
    assert _opinion_of_others(TOKEN) == (HEADER, CLAIMS)
    assert _opinion_of_others(TOKEN[:-8] + "AAAAAAAA") is None


@settings(deadline=None)
@given(
    header=st.fixed_dictionaries({}, optional={name: st.just(value) | _json for name, value in HEADER.items()})
    | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip", "jwk"]), _json)
    | st.just(HEADER),
    claims=st.fixed_dictionaries(
        {name: st.just(value) | st.just(value) | _json for name, value in CLAIMS.items()},
        optional={"extra": _json},
    ),
)
def test_keys_second_opinion_accepts_all_that_we_accept(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Of tokens signed by the right key, each one that we accept joserfc reads as the same claims."""
    token = SIGN(header, claims)
    if not code(token):
        assert _opinion_of_others(token) == (HEADER, GOOD.verify(token, NOW))


@given(st.binary(max_size=40), st.data())
def test_keys_base64url_has_one_spelling(raw: bytes, data: st.DataObject) -> None:
    """Two different texts never decode to the same bytes."""
    spelled = jwt.utils.base64url_encode(raw)
    other = bytearray(spelled or b"A")
    other[data.draw(st.integers(0, len(other) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = base64url(bytes(other))
    except TokenInvalid:
        decoded = None

    assert base64url(spelled) == raw
    assert decoded != raw or bytes(other) == spelled


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers() | st.text(), max_size=4))
@example({})
def test_keys_strict_json_reads_what_json_reads(value: dict[str, Any]) -> None:
    """What the strict parser accepts, it reads as json does."""
    raw = json.dumps(value).encode()
    try:
        read = json_object(raw)
    except TokenInvalid as error:
        assert error.code in {"duplicate", "json"}  # noqa: PT017 - two names may be one after normalisation
    else:
        assert read == json.loads(raw)


def test_keys_signer_of_the_harness_signs_bytes_as_they_are() -> None:
    """The harness's test signer makes the very token that the ring mints, also from raw bytes."""
    header, payload, _ = TOKEN.split(".")
    raw = [jwt.utils.base64url_decode(part) for part in (header, payload)]

    assert SIGN(*raw) == TOKEN
    assert signer_pem() == PEM


def signer_pem() -> bytes:
    return RING._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
