"""``serve``: the reference server in the foreground."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from licensing_harness.run import need_server_extra


def run(*, host: str, port: int, db: str, extra: list[str]) -> int:
    """Become the reference server; returns its exit code only where a process can't be replaced.

    Raises UsageError when the ``server`` extra is missing.
    """
    need_server_extra()
    path = db.removeprefix("sqlite:///")
    if "://" not in path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "reference_server", "--host", host, "--port", str(port), "--db", db, *extra]
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - signals and exit code are then the server's own
    return subprocess.call(command)  # noqa: S603 - our own interpreter and module
