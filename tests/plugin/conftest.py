"""Runs pytest with the plugin in a process of its own, against the toy target of the simulated world."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

_TOY = Path(__file__).parent.parent / "worlds"

SCENARIOS = '''
import pytest
from licensing_harness.suite import Cap

@pytest.mark.licensing(tries=("REV-001",), needs=(Cap.REVOKE,))
def test_held(licensing_story):
    """The toy keeps this promise."""
    licence = licensing_story.fresh_licence()
    licensing_story.call("laptop", "validate", licence)
    licensing_story.call("vendor", "revoke", licence)
    licensing_story.call("laptop", "validate", licence)

@pytest.mark.licensing(tries=("REV-001",), needs=(Cap.REVOKE,))
def test_vacuous(licensing_story):
    """No yes before the revoke: nothing is proved."""
    licensing_story.fresh_licence()

@pytest.mark.licensing(tries=("SEA-001",), needs=(Cap.SEATS,))
def test_raced(licensing_story):
    """The toy breaks this promise with ?race=1."""
    for _ in range(8):
        licence = licensing_story.fresh_licence(seats=1)
        licensing_story.contend("activate", licence)
        licensing_story.settle()

@pytest.mark.licensing(tries=("SEA-001",), needs=(Cap.ROLLOUT,))
def test_rollout(licensing_story):
    """The toy has no rollouts."""

def test_their_own():
    """No test of ours."""
    assert 1 == 2
'''


@dataclass(frozen=True)
class Done:
    """A finished run."""

    code: int
    text: str
    where: Path

    @property
    def run(self) -> Path:
        """The newest run directory."""
        return max((self.where / ".licensing" / "runs").glob("2*"))


Run = Callable[..., Done]


@pytest.fixture
def toy_run(tmp_path: Path) -> Run:
    """``toy_run("-k", "held", n=2, options="?race=1")``: the scenarios above, and what else is in ``tmp_path``."""

    def run(*arguments: str, n: int = 0, options: str = "", target: bool = True, **environment: str) -> Done:
        if not list(tmp_path.glob("test_*.py")):
            (tmp_path / "test_scenarios.py").write_text(SCENARIOS)
        command = [sys.executable, "-m", "pytest", "--disable-plugin-autoload", "-p", "licensing_harness.plugin"]
        command += ["-p", "xdist", "-n", str(n)] if n else []
        if target:
            command += [
                f"--licensing-target=asgi:toy:simulated{options}",
                "--licensing-adapter=toy:ToyAdapter",
            ]
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(_TOY), "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Done(done.returncode, done.stdout + done.stderr, tmp_path)

    return run
