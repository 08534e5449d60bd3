"""Time as an argument: the one place where the server reads a real clock.

The server asks time of a ``Clock``, a function that returns Unix seconds as
``float``. Rules and stored rows use Unix milliseconds as ``int``; ``Ticks`` is
the way from one to the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns Unix seconds."""


def real() -> float:
    """The machine's clock, in Unix seconds."""
    return time.time()


class SetClock:
    """A clock that may be set wrong: what a drill asks of a server that was started with ``--test-clock``."""

    __slots__ = ("_clock", "offset")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset = 0.0
        """Seconds by which it is wrong."""

    def __call__(self) -> float:
        """Read the clock."""
        return self._clock() + self.offset


class Ticks:
    """Unix milliseconds that never go back, not even when the clock does.

    A licence that has been called expired must not come back because somebody
    set the clock back, and the times in the ledger must rise with its numbers.
    The price: after a jump ahead that is then corrected, time stands still
    until the clock has caught up.
    """

    __slots__ = ("_clock", "_floor")

    def __init__(self, clock: Clock, floor: int = 0) -> None:
        self._clock = clock
        self._floor = floor

    def __call__(self) -> int:
        """Read the clock."""
        now = int(self._clock() * 1000)
        if now < self._floor:
            return self._floor
        self._floor = now
        return now
