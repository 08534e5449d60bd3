"""The key ring: what it takes, publishes and derives."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from reference_server.keys import TOKEN_TYPE, KeyRefused, KeyRing, import_public, make_pem
from reference_server.keys.points import FIELD, weakness

PEM = make_pem(lambda n: bytes(range(n)))
RING = KeyRing.from_pem(PEM)
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CURVE_D = -121665 * pow(121666, -1, FIELD) % FIELD

Point = tuple[int, int]


def test_keys_jwks_publishes_one_public_key_that_verifies() -> None:
    """The published set holds one public Ed25519 key, and PyJWT verifies a minted token with it."""
    [key] = RING.jwks()["keys"]

    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("OKP", "Ed25519", "sig", "EdDSA")
    token = RING.mint({"sub": "licence"})
    assert jwt.decode(token, jwt.PyJWK(key), algorithms=["EdDSA"]) == {"sub": "licence"}
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": TOKEN_TYPE, "kid": RING.kid}


def test_keys_kid_is_the_thumbprint_of_rfc_7638() -> None:
    """The key's name is SHA-256 over its required members in order, in base64url."""
    [key] = RING.jwks()["keys"]
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{key["x"]}"}}'.encode()

    assert key["kid"] == base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).decode().rstrip("=")


def test_keys_kid_of_the_example_in_rfc_8037() -> None:
    """Appendix A.3 of RFC 8037 names its key as we do."""
    private = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")

    assert KeyRing(Ed25519PrivateKey.from_private_bytes(private)).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_keys_public_looks_up_by_exact_name() -> None:
    """Only the key's own name finds it: no other name, no None, no list."""
    assert RING.public(RING.kid) is not None
    for kid in (None, "", "other", [RING.kid], 5):
        assert RING.public(kid) is None


def test_keys_derive_is_repeatable_and_separate_by_label() -> None:
    """One label always gives the same 32 bytes, another label others, and another key others."""
    other = KeyRing.from_pem(make_pem(lambda n: b"\x09" * n))

    assert len(RING.derive(b"licence-key")) == 32
    assert RING.derive(b"licence-key") == KeyRing.from_pem(PEM).derive(b"licence-key")
    assert len({RING.derive(b"licence-key"), RING.derive(b"other"), other.derive(b"licence-key")}) == 3


def _pem(private: Any, encryption: Any = None) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        b"\xff\xfe",
        PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        _pem(PRIVATE, BestAvailableEncryption(b"secret")),
        _pem(ed448.Ed448PrivateKey.generate()),
        _pem(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "text", "bytes", "public", "encrypted", "ed448", "p256"],
)
def test_keys_only_ed25519_private_keys_are_taken(pem: bytes) -> None:
    """Anything but an unencrypted Ed25519 private key is refused in one line that says what to give."""
    with pytest.raises(KeyRefused, match="give an") as refused:
        KeyRing.from_pem(pem)

    assert "\n" not in str(refused.value)


def _add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = CURVE_D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, FIELD)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, FIELD)
    return x % FIELD, y % FIELD


def _x_of(y: int) -> int | None:
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, FIELD) % FIELD
    root = pow(square, (FIELD + 3) // 8, FIELD)
    if root * root % FIELD != square:
        root = root * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    return root if root * root % FIELD == square else None


def _times_eight(y: int) -> Point:
    point = (_x_of(y), y)
    for _ in range(3):
        point = _add(point, point)
    return point


def test_keys_points_of_small_order_are_those_whose_eighth_multiple_is_the_identity() -> None:
    """Curve arithmetic agrees with the list: all five y values have order dividing 8, and a real key has not."""
    order_eight = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
    weak = (0, 1, FIELD - 1, order_eight, FIELD - order_eight)

    for y in weak:
        assert _times_eight(y) == (0, 1)
        for sign in (0, 1 << 255):
            assert weakness((y | sign).to_bytes(32, "little"))
    own = int.from_bytes(PRIVATE.public_key().public_bytes_raw(), "little") & (2**255 - 1)
    assert _times_eight(own) != (0, 1)
    assert weakness(PRIVATE.public_key().public_bytes_raw()) is None


def test_keys_cryptography_takes_the_identity_as_a_key_and_we_do_not() -> None:
    """With the identity as public key one signature fits every message, so the import is refused."""
    identity = (1).to_bytes(32, "little")
    forged = identity + bytes(32)
    Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"any message at all")

    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(identity).decode().rstrip("=")}
    with pytest.raises(KeyRefused, match="small order"):
        import_public(jwk)


def test_keys_import_takes_what_a_ring_publishes() -> None:
    """A published key comes back as the same public key."""
    [key] = RING.jwks()["keys"]

    assert import_public(key).public_bytes_raw() == PRIVATE.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kty": "EC"}, "kty"),
        ({"crv": "X25519"}, "crv"),
        ({"use": "enc"}, "use"),
        ({"alg": "HS256"}, "alg"),
        ({"d": "AAAA"}, "private"),
        ({"x": None}, "x is not"),
        ({"x": "AA"}, "x is not"),
        ({"x": "é"}, "x is not"),
        ({"x": "A" * 44}, "x is not"),
        ({"x": base64.urlsafe_b64encode((FIELD + 3).to_bytes(32, "little")).decode().rstrip("=")}, "canonical"),
    ],
    ids=lambda value: json.dumps(value, default=str)[:24] if isinstance(value, dict) else value,
)
def test_keys_import_refuses_other_keys(change: dict[str, Any], says: str) -> None:
    """A key of another kind, use or algorithm, with private or broken members is refused by name."""
    [key] = RING.jwks()["keys"]

    with pytest.raises(KeyRefused, match=says):
        import_public({**key, **change})
