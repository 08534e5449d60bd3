"""The hash chain of an audit trail, computed again by code of our own.

An entry's hash is SHA-256 over the 32 bytes of the previous entry's hash and the
canonical form of its event: the JSON Canonicalization Scheme, RFC 8785. The
entry before the first has the hash of 64 zeros.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from json.encoder import JSONEncoder, encode_basestring
from typing import Any, Final

ORIGIN: Final = "0" * 64
"""``previous`` of the first entry."""

_plain: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
"""Python's own encoder: for objects of ASCII text and small integers it writes the canonical form, and fast."""

_NOT_PLAIN: Final = re.compile(r"^[^{]|[:,\[][-0-9]*(?:[.eE]|\d{16})")
"""No object, or a number with a fraction, an exponent or sixteen digits (or text that looks like one)."""

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}")
_LARGEST_PLAIN: Final = 21
"""ECMAScript writes numbers below 10**21 without an exponent (ECMA-262, Number::toString)."""
_SMALLEST_PLAIN: Final = -6
_EXACT: Final = 2**53


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value, as UTF-8.

    Raises ValueError for what has none: NaN, infinities, lone surrogates, and
    anything that is no JSON value.
    """
    try:
        text = _plain(value) if _named(value) else ""
    except TypeError:
        text = ""
    if not text or not text.isascii() or _NOT_PLAIN.search(text):
        parts: list[str] = []
        _write(value, parts)
        text = "".join(parts)
    return text.encode()


def chain_hash(previous: str, event: Mapping[str, Any]) -> str:
    """The hash of an entry, in lower-case hexadecimal.

    ``previous`` is 64 hexadecimal digits. Raises ValueError when it is not, or
    when the event has no canonical form.
    """
    return linked(previous, canonical(event))


def linked(previous: str, event: bytes) -> str:
    """As ``chain_hash``, for an event in its canonical form."""
    if not _HASH.fullmatch(previous):
        message = f"previous is not 64 hexadecimal digits: {previous[:70]!r}"
        raise ValueError(message)
    return hashlib.sha256(bytes.fromhex(previous) + event).hexdigest()


def _named(value: Any) -> bool:
    """Whether every name in it is text; Python's encoder would make text of numbers."""
    if type(value) is dict:
        return all(type(name) is str for name in value) and all(map(_named, value.values()))
    return all(map(_named, value)) if type(value) is list else True


def _write(value: Any, parts: list[str]) -> None:
    match value:
        case str():
            parts.append(encode_basestring(value))
        case None:
            parts.append("null")
        case bool():
            parts.append("true" if value else "false")
        case int() if abs(value) <= _EXACT:
            parts.append(str(value))
        case int() | float():
            parts.append(_number(float(value)))
        case Mapping():
            separator = "{"
            for name in _in_order(value):
                parts.append(f"{separator}{encode_basestring(name)}:")
                _write(value[name], parts)
                separator = ","
            parts.append("}" if value else "{}")
        case list() | tuple():
            separator = "["
            for inner in value:
                parts.append(separator)
                _write(inner, parts)
                separator = ","
            parts.append("]" if value else "[]")
        case _:
            message = f"{type(value).__name__} is no JSON value"
            raise ValueError(message)


def _in_order(value: Mapping[Any, Any]) -> list[str]:
    """Names sorted by UTF-16 code units (RFC 8785, 3.2.3); for ASCII that is the order of the text."""
    for name in value:
        if not isinstance(name, str):
            message = f"a name must be text, not {type(name).__name__}"
            raise ValueError(message)  # noqa: TRY004 - callers ask whether there is a form, not of which type it is
    if all(name.isascii() for name in value):
        return sorted(value)
    return sorted(value, key=lambda name: name.encode("utf-16-be"))


def _number(value: float) -> str:
    """A number as ECMAScript prints it (RFC 8785, 3.2.2.3): the shortest digits that read back the same."""
    if math.isnan(value) or math.isinf(value):
        message = f"{value} is no JSON number"
        raise ValueError(message)
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS times ten to the power of ``point``.
    point = len(whole.lstrip("0")) if whole.strip("0") else -(len(fraction) - len(fraction.lstrip("0")))
    point += int(exponent or 0)
    digits = digits.rstrip("0")
    if len(digits) <= point <= _LARGEST_PLAIN:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= _LARGEST_PLAIN:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if power >= 0 else '-'}{abs(power)}"
