"""Faults of single calls: an answer that is not the target's, and a request that may have arrived twice."""

from __future__ import annotations

import pytest
from histories import Ledger, Tape, read

from licensing_harness.vocabulary import FaultKind

FULL = "no-free-seat"
NAMED = {"calls": [3]}


def stale(detail: dict[str, object], *, end: float = 2.0, met: bool = True) -> Tape:
    """A revoke that was acknowledged, and a yes after it while an old answer was given to somebody."""
    tape = Tape()
    tape.call("validate", "laptop", 0.2, 0.3)
    tape.call("revoke", "vendor", 0.5, 0.6)
    n = tape.call("validate", "phone", 1.0, 1.1)
    if "calls" in detail:
        detail = {"calls": [n] if detail["calls"] == [3] else detail["calls"]}
    tape.fault(FaultKind.STALE_ANSWER, 0.7, end, where="clients->server", **detail)
    if not met:
        tape.story.faults.clear()
    return tape


def test_an_old_answer_of_a_cache_does_not_accuse_the_target() -> None:
    """It is named, or any call in the fault's time may have got it; another call's answer is the target's own."""
    assert stale(NAMED).broken() == []
    assert stale({}).broken() == []
    assert stale({"calls": [2]}).broken() == ["REV-001"]
    assert stale({}, end=0.9).broken() == ["REV-001"]
    assert stale(NAMED, met=False).broken() == ["REV-001"]


def test_an_old_answer_is_no_occasion_either() -> None:
    """A no that came from the cache says as little as a yes."""
    tape = Tape()
    tape.call("validate", "laptop", 0.2, 0.3)
    tape.call("revoke", "vendor", 0.5, 0.6)
    n = tape.call("validate", "phone", 1.0, 1.1, no="revoked")
    tape.fault(FaultKind.CORRUPT_BODY, 0.4, 2.0, where="clients->server", calls=[n])

    assert tape.broken() == []
    assert tape.judged("REV-001") == 0


@pytest.mark.parametrize(
    ("kind", "shown", "broken"),
    [
        (FaultKind.STALE_ANSWER, ["issue", "suspend"], []),
        (FaultKind.STALE_ANSWER, ["issue"], ["AUD-001"]),
        (FaultKind.CORRUPT_BODY, ["issue", "suspend"], ["AUD-001"]),
        (FaultKind.STALE_ANSWER, ["issue", "suspend", "revoke"], ["AUD-002"]),
    ],
)
def test_an_old_page_of_the_trail_shows_what_was_in_it(kind: FaultKind, shown: list[str], broken: list[str]) -> None:
    """The next page begins behind it; and it proves nothing about what it does not show."""
    tape, ledger = Tape(), Ledger()
    tape.call("suspend", "vendor", 0.5, 0.6)
    for action in shown:
        ledger.add(action)
    n = read(tape, ledger, 1.0)
    tape.fault(kind, 0.7, 1.5, where="clients->server", calls=[n])
    tape.call("audit_log", "vendor", 2.0, 2.1, licence="", answer={"entries": []})

    assert tape.broken() == broken


def test_an_old_page_alone_proves_nothing() -> None:
    """What is not in it may have come later."""
    tape, ledger = Tape(), Ledger()
    ledger.add("issue")
    tape.call("suspend", "vendor", 0.5, 0.6)
    n = read(tape, ledger, 1.0)
    tape.fault(FaultKind.STALE_ANSWER, 0.7, 1.5, where="clients->server", calls=[n])

    assert tape.broken() == []


def doubled(detail: dict[str, object]) -> Tape:
    """A seat was taken and given back, and is asked for by another device; the first request came twice, or not."""
    tape = Tape()
    first = tape.call("activate", "laptop", 0.5, 0.6)
    tape.call("release", "laptop", 0.8, 0.9)
    tape.call("activate", "phone", 1.0, 1.1, no=FULL)
    calls = {"calls": [first]} if "calls" in detail else {}
    tape.fault(FaultKind.DUPLICATE, 0.4, 0.7, where="clients->server", **calls)
    return tape


@pytest.mark.parametrize("detail", [NAMED, {}])
def test_a_change_that_arrived_twice_may_have_happened_again_later(detail: dict[str, object]) -> None:
    """The second activation came after the release: the seat is taken, and the refusal right."""
    assert doubled(detail).broken() == []


def test_a_question_that_was_asked_twice_changes_nothing() -> None:
    """Nobody took the seat."""
    tape = Tape()
    tape.call("activate", "laptop", 0.2, 0.3)
    tape.call("release", "laptop", 0.4, 0.5)
    n = tape.call("validate", "laptop", 0.6, 0.7)
    tape.call("activate", "phone", 1.0, 1.1, no=FULL)
    tape.fault(FaultKind.DUPLICATE, 0.55, 0.75, where="clients->server", calls=[n])

    assert tape.broken() == ["SEA-002", "SEA-004"]


@pytest.mark.parametrize(("settled", "broken"), [(True, ["SEA-002", "SEA-004"]), (False, [])])
@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.RESTART])
def test_a_copy_is_over_when_the_process_ended_and_nobody_else_had_it(
    kind: FaultKind, settled: bool, broken: list[str]
) -> None:
    """Only where the end of the process settled what was sent before; and what the copy took was given back after."""
    tape = Tape()
    n = tape.call("activate", "laptop", 0.2, 0.3)
    tape.fault(FaultKind.DUPLICATE, 0.1, 0.35, where="clients->server", calls=[n])
    tape.fault(kind, 0.5, 0.6, where="target", settled=settled)
    tape.call("release", "laptop", 0.7, 0.8)
    tape.call("activate", "phone", 1.0, 1.1, no=FULL)

    assert tape.broken() == broken


def test_a_doubled_change_is_twice_in_the_trail_with_reason() -> None:
    """Without the fault the second entry has no explanation."""
    for copies, calls, broken in ((1, [2], []), (1, [99], ["AUD-001"]), (2, [2], ["AUD-002"])):
        tape = Tape()
        tape.call("activate", "laptop", 0.5, 0.6)
        tape.fault(FaultKind.DUPLICATE, 0.4, 0.7, where="clients->server", calls=calls)
        rows = [
            {"seq": seq, "actor": "a", "action": action, "licence": "id-L1", "event": {"device": "laptop"}}
            for seq, action in enumerate(["issue", "activate", *["activate"] * copies], start=1)
        ]
        tape.call("audit_log", "vendor", 5, 5.1, licence="", answer={"entries": rows})

        assert [each for each in tape.broken() if each != "AUD-003"] == broken
        if copies == 2:
            tape.fault(FaultKind.DUPLICATE, 0.4, 0.7, where="laptop->server", calls=calls)
            assert [each for each in tape.broken() if each != "AUD-003"] == [], "two faults, two copies"
