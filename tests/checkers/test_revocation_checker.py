"""Revocation: what an acknowledged revoke ends, and from when."""

from __future__ import annotations

import pytest
from histories import CONTRACT, Tape

from licensing_harness.vocabulary import Contract

CASES = [("REV-001", "validate"), ("REV-002", "activate"), ("REV-002", "heartbeat"), ("REV-004", "issue_token")]


@pytest.mark.parametrize(("identity", "verb"), CASES)
def test_no_after_an_acknowledged_revoke_keeps_the_promise(identity: str, verb: str) -> None:
    """Good before, refused after: one occasion, no accusation."""
    tape = Tape()
    tape.call(verb, "laptop", 0.5, 0.6)
    tape.call("revoke", "vendor", 1, 1.1)
    tape.call(verb, "laptop", 1.1, 1.2, no="revoked")

    assert tape.broken() == []
    assert tape.occasions(identity) == 1


@pytest.mark.parametrize(("identity", "verb"), CASES)
def test_yes_after_an_acknowledged_revoke_breaks_the_promise(identity: str, verb: str) -> None:
    """The evidence is the revoke and the yes."""
    tape = Tape()
    tape.call(verb, "laptop", 0.5, 0.6)
    revoke = tape.call("revoke", "vendor", 1, 1.1)
    wrong = tape.call(verb, "phone", 1.3, 1.4)

    (violation,) = tape.violations(identity)
    assert (revoke, wrong) == violation.evidence
    assert "0.200s" in violation.observed


@pytest.mark.parametrize(("identity", "verb"), CASES)
def test_unacknowledged_or_overlapping_revoke_leaves_it_undecided(identity: str, verb: str) -> None:
    """A revoke whose answer was lost may not have happened; one under way may come after the yes."""
    for revoked in (None, 2.0):
        tape = Tape()
        tape.call(verb, "laptop", 0.5, 0.6)
        tape.call("revoke", "vendor", 1, revoked)
        tape.call(verb, "laptop", 1.5, 1.6)

        assert tape.broken() == []
        assert tape.occasions(identity) == 0


def test_yes_within_the_bound_is_allowed() -> None:
    """A stated bound counts from the acknowledgement to the sending of the question."""
    tape = Tape()
    tape.call("validate", "laptop", 0.5, 0.6)
    tape.call("revoke", "vendor", 1, 1.0)
    tape.call("validate", "laptop", 2.9, 3.5)

    assert tape.violations("REV-001", Contract(revocation_bound=2)) == []
    assert len(tape.violations("REV-001", Contract(revocation_bound=1.5))) == 1


def test_question_sent_before_the_acknowledgement_is_not_judged() -> None:
    """At the same instant, the record number tells which came first."""
    tape = Tape()
    tape.call("validate", "laptop", 0.5, 0.6)
    tape.call("validate", "laptop", 1.1, 1.2)
    tape.call("revoke", "vendor", 1, 1.1)

    assert tape.violations("REV-001") == []


def test_release_and_a_second_revoke_are_allowed_after_a_revoke() -> None:
    """Neither lets anyone go on."""
    tape = Tape()
    tape.call("activate", "laptop", 0.5, 0.6)
    tape.call("revoke", "vendor", 1, 1.1)
    tape.call("validate", "laptop", 1.2, 1.3, no="revoked")
    tape.call("release", "laptop", 2, 2.1)
    tape.call("revoke", "vendor", 3, 3.1)

    assert tape.broken() == []


@pytest.mark.parametrize("verb", ["validate", "renew", "reinstate", "activate"])
def test_yes_after_someone_saw_revoked_breaks_rev_003(verb: str) -> None:
    """Whoever saw it, and though the revoke itself was never acknowledged."""
    tape = Tape()
    tape.call("validate", "laptop", 0.5, 0.6)
    tape.call("revoke", "vendor", 1, None)
    sight = tape.call("validate", "laptop", 2, 2.1, no="revoked")
    crash = tape.crash(2.2, 2.5)
    wrong = tape.call(verb, "phone", 3, 3.1, asked={"duration": 1.0})

    (violation,) = tape.violations("REV-003")
    assert (sight, crash, wrong) == violation.evidence


def test_no_again_keeps_rev_003() -> None:
    """Refused, whatever for, is no resurrection."""
    tape = Tape()
    tape.call("validate", "laptop", 0.5, 0.6)
    tape.call("revoke", "vendor", 1, None)
    tape.call("validate", "laptop", 2, 2.1, no="revoked")
    tape.call("renew", "vendor", 3, 3.1, no="revoked", asked={"duration": 1.0})

    assert tape.broken() == []
    assert tape.occasions("REV-003") == 1


def test_question_under_way_when_revoked_was_seen_does_not_break_rev_003() -> None:
    """It may have been decided before the revoke."""
    tape = Tape()
    tape.call("revoke", "vendor", 1, None)
    tape.call("validate", "phone", 1.9, 3.0)
    tape.call("validate", "laptop", 2, 2.1, no="revoked")

    assert tape.broken() == []
    assert tape.occasions("REV-003") == 0


def test_old_token_that_is_good_online_after_the_revoke_breaks_rev_004() -> None:
    """A forged one that is accepted is another promise's business."""
    tape = Tape()
    tape.call("issue_token", "laptop", 0.5, 0.6)
    tape.call("revoke", "vendor", 1, 1.1)
    tape.call("validate_token", "laptop", 1.2, 1.3, asked={"attack": "alg-none"})
    assert tape.violations("REV-004", CONTRACT) == []

    tape.call("validate_token", "laptop", 1.4, 1.5)

    assert len(tape.violations("REV-004", CONTRACT)) == 1
