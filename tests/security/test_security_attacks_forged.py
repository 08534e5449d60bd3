"""Every attack against the good verifier, and every planted verifier against the attacks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from licensing_harness.errors import NotRun, UsageError
from licensing_harness.generate.attacks import ATTACKS, forge
from licensing_harness.target.signing import signer
from reference_server.defects.tokens import TOKEN_DEFECTS, TokenDefect
from reference_server.keys import KeyRing, TokenInvalid, Verifier, make_pem

PEM = make_pem(lambda n: bytes(range(n)))
RING = KeyRing.from_pem(PEM)
KEYS = RING.jwks()["keys"]
NOW = 1_800_000_000.5
GOOD = Verifier(RING, issuer="licensing", audience="product", lifetime=60)
TOKEN = RING.mint(
    {
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
)


def forged(attack_id: str) -> str:
    return forge(attack_id, TOKEN, signer(PEM), KEYS)


def accepts(verifier: Any, token: Any) -> bool:
    try:
        verifier.verify(token, NOW)
    except TokenInvalid:
        return False
    return True


@pytest.mark.parametrize("attack_id", ATTACKS)
def test_security_good_verifier_refuses_each_attack_and_accepts_its_twin(attack_id: str) -> None:
    """The forged token differs from the honest one and is refused; the honest one is good before and after."""
    token = forged(attack_id)

    assert accepts(GOOD, TOKEN)
    assert token != TOKEN
    assert not accepts(GOOD, token)
    assert accepts(GOOD, TOKEN)
    assert forged(attack_id) == token, "an attack is the same every time"


def caught_by(defect: TokenDefect) -> set[str]:
    weak = defect.make_verifier(GOOD)
    assert accepts(weak, TOKEN), "a planted verifier still accepts honest tokens"
    return {attack_id for attack_id in ATTACKS if accepts(weak, forged(attack_id))}


EXPECTED = {
    "token-alg-none": {"ALG-01", "ALG-02"},
    "token-key-confusion": {"ALG-07.pem"},
    "token-unsigned": {"SIG-01", "SIG-02", "SIG-02.long", "SIG-03", "SIG-03.claims", "SIG-04", "SIG-09", "SIG-10"},
    "token-any-audience": {"CLM-07"},
    "token-any-issuer": {"CLM-06"},
    "token-never-expires": {"CLM-01"},
    "token-too-early": {"CLM-05"},
    "token-any-lifetime": {"CLM-03"},
    "token-times-as-text": {"CLM-04"},
    "token-lenient-base64": {"ENC-01", "ENC-02", "ENC-04", "ENC-04.junk"},
    "token-any-typ": {"HDR-04", "HDR-04.none", "CLM-11"},
    "token-crit-ignored": {"HDR-01"},
    "token-embedded-key": {"KEY-01"},
    "token-duplicate-claims": {"JSN-01", "JSN-02"},
    "token-kid-ignored": {"KEY-10.unknown", "KEY-13"},
}


@pytest.mark.parametrize("defect", TOKEN_DEFECTS, ids=lambda defect: defect.name)
def test_security_each_planted_verifier_accepts_an_attack(defect: TokenDefect) -> None:
    """Each planted verifier accepts honest tokens and the attacks that are aimed at its bug."""
    assert caught_by(defect) >= EXPECTED[defect.name]
    assert defect.promise == "TOK-001"
    assert defect.sentence.endswith(".")


def test_security_attacks_without_the_signer_or_keys_need_neither() -> None:
    """An attack that says it needs no key is forged without one; one that needs it says what is missing."""
    for attack in ATTACKS.values():
        if attack.needs_signer:
            with pytest.raises(NotRun, match="test-signer"):
                forge(attack.id, TOKEN, None, KEYS)
        elif attack.needs_keys:
            with pytest.raises(NotRun, match="jwks"):
                forge(attack.id, TOKEN, None)
        else:
            assert forge(attack.id, TOKEN, None)


def test_security_attacks_are_enough_and_explain_themselves() -> None:
    """At least twenty-four attacks, most of them without the signer; each has an id, a CWE and a sentence."""
    assert len(ATTACKS) >= 24
    assert sum(not attack.needs_signer for attack in ATTACKS.values()) >= 24
    for attack in ATTACKS.values():
        assert attack.asked == {"attack": attack.id, "cwe": attack.cwe, "sentence": attack.sentence}
        assert attack.cwe.removeprefix("CWE-").isdecimal()


def test_security_unknown_attack_names_the_known_ones() -> None:
    """An attack that there is none of is the caller's mistake."""
    with pytest.raises(UsageError, match="ALG-01"):
        forge("ALG-99", TOKEN, None)


@pytest.mark.parametrize("token", ["", "opaque-token", "v4.public.abc", "a.b.c.d.e"])
def test_security_opaque_tokens_are_not_run(token: Any) -> None:
    """A target whose tokens are no JSON Web Tokens can't be tried with these attacks, and is told so."""
    with pytest.raises(NotRun, match="no JSON Web Tokens"):
        forge("ALG-01", token, None)


def test_security_attacks_fit_other_algorithms() -> None:
    """Attacks on Ed25519 are not run against ES256 tokens; key confusion works with any published key."""
    jwt = pytest.importorskip("jwt")
    private = ec.derive_private_key(7, ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key()))
    token = jwt.encode({"sub": "x", "iat": 1, "exp": 2}, private, algorithm="ES256", headers={"kid": "k"})

    with pytest.raises(NotRun, match="ES256"):
        forge("SIG-09", token, None)
    confused = forge("ALG-07.pem", token, None, [{**jwk, "kid": "k"}])
    assert jwt.get_unverified_header(confused)["alg"] == "HS256"
    with pytest.raises(NotRun, match="can't be read"):
        forge("ALG-07.pem", token, None, [{"kty": "none", "kid": "k"}])


def test_security_signer_refuses_other_keys() -> None:
    """The test signer takes an Ed25519 PEM and says so of anything else."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    other = ec.generate_private_key(ec.SECP256R1())
    for pem in (b"nothing", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        with pytest.raises(UsageError, match="give an"):
            signer(pem)
    assert Ed25519PrivateKey
