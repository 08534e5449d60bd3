"""Locks pin every package with hashes, and nothing in the repository says where packages are fetched from."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Written in pieces, so that this file does not name what it looks for.
HOSTS = ("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org", "proxy.golang" + ".org")
OPTIONS = ("--index" + "-url", "--extra-index" + "-url", "--find" + "-links", "PIP_INDEX" + "_URL", "GO" + "PROXY=")
ADDRESSES = re.compile("|".join(map(re.escape, (*HOSTS, *OPTIONS))))


def entries(lock: Path) -> list[str]:
    """Each requirement of a lock with its hashes, on one line."""
    return [line for line in lock.read_text().replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", name, maxsplit=1)[0]).lower()


def repository() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: an unpacked source distribution has nothing untracked to tell apart")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_there_are_locks() -> None:
    """The project and its foreign target are locked."""
    assert {lock.name for lock in LOCKS} >= {"dev.txt", "foreign.txt"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_has_a_version_and_hashes(lock: Path) -> None:
    """pip --require-hashes refuses anything else, so a changed file can't slip in."""
    for entry in entries(lock):
        assert re.match(r"[A-Za-z0-9._-]+==\S+ ", entry), entry
        assert entry.count("--hash=sha256:") >= 1, entry


def test_the_lock_covers_what_the_project_declares() -> None:
    """Every dependency, of every extra and of development, is in requirements/dev.txt."""
    locked = {canonical(entry) for entry in entries(ROOT / "requirements" / "dev.txt")}
    project = PROJECT["project"]
    declared = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]

    assert {canonical(each) for each in declared} - {"licensing-harness"} <= locked


def test_no_file_names_a_registry_address() -> None:
    """Which index is used is the machine's own business."""
    named = []
    for path in repository():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        named += [f"{path.relative_to(ROOT)}: {found.group()}" for found in ADDRESSES.finditer(text)]

    assert named == []
