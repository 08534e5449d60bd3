"""The Makefile and CI: what is promised is there, needs no root, and is what CI calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISED = ("gate", "test", "check", "bench", "foreign", "serve", "prove", "toxiproxy", "docs", "lock")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def plan(target: str, *arguments: str) -> str:
    """What make would do for a target."""
    result = subprocess.run(
        ["make", "--dry-run", target, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("target", PROMISED)
def test_a_target_is_there_and_needs_no_root(target: str) -> None:
    """Nothing that a Makefile target does asks for root; only .ci/setup may."""
    todo = plan(target)

    assert todo
    assert not re.search(r"\bsudo\b|\bapt(-get)?\b|setpriv|runuser", todo)


@pytest.mark.parametrize("target", [each for each in PROMISED if each not in {"toxiproxy", "lock"}])
def test_a_target_makes_the_environment_from_the_lock(target: str) -> None:
    """A fresh machine gets what is locked, with hashes, and the package without asking an index for its builder."""
    todo = plan(target, "--always-make")

    assert "-m venv .venv" in todo
    assert "--require-hashes -r requirements/dev.txt" in todo
    assert "--no-deps --no-build-isolation" in todo


def test_help_lists_every_promised_target() -> None:
    """`make` alone says what there is."""
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout

    assert set(PROMISED) <= {line.split()[0] for line in said.splitlines() if line}


def test_an_old_python_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """A Python below 3.11 is named as the reason before anything is made."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = subprocess.run(
        ["make", "--always-make", "venv", f"PYTHON={old}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert result.returncode != 0
    assert "Python 3.11 or newer is needed" in result.stderr
    assert "make PYTHON=" in result.stderr


@pytest.mark.parametrize("script", ["run", "setup", "toxiproxy"])
def test_ci_scripts_are_strict_bash(script: str) -> None:
    """CI scripts can be executed, parse, and stop at the first failure."""
    path = ROOT / ".ci" / script

    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text()
    assert subprocess.run(["bash", "-n", path], check=False, timeout=30).returncode == 0


def test_ci_runs_what_developers_run() -> None:
    """.ci/run calls .ci/setup and make test; the workflow calls the same setup and the same make."""
    run = (ROOT / ".ci" / "run").read_text()
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()

    assert run.index(".ci/setup") < run.index("make --no-print-directory test")
    assert ".ci/setup" in workflow
    assert "make check" in workflow
    assert all(f'"{version}"' in workflow for version in ("3.11", "3.12", "3.13", "3.14"))


def test_no_two_test_modules_share_a_name() -> None:
    """pytest puts every test folder on the path, so a helper's name must be its own."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]

    assert sorted(name for name in set(names) if names.count(name) > 1) == []
