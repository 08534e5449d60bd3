"""Chance as an argument: the one place where the harness draws real entropy.

A run has one seed. Every decision draws from a stream *keyed by what it is
about*, so that taking one step out of a plan leaves the draws of all other
steps as they were; without that, nothing shrinks.
"""

from __future__ import annotations

import random
import secrets


def fresh_seed() -> int:
    """A new seed below 2**32, for a run that was given none."""
    return secrets.randbits(32)


def stream(seed: int | str, *about: object) -> random.Random:
    """The random stream of ``seed`` for one subject.

    The same arguments give the same stream in every process: the key is text,
    which ``random.Random`` hashes with SHA-512, independent of PYTHONHASHSEED.
    """
    return random.Random("/".join(map(str, (seed, *about))))  # noqa: S311 - repeatable on purpose


def fresh_token(prefix: str = "") -> str:
    """An unpredictable token of 128 bits in hexadecimal."""
    return prefix + secrets.token_hex(16)
