"""Audit: complete, explained, chained, in order, signed."""

from __future__ import annotations

import pytest
from histories import Ledger, Tape, read

from licensing_harness.vocabulary import FaultKind


def test_trail_of_all_acknowledged_changes_keeps_every_promise() -> None:
    """Retries of the issue are one change; a refused call is none; every other call is one."""
    tape, ledger = Tape(), Ledger()
    tape.issue(0.5, 0.6)
    ledger.add("issue")
    tape.call("activate", "laptop", 1, 1.1)
    ledger.add("activate", "laptop")
    tape.call("activate", "phone", 1.2, 1.3, no="no-free-seat")
    tape.call("suspend", "vendor", 2, 2.1)
    ledger.add("suspend")
    tape.call("reinstate", "vendor", 3, 3.1)
    ledger.add("reinstate")
    read(tape, ledger)

    assert tape.broken() == []
    assert tape.occasions("AUD-001") == 4
    assert tape.occasions("AUD-002") == 4
    assert tape.occasions("AUD-003") == 3
    assert tape.occasions("AUD-004") == 3
    assert tape.occasions("AUD-005") == 4


@pytest.mark.parametrize("verb", ["activate", "heartbeat", "renew", "suspend", "revoke"])
def test_missing_change_breaks_aud_001(verb: str) -> None:
    """Acknowledged before the trail was read, and not in it."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    change = tape.call(verb, "laptop", 1, 1.1, asked={"duration": 9.0})
    reading = read(tape, ledger)

    (violation,) = tape.violations("AUD-001")
    assert violation.evidence == (change, reading)
    assert violation.observed == "0 times in the trail"


def test_missing_issue_breaks_aud_001() -> None:
    """The licence's own beginning is a change too."""
    tape, ledger = Tape(), Ledger()
    read(tape, ledger)

    assert len(tape.violations("AUD-001")) == 1


def test_devices_are_told_apart() -> None:
    """One event too few for one device is not made good by one too many for another."""
    tape, ledger = Tape(seats=3), Ledger()
    ledger.add("issue")
    tape.call("activate", "laptop", 1, 1.1)
    tape.call("activate", "phone", 1, 1.1)
    ledger.add("activate", "phone")
    ledger.add("activate", "phone")
    read(tape, ledger)

    assert {each.promise for each in tape.violations("AUD-001")} == {"AUD-001"}


def test_doubled_change_breaks_aud_001() -> None:
    """Exactly once means not twice."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    ledger.add("issue")
    read(tape, ledger)

    (violation,) = tape.violations("AUD-001")
    assert violation.observed == "2 times in the trail"
    assert tape.violations("AUD-002") == []


def test_change_under_way_when_the_trail_was_read_may_be_missing() -> None:
    """A reading is complete up to the moment it was asked for."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    tape.call("activate", "laptop", 89.9, 90.05)
    read(tape, ledger)

    assert tape.broken() == []
    assert tape.occasions("AUD-001") == 1


def test_call_that_changed_nothing_may_be_missing() -> None:
    """A second suspend or release may be accepted, and need not be written down."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    for at in (1, 2):
        tape.call("suspend", "vendor", at, at + 0.1)
    ledger.add("suspend")
    tape.call("release", "laptop", 3, 3.1)
    read(tape, ledger)

    assert tape.broken() == []


def test_unread_trail_leaves_everything_undecided() -> None:
    """A reading whose answer was lost shows nothing."""
    tape = Tape()
    tape.call("audit_log", "vendor", 1, None, licence="")

    assert tape.broken() == []
    assert [tape.occasions(f"AUD-00{number}") for number in range(1, 6)] == [0] * 5


def test_unknown_change_may_be_there_or_not() -> None:
    """Once or never."""
    for events in (0, 1):
        tape, ledger = Tape(), Ledger()
        ledger.add("issue")
        tape.call("activate", "laptop", 1, None)
        for _ in range(events):
            ledger.add("activate", "laptop")
        read(tape, ledger)

        assert tape.broken() == []


def test_unknown_change_twice_breaks_aud_002() -> None:
    """A lost answer must not be written down twice."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    lost = tape.call("activate", "laptop", 1, None)
    ledger.add("activate", "laptop")
    ledger.add("activate", "laptop")
    reading = read(tape, ledger)

    (violation,) = tape.violations("AUD-002")
    assert violation.evidence == (lost, reading)


def test_refused_change_in_the_trail_breaks_aud_002() -> None:
    """Nothing was changed, so nothing may be written down; nor what nobody asked for."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    tape.call("activate", "laptop", 1, 1.1, no="no-free-seat")
    ledger.add("activate", "laptop")
    read(tape, ledger)
    unasked, other = Tape(), Ledger()
    other.add("issue")
    other.add("revoke")
    read(unasked, other)

    assert [each.promise for each in tape.violations("AUD-002")] == ["AUD-002"]
    assert [each.promise for each in unasked.violations("AUD-002")] == ["AUD-002"]


@pytest.mark.parametrize(("faults", "entries", "broken"), [(2, 3, []), (1, 3, ["AUD-002"]), (2, 4, ["AUD-002"])])
def test_a_change_is_in_the_trail_once_for_each_copy_that_arrived(faults: int, entries: int, broken: list[str]) -> None:
    """Two faults that double a request make two copies of it; one more entry is nobody's."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    sent = tape.call("activate", "laptop", 0.5, 0.6)
    for _ in range(faults):
        tape.fault(FaultKind.DUPLICATE, 0.4, 0.7, where="clients->server", calls=[sent])
    for _ in range(entries):
        ledger.add("activate", "laptop")
    read(tape, ledger)

    assert tape.broken() == broken


def test_entries_about_other_licences_are_not_ours_to_explain() -> None:
    """The trail is shared, and has words of its own."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    ledger.add("revoke", licence="id-elsewhere")
    ledger.add("server.key")
    read(tape, ledger)

    assert tape.broken() == []


@pytest.mark.parametrize(
    ("name", "value"), [("hash", "0" * 64), ("previous", "1" * 64), ("hash", ""), ("event", {"seq": 2, "actor": "x"})]
)
def test_altered_entry_breaks_aud_003(name: str, value: object) -> None:
    """Hash, link and event are all covered."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    ledger.add("activate", "laptop")
    ledger.entries[1][name] = value
    reading = read(tape, ledger)

    (violation,) = tape.violations("AUD-003")
    assert violation.evidence == (reading,)


def test_removed_entry_breaks_aud_003() -> None:
    """The one after it does not link to the one before it."""
    tape, ledger = Tape(), Ledger()
    for _ in range(3):
        ledger.add("issue")
    del ledger.entries[1]
    read(tape, ledger)

    (violation,) = tape.violations("AUD-003")
    assert "missing" in violation.observed


def test_chain_may_begin_in_the_middle() -> None:
    """A story reads what came after the head it knows."""
    tape, ledger = Tape(), Ledger()
    for _ in range(4):
        ledger.add("issue")
    del ledger.entries[:2]
    read(tape, ledger)

    assert tape.violations("AUD-003") == []


def test_history_that_is_read_differently_later_breaks_aud_003() -> None:
    """A trail that is rewritten with a chain that fits is still not the one that was read before."""
    tape, one, two = Tape(), Ledger(), Ledger()
    one.add("issue")
    two.add("issue", actor="someone else")
    read(tape, one, 50)
    again = read(tape, two, 60)

    (violation,) = tape.violations("AUD-003")
    assert violation.evidence == (again,)


def test_masked_event_is_not_hashed_again() -> None:
    """A stored history has secrets masked; what was masked can't be verified, and accuses nobody."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    ledger.entries[0]["event"]["data"] = {"note": "[masked:abcdef]"}
    read(tape, ledger)

    assert tape.violations("AUD-003") == []


def test_order_against_real_time_breaks_aud_004() -> None:
    """The second change was sent after the first was acknowledged, and stands before it."""
    tape, ledger = Tape(), Ledger()
    first = tape.call("suspend", "vendor", 1, 1.1)
    second = tape.call("reinstate", "vendor", 2, 2.1)
    ledger.add("issue")
    ledger.add("reinstate")
    ledger.add("suspend")
    reading = read(tape, ledger)

    (violation,) = tape.violations("AUD-004")
    assert violation.evidence == (first, second, reading)


def test_overlapping_changes_may_stand_in_any_order() -> None:
    """Nobody can tell which came first."""
    tape, ledger = Tape(seats=2), Ledger()
    ledger.add("issue")
    tape.call("activate", "laptop", 1, 2)
    tape.call("activate", "phone", 1.5, 2.5)
    ledger.add("activate", "phone")
    ledger.add("activate", "laptop")
    read(tape, ledger)

    assert tape.broken() == []


def test_unknown_change_is_given_no_place() -> None:
    """It may have worked later than anything that was acknowledged since."""
    tape, ledger = Tape(seats=2), Ledger()
    ledger.add("issue")
    tape.call("activate", "laptop", 1, None)
    tape.call("activate", "phone", 5, 5.1)
    ledger.add("activate", "phone")
    ledger.add("activate", "laptop")
    read(tape, ledger)

    assert tape.broken() == []


def test_entry_without_an_actor_breaks_aud_005() -> None:
    """Blank is none."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue", actor=" ")
    reading = read(tape, ledger)

    (violation,) = tape.violations("AUD-005")
    assert violation.evidence == (reading,)
