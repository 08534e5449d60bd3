"""Chance as an argument: the one place where the harness draws real entropy.

A run has one seed. Every decision draws from a stream *keyed by what it is
about*, so that taking one step out of a plan leaves the draws of all other
steps as they were; without that, nothing shrinks.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, TypeVar

Choice = TypeVar("Choice")

_WORD: Final = 2**32 - 1
_DRAWS: Final = 16
"""Words of 32 bits in a block."""


def fresh_seed() -> int:
    """A new seed below 2**32, for a run that was given none."""
    return secrets.randbits(32)


def stream(seed: int | str, *about: object) -> random.Random:
    """The random stream of ``seed`` for one subject.

    The same arguments give the same stream in every process: the key is text,
    which ``random.Random`` hashes with SHA-512, independent of PYTHONHASHSEED.
    """
    return random.Random("/".join(map(str, (seed, *about))))  # noqa: S311 - repeatable on purpose


class Draws:
    """A short stream of chance that costs next to nothing to begin; for what draws a few times and is done.

    Counted blocks of BLAKE2b (RFC 7693) over the key: like ``stream`` it depends on
    nothing but its key.
    """

    __slots__ = ("_bits", "_block", "_key", "_left")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._block = 0
        self._bits = 0
        self._left = 0

    def below(self, count: int) -> int:
        """A number from 0 up to, not including, ``count``, which is far below 2**32."""
        if not self._left:
            self._bits = int.from_bytes(blake2b(self._key, salt=self._block.to_bytes(16, "big")).digest(), "big")
            self._block += 1
            self._left = _DRAWS
        self._left -= 1
        drawn = self._bits & _WORD
        self._bits >>= 32
        return drawn * count >> 32

    def choice(self, among: Sequence[Choice]) -> Choice:
        """One of these."""
        return among[self.below(len(among))]


def draws(seed: int | str, *about: object) -> Draws:
    """As ``stream``, with less to draw from it, in a tenth of the time."""
    return Draws("/".join(map(str, (seed, *about))).encode("utf-8", "surrogatepass"))


def fresh_token(prefix: str = "") -> str:
    """An unpredictable token of 128 bits in hexadecimal."""
    return prefix + secrets.token_hex(16)
