"""Ends what this process started when this process is gone, however it went: ``kill -9`` runs no clean-up of ours.

A shell of its own session waits on a pipe whose other end only this process
holds. The pipe is closed by whatever ends this process; then the shell kills.
It can do so to a process that is stopped, which could not watch a pipe itself.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_SCRIPT: Final = """
IFS= read -r said && exit
kill -s KILL -- "-$1"
[ -z "$2" ] || rm -rf -- "$2"
"""
_PATIENCE: Final = 5.0


class Watchdog:
    """Over the process group ``group``, with a directory that is removed too. On Windows it does nothing."""

    def __init__(self, group: int, directory: Path | None = None) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        shell = None if sys.platform == "win32" else shutil.which("sh")
        if shell is not None:
            self._shell = subprocess.Popen(  # noqa: S603 - a script of ours; what it is given is no code
                [shell, "-c", _SCRIPT, "watchdog", str(group), "" if directory is None else str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def dismiss(self) -> None:
        """The group is gone, or shall live on; harmless when repeated."""
        shell, self._shell = self._shell, None
        if shell is None or shell.stdin is None:
            return
        with contextlib.suppress(OSError):
            shell.stdin.write(b"\n")
            shell.stdin.flush()
        with contextlib.suppress(OSError):
            shell.stdin.close()
        try:
            shell.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            shell.kill()
            shell.wait()
