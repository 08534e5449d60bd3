"""The audit trail's byte format: a chain of SHA-256 over canonical JSON.

::

    event = {"action", "actor", "data", "licence", "seq", "time"}      one change, time in Unix ms
    hash  = SHA-256(previous hash, 32 bytes || RFC 8785 form of event)  the first previous is 32 zero bytes

``data`` holds strings, integers below 2**53, null, and lists of these. It never
holds a licence key, a token or the secret of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

GENESIS: Final = bytes(32)
"""What stands before the first event."""

FORMAT: Final = (
    "hash = lower-case hex of SHA-256(previous || JCS(event)): previous is the preceding entry's hash as 32 raw bytes "
    "(32 zero bytes before the first entry), JCS(event) is the RFC 8785 form of the event object, in UTF-8. "
    "seq counts from 1 without gaps; time is in Unix milliseconds and never falls."
)
"""The format in one paragraph, as the OpenAPI document states it."""

Seal = Callable[[bytes, bytes], bytes]
"""``seal(previous hash, canonical event)`` returns the event's hash."""

_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


class Event(msgspec.Struct, frozen=True):
    """One change, as it is hashed and stored."""

    action: str
    actor: str
    data: dict[str, Any]
    licence: str
    seq: int
    time: int


class Head(msgspec.Struct, frozen=True):
    """The last entry of the ledger: its number and its hash."""

    seq: int = 0
    hash: bytes = GENESIS


def canonical(value: Any) -> bytes:
    r"""The RFC 8785 form of a value whose object keys are ASCII and whose numbers are integers below 2**53.

    Within these bounds msgspec's sorted encoding is that form: the keys' order by
    UTF-16 units is their order by code points, strings get the short escapes and
    lower-case ``\u00xx`` and nothing else is escaped.
    """
    return _CANONICAL.encode(value)


def seal(previous: bytes, body: bytes) -> bytes:
    """The hash of an event that follows ``previous``."""
    return hashlib.sha256(previous + body).digest()
