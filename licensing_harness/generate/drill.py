"""Drills as data: a load, a steady state, an outage, and what is expected in each phase. Pure.

A drill is one TOML file, so that nobody writes Python to rehearse an outage:
``drill_file`` reads it. What happened is measured from the story's history
alone (``drill_measures``), so a stored drill can be measured again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from licensing_harness.faults.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """``rate`` calls a second, shared by all clients, for ``before`` seconds, the outage, and ``after`` seconds."""

    rate: float = 20.0
    clients: int = 3
    before: float = 3.0
    after: float = 5.0
    seats: int = 3
    verbs: Mapping[str, int] = field(default_factory=lambda: {"validate": 1})
    """How often each verb is called, relative to the others."""
    revoke_at: float | None = None
    """When the vendor revokes what the clients use, in seconds from the first moment of the outage."""
    herd: bool = False
    """Whether clients that got no answer wait for the end of the outage, and then all call at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expect:
    """A measure of a phase within a limit."""

    phase: str
    measure: str
    limit: float
    sense: Literal["at_least", "at_most"]

    @property
    def name(self) -> str:
        """As reports show it."""
        return f"{self.phase}: {self.measure} {self.sense.replace('_', ' ')} {self.limit:g}"

    def met(self, value: float) -> bool:
        """Whether ``value`` is within the limit."""
        return value >= self.limit if self.sense == "at_least" else value <= self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """When a drill is called off: so many calls in a row without an answer after the faults, or so long."""

    unanswered: int = 0
    """0: never."""
    seconds: float = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Drill:
    """One drill. ``steady`` are expectations of ``before``, ``after`` and ``clean-up`` alike."""

    title: str
    faults: Plan
    tries: tuple[str, ...] = ()
    world: str = "live"
    target: Mapping[str, Any] = field(default_factory=dict)
    """Options of the run, as in licensing-harness.toml."""
    load: Load = field(default_factory=Load)
    expects: tuple[Expect, ...] = ()
    stop: Stop = field(default_factory=Stop)
    document: Mapping[str, Any] = field(default_factory=dict)
    """The file as it was written: what a history keeps."""

    @property
    def outage(self) -> float:
        """Seconds from the start of the plan to the end of its last fault."""
        return self.faults.end

    @property
    def seconds(self) -> float:
        """How long the load lasts."""
        return self.load.before + self.outage + self.load.after
