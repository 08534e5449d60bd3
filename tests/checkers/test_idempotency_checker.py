"""Idempotency: one key, one licence, one event."""

from __future__ import annotations

from typing import Any

from histories import Tape


def event(seq: int, licence: str, key: str = "") -> dict[str, Any]:
    data = {"idempotency_key": key} if key else {}
    return {"seq": seq, "actor": "a", "action": "issue", "licence": licence, "event": {"seq": seq, "data": data}}


def test_retry_that_answers_the_same_licence_keeps_idm_001() -> None:
    """Also over a crash."""
    tape = Tape()
    tape.crash(0.5, 0.6)
    tape.issue(1, 1.1)

    assert tape.broken() == []
    assert tape.occasions("IDM-001") == 1


def test_retry_that_answers_another_licence_breaks_idm_001() -> None:
    """The evidence is both answers and the crash in between."""
    tape = Tape()
    crash = tape.crash(0.5, 0.6)
    retry = tape.issue(1, 1.1, id="id-other")

    (violation,) = tape.violations("IDM-001")
    assert violation.evidence == (1, crash, retry)


def test_single_acknowledgement_leaves_idm_001_undecided() -> None:
    """A lost answer and one retry show one licence: nobody knows whether there are two."""
    tape = Tape(issued=False)
    tape.issue(0, None)
    tape.issue(1, 1.1)

    assert tape.broken() == []
    assert tape.occasions("IDM-001") == 0


def test_other_key_or_other_request_is_no_retry() -> None:
    """Two keys make two licences; the same key for another request is another story."""
    tape = Tape()
    tape.issue(1, 1.1, key="k2", id="id-2", licence="L2")
    tape.issue(2, 2.1, seats=5, id="id-3", licence="L3")

    assert tape.violations("IDM-001") == []
    assert tape.occasions("IDM-001") == 0


def test_one_event_for_a_retried_key_keeps_idm_002() -> None:
    """The answer was lost, the key was sent again, and the trail shows one issue."""
    tape = Tape(issued=False)
    tape.issue(0, None)
    tape.issue(1, 1.1)
    tape.call("audit_log", "vendor", 2, 2.1, licence="", answer={"entries": [event(1, "id-L1", "k1")]})

    assert tape.violations("IDM-002") == []
    assert tape.occasions("IDM-002") == 1


def test_two_events_for_a_key_break_idm_002() -> None:
    """The second licence is known only from the trail: its event names the key."""
    tape = Tape(issued=False)
    lost = tape.issue(0, None)
    retry = tape.issue(1, 1.1)
    entries = [event(1, "id-unseen", "k1"), event(2, "id-L1", "k1")]
    read = tape.call("audit_log", "vendor", 2, 2.1, licence="", answer={"entries": entries})

    (violation,) = tape.violations("IDM-002")
    assert violation.evidence == (lost, retry, read)


def test_events_of_others_are_not_counted() -> None:
    """A trail is shared: other licences' events name neither our key nor our licence."""
    tape = Tape()
    tape.issue(1, 1.1)
    entries = [event(1, "id-L1", "k1"), event(2, "id-9", "k9")]
    tape.call("audit_log", "vendor", 2, 2.1, licence="", answer={"entries": entries})

    assert tape.violations("IDM-002") == []


def test_trail_that_does_not_show_the_licence_leaves_idm_002_undecided() -> None:
    """Nothing was seen, so nothing is said; a missing event breaks another promise."""
    tape = Tape()
    tape.issue(1, 1.1)
    tape.call("audit_log", "vendor", 2, 2.1, licence="", answer={"entries": []})

    assert tape.violations("IDM-002") == []
    assert tape.occasions("IDM-002") == 0
