"""Drills as data: a load, a steady state, an outage, and what is expected in each phase. Pure.

A drill is one TOML file, so that nobody writes Python to rehearse an outage.
What happened is measured from the story's history alone, so a stored drill can
be measured again.

Phases: a call is of ``during`` when any of it lies between the beginning of the
first fault and the end of the last; else it is of ``before`` or ``after``. ``clean-up`` is a story of
its own, told when the load is over and every fault was seen to be gone.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from licensing_harness.errors import UsageError, closest, way_out
from licensing_harness.faults.plan import Plan, not_run
from licensing_harness.faults.plan_file import Places, read_faults
from licensing_harness.generate.quantiles import enough, quantile
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.verdict import Verdict

PHASES: Final = ("before", "during", "after", "clean-up")
KINDS: Final = ("latency", "timeout", "reset-peer", "proxy-down", "flapping", "crash")
"""Kinds of a fault plan that a drill can set on a live target."""

PLACES: Final = Places(links=("clients->server",), nodes=("server",))
"""Where: the way of all clients to the target, and the target."""

VERBS: Final = ("issue", "validate", "activate", "heartbeat", "release")
MEASURES: Final[Mapping[str, str]] = {
    "accepted-share": "",
    "unknown-share": "",
    "refused": "calls",
    "p95": "ms",
    "recovery": "s",
}
"""What can be measured, and its unit. ``recovery`` is of the slowest client, from the end of the last fault."""

LONGEST: Final = 3600.0
_P95: Final = 0.95


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
    target: Mapping[str, Any] = field(default_factory=dict)
    """Options of the run, as in licensing-harness.toml."""
    load: Load = field(default_factory=Load)
    expects: tuple[Expect, ...] = ()
    stop: Stop = field(default_factory=Stop)

    @property
    def outage(self) -> float:
        """Seconds from the start of the plan to the end of its last fault."""
        return self.faults.end

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
    return _Reader(name, text).drill(said)


class _Reader:
    """Turns tables into a drill; every refusal says where and what would do."""

    def __init__(self, name: str, source: str) -> None:
        self._name = name
        self._source = source

    def drill(self, said: Mapping[str, Any]) -> Drill:
        top = self._table(said, "", ("title", "tries", "target", "load", "steady", "fault", "expect", "stop"))
        title = self._text(top, "", "title")
        if not top.get("fault"):
            self._refuse("", "no [[fault]]: a drill without a fault rehearses nothing")
        faults = self._faults(top["fault"])
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

    def _faults(self, said: Any) -> Plan:
        plan = read_faults(said, name=self._name, source=self._source, places=PLACES)
        for index, why in not_run(plan, "live", KINDS).items():
            self._refuse(f"[[fault]] {plan.faults[index].kind}", f"{why}; a drill can do {', '.join(KINDS)}")
        for each in plan.faults:
            if each.kind == "crash" and each.at is None:
                self._refuse("[[fault]] crash", "a drill kills the server and starts it again at once: give at")
        return plan

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
                self._refuse(where, f"unknown key {key!r}; {way_out(key, known)}")
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
            near = closest(str(value), choices)
            hint = f"; did you mean {near!r}?" if near else ""
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
    first, gone = min(fault.begin for fault in story.faults), _gone(story)
    for each in story.operations:
        ended = math.inf if each.end is None else each.end
        found["after" if each.begin > gone else "before" if ended < first else "during"].append(each)
    return found


def _gone(story: StoryHistory) -> float:
    """When the last fault was over; infinity when there was none, or one was not seen to end."""
    return max((math.inf if each.end is None else each.end for each in story.faults), default=math.inf)


def measured(drill: Drill, story: StoryHistory, clean: StoryHistory | None) -> list[Measured]:
    """Every expectation of the drill, measured in the history of its stories."""
    by_phase = phases(story, clean)
    times, watched = recoveries(story), _watched(story)
    found = []
    for expect in drill.expects:
        calls = by_phase[expect.phase]
        if expect.measure == "recovery":
            found.append(Measured(expect, _slowest(times, expect, watched), len(times)))
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
    last = max((each.begin if each.end is None else each.end for each in story.operations), default=0.0)
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
            return round(quantile(spent, _P95), 3) if len(spent) >= enough(_P95) else None


def recoveries(story: StoryHistory) -> dict[str, float | None]:
    """Seconds from the end of the last fault to each client's first accepted call that began after it.

    None for a client that was called and never served again; a client that was not called is not there.
    """
    gone = _gone(story)
    found: dict[str, float | None] = {}
    for each in sorted(story.operations, key=lambda operation: operation.begin):
        if each.begin < gone or each.verb == "issue":
            continue
        found.setdefault(each.client, None)
        if found[each.client] is None and each.accepted and each.end is not None:
            found[each.client] = round(each.end - gone, 3)
    return found
