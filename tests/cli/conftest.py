"""Runs the command line in a process of its own, in an empty directory that can import the toy target."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

_TOY = Path(__file__).parent.parent / "worlds"


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Done]:
    """``command("gate", "--only", "seats")``; keywords are environment variables."""

    def run(*arguments: str, where: Path | None = None, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "licensing_harness", *arguments],
            cwd=where or tmp_path,
            env={**os.environ, "PYTHONPATH": str(_TOY), "COLUMNS": "160", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
