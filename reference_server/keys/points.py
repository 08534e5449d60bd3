"""Ed25519 public keys that anyone can sign for, and how to recognise them.

A point of small order (its eighth multiple is the identity) as a public key
makes signatures forgeable: with the identity, one signature fits every message.
``cryptography`` accepts such keys, so they are refused here when a key is
imported. RFC 8032, 5.1; "Taming the many EdDSAs" (eprint 2020/1244), 2.
"""

from __future__ import annotations

from typing import Final

FIELD: Final = 2**255 - 19
_Y_BITS: Final = 2**255 - 1
_ORDER_EIGHT: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""y of four of the eight points of order dividing 8; the other four of order 8 have its negative."""

_SMALL_ORDER: Final = frozenset({0, 1, FIELD - 1, _ORDER_EIGHT, FIELD - _ORDER_EIGHT})


def weakness(raw: bytes) -> str | None:
    """Why these 32 bytes must not be used as an Ed25519 public key, or None.

    The sign bit of x is left out of the comparison: a point and its negative
    have the same order.
    """
    y = int.from_bytes(raw, "little") & _Y_BITS
    if y >= FIELD:
        return "its encoding is not canonical"
    if y in _SMALL_ORDER:
        return "its point has small order, so anyone can sign for it"
    return None
