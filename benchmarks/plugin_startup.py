"""What the plugin adds to ``pytest --collect-only`` of an empty suite, in milliseconds.

Runs with and without it are interleaved, so that a busy moment meets both, and
medians are compared. Bytecode is written first: an installed package has it.
"""

from __future__ import annotations

import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import licensing_harness
from licensing_harness.clock import RealClock

PAIRS = 25
BAR = 15.0
"""Milliseconds that the plugin may add."""

_OTHERS = ("-p", "no:locust", "-p", "no:faker", "-p", "no:schemathesis", "-p", "no:anyio", "-p", "no:cacheprovider")
"""What else happens to be installed here is not measured."""


def measure(pairs: int = PAIRS) -> list[dict[str, Any]]:
    """The row ``plugin-startup``: ``value`` is what the plugin adds, ``baseline`` pytest without it, both in ms."""
    compileall.compile_dir(str(Path(licensing_harness.__file__).parent), quiet=2)
    with tempfile.TemporaryDirectory() as empty:
        plain = [sys.executable, "-m", "pytest", "--collect-only", "-q", *_OTHERS]
        without = [*plain, "-p", "no:licensing_harness"]
        for command in (plain, without):
            _timed(command, empty)
        with_it, without_it = [], []
        for number in range(pairs):
            for command, times in ((plain, with_it), (without, without_it))[:: 1 if number % 2 else -1]:
                times.append(_timed(command, empty))
    added = statistics.median(with_it) - statistics.median(without_it)
    baseline = statistics.median(without_it)
    row = {"name": "plugin-startup", "value": round(added, 1), "unit": "ms", "baseline": round(baseline, 1)}
    return [{**row, "ratio": round((baseline + added) / baseline, 3)}]


def _timed(command: list[str], where: str) -> float:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    clock = RealClock()
    subprocess.run(command, cwd=where, env=environment, capture_output=True, check=False)
    return clock.now() * 1000


if __name__ == "__main__":
    for each in measure():
        print(json.dumps(each))
        sys.exit(each["value"] > BAR)
