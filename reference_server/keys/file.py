"""The signing key's file: made once, readable by its owner only, never half written."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from reference_server.keys.ring import KeyRefused, KeyRing

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MODE: Final = 0o600


class KeyFileError(Exception):
    """The key file can't be used as it is; the text names the file and the way out."""


def load_or_make(path: Path, entropy: Callable[[int], bytes]) -> bytes:
    """The PEM key in ``path``; where there is none, a new one, drawn from ``entropy`` and stored with mode 0600.

    Two servers that start at once end up with the same key: a file that appears
    meanwhile wins. Raises KeyFileError when the file can't be read or made, is
    readable by others, or holds no Ed25519 private key.
    """
    try:
        if not path.exists():
            _make(path, make_pem(entropy))
        pem = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        message = f"{path}: the key file can't be used ({error.strerror}): give --keys a file in a directory of yours"
        raise KeyFileError(message) from error
    if os.name == "posix" and mode & _OTHERS:
        message = f"{path}: others may read this private key; run: chmod 600 {path}"
        raise KeyFileError(message)
    try:
        KeyRing.from_pem(pem)
    except KeyRefused as error:
        message = f"{path}: {error}"
        raise KeyFileError(message) from error
    return pem


def make_pem(entropy: Callable[[int], bytes]) -> bytes:
    """A new Ed25519 private key as PEM PKCS#8, out of 32 bytes of ``entropy``."""
    private = Ed25519PrivateKey.from_private_bytes(entropy(32))
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _make(path: Path, pem: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike rename, this never replaces another server's key
        except FileExistsError:
            return
    finally:
        draft.unlink()
    if os.name != "posix":
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
