"""Plainer forms of one step of a plan, the plainest first.

What a finding is told with should say what it takes and nothing else: the
shortest fault, the fewest parameters, the first value of the table it was drawn
from, the word that every reader knows. Of several forms that break the same
promise the first in these lists is taken, so that one defect comes out in one
form, whatever seed found it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from licensing_harness.faults.plan_kinds import KINDS, STREAMS
from licensing_harness.generate.draw_faults import Drawn
from licensing_harness.generate.mix import TERMS
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.breaking import MOMENTARY
from licensing_harness.worlds.story import DEVICES

Step = dict[str, Any]
Table = Mapping[FaultKind, Drawn]
"""What faults were drawn from."""

_PAUSES: Final = (0.001, 0.01, 0.05, 0.3, 0.5, 1.05)
"""Seconds; within each of these something else has time to happen."""

_DEVICE_VERBS: Final = ("validate", "activate", "heartbeat", "release", "issue_token", "validate_token")
_VENDOR_VERBS: Final = ("suspend", "reinstate", "renew", "revoke")

_REFUSING: Final = (FaultKind.STORE_FULL, FaultKind.STORE_READ_ONLY, FaultKind.STORE_GONE)
"""Stores that take nothing, the plainest first: what a target does about one it does about all."""

_CRASHES: Final = (FaultKind.CRASH, FaultKind.RESTART, FaultKind.POWER_LOSS)


def plainer(step: Step, table: Table, clients: tuple[str, ...] = ()) -> Iterator[Step]:
    """Plainer forms of a step. ``clients`` are those that have a call after it, the next one first."""
    match step["do"]:
        case "fresh_licence":
            yield from _licence(step)
        case "crash" if step.get("power"):
            yield {**step, "power": False}
        case "call":
            yield {**step, "do": "start"}
            yield from _started(step)
        case "start":
            yield from _started(step)
        case "contend":
            yield {**step, "do": "start", "client": DEVICES[0]}
        case "advance":
            yield from _waits(step, table)
        case "fault":
            yield from _fault(step, table, clients)
        case _:
            return


def longer(step: Step) -> Step:
    """A wait of the next size."""
    seconds = step["seconds"]
    return {**step, "seconds": next((each for each in _PAUSES if each > seconds), round(seconds * 1.1, 6))}


def other_verbs(step: Step) -> Iterator[Step]:
    """The same call with a verb that says less, the one that says least first; none for a call with more to say."""
    asked = {"do", "client", "verb", "licence", "duration"}
    if step["do"] not in {"start", "call", "contend"} or step.keys() - asked:
        return
    verbs = _VENDOR_VERBS if step.get("client") not in {*DEVICES, None} else _DEVICE_VERBS
    if step["verb"] in verbs:
        for verb in verbs[: verbs.index(step["verb"])]:
            yield _less({**step, "verb": verb}, "duration")


def _licence(step: Step) -> Iterator[Step]:
    if "duration" in step:
        yield _less(step, "duration")
        yield from _terms(step)
    if step.get("features") != ["base"]:
        yield {**step, "features": ["base"]}
    for seats in range(1, int(step.get("seats", 1))):
        yield {**step, "seats": seats}


def _started(step: Step) -> Iterator[Step]:
    if step["client"] in DEVICES:
        yield from ({**step, "client": each} for each in DEVICES[: DEVICES.index(step["client"])])
    yield from _terms(step)


def _terms(step: Step) -> Iterator[Step]:
    for each in TERMS:
        if each < step.get("duration", 0.0):
            yield {**step, "duration": each}


def _waits(step: Step, table: Table) -> Iterator[Step]:
    """The wait cut down to a size at which something happens; one of no such size is drawn out to the next."""
    drawn = {each for of in table.values() for each in of.seconds if each is not None}
    for each in sorted({*_PAUSES, *drawn}):
        if each == step["seconds"]:
            return
        yield {**step, "seconds": each}
        if each > step["seconds"]:
            return


def _fault(step: Step, table: Table, clients: tuple[str, ...]) -> Iterator[Step]:
    kind = FaultKind(step["kind"])
    yield from _words(kind, clients)
    if kind in _REFUSING:
        yield from ({**step, "kind": each.value} for each in _REFUSING[: _REFUSING.index(kind)])
    if step.get("stream", STREAMS[0]) != STREAMS[0]:
        yield _less(step, "stream")
    if "place" in step:
        yield _less(step, "place")
    yield from _parameters(step, kind, table)
    yield from _seconds(step, kind, table)


def _words(kind: FaultKind, clients: tuple[str, ...]) -> Iterator[Step]:
    """The word of stories that does the same to one call, or at one moment."""
    if KINDS[kind.value].where == "link":
        for client in clients:
            yield {"do": "cut_next", "client": client, "what": "request"}
            yield {"do": "cut_next", "client": client, "what": "answer"}
    elif kind in _REFUSING:
        yield {"do": "crash", "power": False}  # a server may start again when its store takes nothing
    elif kind in _CRASHES:
        for power in (False, True)[: 1 + (kind is FaultKind.POWER_LOSS)]:
            yield {"do": "crash", "power": power}


def _parameters(step: Step, kind: FaultKind, table: Table) -> Iterator[Step]:
    known, given = KINDS[kind.value].parameters, step.get("parameters", {})
    plain = {name: value for name, value in given.items() if known[name].required}
    if _filled(plain, kind) != _filled(given, kind):
        yield _with(step, plain)  # all at once: most often nothing else matters
    for name, value in given.items():
        if not known[name].required and value != known[name].default:
            yield _with(step, {other: each for other, each in given.items() if other != name})
        for each in _before(value, table[kind].parameters.get(name, ()) if kind in table else ()):
            yield _with(step, {**given, name: each})


def _seconds(step: Step, kind: FaultKind, table: Table) -> Iterator[Step]:
    seconds = step.get("seconds")
    if seconds is None:
        return
    if kind in MOMENTARY:
        yield _less(step, "seconds")
    drawn = table[kind].seconds if kind in table else ()
    for each in sorted(each for each in drawn if each is not None and each < seconds):
        yield {**step, "seconds": each}


def _before(value: float, values: tuple[float | None, ...]) -> Iterator[float]:
    """The values of a table that are plainer than this one."""
    for each in values:
        if each == value:
            return
        if each is not None:
            yield each


def _filled(parameters: Mapping[str, float], kind: FaultKind) -> dict[str, float]:
    """What is meant: with the defaults of what was left out."""
    known = KINDS[kind.value].parameters
    return {name: each.default for name, each in known.items() if each.default is not None} | dict(parameters)


def _with(step: Step, parameters: Mapping[str, float]) -> Step:
    return {**step, "parameters": dict(parameters)} if parameters else _less(step, "parameters")


def _less(step: Step, name: str) -> Step:
    return {key: value for key, value in step.items() if key != name}
