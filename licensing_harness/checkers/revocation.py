"""Revocation: once it was acknowledged, and the stated bound is over, nobody is told yes.

A revoke is final. Only an acknowledged one starts the clock: one of unknown
outcome may not have happened. A revoke that is refused because the licence is
revoked acknowledges the one before it, whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from licensing_harness.checkers.clocks import Clocks
from licensing_harness.checkers.index import Licence, began, beyond, ended, index_of
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.verdict import Promise, Violation
from licensing_harness.vocabulary import Cap, Contract, Reason

_Case = tuple[Licence, Operation, Operation, bool]
"""A licence, what revoked it, an answer after that, and whether there had been a yes before."""

_YES = ("validate", "activate", "heartbeat", "issue_token", "renew", "reinstate")
"""Verbs whose yes lets a customer go on. A release, or a second revoke, may be accepted."""


def _revoked(licence: Licence) -> Operation | None:
    return min(
        (each for each in licence.of("revoke") if each.accepted or (each.refused and each.reason == Reason.REVOKED)),
        key=ended,
        default=None,
    )


def _answered(
    licence: Licence, since: Operation, bound: float, verbs: Sequence[str], clocks: Clocks
) -> Iterator[tuple[Operation, bool]]:
    """Answers to what was sent beyond the bound, and whether the target had said yes to its like before."""
    used = [first for verb in verbs if (first := licence.first_accepted(verb)) is not None]
    yes_before = any(ended(first) < ended(since) for first in used)
    for each in licence.of(*verbs):
        # A forged token that is accepted breaks other promises.
        if not each.unknown and "attack" not in each.asked and beyond(since, bound, each, clocks):
            yield each, yes_before


def _after_revoke(story: StoryHistory, contract: Contract, verbs: tuple[str, ...]) -> list[_Case]:
    return index_of(story).once(("revoked", contract, verbs), lambda: _find_after_revoke(story, contract, verbs))


def _find_after_revoke(story: StoryHistory, contract: Contract, verbs: Sequence[str]) -> Iterator[_Case]:
    index = index_of(story)
    if "revoke" not in index.verbs:
        return
    for licence in index.licences.values():
        revoke = _revoked(licence)
        if revoke is not None:
            bound = contract.revocation_bound or 0.0
            for each, yes_before in _answered(licence, revoke, bound, verbs, index.clocks):
                yield licence, revoke, each, yes_before


def _accuse(
    promise: str, story: StoryHistory, contract: Contract, verbs: tuple[str, ...], expected: str
) -> Iterator[Violation]:
    bound = contract.revocation_bound or 0.0
    accused: set[str] = set()
    for licence, revoke, each, _ in _after_revoke(story, contract, verbs):
        if each.accepted and licence.label not in accused:
            accused.add(licence.label)
            yield Violation(
                promise=promise,
                story=story.story,
                expected=expected,
                observed=(
                    f"{each.verb} accepted, sent {each.begin - revoke.ended:.3f}s after the revoke was acknowledged "
                    f"(bound {bound:g}s)"
                ),
                evidence=index_of(story).evidence(revoke, each),
            )


_VALIDATE = ("validate",)
_SEATS = ("activate", "heartbeat")
_TOKENS = ("issue_token", "validate_token")


def _check_validate(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    return _accuse("REV-001", story, contract, _VALIDATE, "a no: the licence is revoked")


def _occasions_validate(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for *_, yes_before in _after_revoke(story, contract, _VALIDATE) if yes_before)


def _check_seats(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    return _accuse("REV-002", story, contract, _SEATS, "no seat is given or kept: the licence is revoked")


def _occasions_seats(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for *_, yes_before in _after_revoke(story, contract, _SEATS) if yes_before)


def _check_tokens(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    return _accuse("REV-004", story, contract, _TOKENS, "no token is given or taken: the licence is revoked")


def _occasions_tokens(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for *_, yes_before in _after_revoke(story, contract, _TOKENS) if yes_before)


# REV-003 ------------------------------------------------------------------------------------


def _after_sight(story: StoryHistory, contract: Contract) -> list[_Case]:
    return index_of(story).once(("seen", contract), lambda: _find_after_sight(story, contract))


def _find_after_sight(story: StoryHistory, contract: Contract) -> Iterator[_Case]:
    """Answers to what was sent after some client was told 'revoked'.

    A target that states a bound may take that long until all of it knows.
    """
    index = index_of(story)
    bound = contract.revocation_bound or 0.0
    for licence in index.licences.values():
        seen = [each for each in licence.operations if each.refused and each.reason == Reason.REVOKED]
        if seen:
            sight = min(seen, key=ended)
            for each, yes_before in _answered(licence, sight, bound, _YES, index.clocks):
                yield licence, sight, each, yes_before


def _check_resurrection(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    index = index_of(story)
    accused: set[str] = set()
    for licence, sight, each, _ in _after_sight(story, contract):
        if each.accepted and licence.label not in accused:
            accused.add(licence.label)
            between = [
                other
                for other in licence.of("renew", "reinstate")
                if began(sight) < began(other) < began(each) and not other.refused
            ]
            yield Violation(
                promise="REV-003",
                story=story.story,
                expected=f"a no: {sight.client} was told 'revoked' before",
                observed=f"{each.verb} accepted for {each.client}, sent {each.begin - sight.ended:.3f}s later",
                evidence=index.evidence(sight, *between[-1:], each),
            )


def _occasions_resurrection(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for *_, yes_before in _after_sight(story, contract) if yes_before)


_NUMBERS = ("revocation_bound",)

PROMISES: tuple[Promise, ...] = (
    Promise(
        id="REV-001",
        sentence="an acknowledged revoke is seen by every client beyond the stated bound",
        needs=frozenset({Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE}),
        check=_check_validate,
        occasions=_occasions_validate,
        control="no licence that was good was asked about beyond the bound after its acknowledged revoke",
        numbers=_NUMBERS,
    ),
    Promise(
        id="REV-002",
        sentence="no seat is given or kept after an acknowledged revoke beyond the bound",
        needs=frozenset({Cap.ISSUE, Cap.REVOKE, Cap.SEATS}),
        check=_check_seats,
        occasions=_occasions_seats,
        control="no device that could have a seat before asked for one beyond the bound after an acknowledged revoke",
        numbers=_NUMBERS,
    ),
    Promise(
        id="REV-003",
        sentence="once a client saw 'revoked', no client is told yes again",
        needs=frozenset({Cap.ISSUE, Cap.REVOKE}),
        check=_check_resurrection,
        occasions=_occasions_resurrection,
        control="no licence that was good was used again after a client had seen 'revoked'",
    ),
    Promise(
        id="REV-004",
        sentence=(
            "no new token after an acknowledged revoke, and none issued before it validates online after the bound"
        ),
        needs=frozenset({Cap.ISSUE, Cap.REVOKE, Cap.TOKENS}),
        check=_check_tokens,
        occasions=_occasions_tokens,
        control="no licence that had a token was asked for one, or shown it, beyond the bound after its revoke",
        numbers=_NUMBERS,
    ),
)
