"""Which promise was tried under which fault, and why not where it was not."""

from __future__ import annotations

import pytest
from histories import CONTRACT, Tape

from licensing_harness.checkers.tally import Tally
from licensing_harness.history import Fault, Header, StoryHistory
from licensing_harness.verdict import CellResult, FaultResult
from licensing_harness.vocabulary import Cap, FaultKind


def racing(*faults: Fault, accepted: bool = False, tries: tuple[str, ...] = ("SEA-001",)) -> StoryHistory:
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.2)
    tape.call("activate", "phone", 1, 1.3, no="" if accepted else "no-free-seat")
    tape.story.tries, tape.story.scenario = tries, "seats::race"
    tape.story.faults += faults
    return tape.story


def fault(kind: FaultKind = FaultKind.LATENCY, *, met: int = 1, begin: float = 0.5, n: int = 90) -> Fault:
    return Fault(n=n, story="s1", fault=kind, begin=begin, end=2.0, where="wire", met=met)


def rows(*stories: StoryHistory, without: frozenset[Cap] = frozenset(), **not_set: str) -> dict[str, FaultResult]:
    able = tuple(sorted(set(Cap) - without))
    tally = Tally(Header(capabilities=able, contract=CONTRACT.as_dict()))
    for number, story in enumerate(stories):
        story.story = f"s{number}"
        tally.judge(story)
    for kind, reason in not_set.items():
        tally.not_set(kind, reason)
    return {each.fault: each for each in tally.result().matrix}


def cell(row: FaultResult, promise: str) -> CellResult:
    return next(each for each in row.promises if each.promise == promise)


def test_occasions_count_under_every_fault_that_was_met_in_their_story() -> None:
    """Two stories with latency, one of them with a crash as well, and one without any fault."""
    told = rows(racing(fault()), racing(fault(), fault(FaultKind.CRASH, n=91)), racing())

    occasions = cell(told["crash"], "SEA-001").tried
    assert occasions > 0
    assert cell(told["latency"], "SEA-001") == CellResult(promise="SEA-001", tried=2 * occasions, stories=2)
    assert (told["latency"].set, told["latency"].met) == (2, 2)
    assert cell(told["crash"], "SEA-001").stories == 1


def test_a_fault_that_nobody_met_tries_nothing() -> None:
    """Its stories are undecided, and the reason says so."""
    told = cell(rows(racing(fault(met=0)))["latency"], "SEA-001")

    assert told == CellResult(promise="SEA-001", undecided=1, reason="the fault was never met by traffic")


def test_a_claim_without_an_occasion_is_undecided() -> None:
    """The fault was met, and the promise was not put to the test."""
    told = cell(rows(racing(fault(), tries=("REV-001",)))["latency"], "REV-001")

    assert told == CellResult(promise="REV-001", undecided=1, reason="there was no occasion to break it")


def test_a_broken_promise_is_counted_under_its_fault() -> None:
    """And nowhere else."""
    told = rows(racing(fault(), accepted=True), racing(fault(FaultKind.CRASH)))

    assert cell(told["latency"], "SEA-001").broken == 1
    assert cell(told["crash"], "SEA-001").broken == 0


@pytest.mark.parametrize(
    ("promise", "reason"),
    [("REV-001", "no story with this fault tried it"), ("AUD-001", "needs 'audit': not declared")],
)
def test_what_was_not_tried_says_why(promise: str, reason: str) -> None:
    """No story was about it, or the target can't do it."""
    told = cell(rows(racing(fault()), without=frozenset({Cap.AUDIT}))["latency"], promise)

    assert (told.tried, told.undecided) == (0, 0)
    assert told.reason.startswith(reason)


def test_a_claim_that_does_not_apply_is_not_run() -> None:
    """The target can't do it: that is no open question."""
    story = racing(fault(), tries=("SEA-001", "AUD-001"))

    told = cell(rows(story, without=frozenset({Cap.AUDIT}))["latency"], "AUD-001")

    assert told.undecided == 0
    assert told.reason.startswith("needs 'audit'")


def test_every_kind_has_its_row() -> None:
    """Those that were set first; the others say why they were not."""
    told = rows(racing(fault()), crash="no restart here")

    assert list(told)[:2] == ["latency", "crash"]
    assert set(told) == {each.value for each in FaultKind}
    assert (told["crash"].reason, told["crash"].promises) == ("no restart here", [])
    assert told["clock-jump"].reason == "no story set it"
