"""What happened in a drill, measured in its story's history alone. Pure.

Phases: a call is of ``clean-up`` when it was made after the load; of ``during``
when any of it lies between the beginning of the first fault and the end of the
last; else of ``before`` or ``after``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from licensing_harness.faults.plan import Plan
from licensing_harness.generate.drill import Drill, Expect
from licensing_harness.generate.drill_keys import MEASURES, PHASES
from licensing_harness.generate.quantiles import enough, quantile
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.verdict import Exit, Verdict, threshold_code

_QUANTILES: Final = {"p50": 0.5, "p95": 0.95}
_VENDORS: Final = frozenset({"issue", "revoke"})
"""Verbs that are no client's: nobody recovers by them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An expectation with what was measured: ``value`` is None where there was too little to measure."""

    expect: Expect
    value: float | None
    samples: int

    @property
    def verdict(self) -> Verdict:
        """Held, broken, or undecided when there was nothing to measure."""
        if self.value is None:
            return Verdict.UNDECIDED
        return Verdict.HELD if self.expect.met(self.value) else Verdict.BROKEN

    def as_threshold(self) -> dict[str, Any]:
        """As ``result.json`` has it."""
        return {
            "name": self.expect.name,
            "limit": self.expect.limit,
            "unit": MEASURES[self.expect.measure],
            "value": self.value,
            "samples": self.samples,
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True, slots=True)
class Phase:
    """What became of the calls of one phase."""

    name: str
    calls: int
    accepted: int
    refused: int
    p95: float | None
    """Milliseconds; None for too few calls."""

    @property
    def unanswered(self) -> int:
        """Calls without a usable answer."""
        return self.calls - self.accepted - self.refused


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A drill that was told, measured."""

    drill: Drill
    phases: tuple[Phase, ...]
    recovered: Mapping[str, float | None]
    """Seconds from the end of the last fault to the client's first yes; None: never."""
    expectations: tuple[Measured, ...]
    not_set: Mapping[str, str]
    """Kinds of faults of the drill that were never set, and why."""
    notes: tuple[str, ...]
    """Why it proves nothing, if so."""

    @property
    def codes(self) -> list[int]:
        """Exit codes, beside those of the promises."""
        undecided = [int(Exit.UNDECIDED)] if self.notes else []
        return [*undecided, *(threshold_code(each.verdict) for each in self.expectations)]

    def as_dict(self) -> dict[str, Any]:
        """As ``result.json`` has it."""
        return {
            "title": self.drill.title,
            "phases": [
                {
                    "phase": each.name,
                    "calls": each.calls,
                    "accepted": each.accepted,
                    "refused": each.refused,
                    "unanswered": each.unanswered,
                    "p95": each.p95,
                }
                for each in self.phases
            ],
            "recovered": dict(self.recovered),
        }


def rehearsed(drill: Drill, story: StoryHistory) -> Rehearsal:
    """Everything that is measured of a drill, each thing once."""
    calls = phases(story)
    times = recoveries(story)
    unset, unmet = _not_met(drill.faults, story.faults)
    why = story.not_run or (f"the drill was called off: {story.called_off}" if story.called_off else "")
    notes = [f"not run: {story.not_run}"] if story.not_run else []
    notes += [f"called off: {story.called_off}"] if story.called_off else []
    if not story.complete:
        notes.append("the drill did not come to its end")
    if unset and not why:
        notes.append(f"planned and never set: {', '.join(unset)}")
    if unmet:
        notes.append(f"set, and never met by traffic: {', '.join(unmet)}")
    return Rehearsal(
        drill=drill,
        phases=tuple(_phase(name, calls[name]) for name in PHASES),
        recovered=times,
        expectations=tuple(_measured(each, calls[each.phase], times, _watched(story)) for each in drill.expects),
        not_set=dict.fromkeys(unset, why or "it was planned and never set"),
        notes=tuple(notes),
    )


def _phase(name: str, calls: Sequence[Operation]) -> Phase:
    accepted, refused = sum(each.accepted for each in calls), sum(each.refused for each in calls)
    return Phase(name, len(calls), accepted, refused, measure("p95", calls))


def _not_met(plan: Plan, faults: Sequence[Fault]) -> tuple[list[str], list[str]]:
    """Kinds that were planned and never set; and those that were set, some of them never to be met."""
    planned = Counter(each.fault.value for each in plan.faults)
    found = Counter(each.fault.value for each in faults)
    met = Counter(each.fault.value for each in faults if each.met)
    return [each for each in planned if not found[each]], [each for each in planned if found[each] and not met[each]]


def phases(story: StoryHistory) -> dict[str, list[Operation]]:
    """Calls by phase; without a fault, all but those of the clean-up are ``before``."""
    found: dict[str, list[Operation]] = {phase: [] for phase in PHASES}
    first, gone = min((fault.begin for fault in story.faults), default=math.inf), _gone(story)
    for each in story.operations:
        if story.clean_up and each.n >= story.clean_up:
            found["clean-up"].append(each)
        elif each.begin > gone:
            found["after"].append(each)
        else:
            found["during" if first <= each.ended and story.faults else "before"].append(each)
    return found


def _gone(story: StoryHistory) -> float:
    """When the last fault was over; infinity when there was none, or one was not seen to end."""
    return max((math.inf if each.end is None else each.end for each in story.faults), default=math.inf)


def _measured(
    expect: Expect, calls: Sequence[Operation], times: Mapping[str, float | None], watched: float
) -> Measured:
    if expect.measure == "recovery":
        return Measured(expect, _slowest(times, expect, watched), len(times))
    return Measured(expect, measure(expect.measure, calls), len(calls))


def _slowest(times: Mapping[str, float | None], expect: Expect, watched: float) -> float | None:
    """The slowest client's recovery; of one never served again, how long it was watched, if that is too long."""
    if not times:
        return None
    if None in times.values():
        return None if expect.met(watched) else watched
    return max(each for each in times.values() if each is not None)


def _watched(story: StoryHistory) -> float:
    """Seconds from the end of the last fault to the last thing that was seen of the load."""
    load = [each for each in story.operations if not story.clean_up or each.n < story.clean_up]
    last = max((each.begin if each.end is None else each.end for each in load), default=0.0)
    return round(last - _gone(story), 3)


def measure(what: str, calls: Sequence[Operation]) -> float | None:
    """One measure of these calls; None when they are too few."""
    if not calls:
        return None
    match what:
        case "accepted-share":
            return round(sum(each.accepted for each in calls) / len(calls), 4)
        case "unknown-share":
            return round(sum(not each.accepted and not each.refused for each in calls) / len(calls), 4)
        case "refused":
            return float(sum(each.refused for each in calls))
        case _:
            spent = sorted((each.end - each.begin) * 1000 for each in calls if each.end is not None)
            share = _QUANTILES[what]
            return round(quantile(spent, share), 3) if len(spent) >= enough(share) else None


def recoveries(story: StoryHistory) -> dict[str, float | None]:
    """Seconds from the end of the last fault to each client's first accepted call that began after it.

    None for a client that was called and never served again; a client that was not called is not there.
    """
    gone = _gone(story)
    found: dict[str, float | None] = {}
    for each in sorted(story.operations, key=lambda operation: operation.begin):
        if each.begin < gone or each.verb in _VENDORS or (story.clean_up and each.n >= story.clean_up):
            continue
        found.setdefault(each.client, None)
        if found[each.client] is None and each.accepted and each.end is not None:
            found[each.client] = round(each.end - gone, 3)
    return found
