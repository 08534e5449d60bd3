"""Seats: over-booking, wrong refusals, leases and heartbeats, and what can't be told."""

from __future__ import annotations

from histories import CONTRACT, Tape

from licensing_harness.vocabulary import Contract

FULL = "no-free-seat"
NONE = "no-such-seat"


# SEA-001


def test_refused_second_device_keeps_sea_001() -> None:
    """Two activates at once, one accepted, one refused: tried, and kept."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.2)
    tape.call("activate", "phone", 1, 1.3, no=FULL)

    assert tape.broken() == []
    assert tape.occasions("SEA-001") == 1


def test_two_holders_of_one_seat_break_sea_001() -> None:
    """The evidence is the two activates; the control is the same call refused when it came alone."""
    tape = Tape()
    one = tape.call("activate", "laptop", 1, 1.2)
    two = tape.call("activate", "phone", 1, 1.3)
    alone = tape.call("activate", "tablet", 1.5, 1.6, no=FULL)

    (violation,) = tape.violations("SEA-001")
    assert (one, two) == violation.evidence
    assert (two, alone) == violation.control
    assert violation.observed == "accepted; 2 devices hold 1 seat"
    assert violation.expected == "this activation refused: no free seat"


def test_calls_one_after_the_other_leave_sea_001_undecided() -> None:
    """A race is only tried by calls that overlap."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "phone", 1.2, 1.3, no=FULL)
    tape.call("activate", "phone", 1.4, 1.5, no=FULL)

    assert tape.occasions("SEA-001") == 0


def test_seats_for_everyone_leave_sea_001_undecided() -> None:
    """Three devices can't over-book three seats."""
    tape = Tape(seats=3)
    for device in ("laptop", "phone", "tablet"):
        tape.call("activate", device, 1, 1.2)

    assert tape.occasions("SEA-001") == 0


def test_lost_activate_does_not_break_sea_001() -> None:
    """An activate of unknown outcome may never have happened."""
    tape = Tape()
    tape.call("activate", "laptop", 1, None)
    tape.call("activate", "phone", 1, 1.3)

    assert tape.broken() == []
    assert tape.occasions("SEA-001") == 1


def test_lost_release_ends_certainty() -> None:
    """A release of unknown outcome may take effect late, even after the same device activated again."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("release", "laptop", 1.2, None)
    tape.call("activate", "laptop", 1.4, 1.5)
    tape.call("activate", "phone", 1.6, 1.7)

    assert tape.broken() == []


def test_release_under_way_ends_certainty() -> None:
    """From the moment a release was sent, the seat may be free."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("release", "laptop", 1.2, 1.9)
    tape.call("activate", "phone", 1.3, 1.4)

    assert tape.broken() == []


def test_refused_release_does_not_end_the_hold() -> None:
    """A release that was refused changed nothing."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("release", "phone", 1.2, 1.3, no=NONE)
    tape.call("activate", "phone", 1.4, 1.5)

    assert tape.broken() == ["SEA-001"]


def test_lease_that_may_be_over_does_not_break_sea_001() -> None:
    """The lease counts from the earliest moment at which it may have been given, less the tolerance."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.5)
    tape.call("activate", "phone", 2.9, 2.96)
    assert tape.broken() == []

    early = Tape()
    early.call("activate", "laptop", 1, 1.5)
    early.call("activate", "phone", 2.8, 2.9)
    assert early.broken() == ["SEA-001"]


def test_heartbeat_prolongs_the_hold() -> None:
    """An accepted heartbeat is as good as an activate."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    heartbeat = tape.call("heartbeat", "laptop", 2.5, 2.6)
    other = tape.call("activate", "phone", 4, 4.1)

    (violation,) = tape.violations("SEA-001")
    assert (heartbeat, other) == violation.evidence


def test_new_lease_of_the_same_device_is_one_seat() -> None:
    """A device that activates again holds one seat, not two."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "laptop", 1.2, 1.3)

    assert tape.broken() == []


def test_suspension_or_expiry_ends_certainty() -> None:
    """A target may drop seats when it stops a licence."""
    suspended = Tape()
    suspended.call("activate", "laptop", 1, 1.1)
    suspended.call("suspend", "vendor", 1.2, None)
    suspended.call("activate", "phone", 1.4, 1.5)
    expired = Tape(duration=1.0)
    expired.call("activate", "laptop", 0.5, 0.6)
    expired.call("renew", "vendor", 1.2, 1.3, asked={"duration": 9.0})
    expired.call("activate", "phone", 1.4, 1.5)

    assert suspended.violations("SEA-001") == []
    assert expired.violations("SEA-001") == []


def test_seats_without_a_lease_are_held_until_released() -> None:
    """A target that states no lease, and names no end in its answer, is taken at its word."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "phone", 500, 501)
    dated = Tape()
    dated.call("activate", "laptop", 1, 1.1, answer={"lease_until": 1003.0, "server_time": 1000.0})
    dated.call("activate", "phone", 500, 501)

    assert len(tape.violations("SEA-001", Contract())) == 1
    assert dated.violations("SEA-001", Contract()) == []


# SEA-002, SEA-003, SEA-004


def test_refusal_with_a_free_seat_breaks_sea_002() -> None:
    """Two seats, one ever asked for."""
    tape = Tape(seats=2)
    tape.call("activate", "laptop", 1, 1.1)
    wrong = tape.call("activate", "phone", 1.2, 1.3, no=FULL)

    (violation,) = tape.violations("SEA-002")
    assert (1, wrong) == violation.evidence


def test_accepted_second_seat_keeps_sea_002() -> None:
    """The second seat of two was free for certain, and was given."""
    tape = Tape(seats=2)
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "phone", 1.2, 1.3)

    assert tape.broken() == []
    assert tape.occasions("SEA-002") == 1


def test_possible_holder_leaves_sea_002_undecided() -> None:
    """An activate whose answer was lost may hold the seat for good; one under way may hold it now."""
    lost = Tape()
    lost.call("activate", "laptop", 1, None)
    lost.call("activate", "phone", 90, 91, no=FULL)
    racing = Tape()
    racing.call("activate", "laptop", 1.25, 3)
    racing.call("activate", "phone", 1.2, 1.3, no=FULL)

    assert lost.broken() == []
    assert racing.broken() == []
    assert lost.occasions("SEA-002") + racing.occasions("SEA-002") == 0


def test_own_seat_does_not_excuse_a_refusal() -> None:
    """Of two seats one is the asking device's own; the other can't be taken by anyone."""
    tape = Tape(seats=1)
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "laptop", 1.2, 1.3, no=FULL)

    assert tape.broken() == ["SEA-002"]


def test_seat_taken_after_the_lease_keeps_sea_003() -> None:
    """The only way in which the seat can have become free is the end of the lease."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "phone", 3.2, 3.3)

    assert tape.broken() == []
    assert tape.occasions("SEA-003") == 1
    assert tape.occasions("SEA-004") == 0


def test_seat_refused_after_the_lease_breaks_sea_003() -> None:
    """The crash in between is part of the evidence."""
    tape = Tape()
    grant = tape.call("activate", "laptop", 1, 1.1)
    crash = tape.crash(1.5, 1.8)
    wrong = tape.call("activate", "phone", 3.2, 3.3, no=FULL)

    (violation,) = tape.violations("SEA-003")
    assert (grant, crash, wrong) == violation.evidence
    assert tape.violations("SEA-004") == []


def test_lease_possibly_prolonged_leaves_sea_003_undecided() -> None:
    """A heartbeat whose answer was lost may have prolonged the lease, late."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("heartbeat", "laptop", 2, None)
    tape.call("activate", "phone", 5, 5.1, no=FULL)

    assert tape.broken() == []
    assert tape.occasions("SEA-003") == 0


def test_refusal_within_the_tolerance_does_not_break_sea_003() -> None:
    """The lease ends at the answer, plus the lease, plus the tolerance: 1.1 + 2 + 0.05."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "phone", 3.14, 3.3, no=FULL)

    assert tape.broken() == []


def test_sea_003_needs_the_stated_lease() -> None:
    """Without the number nothing is judged by it."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "phone", 50, 50.1, no=FULL)

    assert tape.broken(Contract()) == []


def test_seat_taken_after_a_release_keeps_sea_004() -> None:
    """The lease was still running: only the release can have freed the seat."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("release", "laptop", 1.2, 1.3)
    tape.call("activate", "phone", 1.4, 1.5)

    assert tape.broken() == []
    assert tape.occasions("SEA-004") == 1
    assert tape.occasions("SEA-003") == 0


def test_seat_refused_after_a_release_breaks_sea_004() -> None:
    """Grant, release, refusal."""
    tape = Tape()
    grant = tape.call("activate", "laptop", 1, 1.1)
    release = tape.call("release", "laptop", 1.2, 1.3)
    wrong = tape.call("activate", "phone", 1.4, 1.5, no=FULL)

    (violation,) = tape.violations("SEA-004")
    assert (grant, release, wrong) == violation.evidence


def test_lost_release_leaves_sea_004_undecided() -> None:
    """A release that may not have worked frees nothing for certain."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("release", "laptop", 1.2, None)
    tape.call("activate", "phone", 1.4, 1.5, no=FULL)

    assert tape.broken() == []
    assert tape.occasions("SEA-004") == 0


# SEA-005


def test_heartbeats_within_the_lease_keep_sea_005() -> None:
    """A seat kept by a heartbeat, shown by the next heartbeat and by another device's refusal."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("heartbeat", "laptop", 2, 2.1)
    tape.call("heartbeat", "laptop", 3.3, 3.4)
    tape.call("activate", "phone", 4.5, 4.6, no=FULL)

    assert tape.broken() == []
    assert tape.occasions("SEA-005") == 2


def test_heartbeat_refused_within_the_lease_breaks_sea_005() -> None:
    """The seat was granted and its lease is running for certain."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    heartbeat = tape.call("heartbeat", "laptop", 2, 2.1)
    wrong = tape.call("heartbeat", "laptop", 3.3, 3.4, no=NONE)

    (violation,) = tape.violations("SEA-005")
    assert (heartbeat, wrong) == violation.evidence


def test_heartbeat_accepted_after_the_lease_breaks_sea_005() -> None:
    """The lease was over for certain, and nothing can have given a new one."""
    tape = Tape()
    grant = tape.call("activate", "laptop", 1, 1.1)
    wrong = tape.call("heartbeat", "laptop", 3.2, 3.3)

    (violation,) = tape.violations("SEA-005")
    assert (grant, wrong) == violation.evidence


def test_heartbeat_refused_after_the_lease_keeps_sea_005() -> None:
    """That is the other half of the promise."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("heartbeat", "laptop", 3.2, 3.3, no=NONE)

    assert tape.broken() == []
    assert tape.occasions("SEA-005") == 1


def test_activate_that_may_have_worked_leaves_sea_005_undecided() -> None:
    """A late activate explains an accepted heartbeat; a late release explains a refused one."""
    accepted = Tape()
    accepted.call("activate", "laptop", 1, 1.1)
    accepted.call("activate", "laptop", 2, None)
    accepted.call("heartbeat", "laptop", 9, 9.1)
    refused = Tape()
    refused.call("activate", "laptop", 1, 1.1)
    refused.call("release", "laptop", 1.2, None)
    refused.call("heartbeat", "laptop", 1.4, 1.5, no=NONE)

    assert accepted.broken() == []
    assert refused.broken() == []
    assert accepted.occasions("SEA-005", CONTRACT) + refused.occasions("SEA-005", CONTRACT) == 0
