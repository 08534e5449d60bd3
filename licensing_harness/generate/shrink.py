"""The smallest plan that still breaks the same promise.

A plan is data, operations and faults in one list, so steps are left out,
replayed and judged directly: no draws, no choice sequences. That takes tens of
stories where Hypothesis' own shrinker, which knows nothing of licences and
clients, took hundreds and often stopped early (it gives up after 200 tries
without progress).

Then what is left is brought into one form: plainer steps
(:mod:`~licensing_harness.generate.shrink_steps`), names by first appearance, and
an order. A form is only taken when it was told and broke the promise too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from types import MappingProxyType
from typing import Any, Final

from licensing_harness.generate.shrink_steps import Table, longer, other_verbs, plainer
from licensing_harness.worlds.story import DEVICES

Plan = list[dict[str, Any]]

CALM: Final = "0"
"""The chance with which the simulated network has no gaps."""

Breaks = Callable[[Plan, str], bool]
"""``breaks(plan, chance)``: tell this story and say whether it breaks the same promise."""

_FEW: Final = 8
"""Steps among which pairs are tried as well."""

_ORDER: Final = {"fresh_licence": 0, "fault": 1, "cut_next": 1, "settle": 3, "advance": 3, "crash": 4}
_CALL: Final = 2
"""Where steps come that may as well be elsewhere: licences, faults, calls, waiting; and crashes last, for when a crash
strikes what is under way is chance."""

_NO_TABLE: Final[Table] = MappingProxyType({})


def smallest(
    plan: Plan,
    chance: str,
    breaks: Breaks,
    *,
    tries: int = 300,
    calmer: Sequence[str] = (CALM,),
    table: Table = _NO_TABLE,
    contend: bool = False,
) -> tuple[Plan, str]:
    """The plan without whatever it can do without, in at most ``tries`` stories.

    Removes steps in ever smaller runs, then makes the remaining ones simpler,
    until nothing helps any more. ``calmer`` are plainer chances to tell it with,
    the plainest first. ``table`` is what its faults were drawn from. With
    ``contend`` devices that do the same may do it in one step, all of them.
    The result breaks; it may be the plan given.
    """
    search = _Search(plan, chance, breaks, tries)
    _calm(search, calmer)
    before: Plan | None = None
    while search.plan != before and search.tries:
        before = search.plan
        _remove(search)
        _simplify(search, table)
        _calm(search, calmer)
        if search.plan == before and len(before) <= _FEW:
            _remove_pairs(search, contend=contend)
            if search.plan == before:
                _verbs(search)
                _order(search)
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


def _calm(search: _Search, calmer: Sequence[str]) -> None:
    """The plainest chance; a short plan may have to say in words what chance had arranged."""
    for chance in calmer:
        if chance == search.chance or search.accept(search.plan, chance):
            return
        if len(search.plan) <= _FEW and any(search.accept(plan, chance) for plan in _arranged(search.plan)):
            return


def _arranged(plan: Plan) -> Iterator[Plan]:
    """The same plan with outcomes waited for, with longer waits, and with another device in one step."""
    waited = [{**step, "do": "call"} if step["do"] == "start" else step for step in plan]
    yield waited
    for each in (plan, waited):
        yield [longer(step) if step["do"] == "advance" else step for step in each]
    for position, step in enumerate(plan):
        if step.get("client") in DEVICES:
            for device in DEVICES:
                yield [*plan[:position], {**step, "client": device}, *plan[position + 1 :]]


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


def _remove_pairs(search: _Search, *, contend: bool) -> None:
    """Steps that go together or not at all: two that undo each other, two waits, one that gave another one time."""
    for pair in combinations(range(len(search.plan)), 2):
        together = [without(search.plan, pair), _waiting_once(search.plan, *pair)]
        if contend:
            together.append(_contending(search.plan, *pair))
        if any(search.accept(plan, search.chance) for plan in together):
            return
    for position, gone in permutations(range(len(search.plan)), 2):
        for form in _waited_for(search.plan[position]):
            plan = [*search.plan[:position], form, *search.plan[position + 1 :]]
            if search.accept(without(plan, (gone,)), search.chance):
                return
    issued = sum(step["do"] == "fresh_licence" for step in search.plan)
    for kept, gone in permutations(range(1, issued + 1), 2):
        if search.accept(_of_one(search.plan, f"L{kept}", f"L{gone}"), search.chance):
            return


def _contending(plan: Plan, first: int, second: int) -> Plan:
    """The plan in which all devices do at once what two did; no plan when these did not do the same."""
    calls = [{**plan[position], "do": "contend"} for position in (first, second)]
    if {plan[first]["do"], plan[second]["do"]} - {"start", "call"}:
        return []
    if any(call.pop("client", "") not in DEVICES for call in calls) or calls[0] != calls[1]:
        return []
    return [*plan[:first], calls[0], *plan[first + 1 : second], *plan[second + 1 :]]


def _of_one(plan: Plan, kept: str, gone: str) -> Plan:
    """The plan in which one licence stands for two."""
    issued = [position for position, step in enumerate(plan) if step["do"] == "fresh_licence"]
    plan = [{**step, "licence": kept} if step.get("licence") == gone else step for step in plan]
    return without(plan, (issued[int(gone[1:]) - 1],))


def _waited_for(step: dict[str, Any]) -> list[dict[str, Any]]:
    """The same call, with its outcome waited for."""
    match step["do"]:
        case "start":
            return [{**step, "do": "call"}]
        case "contend":
            return [{**step, "do": "call", "client": device} for device in DEVICES]
        case _:
            return []


def _waiting_once(plan: Plan, first: int, second: int) -> Plan:
    """The plan with one wait in the place of the later of two; no plan when these are no waits."""
    if plan[first]["do"] != "advance" or plan[second]["do"] != "advance":
        return []
    both = round(plan[first]["seconds"] + plan[second]["seconds"], 6)
    return [*plan[:first], *plan[first + 1 : second], {"do": "advance", "seconds": both}, *plan[second + 1 :]]


def _simplify(search: _Search, table: Table) -> None:
    for position in range(len(search.plan)):
        simpler = plainer(search.plan[position], table, _clients(search.plan[position + 1 :]))
        while (form := next(simpler, None)) is not None:
            plan = search.plan
            if search.accept([*plan[:position], form, *plan[position + 1 :]], search.chance):
                simpler = plainer(form, table, _clients(plan[position + 1 :]))
    search.accept(_relabelled(search.plan), search.chance)
    search.accept(_renamed(search.plan), search.chance)


def _clients(plan: Plan) -> tuple[str, ...]:
    """Who calls in these steps, the next one first."""
    called = [step["client"] for step in plan if step["do"] in {"start", "call"}]
    return tuple(dict.fromkeys([*called, *(DEVICES if any(step["do"] == "contend" for step in plan) else ())]))


def _verbs(search: _Search) -> None:
    """The plainest verb that shows it as well."""
    for position in range(len(search.plan)):
        for form in other_verbs(search.plan[position]):
            plan = search.plan
            if search.accept([*plan[:position], form, *plan[position + 1 :]], search.chance):
                break


def _order(search: _Search) -> None:
    """Neighbours in the order of their words, where it makes no difference: one form for one finding."""
    for position in range(len(search.plan) - 1):
        plan = search.plan
        first, second = plan[position : position + 2]
        if _rank(second) < _rank(first):
            search.accept([*plan[:position], second, first, *plan[position + 2 :]], search.chance)


def _rank(step: Mapping[str, Any]) -> tuple[int, bool, str]:
    return _ORDER.get(step["do"], _CALL), step.get("client") in DEVICES, f"{step}"


def without(plan: Plan, positions: Collection[int]) -> Plan:
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


def _relabelled(plan: Plan) -> Plan:
    """The same plan with licences issued in the order in which they are spoken of first."""
    issued = [position for position, step in enumerate(plan) if step["do"] == "fresh_licence"]
    spoken = dict.fromkeys(step["licence"] for step in plan if step.get("licence"))
    order = [*spoken, *(label for n in range(len(issued)) if (label := f"L{n + 1}") not in spoken)]
    names = {old: f"L{number}" for number, old in enumerate(order, 1)}
    again = [{**step, "licence": names[step["licence"]]} if step.get("licence") else step for step in plan]
    for position, label in zip(issued, order, strict=False):
        again[position] = plan[issued[int(label[1:]) - 1]]
    return again


def described(plan: Plan) -> str:
    """A plan in words, one step a line."""
    return "\n".join(
        f"  {step['do']}" + "".join(f" {name}={value}" for name, value in step.items() if name not in {"do", "plan"})
        for step in plan
    )
