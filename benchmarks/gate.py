"""How long the gate takes on the reference server, both worlds, at the depth of a CI job.

Two figures: ``gate`` is what ``make gate`` runs, two processes of pytest-xdist;
``gate-one-process`` is ``licensing-harness gate`` alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from licensing_harness.clock import RealClock

BAR = 60.0
"""Seconds that a gate may take on two cores."""


def measure(*arguments: str) -> list[dict[str, Any]]:
    """The rows, in seconds from start to exit. Raises RuntimeError when a gate did not end with 0."""
    return [_row("gate", *arguments, "--", "-n", "2"), _row("gate-one-process", *arguments)]


def _row(name: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "licensing_harness", "gate", "--world", "both", *arguments]
    with tempfile.TemporaryDirectory() as directory:
        clock = RealClock()
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        seconds = clock.now()
    if done.returncode != 0:
        message = f"the gate ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)
    return {"name": name, "value": round(seconds, 1), "unit": "s", "baseline": None, "ratio": None}


if __name__ == "__main__":
    measured = measure(*sys.argv[1:])
    for each in measured:
        print(json.dumps(each))
    sys.exit(measured[0]["value"] > BAR)
