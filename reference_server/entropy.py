"""Chance as an argument: the one place where the server draws real entropy."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Final

Entropy = Callable[[int], bytes]
"""``entropy(n)`` returns ``n`` unpredictable bytes."""

_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 32


def real(count: int) -> bytes:
    """``count`` bytes from the operating system."""
    return os.urandom(count)


def identifier(entropy: Entropy, prefix: str) -> str:
    """A new id of 80 bits, such as ``lic_k3v5...``: lower-case base32, no padding. It is no secret."""
    return f"{prefix}_{base64.b32encode(entropy(_ID_BYTES)).decode().lower()}"


def secret(entropy: Entropy, prefix: str) -> str:
    """A new secret of 256 bits in base64url."""
    return f"{prefix}_{base64.urlsafe_b64encode(entropy(_SECRET_BYTES)).decode().rstrip('=')}"
