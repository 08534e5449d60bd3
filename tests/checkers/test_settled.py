"""What the harness did itself is known: a cut request never arrived, a cut answer had been given, a kill ends all."""

from __future__ import annotations

import pytest
from histories import CONTRACT, Tape

from licensing_harness.checkers.index import Index
from licensing_harness.history import Fault
from licensing_harness.vocabulary import Contract, FaultKind

FULL = "no-free-seat"


def cut(tape: Tape, kind: FaultKind, client: str, begin: float, end: float | None, *, met: int = 1) -> int:
    number = tape.crash(begin, end, kind=kind, met=met)
    fault = tape.story.faults.pop()
    tape.story.faults.append(
        Fault(n=number, story="s1", fault=fault.fault, begin=begin, end=end, where=client, met=met)
    )
    return number


def kill(tape: Tape, begin: float, end: float, *, settled: bool = True) -> None:
    number = tape.crash(begin, end)
    tape.story.faults.pop()
    detail = {"settled": True} if settled else {}
    tape.story.faults.append(
        Fault(n=number, story="s1", fault=FaultKind.CRASH, begin=begin, end=end, where="target", met=1, detail=detail)
    )


def test_cut_request_took_no_effect() -> None:
    """The seat is free for certain, so refusing it is wrong; without the fault nobody could tell."""
    told, untold = Tape(), Tape()
    cut(told, FaultKind.CUT_REQUEST, "laptop", 0.9, 1.0)
    for tape in (told, untold):
        tape.call("activate", "laptop", 1, None)
        tape.call("activate", "tablet", 1.2, 1.3)
        tape.call("release", "tablet", 1.4, 1.5)
        tape.call("activate", "phone", 2, 2.1, no=FULL)

    assert told.broken() == ["SEA-002", "SEA-004"]
    assert untold.broken() == []


def test_cut_request_that_is_in_the_trail_is_not_explained() -> None:
    """It never arrived, so nobody asked for this change."""
    tape = Tape()
    cut(tape, FaultKind.CUT_REQUEST, "laptop", 0.9, 1.0)
    tape.call("activate", "laptop", 1, None)
    rows = [
        {"seq": seq, "actor": "a", "action": action, "licence": "id-L1", "event": {}}
        for seq, action in enumerate(["issue", "activate"], start=1)
    ]
    tape.call("audit_log", "vendor", 5, 5.1, licence="", answer={"entries": rows})

    assert [each.promise for each in tape.violations("AUD-002")] == ["AUD-002"]


def test_cut_answer_bounds_when_the_call_took_effect() -> None:
    """The lease of a seat that may have been given is over, counted from the cut at the latest."""
    told, untold = Tape(), Tape()
    cut(told, FaultKind.CUT_ANSWER, "laptop", 0.9, 1.1)
    for tape in (told, untold):
        tape.call("activate", "laptop", 1, None)
        tape.call("activate", "phone", 1.2, 1.3, no=FULL)
        tape.call("activate", "phone", 3.2, 3.3, no=FULL)

    assert told.broken() == ["SEA-002", "SEA-003"]
    assert untold.broken() == []


def test_cut_answer_may_have_been_a_yes_or_a_no() -> None:
    """Until the lease is over the seat is possibly taken, and never certainly."""
    tape = Tape()
    cut(tape, FaultKind.CUT_ANSWER, "laptop", 0.9, 1.1)
    tape.call("activate", "laptop", 1, None)
    tape.call("activate", "phone", 1.2, 1.3)
    tape.call("activate", "tablet", 1.4, 1.5, no=FULL)

    assert tape.broken() == []


def test_cut_renewal_is_over_in_time() -> None:
    """A term that may have been given by the cut ends like any other."""
    tape = Tape(duration=1.0)
    cut(tape, FaultKind.CUT_ANSWER, "vendor", 0.5, 0.7)
    tape.call("renew", "vendor", 0.6, None, asked={"duration": 2.0})
    tape.call("validate", "laptop", 0.8, 0.9)
    tape.call("validate", "laptop", 2.7, 2.74)
    assert tape.broken() == []
    assert tape.occasions("VAL-002") == 0

    tape.call("validate", "laptop", 2.8, 2.9)

    assert tape.broken() == ["VAL-002"]


def test_cut_renewal_may_not_have_happened() -> None:
    """A no after the first term has a cause then."""
    tape = Tape(duration=1.0)
    cut(tape, FaultKind.CUT_ANSWER, "vendor", 0.5, 0.7)
    tape.call("renew", "vendor", 0.6, None, asked={"duration": 20.0})
    tape.call("validate", "laptop", 1.2, 1.3, no="expired")

    assert tape.broken() == []


def test_cut_release_ends_certainty_only_for_what_was_granted_before() -> None:
    """The device activated again after the cut: that hold is certain."""
    tape = Tape()
    tape.call("activate", "laptop", 0.5, 0.6)
    cut(tape, FaultKind.CUT_ANSWER, "laptop", 0.9, 1.1)
    tape.call("release", "laptop", 1, None)
    tape.call("activate", "laptop", 1.2, 1.3)
    tape.call("activate", "phone", 1.4, 1.5)

    assert tape.broken() == ["SEA-001"]


@pytest.mark.parametrize("settled", [True, False])
def test_kill_settles_what_was_sent_before_it_only_when_it_says_so(settled: bool) -> None:
    """A queue, or another process, could still do it: only who owns the target knows."""
    tape = Tape()
    tape.call("activate", "laptop", 1, None)
    kill(tape, 1.2, 1.5, settled=settled)
    tape.call("activate", "phone", 1.6, 1.7, no=FULL)
    tape.call("activate", "phone", 3.6, 3.7, no=FULL)

    assert tape.broken() == (["SEA-002", "SEA-003"] if settled else [])


def test_kill_says_nothing_about_what_was_sent_after_it() -> None:
    """A call sent while the target was down may have reached the next one."""
    tape = Tape()
    kill(tape, 0.9, 1.5)
    tape.call("activate", "laptop", 1, None)
    tape.call("activate", "phone", 9.6, 9.7, no=FULL)

    assert tape.broken() == []


@pytest.mark.parametrize(("end", "detail"), [(1.2, {"every": 2}), (1.2, {"first": 1}), (0.95, {})])
def test_cut_that_may_have_missed_the_call_says_nothing(end: float, detail: dict[str, int]) -> None:
    """It falls on some calls, and which is not told; or it was over before the call was sent."""
    tape = Tape()
    tape.fault(FaultKind.CUT_REQUEST, 0.9, end, where="laptop", **detail)
    tape.call("activate", "laptop", 1, None)
    tape.call("activate", "tablet", 1.2, 1.3)
    tape.call("release", "tablet", 1.4, 1.5)
    tape.call("activate", "phone", 2, 2.1, no=FULL)

    assert tape.broken() == []


@pytest.mark.parametrize("case", ["other client", "earlier call", "second call", "not met", "accepted"])
def test_cut_is_about_the_next_call_of_its_client_only(case: str) -> None:
    """Every other call keeps its own outcome."""
    tape = Tape()
    if case == "earlier call":
        tape.call("activate", "laptop", 0.5, None)
    cut(tape, FaultKind.CUT_REQUEST, "phone" if case == "other client" else "laptop", 0.9, 1.0, met=case != "not met")
    if case == "second call":
        tape.call("validate", "laptop", 1.0, None)
    if case != "earlier call":
        tape.call("activate", "laptop", 1.1, 1.2 if case == "accepted" else None)

    activate = Index(tape.story).licences["L1"].verbs["activate"]

    assert activate == [each for each in tape.story.operations if each.verb == "activate"]


def test_refusals_acknowledge_what_they_name() -> None:
    """A retry that is told 'revoked', 'suspended' or 'no such seat' is as good as the answer that was lost."""
    revoked = Tape()
    revoked.call("validate", "laptop", 0.5, 0.6)
    revoked.call("revoke", "vendor", 1, None)
    revoked.call("revoke", "vendor", 2, 2.1, no="revoked")
    revoked.call("validate", "laptop", 3, 3.1)
    suspended = Tape()
    suspended.call("suspend", "vendor", 1, None)
    suspended.call("suspend", "vendor", 2, 2.1, no="suspended")
    suspended.call("validate", "laptop", 3, 3.1)
    released = Tape()
    released.call("activate", "laptop", 0.5, 0.6)
    released.call("release", "laptop", 1, None)
    released.call("release", "laptop", 1.2, 1.3, no="no-such-seat")
    released.call("activate", "phone", 1.4, 1.5, no=FULL)

    assert revoked.broken() == ["REV-001", "REV-003"]
    assert suspended.broken() == ["VAL-006"]
    assert released.broken() == ["SEA-002", "SEA-004"]
    assert released.occasions("SEA-004", CONTRACT) == 1


def test_late_word_of_a_suspension_is_given_the_stated_bound() -> None:
    """A target that may be stale can say 'suspended' after the reinstatement, and then rightly yes."""
    tape = Tape()
    tape.call("suspend", "vendor", 1, 1.1)
    tape.call("reinstate", "vendor", 2, 2.1)
    tape.call("validate", "phone", 2.2, 2.3, no="suspended")
    tape.call("validate", "laptop", 9, 9.1)

    assert tape.violations("VAL-006", Contract(revocation_bound=1)) == []
    assert len(tape.violations("VAL-006", Contract(revocation_bound=0))) == 1
