"""Token promises on hand-written histories: kept, broken, and not to be told."""

from __future__ import annotations

from typing import Any

import pytest

from licensing_harness.checkers.tokens import PROMISES
from licensing_harness.history import Fault, Operation, Record, StoryHistory, StoryOpened, stories_of
from licensing_harness.verdict import Violation
from licensing_harness.vocabulary import Contract, FaultKind, Outcome

PROMISE = {promise.id: promise for promise in PROMISES}
CONTRACT = Contract(token_lifetime=3, clock_tolerance=0.05)
YES, NO, LOST = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNKNOWN
ATTACK = {"attack": "ALG-01", "cwe": "CWE-347", "sentence": "the header says alg none"}


def op(n: int, verb: str, outcome: Outcome = YES, at: float | None = None, **more: Any) -> Operation:
    """One operation of 0.05 s; it begins at ``at``, or at its number in tenths of a second."""
    begin = n / 10 if at is None else at
    return Operation(
        n=n,
        story="s",
        client=more.pop("client", "laptop"),
        verb=verb,
        begin=begin,
        end=None if outcome is LOST else begin + 0.05,
        outcome=outcome,
        licence=more.pop("licence", "L1"),
        **more,
    )


def shown(n: int, outcome: Outcome = YES, at: float | None = None, **more: Any) -> Operation:
    """The honest token shown."""
    return op(n, "validate_token", outcome, at, **more)


def attack(n: int, outcome: Outcome = NO, at: float | None = None, **more: Any) -> Operation:
    """The forged token shown."""
    return op(n, "validate_token", outcome, at, asked=ATTACK, **more)


ISSUED = (op(1, "issue"), op(2, "issue_token"))


def judged(identity: str, *records: Record, contract: Contract = CONTRACT) -> tuple[list[Violation], int]:
    """Violations and occasions of one promise in one story."""
    story = told(*records)
    promise = PROMISE[identity]
    violations = list(promise.check(story, contract))
    assert all(violation.promise == identity and violation.story == "s" for violation in violations)
    return violations, promise.occasions(story, contract)


def told(*records: Record) -> StoryHistory:
    """One story of these records."""
    return stories_of([StoryOpened(story="s", world="simulated", scenario="x"), *records])["s"]


def test_token_promises_have_ids_sentences_and_controls() -> None:
    """Four promises, each with what was missing when it was not tried."""
    assert list(PROMISE) == ["TOK-001", "TOK-002", "TOK-003", "TOK-004"]
    assert all(promise.sentence and promise.control and promise.family == "TOK" for promise in PROMISES)


# TOK-001 ----------------------------------------------------------------------------------------


def test_token_forged_and_refused_between_accepted_twins_keeps_tok_001() -> None:
    """A refused attack between two accepted twins is one occasion and no violation."""
    assert judged("TOK-001", *ISSUED, shown(3), attack(4), shown(5)) == ([], 1)


def test_token_forged_and_accepted_breaks_tok_001() -> None:
    """An accepted attack names its id, weakness and sentence, with the three operations as evidence."""
    [violation], occasions = judged("TOK-001", *ISSUED, shown(3), attack(4, YES), shown(5))

    assert occasions == 1
    assert violation.evidence == (3, 4, 5)
    for part in ATTACK.values():
        assert part in violation.expected
    assert "accepted" in violation.observed


def test_token_attack_is_named_without_cwe_and_sentence_too() -> None:
    """A user's own attack needs no more than an id."""
    records = (shown(3), op(4, "validate_token", YES, asked={"attack": "mine"}), shown(5))
    [violation], _ = judged("TOK-001", *ISSUED, *records)

    assert violation.expected.endswith("attack mine")


@pytest.mark.parametrize(
    "records",
    [
        (attack(4, YES), shown(5)),
        (shown(3), attack(4, YES)),
        (shown(3, NO), attack(4, YES), shown(5)),
        (shown(3), attack(4, YES), shown(5, NO)),
        (shown(3), attack(4, YES), shown(5, LOST)),
        (shown(3, LOST), attack(4, YES), shown(5)),
        (shown(3, licence="L2"), attack(4, YES), shown(5, licence="L2")),
        (shown(3), attack(4, LOST), shown(5)),
        (shown(2), shown(3, NO), attack(4, YES), shown(5)),
        (attack(3), attack(4), attack(5)),
    ],
    ids=[
        "no before",
        "no after",
        "before no",
        "after no",
        "after lost",
        "before lost",
        "other licence",
        "lost",
        "nearest",
        "none",
    ],
)
def test_token_attack_without_accepted_twins_is_undecided(records: tuple[Operation, ...]) -> None:
    """Unless both nearest twins of the same licence were accepted, an attack says nothing."""
    assert judged("TOK-001", *ISSUED, *records) == ([], 0)


def test_token_twins_at_one_instant_are_ordered_by_number() -> None:
    """In virtual time all may happen at once; the record number says what came first."""
    records = (shown(3, at=1.0), attack(4, YES, at=1.1), shown(5, at=1.2))
    instant = tuple(
        Operation(**{**{name: getattr(each, name) for name in each.__struct_fields__}, "begin": 1.0, "end": 1.0})
        for each in records
    )

    assert len(judged("TOK-001", *ISSUED, *instant)[0]) == 1
    assert judged("TOK-001", *ISSUED, *(instant[1], instant[0], instant[2]))[1] == 1


def test_token_twin_under_way_during_the_attack_is_none() -> None:
    """A twin that overlaps with the attack is neither before nor after it."""
    records = (shown(3, at=0.95), attack(4, YES, at=0.98), shown(5, at=1.02))

    assert judged("TOK-001", *ISSUED, *records) == ([], 0)


def test_token_refused_after_its_time_keeps_tok_001() -> None:
    """A token that was good and is refused after its time is an occasion."""
    assert judged("TOK-001", *ISSUED, shown(3), shown(4, NO, at=3.5)) == ([], 1)


def test_token_accepted_after_its_time_breaks_tok_001() -> None:
    """A token that is still good beyond lifetime and tolerance is accused with its issue and its good answer."""
    [violation], occasions = judged("TOK-001", *ISSUED, shown(3), shown(4, at=3.5))

    assert occasions == 1
    assert violation.evidence == (2, 3, 4)
    assert "3 s" in violation.expected
    assert "3.250 s" in violation.observed


def test_token_own_expiry_counts_where_the_contract_states_none() -> None:
    """What the target states of the token itself is enough to know its time."""
    issued = op(2, "issue_token", answer={"expires": 1010.0, "server_time": 1000.0})
    records = (ISSUED[0], issued, shown(3), shown(4, at=11.0))

    assert len(judged("TOK-001", *records, contract=Contract())[0]) == 1
    assert judged("TOK-001", ISSUED[0], op(2, "issue_token"), *records[2:], contract=Contract()) == ([], 0)


@pytest.mark.parametrize(
    "records",
    [
        (shown(3), shown(4, at=3.29)),
        (shown(3), shown(4, NO, at=3.2)),
        (shown(4, at=3.5),),
        (shown(3, NO), shown(4, at=3.5)),
        (shown(3), op(4, "issue_token", at=3.0), shown(5, at=3.5)),
        (shown(3), shown(4, LOST, at=3.5)),
    ],
    ids=["within tolerance", "early no", "never good", "refused before", "issued again", "lost"],
)
def test_token_late_showing_without_its_control_is_undecided(records: tuple[Operation, ...]) -> None:
    """Within the tolerance, with no good answer before, or with a newer token nothing is told."""
    assert judged("TOK-001", *ISSUED, *records) == ([], 0)


# TOK-002 ----------------------------------------------------------------------------------------


def test_token_attack_with_a_plain_no_keeps_tok_002() -> None:
    """A refusal is a plain answer; so is a yes, which TOK-001 accuses."""
    assert judged("TOK-002", *ISSUED, shown(3), attack(4), shown(5)) == ([], 1)
    assert judged("TOK-002", *ISSUED, shown(3), attack(4, YES), shown(5)) == ([], 1)


@pytest.mark.parametrize("after", [(shown(5),), (shown(5, LOST),), ()], ids=["goes on", "is gone", "is not asked"])
def test_token_attack_with_an_error_breaks_tok_002(after: tuple[Operation, ...]) -> None:
    """A 5xx on a forged token is a violation, all the more when the target does not come back."""
    [violation], occasions = judged("TOK-002", *ISSUED, shown(3), attack(4, LOST, reason="HTTP 500"), *after)

    assert occasions == 1
    assert "HTTP 500" in violation.observed
    assert "ALG-01" in violation.expected
    assert violation.evidence[:2] == (3, 4)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(n=6, story="s", fault=FaultKind.CUT_ANSWER, begin=0.35, end=0.5),
        Fault(n=6, story="s", fault=FaultKind.CRASH, begin=0.45, end=0.6),
        Fault(n=6, story="s", fault=FaultKind.LATENCY, begin=0.0),
    ],
    ids=lambda fault: fault.fault.value,
)
def test_token_attack_lost_by_our_own_fault_is_undecided(fault: Fault) -> None:
    """An answer that a fault of ours may have eaten accuses nobody."""
    assert judged("TOK-002", *ISSUED, shown(3), attack(4, LOST), shown(7), fault) == ([], 0)


def test_token_fault_long_over_excuses_nothing() -> None:
    """A fault that ended before the attack did not lose its answer."""
    fault = Fault(n=9, story="s", fault=FaultKind.LATENCY, begin=0.1, end=0.2)

    assert len(judged("TOK-002", *ISSUED, shown(3), attack(4, LOST), shown(5), fault)[0]) == 1


def test_token_attack_without_a_good_token_before_is_undecided_for_tok_002() -> None:
    """A target that answers nothing at all is not accused of failing on the forged token."""
    assert judged("TOK-002", *ISSUED, shown(3, LOST), attack(4, LOST), shown(5, LOST)) == ([], 0)


# TOK-003 ----------------------------------------------------------------------------------------


def test_token_public_keys_keep_tok_003() -> None:
    """A key set with a public key is an occasion."""
    assert judged("TOK-003", op(1, "jwks", answer={"keys": [{"kid": "k"}]})) == ([], 1)


def test_token_private_member_breaks_tok_003() -> None:
    """A private member is named; its value is not in the history at all."""
    [violation], occasions = judged("TOK-003", op(1, "jwks", answer={"keys": [{"kid": "k"}], "private": ["d"]}))

    assert occasions == 1
    assert violation.evidence == (1,)
    assert violation.observed.endswith(": d")


@pytest.mark.parametrize("operation", [op(1, "jwks"), op(1, "jwks", LOST), op(1, "jwks", NO)])
def test_token_key_set_without_keys_is_undecided(operation: Operation) -> None:
    """An empty, lost or refused key set proves nothing."""
    assert judged("TOK-003", operation) == ([], 0)


# TOK-004 ----------------------------------------------------------------------------------------


def test_token_good_before_and_after_keeps_tok_004() -> None:
    """The honest token accepted on both sides is an occasion."""
    assert judged("TOK-004", *ISSUED, shown(3), attack(4), shown(5)) == ([], 1)


def test_token_good_before_and_refused_after_breaks_tok_004() -> None:
    """A token that an attack made invalid, or locked out, is accused with its reason."""
    [violation], occasions = judged("TOK-004", *ISSUED, shown(3), attack(4), shown(5, NO, reason="locked"))

    assert occasions == 1
    assert violation.evidence == (3, 4, 5)
    assert "locked" in violation.observed


@pytest.mark.parametrize(
    "records",
    [
        (shown(3), attack(4), shown(5, LOST)),
        (shown(3, NO), attack(4), shown(5, NO)),
        (shown(3), attack(4), shown(5, NO, at=3.2)),
        (shown(3), attack(4), op(5, "revoke"), shown(6, NO)),
        (shown(3), attack(4), op(5, "suspend", LOST), shown(6, NO)),
        (shown(3), attack(4), Fault(n=5, story="s", fault=FaultKind.CRASH, begin=0.45, end=0.5), shown(6, NO)),
        (shown(3), attack(4)),
    ],
    ids=["lost", "never good", "expired", "revoked", "suspended perhaps", "crashed", "not shown again"],
)
def test_token_refused_for_another_reason_is_undecided(records: tuple[Record, ...]) -> None:
    """Expiry, a revoke, a suspension, a crash or a lost answer may be the reason; the attack is not accused."""
    assert judged("TOK-004", *ISSUED, *records) == ([], 0)


def test_token_of_unknown_life_or_of_a_licence_that_ends_is_undecided() -> None:
    """Without a token's lifetime, or with a licence that has an end, a later no has other reasons."""
    records = (shown(3), attack(4), shown(5, NO))
    ending = op(1, "issue", asked={"duration": 60.0})

    assert judged("TOK-004", *ISSUED, *records, contract=Contract()) == ([], 0)
    assert judged("TOK-004", ending, ISSUED[1], *records) == ([], 0)
    assert judged("TOK-004", ISSUED[0], *records) == ([], 0)
