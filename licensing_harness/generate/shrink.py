"""The smallest plan that still breaks the same promise.

A plan is data, so steps are left out, replayed and judged directly: no draws,
no choice sequences. That takes tens of stories where Hypothesis' own shrinker,
which knows nothing of licences and clients, took hundreds and often stopped
early (it gives up after 200 tries without progress).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from licensing_harness.worlds.story import DEVICES

Plan = list[dict[str, Any]]

CALM: Final = "0"
"""The chance with which the simulated network has no gaps."""

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
        end = len(search.plan)
        while end > 0:  # from the end: what comes late is most often beside the point
            start = max(0, end - size)
            shorter = without(search.plan, range(start, end))
            search.accept(shorter, search.chance)
            end = min(start, len(search.plan))
        if size == 1:
            return
        size //= 2


def _simplify(search: _Search) -> None:
    for position in range(len(search.plan)):
        for simpler in _simpler(search.plan[position]):
            plan = search.plan
            search.accept([*plan[:position], simpler, *plan[position + 1 :]], search.chance)
    search.accept(_renamed(search.plan), search.chance)


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
        case "call":
            yield {**step, "do": "start"}
        case _:
            return


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
