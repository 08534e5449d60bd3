"""Validity: a yes is right, a no has a cause, and nothing acknowledged is forgotten."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import TypeVar

from licensing_harness.checkers.clocks import FOREVER
from licensing_harness.checkers.index import (
    Index,
    Licence,
    Moment,
    began,
    beyond,
    ended,
    index_of,
    precedes,
    tolerance,
)
from licensing_harness.checkers.terms import Terms
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.verdict import Promise, Violation
from licensing_harness.vocabulary import Cap, Contract, Reason

_T = TypeVar("_T")
_ABOUT_SEATS = frozenset({Reason.NO_FREE_SEAT, Reason.NO_SUCH_SEAT, Reason.NOT_AUTHORISED})
"""Refusals that say nothing about the licence itself."""

_STATES_EXPIRY = ("validate", "validate_token", "renew", "activate", "heartbeat", "issue_token")
"""Verbs whose yes means "good now". An issue may repeat an old answer, and a revoke may name a past expiry."""


def _cases(story: StoryHistory, find: Callable[[StoryHistory], Iterable[_T]]) -> list[_T]:
    return index_of(story).once(find, lambda: find(story))


def _judged(
    story: StoryHistory, contract: Contract, find: Callable[[StoryHistory, Contract], Iterable[_T]]
) -> list[_T]:
    return index_of(story).once((find, contract), lambda: find(story, contract))


def _first_yes(licence: Licence) -> Moment:
    first = licence.first_accepted("validate")
    return ended(first) if first is not None else (FOREVER, 0)


def _terms(index: Index, licence: Licence, contract: Contract) -> Terms:
    key = ("terms", licence.label, tolerance(contract))
    if key not in index.kept:
        index.kept[key] = Terms(licence, tolerance(contract), index.clocks)
    terms: Terms = index.kept[key]
    return terms


# VAL-001 ------------------------------------------------------------------------------------


def _granting(story: StoryHistory) -> Iterator[tuple[Licence, Operation, frozenset[str]]]:
    # A target that never states features grants none that could be wrong. One that states them for some yes
    # states them for every yes: then a yes without any grants nothing.
    index = index_of(story)
    if not any(each.accepted and "features" in each.answer for each in index.verbs.get("validate", ())):
        return
    for licence in index.licences.values():
        asked = licence.asked("features")
        if licence.issued is None or asked is None:
            continue
        for each in licence.of("validate"):
            if each.accepted:
                yield licence, each, frozenset(map(str, asked))


def _check_features(story: StoryHistory, _: Contract) -> Iterator[Violation]:
    accused: set[str] = set()
    for licence, each, expected in _cases(story, _granting):
        granted = frozenset(map(str, each.answer.get("features", ())))
        if granted != expected and licence.label not in accused:
            accused.add(licence.label)
            yield Violation(
                promise="VAL-001",
                story=story.story,
                expected=f"a yes with the features {_list(expected)}",
                observed=f"a yes with {_list(granted)}",
                evidence=index_of(story).evidence(licence.issued, each),
            )


def _list(features: frozenset[str]) -> str:
    return ", ".join(sorted(features)) or "none"


def _occasions_features(story: StoryHistory, _: Contract) -> int:
    return sum(1 for _ in _cases(story, _granting))


# VAL-002 ------------------------------------------------------------------------------------


def _after_term(story: StoryHistory, contract: Contract) -> Iterator[tuple[Licence, Operation, float]]:
    """Answers to a validate that was sent when the term was certainly over, after a yes within it."""
    index = index_of(story)
    for licence in index.licences.values():
        if licence.issued is None or "validate" not in licence.verbs:
            continue
        terms = _terms(index, licence, contract)
        for each in licence.of("validate"):
            if each.unknown:
                continue
            _, over = terms.bounds(began(each), each.ended)
            if each.begin > over:
                yield licence, each, over


def _check_term(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    index = index_of(story)
    accused: set[str] = set()
    for licence, each, over in _judged(story, contract, _after_term):
        if each.accepted and licence.label not in accused:
            accused.add(licence.label)
            given = [renewal for renewal in licence.of("renew") if renewal.accepted and precedes(renewal, each)]
            yield Violation(
                promise="VAL-002",
                story=story.story,
                expected=f"a no: the term was over by {over:.3f}s",
                observed=f"a yes to a question sent at {each.begin:.3f}s",
                evidence=index.evidence(given[-1] if given else licence.issued, each),
            )


def _occasions_term(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for licence, each, _ in _judged(story, contract, _after_term) if _first_yes(licence) < began(each))


# VAL-003 ------------------------------------------------------------------------------------


def _dated(story: StoryHistory) -> Iterator[tuple[Operation, str, float, float]]:
    verbs = index_of(story).verbs
    for verb in _STATES_EXPIRY:
        for each in verbs.get(verb, ()):
            said = each.answer.get("server_time")
            if not each.accepted or said is None:
                continue
            for name in ("expires", "lease_until"):
                until = each.answer.get(name)
                if until is not None:
                    yield each, name, said, until


def _check_contradiction(story: StoryHistory, _: Contract) -> Iterator[Violation]:
    for each, name, said, until in _cases(story, _dated):
        # Equal times are no contradiction: both may have been rounded down.
        if said > until:
            what = "the lease" if name == "lease_until" else "the term"
            yield Violation(
                promise="VAL-003",
                story=story.story,
                expected=f"a yes only while {what} it states is running",
                observed=f"accepted, and the same answer says that {what} ended {said - until:.3f}s before",
                evidence=(each.n,),
            )
            return


def _occasions_contradiction(story: StoryHistory, _: Contract) -> int:
    return sum(1 for _ in _cases(story, _dated))


# VAL-004 ------------------------------------------------------------------------------------


def _remembered(story: StoryHistory, contract: Contract) -> Iterator[tuple[Licence, Operation]]:
    """Answers about a licence that was acknowledged, and for which there is no reason to be deleted."""
    index = index_of(story)
    for licence in index.licences.values():
        issued = licence.issued
        if issued is None or len(licence.operations) == 1:
            continue
        gone = min((each.begin for each in licence.of("revoke") if not each.refused), default=FOREVER)
        expiring = licence.asked("duration") is not None or "renew" in licence.verbs
        terms = _terms(index, licence, contract) if expiring else None
        for each in licence.operations:
            if each.unknown or each.verb == "issue" or each.ended >= gone or not precedes(issued, each):
                continue
            if terms is not None and terms.bounds(began(each), each.ended)[0] <= each.ended:
                continue
            yield licence, each


def _check_known(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    accused: set[str] = set()
    for licence, each in _judged(story, contract, _remembered):
        if each.refused and each.reason == Reason.UNKNOWN_LICENCE and licence.label not in accused:
            accused.add(licence.label)
            yield Violation(
                promise="VAL-004",
                story=story.story,
                expected=f"{licence.label} is known: its issue was acknowledged",
                observed=f"{each.verb} refused: {each.reason}",
                evidence=index_of(story).evidence(licence.issued, each),
            )


def _occasions_known(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for _ in _judged(story, contract, _remembered))


# VAL-005 ------------------------------------------------------------------------------------


def _without_cause(story: StoryHistory, contract: Contract) -> Iterator[tuple[Licence, Operation]]:
    """Answers to a validate that came while the licence was certainly in its term, and never stopped."""
    index = index_of(story)
    for licence in index.licences.values():
        issued = licence.issued
        if issued is None or "validate" not in licence.verbs:
            continue
        stopped = min((each.begin for each in licence.of("revoke", "suspend") if not each.refused), default=FOREVER)
        terms = _terms(index, licence, contract)
        for each in licence.of("validate"):
            if each.unknown or each.ended >= stopped or not precedes(issued, each):
                continue
            if each.ended < terms.bounds(began(each), each.ended)[0]:
                yield licence, each


def _check_cause(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    accused: set[str] = set()
    for licence, each in _judged(story, contract, _without_cause):
        if each.refused and each.reason not in _ABOUT_SEATS and licence.label not in accused:
            accused.add(licence.label)
            yield Violation(
                promise="VAL-005",
                story=story.story,
                expected=f"a yes: {licence.label} is in its term, and nobody asked to suspend or revoke it",
                observed=f"a no: {each.reason}",
                evidence=index_of(story).evidence(licence.issued, each),
            )


def _occasions_cause(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for _, each in _judged(story, contract, _without_cause) if each.reason not in _ABOUT_SEATS)


# VAL-006 ------------------------------------------------------------------------------------


def _shows_suspension(operation: Operation) -> bool:
    if operation.verb == "suspend" and operation.accepted:
        return True
    return operation.refused and operation.reason == Reason.SUSPENDED


def _later(one: Operation, two: Operation) -> Operation:
    return max(one, two, key=began)


def _while_suspended(story: StoryHistory, contract: Contract) -> Iterator[tuple[Licence, Operation, Operation]]:
    """Answers to a validate sent when a suspension was certainly in force, beyond the stated bound.

    A suspension is known by its acknowledgement, or by any refusal for that reason
    (which a target that states a bound may give that much too late). The latest
    that is known early enough decides: it is over as soon as a reinstatement may
    have happened that is not certainly older.
    """
    index = index_of(story)
    bound = contract.revocation_bound or 0.0
    if bound:
        bound += index.clocks.spread  # the target measures it on its clocks
    for licence in index.licences.values():
        if "suspend" not in licence.verbs or "validate" not in licence.verbs:
            continue
        suspensions = sorted((each for each in licence.operations if _shows_suspension(each)), key=ended)
        latest = list(accumulate(suspensions, _later))
        known = [ended(each) for each in suspensions]
        lifted = sorted(
            (each for each in licence.of("reinstate") if not each.refused and each.end is not None), key=ended
        )
        lifted_ends = [ended(each) for each in lifted]
        lifted_begins = list(accumulate((began(each) for each in reversed(lifted)), min))[::-1]
        maybe = min((each.begin for each in licence.of("reinstate") if each.end is None), default=FOREVER)
        for each in licence.of("validate"):
            early_enough = bisect_right(known, (each.begin - bound, each.n))
            if each.unknown or not early_enough or maybe <= each.ended:
                continue
            suspension = latest[early_enough - 1]
            since = suspension.begin - (bound if suspension.refused else 0.0)
            after = bisect_left(lifted_ends, (since, suspension.n))
            if after == len(lifted) or lifted_begins[after][0] > each.ended:
                yield licence, suspension, each


def _check_suspended(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    accused: set[str] = set()
    for licence, suspension, each in _judged(story, contract, _while_suspended):
        if each.accepted and licence.label not in accused and beyond(suspension, 0.0, each, index_of(story).clocks):
            accused.add(licence.label)
            yield Violation(
                promise="VAL-006",
                story=story.story,
                expected="a no: the licence is suspended",
                observed=f"a yes {each.begin - suspension.ended:.3f}s after that was known",
                evidence=index_of(story).evidence(suspension, each),
            )


def _occasions_suspended(story: StoryHistory, contract: Contract) -> int:
    return sum(
        1 for licence, _, each in _judged(story, contract, _while_suspended) if _first_yes(licence) < began(each)
    )


_NEEDS = frozenset({Cap.ISSUE, Cap.VALIDATE})

PROMISES: tuple[Promise, ...] = (
    Promise(
        id="VAL-001",
        sentence="a yes grants exactly the licence's features",
        needs=_NEEDS,
        check=_check_features,
        occasions=_occasions_features,
        control="no yes to a validate stated its features",
    ),
    Promise(
        id="VAL-002",
        sentence="no yes after the licence's term is over",
        needs=_NEEDS,
        check=_check_term,
        occasions=_occasions_term,
        control="no licence was asked about after its term, having been good within it",
    ),
    Promise(
        id="VAL-003",
        sentence="no answer contradicts itself: a yes comes before the expiry it states",
        needs=frozenset({Cap.VALIDATE}),
        check=_check_contradiction,
        occasions=_occasions_contradiction,
        control="no yes stated both the server's time and an expiry",
    ),
    Promise(
        id="VAL-004",
        sentence="an acknowledged licence is known from then on, also after a crash and power loss",
        needs=_NEEDS,
        check=_check_known,
        occasions=_occasions_known,
        control="no question about an acknowledged licence was answered",
    ),
    Promise(
        id="VAL-005",
        sentence="no no without cause: a licence in its term, never suspended or revoked, is not refused",
        needs=_NEEDS,
        check=_check_cause,
        occasions=_occasions_cause,
        control="no validate was answered while the licence was certainly in its term",
    ),
    Promise(
        id="VAL-006",
        sentence="no yes while suspended",
        needs=_NEEDS | {Cap.SUSPEND},
        check=_check_suspended,
        occasions=_occasions_suspended,
        control="no licence was asked about while suspended, having been good before",
        numbers=("revocation_bound",),
    ),
)
