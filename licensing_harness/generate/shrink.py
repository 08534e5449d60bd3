"""The smallest plan that still breaks the same promise.

A plan is data, operations and faults in one list, so steps are left out, made
simpler, replayed and judged directly: no draws, no choice sequences. That takes
tens of stories where Hypothesis' own shrinker, which knows nothing of licences
and clients, took hundreds and often stopped early (it gives up after 200 tries
without progress).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from licensing_harness.generate.draw_faults import drawn
from licensing_harness.vocabulary import Contract, FaultKind
from licensing_harness.worlds.story import DEVICES

Plan = list[dict[str, Any]]

CALM: Final = "0"
"""The chance with which the simulated network has no gaps."""

_CLOSE: Final = 3
"""So many neighbours may be needed for nothing but each other."""

_SECONDS: Final = (0.3, 1.0, 2.0, 2.2, 3.0)
"""The plainest times to wait for something, or for a fault to last."""

_ORDER: Final = {"fresh_licence": 0, "fault": 1, "cut_next": 1, "settle": 3, "advance": 3, "crash": 4}
_CALL: Final = 2
"""Where the steps of a plan come that may as well be elsewhere: licences, faults, calls, waiting; and crashes last,
for when a crash strikes what is under way is chance."""

_REFUSING: Final = tuple(map(str, (FaultKind.STORE_FULL, FaultKind.STORE_READ_ONLY, FaultKind.STORE_GONE)))
"""Stores that take nothing, the plainest first: what a target does about one it does about all."""

_CRASHES: Final = frozenset({FaultKind.CRASH, FaultKind.POWER_LOSS})

Breaks = Callable[[Plan, str], bool]
"""``breaks(plan, chance)``: tell this story and say whether it breaks the same promise."""


def smallest(plan: Plan, chance: str, breaks: Breaks, *, tries: int = 300) -> tuple[Plan, str]:
    """The plan without whatever it can do without, in at most ``tries`` stories.

    Removes steps in ever smaller runs, then makes the remaining ones simpler,
    until nothing helps any more. The result breaks; it may be the plan given.
    """
    search = _Search(plan, chance, breaks, tries)
    if chance != CALM:
        search.accept(plan, CALM)
    before: Plan | None = None
    while search.plan != before and search.tries:
        before = search.plan
        _remove(search)
        _merge(search)
        _simplify(search)
        if search.chance != CALM:
            search.accept(search.plan, CALM)
    return search.plan, search.chance


class _Search:
    def __init__(self, plan: Plan, chance: str, breaks: Breaks, tries: int) -> None:
        self.plan, self.chance, self.tries = plan, chance, tries
        self._breaks = breaks
        self._known: set[str] = {f"{chance} {plan}"}

    def accept(self, plan: Plan, chance: str) -> bool:
        """Whether this breaks as well; then it is the best so far."""
        key = f"{chance} {plan}"
        if not plan or not self.tries or key in self._known:
            return False
        self._known.add(key)
        self.tries -= 1
        if not self._breaks(plan, chance):
            return False
        self.plan, self.chance = plan, chance
        return True


def _remove(search: _Search) -> None:
    size = max(1, len(search.plan) // 2)
    while True:
        step = size if size > _CLOSE else 1  # few neighbours may need to go together, wherever they stand
        end = len(search.plan)
        while end > 0:  # from the end: what comes late is most often beside the point
            start = max(0, end - size)
            gone = search.accept(without(search.plan, range(start, end)), search.chance)
            end = min(start if gone else end - step, len(search.plan))
        if size == 1:
            return
        size //= 2


def _merge(search: _Search) -> None:
    """Wait once instead of twice."""
    for second in range(len(search.plan) - 1, 0, -1):
        for first in range(second):
            plan = search.plan
            if second >= len(plan) or plan[first]["do"] != "advance" or plan[second]["do"] != "advance":
                continue
            both = {"do": "advance", "seconds": round(plan[first]["seconds"] + plan[second]["seconds"], 6)}
            for kept, gone in ((first, second), (second, first)):
                merged = [both if at == kept else step for at, step in enumerate(plan) if at != gone]
                if search.accept(merged, search.chance):
                    break


def _simplify(search: _Search) -> None:
    for position in range(len(search.plan)):
        for simpler in _simpler(search.plan[position]):
            plan = search.plan
            if _put(search, plan, position, simpler) and simpler["do"] == "fault":
                break  # others of these have what was just taken away; the next round goes on from here
    search.accept(_renamed(search.plan), search.chance)
    _in_order(search)


def _put(search: _Search, plan: Plan, position: int, step: dict[str, Any]) -> bool:
    return search.accept([*plan[:position], step, *plan[position + 1 :]], search.chance)


def _in_order(search: _Search) -> None:
    """Neighbours change places where that changes nothing: two orders of one finding become one."""
    for position in range(1, len(search.plan)):
        plan = search.plan
        before, step = plan[position - 1], plan[position]
        if _ORDER.get(step["do"], _CALL) < _ORDER.get(before["do"], _CALL):
            search.accept([*plan[: position - 1], step, before, *plan[position + 1 :]], search.chance)


def _simpler(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Simpler forms of a step."""
    match step["do"]:
        case "fresh_licence":
            if "duration" in step:
                yield {name: value for name, value in step.items() if name != "duration"}
            if step.get("features") != ["base"]:
                yield {**step, "features": ["base"]}
            for seats in range(1, int(step.get("seats", 1))):
                yield {**step, "seats": seats}
        case "crash" if step.get("power"):
            yield {**step, "power": False}
        case "fault":
            yield from _simpler_fault(step)
        case "advance":
            yield from ({**step, "seconds": each} for each in _SECONDS if each < step["seconds"])
        case "call":
            yield {**step, "do": "start"}
        case "contend":
            yield from ({**step, "do": "start", "client": device} for device in DEVICES)
        case _:
            return


def _simpler_fault(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A fault over at once, or sooner; without what it can do without; with the plainest numbers that do."""
    try:
        table = drawn(Contract()).get(FaultKind(step["kind"]))
    except ValueError:
        return
    if step["kind"] in _CRASHES:
        yield {"do": "crash", "power": step["kind"] == FaultKind.POWER_LOSS}
    if table is None:
        return
    if step["kind"] in _REFUSING:
        yield from ({**step, "kind": each} for each in _REFUSING[: _REFUSING.index(step["kind"])])
    rest = {name: value for name, value in step.items() if name != "seconds"}
    if None in table.seconds and "seconds" in step:
        yield rest
    for seconds in _SECONDS:
        if seconds < step.get("seconds", 0.0):
            yield {**step, "seconds": seconds}
    for name in ("stream", "place"):
        if name in step:
            yield {key: value for key, value in step.items() if key != name}
    given: dict[str, Any] = step.get("parameters", {})
    for name, values in table.parameters.items():
        if name not in given:
            continue
        if None in values:
            fewer = {key: value for key, value in given.items() if key != name}
            yield {**step, "parameters": fewer} if fewer else {k: v for k, v in step.items() if k != "parameters"}
        plainer = values[: values.index(given[name])] if given[name] in values else values
        for value in plainer:
            if value is not None:
                yield {**step, "parameters": {**given, name: value}}


def without(plan: Plan, positions: range) -> Plan:
    """The plan without these steps, nor any for a licence that is not issued any more; labels follow."""
    labels: dict[str, str] = {}
    seen = 0
    shorter: Plan = []
    for position, step in enumerate(plan):
        fresh = step["do"] == "fresh_licence"
        seen += fresh
        if position in positions:
            continue
        if fresh:
            labels[f"L{seen}"] = f"L{len(labels) + 1}"
        licence = step.get("licence", "")
        if licence and licence not in labels:
            continue
        shorter.append({**step, "licence": labels[licence]} if licence else step)
    return shorter


def _renamed(plan: Plan) -> Plan:
    """The same plan with devices in the order of their first appearance: one form for one finding."""
    names: dict[str, str] = {}
    for step in plan:
        client = step.get("client")
        if client in DEVICES and client not in names:
            names[client] = DEVICES[len(names)]
    return [
        {**step, "client": names.get(step["client"], step["client"])} if "client" in step else step for step in plan
    ]


def described(plan: Plan) -> str:
    """A plan in words, one step a line."""
    return "\n".join(
        f"  {step['do']}" + "".join(f" {name}={value}" for name, value in step.items() if name not in {"do", "plan"})
        for step in plan
    )
