"""A fault plan: which faults, where, and when, as plain data that is the same in both worlds.

Times are seconds from the start of the plan. A plan that was made is valid:
``Plan`` and ``PlannedFault`` refuse, with a PlanError, what can't be meant.
``schedule`` turns a plan and a seed into the events of one run; it does
nothing by itself, reads no clock and draws nothing but by the seed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from licensing_harness.entropy import stream as chance
from licensing_harness.errors import UsageError
from licensing_harness.faults.pages import RETRY_AFTER
from licensing_harness.faults.plan_kinds import KINDS, MOST, STREAMS, Kind, Parameter, unknown, why_not
from licensing_harness.vocabulary import FaultKind

MOST_EVENTS: Final = 10_000
"""Intervals that one flapping fault may have."""

_TIMES: Final = ("at", "start", "end", "spread")
_PLACES: Final = ("link", "node", "nodes", "store")
_TIME: Final = Parameter(unit="seconds", whole=False)


class PlanError(UsageError):
    """A plan that can't be meant; ``key`` is at fault in the fault number ``number`` (from 1), if one is."""

    def __init__(self, text: str, *, key: str = "", number: int = 0) -> None:
        self.text = text
        self.key = key
        self.number = number
        super().__init__(f"fault {number}: {text}" if number else text)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFault:
    """One fault of a plan. Raises PlanError for what the kind does not take.

    A kind takes one place: ``link`` (``"client->server"``, with a ``stream``
    for the kinds that work in one direction), ``node``, ``nodes`` or
    ``store``; and one time: ``at``, or ``start`` and ``end``. ``parameters``
    are the numbers of the kind; those left out get their defaults.
    """

    kind: str
    at: float | None = None
    start: float | None = None
    end: float | None = None
    spread: float = 0.0
    """Seconds by which it may begin later, as the seed decides; its end stays."""
    link: str = ""
    stream: str = ""
    node: str = ""
    nodes: tuple[str, ...] = ()
    store: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str):
            raise PlanError(f"kind: expected a text, got {self.kind!r}", key="kind")
        if self.kind not in KINDS:
            raise PlanError(unknown("kind", self.kind, KINDS), key="kind")
        known = KINDS[self.kind]
        self._check_keys(known)
        self._check_place(known)
        object.__setattr__(self, "parameters", numbers(self.kind, self.parameters))
        self._check_time(known)
        self._check_together()

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The fault that a flat table (of TOML or JSON) describes. Raises PlanError."""
        if "kind" not in table:
            raise PlanError("a fault needs a 'kind', such as kind = \"latency\"")
        own = {"kind", "stream", *_TIMES, *_PLACES}
        fields = {name: value for name, value in table.items() if name in own}
        rest = {name: value for name, value in table.items() if name not in own}
        for name in ("link", "node", "store", "stream"):
            if name in fields and not fields[name]:
                raise PlanError(f"{name}: expected a name, got {fields[name]!r}", key=name)
        return cls(**fields, parameters=rest)

    def as_table(self) -> dict[str, Any]:
        """The flat table that describes it; ``of`` reads it back to an equal fault."""
        table: dict[str, Any] = {"kind": self.kind}
        for name in ("at", "start", "end", "spread", "link", "stream", "node", "nodes", "store"):
            value = getattr(self, name)
            if value not in (None, "", ()) and (name, value) != ("spread", 0):
                table[name] = list(value) if isinstance(value, tuple) else value
        return {**table, **self.parameters}

    @property
    def fault(self) -> FaultKind:
        """What is done, as the history calls it."""
        return KINDS[self.kind].fault

    @property
    def begin(self) -> float:
        """When it begins at the earliest."""
        return (self.at if self.at is not None else self.start) or 0.0

    @property
    def over(self) -> float:
        """When it is over at the latest."""
        if self.end is not None:
            return self.end
        return self.begin + self.spread + self.parameters.get("gap", 0.0) * max(0, len(self.nodes) - 1)

    @property
    def places(self) -> tuple[str, ...]:
        """Where it takes place: the link, the store, or its nodes."""
        return self.nodes or (self.link or self.node or self.store,)

    def _check_keys(self, known: Kind) -> None:
        takes = ["kind", *known.keys, *known.parameters]
        for name in (*_TIMES[:3], *_PLACES, "stream"):
            if name not in takes and getattr(self, name) not in (None, "", ()):
                raise PlanError(f"{self.kind} takes no {name!r}; it takes {', '.join(takes[1:])}", key=name)
        for name in self.parameters:
            if name not in known.parameters:
                raise PlanError(f"{unknown('key', name, takes)} ({self.kind})", key=name)

    def _check_place(self, known: Kind) -> None:
        place = getattr(self, known.where)
        if known.stream:
            object.__setattr__(self, "stream", self.stream or STREAMS[0])
            if self.stream not in STREAMS:
                raise PlanError(f"stream: {self.stream!r} is none of {', '.join(STREAMS)}", key="stream")
        if place in ("", ()):
            example = {"link": '"laptop->server"', "nodes": '["one", "two"]'}.get(known.where, '"server"')
            raise PlanError(f"{self.kind} needs a place: {known.where} = {example}", key="kind")
        if known.where == "nodes":
            listed = isinstance(place, list | tuple) and len(place) > 0
            if not listed or not all(isinstance(each, str) and each for each in place):
                raise PlanError(f"nodes: expected a list of names, got {place!r}", key="nodes")
            if len(set(place)) < len(place):
                raise PlanError("nodes: a node is named twice; name each once", key="nodes")
            object.__setattr__(self, "nodes", tuple(place))
        elif not isinstance(place, str):
            raise PlanError(f"{known.where}: expected a text, got {place!r}", key=known.where)
        elif known.where == "link":
            ends = place.split("->")
            if len(ends) != 2 or not all(each and each == each.strip() for each in ends):  # noqa: PLR2004 - a pair
                raise PlanError(f'link: {place!r} is no pair of names; write "client->server"', key="link")

    def _check_time(self, known: Kind) -> None:
        for name in _TIMES:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _number(name, getattr(self, name), _TIME))
        if self.at is not None and (self.start is not None or self.end is not None):
            raise PlanError("'at' and 'start' or 'end' exclude each other: leave one out", key="at")
        if self.at is not None:
            return
        if known.when == "at":
            raise PlanError(f"{self.kind} happens at one moment: it needs 'at'", key="kind")
        for name in ("start", "end"):
            if getattr(self, name) is None:
                way_out = ", or 'at' for one moment" if known.when == "either" else ""
                raise PlanError(
                    f"{self.kind} needs {name!r}, in seconds from the start of the plan{way_out}", key="kind"
                )
        if self.end is not None and self.start is not None:
            if self.end <= self.start:
                raise PlanError(f"end: {self.end:g} is not after the start, {self.start:g}", key="end")
            if self.spread and self.spread >= self.end - self.start:
                raise PlanError(f"spread: {self.spread:g} is not less than the fault is long", key="spread")

    def _check_together(self) -> None:
        """What no key can say alone."""
        given = self.parameters
        if self.kind == "rolling-restart" and self.spread >= given["gap"]:
            raise PlanError("spread: give less than the gap, so that the nodes stay in order", key="spread")
        if self.kind == "flapping" and self.end is not None:
            long, period = self.end - self.begin, given["period"]
            if period > long:
                raise PlanError(f"period: {period:g} is longer than the fault, {long:g}", key="period")
            if long / period > MOST_EVENTS:
                raise PlanError(f"period: {period:g} makes more than {MOST_EVENTS} intervals", key="period")
            if self.spread > period * given["up"]:
                raise PlanError("spread: give at most the time that the link is up in a period", key="spread")


def numbers(kind: str, given: Mapping[str, Any]) -> dict[str, float]:
    """The parameters of a kind: those given, within their limits, and the defaults of the others.

    Raises PlanError that names the parameter, and the nearest one for a name that there is none of.
    """
    known = KINDS[kind].parameters
    for name in given:
        if name not in known:
            text = unknown("parameter", name, known) if known else f"{name!r}: it takes no parameters"
            raise PlanError(f"{text} ({kind})", key=name)
    values = {name: _number(name, value, known[name]) for name, value in given.items()}
    for name, parameter in known.items():
        if name not in values and parameter.required:
            raise PlanError(f"{kind} needs {name!r}, {_unit(parameter)}", key="kind")
        if name not in values and parameter.default is not None:
            values[name] = parameter.default
    if "first" in values and "every" in values:
        raise PlanError("'first' and 'every' exclude each other: leave one out", key="every")
    if "retry_after" in values and values["status"] not in RETRY_AFTER:
        raise PlanError(f"retry_after goes with 429 and 503, not with {values['status']}", key="retry_after")
    if kind == "slicer" and values["size_variation"] >= values["average_size"]:
        raise PlanError("size_variation: give less than average_size", key="size_variation")
    return values


@dataclass(frozen=True, slots=True)
class Plan:
    """Faults in the order of their beginnings. Raises PlanError, numbered as they were given."""

    faults: tuple[PlannedFault, ...]

    def __post_init__(self) -> None:
        if not self.faults:
            raise PlanError("the plan is empty; give at least one fault")
        for number, fault in enumerate(self.faults, 1):
            for before, other in enumerate(self.faults[: number - 1], 1):
                if _overlap(fault, other):
                    place = next(each for each in fault.places if each in other.places)
                    text = f"{fault.fault} on {place} overlaps fault {before}, {other.begin:g} to {other.over:g} s"
                    raise PlanError(f"{text}; move one of the two", key=_when(fault), number=number)
        object.__setattr__(self, "faults", tuple(sorted(self.faults, key=lambda fault: fault.begin)))

    @property
    def end(self) -> float:
        """Seconds until the last fault is over."""
        return max(fault.over for fault in self.faults)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing to do: set ``kind`` at ``place`` at ``begin`` and, unless it is momentary, remove it at ``end``."""

    kind: FaultKind
    begin: float
    end: float | None
    """None: it happens at one moment, and there is nothing to remove."""
    place: str
    stream: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)
    fault: int
    """Which fault of the plan it belongs to, from 0."""
    occurrence: int = 0
    """Which of that fault's events it is, from 0."""


def schedule(plan: Plan, seed: int | str) -> tuple[Event, ...]:
    """The plan's events in the order of their beginnings; the same seed gives the same ones.

    What chance decides is keyed by the kind, place and time of a fault and by
    the occurrence: leaving a fault out changes no other one's events.
    """
    found = [event for index, fault in enumerate(plan.faults) for event in _events(index, fault, seed)]
    return tuple(sorted(found, key=lambda event: (event.begin, event.fault, event.occurrence)))


def not_run(plan: Plan, world: str, implemented: Collection[str]) -> dict[int, str]:
    """Why each fault that ``world`` can't do is *not run*, by its index in the plan.

    ``implemented`` are the kinds that the world has; what is possible but not
    among them gets a reason that says so. Raises UsageError for no world.
    """
    reasons: dict[int, str] = {}
    for index, fault in enumerate(plan.faults):
        reason = why_not(fault.kind, world)
        if not reason and fault.kind not in implemented:
            reason = f"the {world} world does not have {fault.kind} yet"
        if reason:
            reasons[index] = reason
    return reasons


def check_places(plan: Plan, *, links: Collection[str], nodes: Collection[str], stores: Collection[str]) -> None:
    """Raise PlanError, numbered in the order of the plan, for a place that there is none of."""
    for number, fault in enumerate(plan.faults, 1):
        try:
            check_place(fault, links=links, nodes=nodes, stores=stores)
        except PlanError as error:
            raise PlanError(error.text, key=error.key, number=number) from None


def check_place(
    fault: PlannedFault, *, links: Collection[str], nodes: Collection[str], stores: Collection[str]
) -> None:
    """Raise PlanError when the fault's place is none of these."""
    where = KINDS[fault.kind].where
    known = {"link": links, "store": stores}.get(where, nodes)
    for place in fault.places:
        if place not in known:
            text = unknown(where.removesuffix("s"), place, known) if known else f"there is no {where} to break"
            raise PlanError(text, key=where)


def _events(index: int, fault: PlannedFault, seed: int | str) -> Iterator[Event]:
    def late(occurrence: int) -> float:
        if not fault.spread:
            return 0.0
        about = ("fault-plan", fault.kind, *fault.places, fault.stream, fault.begin, occurrence)
        return chance(seed, *about).random() * fault.spread

    place = fault.places[0]
    event = Event(kind=fault.fault, begin=fault.begin, end=fault.end, place=place, stream=fault.stream, fault=index)
    if fault.end is None:
        gap = fault.parameters.get("gap", 0.0)
        rest = {} if fault.nodes else fault.parameters
        for nth, each in enumerate(fault.places):
            begin = min(fault.begin + nth * gap + late(nth), fault.over)
            yield replace(event, begin=begin, place=each, parameters=rest, occurrence=nth)
    elif fault.kind == "flapping":
        period, up = fault.parameters["period"], fault.parameters["up"]
        for nth in range(math.ceil((fault.end - fault.begin) / period)):
            begin = fault.begin + nth * period + late(nth)
            end = min(begin + period * (1 - up), fault.begin + (nth + 1) * period, fault.end)
            if begin < end:
                yield replace(event, begin=begin, end=end, occurrence=nth)
    else:
        begin = min(fault.begin + late(0), math.nextafter(fault.end, 0))
        yield replace(event, begin=begin, parameters=fault.parameters)


def _number(name: str, value: Any, parameter: Parameter) -> float:
    """``value`` as the parameter's type, within its limits. Raises PlanError."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not isinstance(value, float):
        raise PlanError(f"{name}: expected {_unit(parameter)}, got {value!r}", key=name)
    if isinstance(value, float) and not math.isfinite(value):
        raise PlanError(f"{name}: {value} is not finite; give {_unit(parameter)}", key=name)
    if parameter.whole and value != int(value):
        raise PlanError(f"{name}: {value!r} is not a whole number; give {_unit(parameter)}", key=name)
    if parameter.choices and value not in parameter.choices:
        raise PlanError(f"{name}: {value!r} is none of {', '.join(map(str, parameter.choices))}", key=name)
    if value < parameter.least:
        raise PlanError(f"{name}: {value!r} is too small; give {parameter.least:g} or more", key=name)
    if value > parameter.most:
        shown = "it" if parameter.most == MOST else f"{value!r}"
        raise PlanError(f"{name}: {shown} is too large; give {parameter.most:.15g} or less", key=name)
    if parameter.not_zero and value == 0:
        raise PlanError(f"{name}: 0 changes nothing; give {_unit(parameter)} other than 0", key=name)
    return int(value) if parameter.whole else float(value)


def _unit(parameter: Parameter) -> str:
    if parameter.choices:
        return f"one of {', '.join(map(str, parameter.choices))}"
    return (
        parameter.unit
        if parameter.unit.startswith("an ")
        else f"a number of {parameter.unit}".replace("a number of share", "a share")
    )


def _when(fault: PlannedFault) -> str:
    return "start" if fault.at is None else "at"


def _overlap(one: PlannedFault, other: PlannedFault) -> bool:
    if one.fault != other.fault or one.stream != other.stream or not set(one.places) & set(other.places):
        return False
    first, second = sorted((one, other), key=lambda fault: (fault.begin, fault.over))
    # A moment is a closed interval, a while is one without its end.
    return second.begin < first.over or (first.end is None and second.begin == first.over)
