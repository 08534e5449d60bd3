"""What was found: promises, violations, verdicts, and the exit code that gates a release.

Worst wins. Nothing held and nothing broken is undecided, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

from licensing_harness.history import StoryHistory
from licensing_harness.vocabulary import Cap, Contract


class Verdict(StrEnum):
    """Of a promise, a scenario or a whole run. Undecided is never green."""

    HELD = "held"
    BROKEN = "broken"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


class Exit(IntEnum):
    """Exit codes. 2 to 6 mean what they mean to pytest."""

    HELD = 0
    BROKEN = 1
    INTERRUPTED = 2
    HARNESS_ERROR = 3
    USAGE = 4
    NOTHING_COLLECTED = 5
    WARNINGS = 6
    UNDECIDED = 10
    THRESHOLD = 11
    NOT_READY = 12
    GUARD = 13
    CLEAN_UP = 14


_WORST_FIRST: Final = (14, 13, 12, 3, 4, 1, 2, 6, 10, 11, 5, 0)


def worst(codes: Iterable[int]) -> int:
    """The code that a run with all these codes exits with; 10 for no codes at all."""
    return min(codes, key=lambda code: _WORST_FIRST.index(code) if code in _WORST_FIRST else 3, default=10)


def threshold_code(verdict: Verdict) -> int:
    """The exit code of a threshold, or an expectation, that came to ``verdict``."""
    if verdict is Verdict.BROKEN:
        return int(Exit.THRESHOLD)
    return int(Exit.HELD if verdict is Verdict.HELD else Exit.UNDECIDED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A promise broken in one story: what should have been, what was, and by which records."""

    promise: str
    story: str
    expected: str
    observed: str
    evidence: tuple[int, ...]
    control: tuple[int, ...] = ()
    """Records that show the target doing it right without the overlap or fault."""


Check = Callable[[StoryHistory, Contract], Iterable[Violation]]
Occasions = Callable[[StoryHistory, Contract], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """One thing a licensing system must keep.

    ``check`` yields violations and does no I/O. ``occasions`` counts how often a
    story gave the target the chance to break the promise after its positive
    control had happened; a promise with none is undecided, and ``control`` says
    what was missing. ``needs`` are capabilities, ``numbers`` fields of Contract.
    """

    id: str
    sentence: str
    needs: frozenset[Cap]
    check: Check
    occasions: Occasions
    control: str
    numbers: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """``SEA`` of ``SEA-001``."""
        return self.id.partition("-")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryJudgement:
    """One story judged: violations, and occasions by promise id."""

    story: str
    world: str
    scenario: str
    tries: tuple[str, ...]
    violations: tuple[Violation, ...]
    occasions: Mapping[str, int]
    operations: int
    overlaps: int
    complete: bool = True


@dataclass(kw_only=True, slots=True)
class Finding:
    """A violation as reports show it: with its records spelled out and its replay."""

    promise: str
    sentence: str
    scenario: str
    world: str
    story: str
    expected: str
    observed: str
    evidence: list[dict[str, Any]]
    control: list[dict[str, Any]] = field(default_factory=list)
    case: str = ""
    times: int = 1


@dataclass(kw_only=True, slots=True)
class PromiseResult:
    """One promise over a whole run."""

    id: str
    sentence: str
    verdict: Verdict
    reason: str = ""
    occasions: int = 0
    stories: int = 0


@dataclass(kw_only=True, slots=True)
class ScenarioResult:
    """One scenario in one world over a whole run."""

    id: str
    world: str
    verdict: Verdict
    reason: str = ""
    stories: int = 0
    operations: int = 0
    overlaps: int = 0
    seconds: float = 0.0


@dataclass(kw_only=True, slots=True)
class CellResult:
    """One promise under one kind of fault. ``reason`` says why it was not tried, where it was not."""

    promise: str
    tried: int = 0
    """Occasions of the promise in stories in which the fault was met."""
    stories: int = 0
    undecided: int = 0
    """Stories with the fault that proved nothing of the promise: it was not met, or there was no occasion."""
    broken: int = 0
    reason: str = ""


@dataclass(kw_only=True, slots=True)
class FaultResult:
    """One kind of fault over a whole run, and what was tried of each promise while it was about."""

    fault: str
    set: int = 0
    met: int = 0
    reason: str = ""
    """Why it was not set, if so."""
    promises: list[CellResult] = field(default_factory=list)
    """Every promise, where the fault was set."""


RESULT_SCHEMA: Final = 2
"""The version of ``result.json``; 2 added ``matrix`` and ``drill``."""


@dataclass(kw_only=True, slots=True)
class RunResult:
    """All that a run found. ``result.json`` is this; every other report derives from it."""

    schema: int = RESULT_SCHEMA
    run: str = ""
    harness: str = ""
    target: str = ""
    capabilities: list[str] = field(default_factory=list)
    contract: dict[str, float] = field(default_factory=dict)
    depth: str = ""
    seed: int = 0
    started: str = ""
    seconds: float = 0.0
    verdict: Verdict = Verdict.UNDECIDED
    exit_code: int = int(Exit.UNDECIDED)
    promises: list[PromiseResult] = field(default_factory=list)
    scenarios: list[ScenarioResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    worlds: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    matrix: list[FaultResult] = field(default_factory=list)
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    drill: dict[str, Any] = field(default_factory=dict)
    """Of a drill: its title, its phases, and when each client was served again."""
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
