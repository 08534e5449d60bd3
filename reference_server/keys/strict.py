"""What a token must look like before its signature is worth checking.

JOSE libraries forgive much: padding, a byte order mark, repeated members, times
as text, any ``typ``. Each piece here refuses one kind of that, raises
:class:`TokenInvalid` and can be replaced on its own. RFC 7515, 7519, 8725.
"""

from __future__ import annotations

import binascii
import json
import re
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final

LONGEST: Final = 8192
"""Characters in a token. An honest one has about 500."""
DEEPEST: Final = 8
"""Levels of arrays and objects within header or claims."""
SEGMENTS: Final = 3
LATEST: Final = 253_402_300_800
"""The first second of the year 10000: no NumericDate lies beyond."""

HEADER_NAMES: Final = frozenset({"alg", "typ", "kid"})
TIMES: Final = ("iat", "nbf", "exp")
TEXTS: Final = ("iss", "aud", "sub", "jti")

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class TokenInvalid(Exception):
    """The token is no good. ``code`` is for logs; clients are told one and the same thing for all."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


Split = Callable[[str], list[bytes]]
Decode = Callable[[bytes], bytes]
Read = Callable[[bytes], dict[str, Any]]
Rule = Callable[[Mapping[str, Any]], None]


def split(token: str) -> list[bytes]:
    """The three segments of a compact JWS, at most 8 KB of ASCII in all."""
    if type(token) is not str or len(token) > LONGEST or not token.isascii():
        raise TokenInvalid("malformed")
    segments = token.encode().split(b".")
    if len(segments) != SEGMENTS:
        raise TokenInvalid("segments")
    return segments


def base64url(segment: bytes) -> bytes:
    """Decoded base64url in its one canonical form: no padding, other alphabet, junk or stray bits.

    Python's decoder skips what it doesn't know; encoding the result again and
    comparing finds all of it at once. RFC 4648, 3.5.
    """
    try:
        raw = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except binascii.Error:
        raise TokenInvalid("base64url") from None
    if urlsafe_b64encode(raw).rstrip(b"=") != segment:
        raise TokenInvalid("base64url")
    return raw


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8: no member twice, no NaN, no deep nesting, no half characters."""
    try:
        text = raw.decode()
        if text.count("[") + text.count("{") > DEEPEST and _depth(text) > DEEPEST:
            raise TokenInvalid("depth")
        value = _parse(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # also UnicodeError, and integers of thousands of digits
        raise TokenInvalid("json") from None
    if type(value) is not dict:
        raise TokenInvalid("json")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs) or len({unicodedata.normalize("NFC", name) for name in members}) != len(pairs):
        raise TokenInvalid("duplicate")
    return members


def _constant(name: str) -> Any:
    raise TokenInvalid(name)


_parse: Final = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_constant).decode


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def header_names(header: Mapping[str, Any]) -> None:
    """Exactly ``alg``, ``typ`` and ``kid``: so no ``crit``, ``jwk``, ``jku``, ``x5c``, ``zip`` or ``b64``."""
    if header.keys() != HEADER_NAMES:
        raise TokenInvalid("header")


def one_of(name: str, value: str) -> Rule:
    """The rule that header member ``name`` is exactly ``value``, in this case and type."""

    def rule(header: Mapping[str, Any]) -> None:
        if header.get(name) != value:
            raise TokenInvalid(name)

    return rule


def claim_types(claims: Mapping[str, Any]) -> None:
    """Times are whole numbers of seconds before the year 10000, names are texts, features a list of texts."""
    for name in TIMES:
        time = claims.get(name)
        if type(time) is not int or not 0 <= time < LATEST:
            raise TokenInvalid(name)
    for name in TEXTS:
        text = claims.get(name)
        if type(text) is not str or not text:
            raise TokenInvalid(name)
    features = claims.get("features", [])
    if type(features) is not list or not all(type(feature) is str for feature in features):
        raise TokenInvalid("features")
    if type(claims.get("plan", "")) is not str:
        raise TokenInvalid("plan")
