"""The judge: first whether a story can be trusted, then every promise that applies to its target.

The same function judges a live story, a simulated one and one read back from a
file; it sees nothing but the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import lru_cache
from typing import Final

from msgspec import structs

from licensing_harness.checkers import audit, idempotency, revocation, seats, tokens, validity
from licensing_harness.checkers.index import forget, overlapping_pairs, touched_by
from licensing_harness.errors import CleanUpIncomplete, HarnessError
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.verdict import Promise, StoryJudgement, Violation
from licensing_harness.vocabulary import Cap, Contract, FaultKind, Outcome

_ANSWERS: Final = frozenset({FaultKind.STALE_ANSWER, FaultKind.CORRUPT_BODY})
"""Faults by which a client gets an answer that is not what the target says."""

ALL_PROMISES: Final[tuple[Promise, ...]] = (
    *validity.PROMISES,
    *revocation.PROMISES,
    *seats.PROMISES,
    *idempotency.PROMISES,
    *audit.PROMISES,
    *tokens.PROMISES,
)
"""Every promise that is judged, family by family."""


def promise(identity: str) -> Promise:
    """The promise with this id; KeyError when there is none."""
    return _BY_ID[identity]


_BY_ID: Final = {each.id: each for each in ALL_PROMISES}


def not_applicable(
    promise: Promise,
    contract: Contract,
    capabilities: AbstractSet[str],
    reasons: dict[str, str] | None = None,
) -> str:
    """Why a promise can't be judged for this target; empty when it can.

    ``reasons`` are the adapter's own words for capabilities that do not apply.
    """
    missing = sorted(cap.value for cap in promise.needs if cap not in capabilities)
    for cap in missing:
        if reasons and cap in reasons:
            return f"needs {cap!r}: not applicable: {reasons[cap]}"
    if missing:
        return f"needs {' and '.join(map(repr, missing))}: not declared by the target"
    unstated = [name for name in promise.numbers if getattr(contract, name) is None]
    if unstated:
        return f"the contract does not state {' and '.join(unstated)}"
    return ""


def check_assumptions(story: StoryHistory) -> None:
    """Raise HarnessError when the record itself can't be right; nothing is said about the target then.

    Raises CleanUpIncomplete when a fault was never removed.
    """
    latest: dict[str, Operation] = {}
    numbers: set[int] = set()
    for each in sorted(story.operations, key=lambda operation: (operation.begin, operation.n)):
        where = f"story {story.story}: #{each.n} {each.verb} of {each.client}"
        if each.n in numbers:
            raise HarnessError(f"{where}: the record number is used twice. The history can't be judged.")
        numbers.add(each.n)
        if each.end is None:
            if not each.unknown:
                raise HarnessError(f"{where}: {each.outcome}, but no end was recorded. The history can't be judged.")
        elif each.end < each.begin:
            raise HarnessError(f"{where}: it ended before it began. The clock that stamped it went back.")
        before = latest.get(each.client)
        if before is not None and before.end is not None and before.end > each.begin:
            raise HarnessError(
                f"{where} began at {each.begin:.6f}s, before its #{before.n} {before.verb} ended at "
                f"{before.end:.6f}s. One client's calls must never overlap: use one client for each lane."
            )
        latest[each.client] = each
    for fault in story.faults:
        if fault.end is None and story.complete:
            raise CleanUpIncomplete(
                f"story {story.story}: fault #{fault.n} {fault.fault} {fault.where}".rstrip()
                + " was set and never removed. Remove it by hand, or restart the target, before the next run."
            )


def judge_story(
    story: StoryHistory,
    contract: Contract,
    capabilities: AbstractSet[str] | AbstractSet[Cap],
    promises: Sequence[Promise] = ALL_PROMISES,
) -> StoryJudgement:
    """Judge one story by every promise that the target's capabilities and numbers allow.

    Raises HarnessError when the record breaks an assumption. A story that was
    cut short without a trace of what was under way is counted and not judged.
    """
    check_assumptions(story)
    violations: list[Violation] = []
    occasions: dict[str, int] = {}
    if story.judgeable:
        judged = answered_by_the_target(story) if story.faults else story
        asked = (
            _all_applicable(contract, frozenset(capabilities))
            if promises is ALL_PROMISES
            else applicable(promises, contract, capabilities)
        )
        for each in asked:
            violations.extend(each.check(judged, contract))
            count = each.occasions(judged, contract)
            if count:
                occasions[each.id] = count
    forget()
    return StoryJudgement(
        story=story.story,
        world=story.world,
        scenario=story.scenario,
        tries=story.tries,
        violations=tuple(violations),
        occasions=occasions,
        operations=len(story.operations),
        overlaps=overlapping_pairs(story.operations),
        complete=story.complete,
    )


def answered_by_the_target(story: StoryHistory) -> StoryHistory:
    """The story without answers that are not the target's own: the calls they were given to count as unknown.

    Somebody between client and target gave an old answer, or changed one. What
    the client made of it says nothing about the target. An old page of the audit
    trail is the target's own all the same: its entries are kept, for the client
    asks for what comes after them. When they were read is not known.
    """
    others: set[int] = set()
    changed: set[int] = set()
    for fault in story.faults:
        if fault.fault in _ANSWERS and fault.met:
            touched = touched_by(fault, story)
            others |= touched
            changed |= touched if fault.fault is FaultKind.CORRUPT_BODY else set()
    if not others:
        return story
    operations = []
    for each in story.operations:
        if each.n not in others:
            operations.append(each)
        elif each.verb == "audit_log" and each.n not in changed:
            operations.append(structs.replace(each, outcome=Outcome.UNKNOWN))
        else:
            operations.append(structs.replace(each, outcome=Outcome.UNKNOWN, end=None, answer={}))
    return replace(story, operations=operations)


@lru_cache(maxsize=16)
def _all_applicable(contract: Contract, capabilities: frozenset[str]) -> tuple[Promise, ...]:
    """Of all promises: the stories of a run are judged by the same ones."""
    return tuple(applicable(ALL_PROMISES, contract, capabilities))


def applicable(promises: Iterable[Promise], contract: Contract, capabilities: AbstractSet[str]) -> list[Promise]:
    """The promises that a target with these capabilities and numbers can be judged by."""
    return [each for each in promises if not not_applicable(each, contract, capabilities)]
