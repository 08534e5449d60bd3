"""Access tokens: a bad one is refused, plainly, and the good one stays good.

An attack proves something beside its honest twin only: the same licence's
honest token, validated before it and after it. A target that refuses every
token refuses every attack; so an attack whose twins were not both accepted is
no occasion. ``asked["attack"]`` names the attack, ``asked["cwe"]`` and
``asked["sentence"]`` say what it does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from licensing_harness.checkers.clocks import Clocks
from licensing_harness.checkers.index import index_of
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.verdict import Promise, Violation
from licensing_harness.vocabulary import Cap, Contract

_CHANGES = frozenset({"revoke", "suspend", "reinstate", "renew"})
_READ = _CHANGES | {"issue", "issue_token", "validate_token"}


@dataclass(slots=True)
class _Licence:
    """The operations on one licence that tokens depend on, each list in the order of begins."""

    shown: list[Operation] = field(default_factory=list)
    """Honest tokens shown to the target."""
    attacks: list[Operation] = field(default_factory=list)
    issues: list[Operation] = field(default_factory=list)
    """Tokens that were issued, in the order of their answers."""
    issued: list[float] = field(default_factory=list)
    """When these answers came."""
    changed: float = float("inf")
    """When something was first sent that may make an honest token invalid."""


def _licences(story: StoryHistory) -> Iterable[_Licence]:
    return index_of(story).once("tokens", lambda: _sorted_out(story))


def _sorted_out(story: StoryHistory) -> Iterable[_Licence]:
    found: dict[str, _Licence] = {}
    for operation in story.operations:
        if operation.verb not in _READ:
            continue
        licence = found.setdefault(operation.licence, _Licence())
        match operation.verb:
            case "validate_token":
                (licence.attacks if operation.asked.get("attack") else licence.shown).append(operation)
            case "issue_token" if operation.accepted:
                licence.issues.append(operation)
            case "issue" if operation.asked.get("duration") is not None:
                licence.changed = min(licence.changed, operation.begin)
            case verb if verb in _CHANGES:
                licence.changed = min(licence.changed, operation.begin)
            case _:
                pass
    for licence in found.values():
        licence.issues.sort(key=lambda issue: issue.ended)
        licence.issued = [issue.ended for issue in licence.issues]
    return found.values()


@dataclass(frozen=True, slots=True)
class _Try:
    """One attack between its honest twins, where there are any."""

    attack: Operation
    licence: _Licence
    before: Operation | None
    after: Operation | None

    @property
    def controlled(self) -> bool:
        """Both twins were accepted."""
        return self.opened and self.after is not None and self.after.accepted

    @property
    def opened(self) -> bool:
        """The twin before was accepted."""
        return self.before is not None and self.before.accepted

    @property
    def evidence(self) -> tuple[int, ...]:
        """The twin before, the attack, the twin after."""
        return tuple(each.n for each in (self.before, self.attack, self.after) if each is not None)

    @property
    def title(self) -> str:
        """The attack's id, its weakness and what it does."""
        asked = self.attack.asked
        cwe, sentence = asked.get("cwe"), asked.get("sentence")
        return f"attack {asked['attack']}" + (f" ({cwe})" if cwe else "") + (f": {sentence}" if sentence else "")


def _tries(story: StoryHistory) -> Iterable[_Try]:
    return index_of(story).once("tries", lambda: _tried(story))


def _tried(story: StoryHistory) -> Iterator[_Try]:
    for licence in _licences(story):
        if not licence.attacks:
            continue
        answered = sorted((each for each in licence.shown if each.end is not None), key=lambda each: each.ended)
        ends = [each.ended for each in answered]
        begins = [each.begin for each in licence.shown]
        for attack in licence.attacks:
            # At one instant of virtual time the record number decides what came first.
            first = bisect_right(ends, attack.begin)
            while first and answered[first - 1].n > attack.n:
                first -= 1
            then = bisect_left(begins, attack.begin if attack.end is None else attack.ended)
            while then < len(licence.shown) and licence.shown[then].n < attack.n:
                then += 1
            yield _Try(
                attack,
                licence,
                answered[first - 1] if first else None,
                licence.shown[then] if then < len(licence.shown) else None,
            )


def _disturbed(story: StoryHistory, since: float, until: float) -> bool:
    """Whether a fault was there between two moments."""
    return any(fault.begin <= until and (fault.end is None or fault.end >= since) for fault in story.faults)


def _life(issue: Operation, contract: Contract) -> float | None:
    """How many seconds the token lives, by what the target says of it and of itself."""
    expires, server_time = issue.answer.get("expires"), issue.answer.get("server_time")
    stated = [contract.token_lifetime] if contract.token_lifetime is not None else []
    if expires is not None and server_time is not None:
        stated.append(float(expires) - float(server_time))
    return min(stated, default=None)


def _latest_issue(licence: _Licence, shown: Operation) -> Operation | None:
    """The issue of the token that was shown: the last one answered before."""
    place = bisect_right(licence.issued, shown.begin)
    return licence.issues[place - 1] if place else None


def _expired(story: StoryHistory, contract: Contract) -> Iterator[tuple[Operation, Operation, Operation]]:
    """Honest tokens shown after their time, having been good in it: the issue, the good answer, the late showing."""
    tolerance = contract.clock_tolerance or 0.0
    clocks = index_of(story).clocks
    for licence in _licences(story):
        good: dict[int, Operation] = {}
        for shown in licence.shown:
            issue = _latest_issue(licence, shown)
            life = None if issue is None else _life(issue, contract)
            if issue is None or life is None:
                continue
            if shown.begin <= clocks.latest(issue.ended, life) + tolerance:
                if shown.accepted:
                    good.setdefault(issue.n, shown)
            elif issue.n in good and shown.end is not None:
                yield issue, good[issue.n], shown


def _still_good(attempt: _Try, contract: Contract, clocks: Clocks) -> bool:
    """Whether nothing but the attack can have made the twin after it invalid."""
    after = attempt.after
    if after is None or attempt.licence.changed <= after.ended:
        return False
    issue = _latest_issue(attempt.licence, after)
    life = None if issue is None else _life(issue, contract)
    if issue is None or life is None:
        return False
    # Tokens issued at the same time as this one may be the one that was shown.
    sent = min(each.begin for each in attempt.licence.issues if each.ended >= issue.begin)
    return after.ended < clocks.earliest(sent, issue.ended, life) - (contract.clock_tolerance or 0.0)


def _check_refused(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    for attempt in _tries(story):
        if attempt.attack.accepted and attempt.controlled:
            yield Violation(
                promise="TOK-001",
                story=story.story,
                expected=f"the forged token is refused. {attempt.title}",
                observed="it was accepted, as was the honest token before it and after it",
                evidence=attempt.evidence,
            )
    for issue, good, late in _expired(story, contract):
        if late.accepted:
            age = late.begin - issue.ended
            yield Violation(
                promise="TOK-001",
                story=story.story,
                expected=f"a token that lives {_life(issue, contract):g} s is refused after that",
                observed=f"it was accepted {age:.3f} s after it was issued",
                evidence=(issue.n, good.n, late.n),
            )


def _occasions_refused(story: StoryHistory, contract: Contract) -> int:
    answered = sum(attempt.controlled and not attempt.attack.unknown for attempt in _tries(story))
    return answered + sum(1 for _ in _expired(story, contract))


def _plain(story: StoryHistory) -> Iterator[_Try]:
    """Attacks that only the target itself can have left without an answer."""
    for attempt in _tries(story):
        until = attempt.after.begin if attempt.after is not None else float("inf")
        if attempt.opened and not _disturbed(story, attempt.attack.begin, until):
            yield attempt


def _check_plain(story: StoryHistory, _: Contract) -> Iterator[Violation]:
    for attempt in _plain(story):
        if attempt.attack.unknown:
            yield Violation(
                promise="TOK-002",
                story=story.story,
                expected=f"the forged token is answered with a plain no. {attempt.title}",
                observed=f"no usable answer, with no fault on the way: {attempt.attack.reason or 'no reason known'}",
                evidence=attempt.evidence,
            )


def _occasions_plain(story: StoryHistory, _: Contract) -> int:
    return sum(1 for _ in _plain(story))


def _check_public(story: StoryHistory, _: Contract) -> Iterator[Violation]:
    for operation in story.operations:
        if operation.verb == "jwks" and operation.accepted and operation.answer.get("private"):
            yield Violation(
                promise="TOK-003",
                story=story.story,
                expected="the published keys have public members only (CWE-200)",
                observed=f"private members were published: {', '.join(operation.answer['private'])}",
                evidence=(operation.n,),
            )


def _occasions_public(story: StoryHistory, _: Contract) -> int:
    return sum(
        1
        for operation in story.operations
        if operation.verb == "jwks" and operation.accepted and operation.answer.get("keys")
    )


def _twins(story: StoryHistory, contract: Contract) -> Iterator[_Try]:
    """Attacks after which the honest token must be as good as it was before."""
    clocks = index_of(story).clocks
    for attempt in _tries(story):
        before, after = attempt.before, attempt.after
        if before is None or after is None or after.end is None or not before.accepted:
            continue
        if after.accepted or (
            _still_good(attempt, contract, clocks) and not _disturbed(story, before.begin, after.ended)
        ):
            yield attempt


def _check_twins(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    for attempt in _twins(story, contract):
        if attempt.after is not None and attempt.after.refused:
            yield Violation(
                promise="TOK-004",
                story=story.story,
                expected=f"the honest token is as good after the attack as before. {attempt.title}",
                observed=f"it was accepted before and refused after: {attempt.after.reason or 'no reason given'}",
                evidence=attempt.evidence,
            )


def _occasions_twins(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for _ in _twins(story, contract))


_NEEDS = frozenset({Cap.ISSUE, Cap.TOKENS})

PROMISES: tuple[Promise, ...] = (
    Promise(
        id="TOK-001",
        sentence="a forged, altered, confused or expired token is refused",
        needs=_NEEDS,
        check=_check_refused,
        occasions=_occasions_refused,
        control="no bad token was answered between two honest ones of the same licence that were accepted",
    ),
    Promise(
        id="TOK-002",
        sentence="a forged token gets a plain no: never an error, never silence",
        needs=_NEEDS,
        check=_check_plain,
        occasions=_occasions_plain,
        control="no forged token was sent without a fault on the way after an honest one was accepted",
    ),
    Promise(
        id="TOK-003",
        sentence="the published key set has no private member",
        needs=frozenset({Cap.TOKENS}),
        check=_check_public,
        occasions=_occasions_public,
        control="no key set with a key in it was answered",
    ),
    Promise(
        id="TOK-004",
        sentence="a forged token changes nothing: the honest one is as good after it as before",
        needs=_NEEDS,
        check=_check_twins,
        occasions=_occasions_twins,
        control="no honest token was accepted before an attack and answered within its time after it",
    ),
)
