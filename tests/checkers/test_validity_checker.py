"""Validity: right yes, no without a cause, and what can't be told."""

from __future__ import annotations

from histories import CONTRACT, Tape

from licensing_harness.vocabulary import Contract, FaultKind, Outcome


def test_yes_with_the_issued_features_keeps_val_001() -> None:
    """The order of features does not matter, nor whether they were a tuple."""
    tape = Tape(features=("b", "a"))
    tape.call("validate", "laptop", 1, 1.1, answer={"features": ["a", "b"]})

    assert tape.broken() == []
    assert tape.occasions("VAL-001") == 1


def test_yes_with_other_features_breaks_val_001() -> None:
    """One feature too many, one too few, or none where others were stated."""
    for granted in (["a", "b", "c"], ["a"], []):
        tape = Tape(features=["a", "b"])
        tape.call("validate", "laptop", 1, 1.1, answer={"features": ["a", "b"]})
        wrong = tape.call("validate", "laptop", 2, 2.1, answer={"features": granted} if granted else {})

        (violation,) = tape.violations("VAL-001")
        assert (1, wrong) == violation.evidence


def test_yes_that_states_no_features_leaves_val_001_undecided() -> None:
    """A target that never states features is not accused of granting none."""
    tape = Tape(features=["a"])
    tape.call("validate", "laptop", 1, 1.1)

    assert tape.violations("VAL-001") == []
    assert tape.occasions("VAL-001") == 0


def test_no_after_the_term_keeps_val_002() -> None:
    """Good within the term, refused after it."""
    tape = Tape(duration=1.0)
    tape.call("validate", "laptop", 0.5, 0.6)
    tape.call("validate", "laptop", 1.2, 1.3, no="expired")

    assert tape.broken() == []
    assert tape.occasions("VAL-002") == 1


def test_yes_after_the_term_breaks_val_002() -> None:
    """The latest end of the term is the answer to the issue, the duration and the tolerance: 0.1 + 1 + 0.05."""
    tape = Tape(duration=1.0)
    late = tape.call("validate", "laptop", 1.16, 1.3)

    (violation,) = tape.violations("VAL-002")
    assert (1, late) == violation.evidence


def test_yes_within_the_tolerance_does_not_break_val_002() -> None:
    """The licence may have been made at the very end of the issue, and the clock may be off."""
    tape = Tape(duration=1.0)
    tape.call("validate", "laptop", 1.14, 9.0)

    assert tape.broken() == []


def test_renewal_counts_from_itself() -> None:
    """After an acknowledged renewal the old term is out of the question; a shorter one ends sooner."""
    tape = Tape(duration=100.0)
    tape.call("renew", "vendor", 1.0, 1.1, asked={"duration": 1.0})
    tape.call("validate", "laptop", 2.1, 2.14)
    assert tape.broken() == []

    late = tape.call("validate", "laptop", 2.2, 2.3)

    (violation,) = tape.violations("VAL-002")
    assert (2, late) == violation.evidence


def test_unknown_renewal_may_work_at_any_time() -> None:
    """A yes long after both terms may come from a renewal that arrived late; nothing can be told."""
    tape = Tape(duration=1.0)
    tape.call("renew", "vendor", 0.5, None, asked={"duration": 1.0})
    tape.call("validate", "laptop", 0.6, 0.7)
    tape.call("validate", "laptop", 50.0, 50.1)
    tape.call("validate", "laptop", 51.0, 51.1, no="expired")

    assert tape.broken() == []
    assert tape.occasions("VAL-002") == 0


def test_answer_before_its_own_expiry_keeps_val_003() -> None:
    """Also at the very same time: both may have been rounded down."""
    tape = Tape()
    tape.call("validate", "laptop", 1, 1.1, answer={"expires": 10.0, "server_time": 9.0})
    tape.call("activate", "laptop", 2, 2.1, answer={"lease_until": 10.0, "server_time": 10.0})

    assert tape.broken() == []
    assert tape.occasions("VAL-003") == 2


def test_answer_after_its_own_expiry_breaks_val_003() -> None:
    """A yes that says it comes from after the expiry, or after the end of the lease."""
    for name in ("expires", "lease_until"):
        tape = Tape()
        wrong = tape.call("validate", "laptop", 1, 1.1, answer={name: 10.0, "server_time": 10.001})

        (violation,) = tape.violations("VAL-003")
        assert (wrong,) == violation.evidence


def test_repeated_issue_and_revoke_may_name_a_past_expiry() -> None:
    """They are no yes to use: an old answer said again, and the end of an expired licence."""
    tape = Tape()
    tape.call("revoke", "vendor", 1, 1.1, answer={"expires": 1.0, "server_time": 10.0})

    assert tape.occasions("VAL-003") == 0
    assert tape.broken() == []


def test_unknown_after_a_crash_breaks_val_004() -> None:
    """The evidence names the crash in between."""
    tape = Tape()
    tape.call("validate", "laptop", 0.5, 0.6)
    crash = tape.crash(1, 1.5, kind=FaultKind.POWER_LOSS)
    lost = tape.call("validate", "laptop", 2, 2.1, no="unknown-licence")

    (violation,) = tape.violations("VAL-004")
    assert (1, crash, lost) == violation.evidence


def test_known_after_a_crash_keeps_val_004() -> None:
    """Any answer but 'unknown' shows that the licence is known."""
    tape = Tape()
    tape.crash(1, 1.5)
    tape.call("validate", "laptop", 2, 2.1)

    assert tape.broken() == []
    assert tape.occasions("VAL-004") == 1


def test_deleted_on_revoke_or_expiry_does_not_break_val_004() -> None:
    """A target may forget what was revoked, or is over."""
    tape = Tape()
    tape.call("revoke", "vendor", 1, None)
    tape.call("validate", "laptop", 2, 2.1, no="unknown-licence")
    expired = Tape(duration=1.0)
    expired.call("validate", "laptop", 2, 2.1, no="unknown-licence")

    assert tape.broken() == []
    assert expired.broken() == []
    assert tape.occasions("VAL-004") + expired.occasions("VAL-004") == 0


def test_refusal_in_the_term_breaks_val_005() -> None:
    """Nobody suspended or revoked it, and the earliest end of its term is later."""
    tape = Tape(duration=10.0)
    wrong = tape.call("validate", "laptop", 1, 1.1, no="expired")

    (violation,) = tape.violations("VAL-005")
    assert (1, wrong) == violation.evidence


def test_refusal_after_a_short_renewal_keeps_val_005() -> None:
    """A new term replaces the old one, also when it is shorter; an unknown renewal may have done so."""
    for end in (1.1, None):
        tape = Tape(duration=100.0)
        tape.call("renew", "vendor", 1.0, end, asked={"duration": 1.0})
        tape.call("validate", "laptop", 2.0, 2.1, no="expired")

        assert tape.broken() == []


def test_refusal_after_a_renewal_that_is_long_enough_breaks_val_005() -> None:
    """The renewal was acknowledged, so the first term no longer matters."""
    tape = Tape(duration=1.0)
    tape.call("renew", "vendor", 0.5, 0.6, asked={"duration": 100.0})
    tape.call("validate", "laptop", 5.0, 5.1, no="expired")

    assert tape.broken() == ["VAL-005"]


def test_possible_suspension_leaves_val_005_undecided() -> None:
    """An unknown suspend may have worked; a seat that is missing is no verdict on the licence."""
    tape = Tape()
    tape.call("suspend", "vendor", 1, None)
    tape.call("validate", "laptop", 2, 2.1, no="suspended")
    seatless = Tape()
    seatless.call("validate", "laptop", 2, 2.1, no="no-such-seat")

    assert tape.broken() == []
    assert seatless.broken() == []
    assert tape.occasions("VAL-005") + seatless.occasions("VAL-005") == 0


def test_yes_while_suspended_breaks_val_006() -> None:
    """The suspension was acknowledged before the question was sent."""
    tape = Tape()
    suspend = tape.call("suspend", "vendor", 1, 1.1)
    wrong = tape.call("validate", "laptop", 1.1, 1.2)

    (violation,) = tape.violations("VAL-006")
    assert (suspend, wrong) == violation.evidence


def test_no_while_suspended_keeps_val_006() -> None:
    """Good before, refused while suspended, good when reinstated."""
    tape = Tape()
    tape.call("validate", "laptop", 0.5, 0.6)
    tape.call("suspend", "vendor", 1, 1.1)
    tape.call("validate", "laptop", 1.2, 1.3, no="suspended")
    tape.call("reinstate", "vendor", 2, 2.1)
    tape.call("validate", "laptop", 2.2, 2.3)

    assert tape.broken() == []
    assert tape.occasions("VAL-006") == 1


def test_possible_reinstatement_leaves_val_006_undecided() -> None:
    """A reinstatement under way, or one that may still arrive, explains the yes."""
    for end in (3.0, None):
        tape = Tape()
        tape.call("validate", "laptop", 0.5, 0.6)
        tape.call("suspend", "vendor", 1, 1.1)
        tape.call("reinstate", "vendor", 2, end)
        tape.call("validate", "laptop", 2.1, 2.2)

        assert tape.broken() == []
        assert tape.occasions("VAL-006") == 0


def test_suspension_within_the_bound_is_not_judged() -> None:
    """A target that states how stale a yes may be is given that time."""
    tape = Tape()
    tape.call("suspend", "vendor", 1, 1.1)
    tape.call("validate", "laptop", 2.0, 2.1)

    assert tape.violations("VAL-006", Contract(revocation_bound=1)) == []
    assert len(tape.violations("VAL-006", CONTRACT)) == 1


def test_unknown_answers_are_never_read_as_refusals() -> None:
    """A lost answer accuses nobody."""
    tape = Tape()
    tape.call("validate", "laptop", 1, None)

    assert tape.story.operations[-1].outcome is Outcome.UNKNOWN
    assert tape.broken() == []
    assert tape.occasions("VAL-005") == 0
