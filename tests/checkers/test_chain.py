"""RFC 8785 and the hash chain, by code of our own."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing_harness.checkers.chain import ORIGIN, canonical, chain_hash

# The number samples of RFC 8785, appendix B, as IEEE 754 bits.
SAMPLES = [
    (0.0, "0"),
    (-0.0, "0"),
    (5e-324, "5e-324"),
    (-5e-324, "-5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (9007199254740992.0, "9007199254740992"),
    (-9007199254740992.0, "-9007199254740992"),
    (295147905179352830000.0, "295147905179352830000"),
    (9.999999999999997e22, "9.999999999999997e+22"),
    (1e23, "1e+23"),
    (1.0000000000000001e23, "1.0000000000000001e+23"),
    (999999999999999700000.0, "999999999999999700000"),
    (999999999999999900000.0, "999999999999999900000"),
    (1e21, "1e+21"),
    (9.999999999999997e-7, "9.999999999999997e-7"),
    (0.000001, "0.000001"),
    (333333333.3333332, "333333333.3333332"),
    (333333333.33333325, "333333333.33333325"),
    (333333333.3333333, "333333333.3333333"),
    (333333333.3333334, "333333333.3333334"),
    (-0.0000033333333333333333, "-0.0000033333333333333333"),
    (1424953923781206.2, "1424953923781206.2"),
    (4.5, "4.5"),
    (0.002, "0.002"),
    (1e30, "1e+30"),
    (100.0, "100"),
    (123456789012345680000.0, "123456789012345680000"),
]


@pytest.mark.parametrize(("number", "text"), SAMPLES)
def test_numbers_are_written_as_ecmascript_writes_them(number: float, text: str) -> None:
    """The shortest digits, an exponent only from 10**21 on and below 10**-6."""
    assert canonical(number).decode() == text


def test_large_integers_are_numbers_like_any_other() -> None:
    """JSON has one kind of number: beyond 2**53 an integer is what a double makes of it."""
    assert canonical(2**53) == b"9007199254740992"
    assert canonical(10**21) == b"1e+21"


def test_names_are_sorted_by_utf16_code_units() -> None:
    """The sample of RFC 8785, 3.2.3: the smiley, two code units from D83D on, comes before FB33."""
    names = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}

    assert list(json.loads(canonical(names))) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_text_is_escaped_no_more_than_it_must() -> None:
    """Control characters by their short form where there is one; everything else as it is."""
    assert canonical('\b\t\n\f\r\x01"\\/\x7f\u20ac').decode() == '"\\b\\t\\n\\f\\r\\u0001\\"\\\\/\x7f\u20ac"'


def test_structures_have_no_white_space() -> None:
    """Empty ones included."""
    assert canonical({"b": [1, True, None, {}, []], "a": {"d": "x", "c": 1.5}}) == (
        b'{"a":{"c":1.5,"d":"x"},"b":[1,true,null,{},[]]}'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {1: 2}, {"a": b"x"}])
def test_what_has_no_form_is_refused(value: object) -> None:
    """NaN, infinity, a lone surrogate, a name that is no text, bytes."""
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back_the_same(number: float) -> None:
    """No digit that matters is lost."""
    assert float(canonical(number)) == number


def test_chain_hash_is_sha256_over_previous_and_the_canonical_event() -> None:
    """Said once more with the library itself."""
    event = {"seq": 1, "action": "issue"}

    assert chain_hash(ORIGIN, event) == hashlib.sha256(bytes(32) + b'{"action":"issue","seq":1}').hexdigest()
    assert chain_hash(ORIGIN.replace("0", "F"), event) == chain_hash("f" * 64, event)


@pytest.mark.parametrize("previous", ["", "0" * 63, "0" * 65, "g" * 64])
def test_previous_must_be_a_hash(previous: str) -> None:
    """Anything else is no link of a chain."""
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        chain_hash(previous, {})
