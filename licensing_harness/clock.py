"""Time as an argument: the one place where the harness reads a real clock.

Everything else takes a :class:`Clock`. Times are seconds as ``float``: ``now``
counts from an arbitrary start and never goes back, ``wall`` is Unix time.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the harness needs of time."""

    def now(self) -> float:
        """Monotonic seconds since an arbitrary start."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        ...


class RealClock:
    """The machine's clocks, counted from the moment this object was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def now(self) -> float:
        """Monotonic seconds since this clock was made."""
        return time.monotonic() - self._start

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Block this thread for ``seconds``; nothing for zero or less."""
        if seconds > 0:
            time.sleep(seconds)


def stamp(wall: float) -> str:
    """Unix seconds as UTC text for file names: ``20261125T023059Z``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall))
