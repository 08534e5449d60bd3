"""The wall clock of a simulated machine, and what can be wrong with it.

A clock fault is about the wall clock, what ``clock()`` shows. The monotonic
clock of a process (its loop's ``time``, and all its timers) is right always: in
life it isn't moved by whoever sets the wall clock either. The clock belongs to
the machine: a process that is started again finds it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.breaking import Wanted
from licensing_harness.worlds.loop import Timeline

EPOCH: Final = 1_800_000_000.0
"""Unix time at which every simulated story begins: 15 January 2027, 08:00 UTC."""


class MachineClock:
    """Unix seconds on one machine: ``read()``."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        faults: list[ClockFault] = []
        self.faults = faults
        """What is wrong with it now."""

        def read() -> float:
            # A plain function with two names of its own: a server reads its clock at every call.
            now = timeline.now
            if faults:
                for fault in faults:
                    fault.met += 1
                return EPOCH + now + sum(fault.error(now) for fault in faults)
            return EPOCH + now

        self.read: Callable[[], float] = read


class ClockFault:
    """One thing that is wrong with a clock. It is met whenever the clock is read."""

    def __init__(self, clock: MachineClock, wanted: Wanted, where: str, *, client: bool, alone: bool) -> None:
        self.where = where
        self.met = 0
        self.lingers = not wanted.lasting
        """Set once and left so: nothing takes it back, and whoever reads the clock meets it to the end."""
        self.detail: dict[str, object] = {**wanted.parameters, "of": "client" if client else "target"}
        if alone and not client:
            self.detail["alone"] = True
        if wanted.lasting and wanted.kind in (FaultKind.CLOCK_JUMP, FaultKind.CLOCK_ROLLBACK):
            self.detail["taken_back"] = True
        self._clock = clock
        self._kind = wanted.kind
        self._given = wanted.parameters
        self._begin = clock.timeline.now
        clock.faults.append(self)

    def error(self, now: float) -> float:
        """Seconds by which the clock is wrong now."""
        match self._kind:
            case FaultKind.CLOCK_OFFSET:
                return self._given["offset"]
            case FaultKind.CLOCK_DRIFT:
                return self._given["drift"] * (now - self._begin)
            case FaultKind.CLOCK_JUMP:
                return self._given["by"]
            case FaultKind.CLOCK_ROLLBACK:
                return -self._given["by"]
            case _:
                return self._begin - now

    def mend(self) -> int:
        """Set the clock right, as far as this is what was wrong with it."""
        if not self.lingers:
            self._clock.faults.remove(self)
        return self.met
