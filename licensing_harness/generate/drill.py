"""Drills as data: a load, a steady state, an outage, and what is expected in each phase. Pure.

A drill is one TOML file, so that nobody writes Python to rehearse an outage.
What happened is measured from the story's history alone, so a stored drill can
be measured again.

Phases: a call is of ``during`` when any of it overlapped a fault; else of
``before`` or ``after`` the faults, by when it began. ``clean-up`` is a story of
its own, told when the load is over and every fault was seen to be gone.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from licensing_harness.errors import UsageError
from licensing_harness.faults.outage import TOXICS
from licensing_harness.faults.toxics import ATTRIBUTES
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.verdict import Verdict
from licensing_harness.vocabulary import FaultKind

PHASES: Final = ("before", "during", "after", "clean-up")
KINDS: Final = (*TOXICS, FaultKind.PROXY_DOWN, FaultKind.CRASH)
"""Faults that a drill can set on a live target."""

VERBS: Final = ("issue", "validate", "activate", "heartbeat", "release")
MEASURES: Final[Mapping[str, str]] = {
    "accepted-share": "",
    "unknown-share": "",
    "refused": "calls",
    "p95": "ms",
    "recovery": "s",
}
"""What can be measured, and its unit. ``recovery`` is of the slowest client, from the end of the last fault."""

ENOUGH: Final = 20
"""Samples without which a 95th percentile is just the longest."""

LONGEST: Final = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """``rate`` calls a second, shared by all clients, for ``before`` seconds, the outage, and ``after`` seconds."""

    rate: float = 20.0
    before: float = 3.0
    after: float = 5.0
    seats: int = 3
    verbs: Mapping[str, int] = field(default_factory=lambda: {"validate": 1})
    """How often each verb is called, relative to the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillFault:
    """A fault from ``start`` to ``end``, in seconds from the first moment of the outage."""

    kind: FaultKind
    start: float = 0.0
    end: float = 0.0
    direction: str = "downstream"
    attributes: Mapping[str, int] = field(default_factory=dict)


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
    tries: tuple[str, ...] = ()
    target: Mapping[str, Any] = field(default_factory=dict)
    """Options of the run, as in licensing-harness.toml."""
    load: Load = field(default_factory=Load)
    faults: tuple[DrillFault, ...] = ()
    expects: tuple[Expect, ...] = ()
    stop: Stop = field(default_factory=Stop)

    @property
    def outage(self) -> float:
        """Seconds from the first fault's start to the last one's end."""
        return max((max(each.start, each.end) for each in self.faults), default=0.0)

    @property
    def seconds(self) -> float:
        """How long the load lasts."""
        return self.load.before + self.outage + self.load.after


# Reading -----------------------------------------------------------------------------------------


def read_drill(text: str, name: str) -> Drill:
    """The drill in a TOML text; ``name`` is the file's, for messages.

    Raises UsageError that names the file, the place and the way out.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{name}: no TOML: {error}"
        raise UsageError(message) from error
    return _Reader(name).drill(said)


class _Reader:
    """Turns tables into a drill; every refusal says where and what would do."""

    def __init__(self, name: str) -> None:
        self._name = name

    def drill(self, said: Mapping[str, Any]) -> Drill:
        top = self._table(said, "", ("title", "tries", "target", "load", "steady", "fault", "expect", "stop"))
        title = self._text(top, "", "title")
        faults = tuple(self._fault(table, f"[[fault]] {n}") for n, table in self._tables(top, "fault"))
        if not faults:
            self._refuse("", "no [[fault]]: a drill without a fault rehearses nothing")
        self._apart(faults)
        expects: list[Expect] = []
        for n, table in self._tables(top, "steady"):
            expects += self._expect(table, f"[[steady]] {n}", ("before", "after", "clean-up"))
        for n, table in self._tables(top, "expect"):
            expects += self._expect(table, f"[[expect]] {n}", ())
        if not any(each.phase == "before" for each in expects):
            self._refuse("", "no [[steady]]: without a steady state nothing can be told about an outage")
        tries = top.get("tries", [])
        if not (isinstance(tries, list) and all(isinstance(each, str) for each in tries)):
            self._refuse("tries", 'give ids of promises, as in tries = ["SEA-001"]')
        return Drill(
            title=title,
            tries=tuple(tries),
            target=self._table(top.get("target", {}), "[target]", None),
            load=self._load(top.get("load", {})),
            faults=faults,
            expects=tuple(expects),
            stop=self._stop(top.get("stop", {})),
        )

    def _load(self, said: Any) -> Load:
        table = self._table(said, "[load]", ("rate", "before", "after", "seats", "verbs"))
        verbs = self._table(table.get("verbs", {"validate": 1}), "[load] verbs", VERBS)
        weights = {verb: self._whole(verbs, "[load] verbs", verb) for verb in verbs}
        if not any(weights.values()):
            self._refuse("[load] verbs", "at least one verb must have a weight above 0")
        return Load(
            rate=self._number(table, "[load]", "rate", 20.0, least=0.1, most=2000.0),
            before=self._number(table, "[load]", "before", 3.0, least=0.5),
            after=self._number(table, "[load]", "after", 5.0, least=0.5),
            seats=self._whole(table, "[load]", "seats", 3),
            verbs=weights,
        )

    def _fault(self, said: Any, where: str) -> DrillFault:
        table = dict(self._table(said, where, None))
        kind = self._choice(table, where, "kind", [str(each) for each in KINDS])
        attributes = ATTRIBUTES[TOXICS[FaultKind(kind)]] if FaultKind(kind) in TOXICS else ()
        instant = kind == FaultKind.CRASH
        known = ("kind", "start", *(() if instant else ("end",)), *(("direction",) if attributes else ()), *attributes)
        self._table(table, where, known)
        start = self._number(table, where, "start", 0.0)
        end = start if instant else self._number(table, where, "end", None)
        if end <= start and not instant:
            self._refuse(where, f"end = {end:g} is not after start = {start:g}")
        direction = self._choice(table, where, "direction", ["upstream", "downstream"], "downstream")
        numbers = {name: self._whole(table, where, name) for name in attributes if name in table}
        return DrillFault(kind=FaultKind(kind), start=start, end=end, direction=direction, attributes=numbers)

    def _apart(self, faults: Sequence[DrillFault]) -> None:
        for number, one in enumerate(faults, 1):
            for other in faults[: number - 1]:
                same = (one.kind, one.direction) == (other.kind, other.direction) and one.kind != FaultKind.CRASH
                if same and one.start < other.end and other.start < one.end:
                    self._refuse(f"[[fault]] {number}", f"overlaps another {one.kind} {one.direction}; join the two")

    def _expect(self, said: Any, where: str, phases: tuple[str, ...]) -> list[Expect]:
        table = self._table(said, where, ("measure", "at_least", "at_most", *(() if phases else ("phase",))))
        chosen = phases or (self._choice(table, where, "phase", list(PHASES)),)
        measure = self._choice(table, where, "measure", list(MEASURES))
        if measure == "recovery" and chosen != ("after",):
            self._refuse(where, 'recovery is measured after the faults: write it as [[expect]] with phase = "after"')
        senses: tuple[Literal["at_least", "at_most"], ...] = ("at_least", "at_most")
        limits = [each for each in senses if each in table]
        if not limits:
            self._refuse(where, "give at_least or at_most, or both")
        return [
            Expect(phase=phase, measure=measure, limit=self._number(table, where, sense, None), sense=sense)
            for phase in chosen
            for sense in limits
        ]

    def _stop(self, said: Any) -> Stop:
        table = self._table(said, "[stop]", ("unanswered", "seconds"))
        return Stop(
            unanswered=self._whole(table, "[stop]", "unanswered", 0),
            seconds=self._number(table, "[stop]", "seconds", 300.0, least=1.0),
        )

    # Values ----------------------------------------------------------------------------------

    def _tables(self, top: Mapping[str, Any], key: str) -> Iterable[tuple[int, Any]]:
        found = top.get(key, [])
        if not isinstance(found, list):
            self._refuse(key, f"write it as [[{key}]], once for each")
        return enumerate(found, 1)

    def _table(self, said: Any, where: str, known: Sequence[str] | None) -> Mapping[str, Any]:
        if not isinstance(said, dict):
            self._refuse(where, f"a table is needed here, not {said!r}")
        for key in said:
            if known is not None and key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
                self._refuse(where, f"unknown key {key!r}; {hint}")
        found: Mapping[str, Any] = said
        return found

    def _text(self, table: Mapping[str, Any], where: str, key: str) -> str:
        value = table.get(key)
        if not (isinstance(value, str) and value.strip()):
            self._refuse(where, f'{key} is missing, as in {key} = "Answers lost during activation"')
        return str(value)

    def _choice(
        self, table: Mapping[str, Any], where: str, key: str, choices: Sequence[str], default: str | None = None
    ) -> str:
        value = table.get(key, default)
        if value not in choices:
            close = difflib.get_close_matches(str(value), choices, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            what = f"{key} is missing" if value is None else f"{key} = {value!r} is none"
            self._refuse(where, f"{what}{hint}; choose from {', '.join(choices)}")
        return str(value)

    def _number(
        self,
        table: Mapping[str, Any],
        where: str,
        key: str,
        default: float | None,
        *,
        least: float = 0.0,
        most: float = LONGEST,
    ) -> float:
        value = table.get(key, default)
        if value is None:
            self._refuse(where, f"{key} is missing")
        if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
            self._refuse(where, f"{key} = {value!r}: give a number from {least:g} to {most:g}")
        return float(value)

    def _whole(self, table: Mapping[str, Any], where: str, key: str, default: int = 0) -> int:
        value = table.get(key, default)
        if type(value) is not int or value < 0:
            self._refuse(where, f"{key} = {value!r}: give a whole number, 0 or more")
        return int(value)

    def _refuse(self, where: str, why: str) -> None:
        raise UsageError(f"{self._name}: {where}: {why}" if where else f"{self._name}: {why}")


# Measuring ---------------------------------------------------------------------------------------


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


def phases(story: StoryHistory, clean: StoryHistory | None) -> dict[str, list[Operation]]:
    """Calls by phase, of the story with the faults and of the one told after them, if there is one."""
    found: dict[str, list[Operation]] = {phase: [] for phase in PHASES}
    found["clean-up"] = [] if clean is None else clean.operations
    if not story.faults:
        return found
    first = min(fault.begin for fault in story.faults)
    for each in story.operations:
        if any(_overlap(each, fault) for fault in story.faults):
            found["during"].append(each)
        else:
            found["before" if each.begin < first else "after"].append(each)
    return found


def _overlap(operation: Operation, fault: Fault) -> bool:
    ended = math.inf if operation.end is None else operation.end
    gone = math.inf if fault.end is None else fault.end
    return operation.begin <= gone and fault.begin <= ended


def measured(drill: Drill, story: StoryHistory, clean: StoryHistory | None) -> list[Measured]:
    """Every expectation of the drill, measured in the history of its stories."""
    by_phase = phases(story, clean)
    found = []
    for expect in drill.expects:
        calls = by_phase[expect.phase]
        if expect.measure == "recovery":
            times = recoveries(story)
            found.append(Measured(expect, _slowest(times, expect, _watched(story)), len(times)))
        else:
            found.append(Measured(expect, measure(expect.measure, calls), len(calls)))
    return found


def _slowest(times: Mapping[str, float | None], expect: Expect, watched: float) -> float | None:
    """The slowest client's recovery; of one never served again, how long it was watched, if that is too long."""
    if not times:
        return None
    if None in times.values():
        return None if expect.met(watched) else watched
    return max(each for each in times.values() if each is not None)


def _watched(story: StoryHistory) -> float:
    """Seconds from the end of the last fault to the last thing that was seen."""
    gone = max((fault.end or 0.0 for fault in story.faults), default=0.0)
    last = max((each.begin if each.end is None else each.end for each in story.operations), default=gone)
    return round(last - gone, 3)


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
            if len(spent) < ENOUGH:
                return None
            return round(spent[math.ceil(0.95 * len(spent)) - 1], 3)


def recoveries(story: StoryHistory) -> dict[str, float | None]:
    """Seconds from the end of the last fault to each client's first accepted call that began after it.

    None for a client that was called and never served again; a client that was not called is not there.
    """
    ends = [fault.end for fault in story.faults]
    if not ends or None in ends:
        return {}
    gone = max(end for end in ends if end is not None)
    found: dict[str, float | None] = {}
    for each in sorted(story.operations, key=lambda operation: operation.begin):
        if each.begin < gone or each.verb == "issue":
            continue
        found.setdefault(each.client, None)
        if found[each.client] is None and each.accepted and each.end is not None:
            found[each.client] = round(each.end - gone, 3)
    return found
