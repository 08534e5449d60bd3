"""What is broken in a story, until when, and how it is mended: the part of faults that both worlds share.

A world's ``_break`` breaks one thing and returns how to mend it
(:class:`Broken`). When that happens, what it is called and what the history
says of it is the story's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.vocabulary import FaultKind

MOMENTARY: Final = frozenset(kind.fault for kind in KINDS.values() if kind.when != "during")
"""Kinds that, without an end, are over as soon as they happened; every other one lasts until it is mended."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a world is asked to break: one event of a fault plan, without its times."""

    kind: FaultKind
    place: str = ""
    """A link, node or store by name; empty: the only one."""
    stream: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)
    lasting: bool = True
    """Whether it is mended later. A crash that is not comes back at once."""


class Broken(Protocol):
    """Something that is broken now."""

    @property
    def where(self) -> str:
        """Where, as the history shows it."""
        ...

    @property
    def detail(self) -> Mapping[str, Any]:
        """What else the history says of it."""
        ...

    def mend(self) -> int:
        """End it, and see that it is gone; returns how often traffic met it. Harmless when it was interrupted before.

        Raises HarnessError when it was gone before, CleanUpIncomplete when it can't be removed.
        """
        ...


@dataclass(frozen=True, slots=True)
class FaultOn:
    """A fault that is on. ``until`` is when it is due to be mended, in the story's seconds."""

    n: int
    wanted: Wanted
    begin: float
    until: float
    broken: Broken
