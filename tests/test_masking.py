"""Secrets never reach an output."""

from __future__ import annotations

import json
from time import process_time
from urllib.parse import quote

import pytest

from licensing_harness.entropy import stream
from licensing_harness.masking import Masker, fingerprint


def test_registered_secret_is_masked_wherever_it_stands() -> None:
    """A registered key is replaced in words, in JSON, inside other text and more than once."""
    masker = Masker()
    masker.register("lic-0001.ZmFrZQ")

    shown = masker.mask('{"key":"lic-0001.ZmFrZQ"} x=lic-0001.ZmFrZQ;prelic-0001.ZmFrZQpost')

    assert "ZmFrZQ" not in shown
    assert shown.count(f"[masked:{fingerprint('lic-0001.ZmFrZQ')}]") == 3


def test_unregistered_text_is_left_alone() -> None:
    """Nothing is masked that is no secret: a masker that blanks everything would hide the evidence."""
    masker = Masker()
    masker.register("lic-0001.ZmFrZQ")

    assert masker.mask("lic-0001 activate accepted lic-0001.Zm") == "lic-0001 activate accepted lic-0001.Zm"
    assert Masker().mask("lic-0001.ZmFrZQ") == "lic-0001.ZmFrZQ"


def test_longest_secret_wins() -> None:
    """Of two secrets that begin alike the longer one is masked as a whole."""
    masker = Masker()
    masker.register("abcdef")
    masker.register("abcdef-ghijkl")

    assert masker.mask("abcdef-ghijkl abcdefx") == (
        f"[masked:{fingerprint('abcdef-ghijkl')}] [masked:{fingerprint('abcdef')}]x"
    )


@pytest.mark.parametrize("secret", ['qu"ote\\back', "sp ace and ünïcode", "new\nline\tkey", "per%cent&amp/slash"])
def test_secret_is_masked_as_json_and_urls_spell_it(secret: str) -> None:
    """Escaping does not carry a secret past the masker."""
    masker = Masker()
    masker.register(secret)

    for spelling in (
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        quote(secret, safe=""),
        quote(secret),
    ):
        shown = masker.mask(f"<{spelling}>")
        assert fingerprint(secret) in shown
        assert spelling.strip('"') not in shown


def test_short_texts_are_not_masked() -> None:
    """Five characters are a word, not a secret."""
    masker = Masker()
    masker.register("phone")

    assert masker.mask("phone") == "phone"


def test_tokens_and_authorisation_values_are_masked_unregistered() -> None:
    """A JSON Web Token and an Authorization value are recognised by their shape."""
    shown = Masker().mask("Authorization: Bearer s3cr3t-value eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln")

    assert "s3cr3t" not in shown
    assert "eyJ" not in shown


def test_two_secrets_stay_apart() -> None:
    """Fingerprints tell masked secrets apart."""
    masker = Masker()
    masker.register("first-secret")
    masker.register("second-secret")

    one, two = masker.mask("first-secret second-secret").split()

    assert one != two


def test_masking_does_not_slow_down_with_the_number_of_secrets() -> None:
    """Ten thousand keys cost about as much as ten: a run registers one for each licence."""
    draw = stream(1, "keys")
    line = '{"kind":"operation","n":3,"story":"s-1","client":"laptop","verb":"activate","licence":"L1"}' * 4

    def seconds(secrets: int) -> float:
        masker = Masker()
        for _ in range(secrets):
            masker.register(f"lic_{draw.getrandbits(64):016x}.{draw.getrandbits(128):032x}")
        begin = process_time()
        for _ in range(400):
            masker.mask(line)
        return process_time() - begin

    assert seconds(10_000) < 20 * seconds(10) + 0.05
