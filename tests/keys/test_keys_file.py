"""The key file: made once, private, never half written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reference_server.keys import KeyFileError, KeyRing, load_or_make, make_pem
from reference_server.keys import file as key_file


def _entropy(n: int) -> bytes:
    return os.urandom(n)  # noqa: TID251 - a test of real entropy


def test_keys_file_is_made_once_and_private(tmp_path: Path) -> None:
    """The first start makes the key with mode 0600, the second reads the same, and no draft is left."""
    path = tmp_path / "signing.pem"
    first = load_or_make(path, _entropy)

    assert load_or_make(path, _entropy) == first == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["signing.pem"]
    assert KeyRing.from_pem(first).kid


def test_keys_file_made_by_two_at_once_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that another server made meanwhile wins, and stays as it is."""
    path = tmp_path / "signing.pem"
    theirs = make_pem(_entropy)
    monkeypatch.setattr(key_file, "make_pem", lambda entropy: _theirs_first(path, theirs, entropy))

    assert load_or_make(path, _entropy) == theirs
    assert [each.name for each in tmp_path.iterdir()] == ["signing.pem"]


def _theirs_first(path: Path, theirs: bytes, entropy: Callable[[int], bytes]) -> bytes:
    path.write_bytes(theirs)
    path.chmod(0o600)
    return make_pem(entropy)


def test_keys_file_readable_by_others_is_refused(tmp_path: Path) -> None:
    """A key that others may read is refused with the chmod line."""
    path = tmp_path / "signing.pem"
    path.write_bytes(make_pem(_entropy))
    path.chmod(0o640)

    with pytest.raises(KeyFileError, match="chmod 600"):
        load_or_make(path, _entropy)


def test_keys_file_without_a_key_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A file that holds no key is named and not overwritten."""
    path = tmp_path / "signing.pem"
    path.write_bytes(b"")
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match=r"signing\.pem"):
        load_or_make(path, _entropy)
    assert path.read_bytes() == b""


def test_keys_file_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A directory that isn't there gives one line with the path and the way out."""
    with pytest.raises(KeyFileError, match="No such file or directory") as refused:
        load_or_make(tmp_path / "missing" / "signing.pem", _entropy)
    assert "\n" not in str(refused.value)


def test_keys_file_many_makers(tmp_path: Path) -> None:
    """Eight makers in one process end up with one key."""
    path = tmp_path / "signing.pem"
    with ThreadPoolExecutor(8) as pool:
        pems = set(pool.map(lambda _: load_or_make(path, _entropy), range(8)))

    assert len(pems) == 1
