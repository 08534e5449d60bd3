"""What no honest server would sign, signed with the target's own key: for targets that lent it for tests."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from licensing_harness.errors import UsageError


def signer(pem: bytes) -> Callable[[Mapping[str, Any] | bytes, Mapping[str, Any] | bytes], str]:
    """``sign(header, claims)`` by the Ed25519 private key in ``pem`` (PKCS#8).

    Header and claims are written as JSON without spaces; bytes are signed as
    they are. Raises UsageError when the key can't be used.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = "the target's signing key can't be read: give an unencrypted PEM PKCS#8 Ed25519 private key"
        raise UsageError(message) from error
    if not isinstance(private, Ed25519PrivateKey):
        message = f"the target's signing key is {type(private).__name__.strip('_')}: give an Ed25519 private key"
        raise UsageError(message)

    def sign(header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes) -> str:
        signed = b".".join(map(_segment, (header, claims)))
        return b".".join((signed, _base64url(private.sign(signed)))).decode()

    return sign


def _segment(part: Mapping[str, Any] | bytes) -> bytes:
    return _base64url(part if isinstance(part, bytes) else json.dumps(dict(part), separators=(",", ":")).encode())


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
