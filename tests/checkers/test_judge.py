"""Assumptions first, then the promises that apply, then the run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from histories import CONTRACT, EVERYTHING, Tape

from licensing_harness.checkers.judge import ALL_PROMISES, judge_story, not_applicable, promise
from licensing_harness.checkers.tally import Tally, judge, judge_file
from licensing_harness.errors import CleanUpIncomplete, HarnessError
from licensing_harness.history import (
    Fault,
    Header,
    HistoryWriter,
    Operation,
    Record,
    StoryHistory,
    lines_of,
    read_history,
)
from licensing_harness.verdict import RunResult, Verdict
from licensing_harness.vocabulary import Cap, Contract, FaultKind, Outcome

HEADER = Header(
    run="r1", target="t", capabilities=tuple(sorted(Cap)), contract=CONTRACT.as_dict(), seed=3, harness="0.1.0"
)


def racing(*, accepted: bool, tries: tuple[str, ...] = ("SEA-001",), story: str = "s1", scenario: str = "seats::race",
           world: str = "simulated") -> StoryHistory:  # fmt: skip
    tape = Tape(world=world)
    tape.call("activate", "laptop", 1, 1.2)
    tape.call("activate", "phone", 1, 1.3, no="" if accepted else "no-free-seat")
    return named(tape.story, tries, story, scenario)


def named(story: StoryHistory, tries: tuple[str, ...], name: str = "s1", scenario: str = "seats::race") -> StoryHistory:
    story.tries, story.story, story.scenario = tries, name, scenario
    return story


def tallied(*stories: StoryHistory, header: Header = HEADER) -> RunResult:
    tally = Tally(header)
    for story in stories:
        tally.judge(story)
    return tally.result()


def verdict_of(result: RunResult, identity: str) -> tuple[Verdict, str]:
    return next((each.verdict, each.reason) for each in result.promises if each.id == identity)


# Assumptions


def test_overlapping_calls_of_one_client_are_an_error_of_the_run() -> None:
    """Two accepted activates would look like a finding; the record itself is wrong."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.2)
    tape.call("validate", "laptop", 1.1, 1.3)

    with pytest.raises(HarnessError, match=r"#3 validate of laptop began .*before its #2 activate") as error:
        judge_story(tape.story, CONTRACT, EVERYTHING)

    assert error.value.exit_code == 3


def test_calls_that_touch_do_not_overlap() -> None:
    """In virtual time the next call begins at the very end of the last; after a lost answer nothing is known."""
    tape = Tape()
    tape.call("activate", "laptop", 1, 1.2)
    tape.call("validate", "laptop", 1.2, None)
    tape.call("validate", "laptop", 1.3, 1.4)

    assert judge_story(tape.story, CONTRACT, EVERYTHING).operations == 4


@pytest.mark.parametrize("kind", list(FaultKind))
def test_fault_that_was_never_removed_is_an_incomplete_clean_up(kind: FaultKind) -> None:
    """In a story that ended; one that was cut short had no time to."""
    tape = Tape()
    tape.crash(1, None, kind=kind)

    with pytest.raises(CleanUpIncomplete, match=f"fault #2 {kind.value} was set and never removed"):
        judge_story(tape.story, CONTRACT, EVERYTHING)

    tape.story.complete = False
    judge_story(tape.story, CONTRACT, EVERYTHING)


@pytest.mark.parametrize(
    ("outcome", "begin", "end", "what"),
    [
        (Outcome.ACCEPTED, 1.0, None, "no end was recorded"),
        (Outcome.REFUSED, 2.0, 1.0, "ended before it began"),
        (Outcome.UNKNOWN, 2.0, None, "used twice"),
    ],
)
def test_record_that_can_not_be_right_is_an_error_of_the_run(
    outcome: Outcome, begin: float, end: float | None, what: str
) -> None:
    """An answer without an end, an end before the begin, a number used twice."""
    tape = Tape()
    number = 1 if "twice" in what else 2
    tape.story.operations.append(
        Operation(n=number, story="s1", client="c", verb="validate", begin=begin, end=end, outcome=outcome)
    )

    with pytest.raises(HarnessError, match=what):
        judge_story(tape.story, CONTRACT, EVERYTHING)


def test_story_cut_short_without_begins_is_counted_and_not_judged() -> None:
    """What was under way is not in the record: a reinstatement could explain the yes."""
    story = racing(accepted=True)
    story.complete = False
    assert judge_story(story, CONTRACT, EVERYTHING).violations == ()

    story.announced = True
    assert len(judge_story(story, CONTRACT, EVERYTHING).violations) == 1
    story.announced = False
    result = tallied(story)

    assert result.notes == ["1 story was cut short and is not judged"]
    assert result.exit_code == 10


# What applies


def test_promise_without_its_capability_is_not_run_with_the_reason() -> None:
    """Undeclared, or not applicable in the adapter's own words."""
    seats = promise("SEA-005")

    assert not_applicable(seats, CONTRACT, {"issue"}) == "needs 'heartbeat' and 'seats': not declared by the target"
    assert not_applicable(seats, CONTRACT, {"issue", "heartbeat"}, {"seats": "another product"}) == (
        "needs 'seats': not applicable: another product"
    )
    assert not_applicable(seats, Contract(), EVERYTHING) == "the contract does not state lease"
    assert not_applicable(seats, CONTRACT, EVERYTHING) == ""


def test_only_what_applies_is_judged() -> None:
    """The over-booking is there; a target without seats is not accused of it."""
    story = racing(accepted=True)

    assert judge_story(story, CONTRACT, EVERYTHING - {Cap.SEATS}).violations == ()
    assert [each.promise for each in judge_story(story, CONTRACT, EVERYTHING).violations] == ["SEA-001"]


def test_judgement_counts_operations_and_overlapping_pairs() -> None:
    """One race of two devices after an issue."""
    judgement = judge_story(racing(accepted=False), CONTRACT, EVERYTHING)

    assert (judgement.operations, judgement.overlaps) == (3, 1)
    assert judgement.occasions["SEA-001"] == 1


# The run


def test_promise_that_was_tried_and_kept_is_held() -> None:
    """Exit 0: something held, nothing was left undecided."""
    result = tallied(racing(accepted=False))

    assert verdict_of(result, "SEA-001") == (Verdict.HELD, "")
    assert verdict_of(result, "REV-001") == (Verdict.NOT_RUN, "no scenario tried it")
    assert (result.verdict, result.exit_code) == (Verdict.HELD, 0)
    assert result.worlds == {
        "simulated": {"stories": 1, "operations": 3, "overlaps": 1, "accepted": 2, "refused": 1},
    }


def test_promise_broken_once_stays_broken() -> None:
    """However often it was kept before and after."""
    result = tallied(
        racing(accepted=False, story="a"), racing(accepted=True, story="b"), racing(accepted=False, story="c")
    )

    assert verdict_of(result, "SEA-001")[0] is Verdict.BROKEN
    assert (result.verdict, result.exit_code) == (Verdict.BROKEN, 1)
    assert [each.verdict for each in result.scenarios] == [Verdict.BROKEN]


def test_promise_that_was_claimed_and_never_tried_is_undecided() -> None:
    """The reason is the promise's control, and where it was missing."""
    result = tallied(racing(accepted=False, tries=("SEA-001", "REV-001")))

    verdict, reason = verdict_of(result, "REV-001")
    assert verdict is Verdict.UNDECIDED
    assert reason == f"{promise('REV-001').control} (in seats::race [simulated])"
    assert (result.verdict, result.exit_code) == (Verdict.UNDECIDED, 10)
    (scenario,) = result.scenarios
    assert scenario.verdict is Verdict.UNDECIDED
    assert scenario.reason.startswith("REV-001: ")


def test_each_scenario_and_world_needs_its_own_occasion() -> None:
    """An occasion in one world does not make another world's claim good; one story of many is enough."""
    idle = named(Tape(world="live").story, ("SEA-001",), "b")
    assert verdict_of(tallied(racing(accepted=False), idle), "SEA-001")[0] is Verdict.UNDECIDED

    same = named(Tape().story, ("SEA-001",), "b")
    assert verdict_of(tallied(racing(accepted=False), same), "SEA-001")[0] is Verdict.HELD


def test_broken_beats_undecided() -> None:
    """There is evidence."""
    result = tallied(racing(accepted=True, tries=("SEA-001", "REV-001")))

    assert (result.verdict, result.exit_code) == (Verdict.BROKEN, 1)


def test_nothing_at_all_is_undecided() -> None:
    """An empty run exits with 10."""
    result = tallied()

    assert (result.verdict, result.exit_code) == (Verdict.UNDECIDED, 10)
    assert all(each.verdict is Verdict.NOT_RUN for each in result.promises)


def test_story_without_a_claim_must_still_be_about_something() -> None:
    """An issue and nothing else proves nothing."""
    tape = Tape(issued=False)
    tape.issue(0, None)

    result = tallied(named(tape.story, ()))

    assert result.scenarios[0].verdict is Verdict.UNDECIDED
    assert result.exit_code == 10


@pytest.mark.parametrize("kind", [FaultKind.CUT_ANSWER, FaultKind.LATENCY])
def test_fault_that_no_traffic_met_is_undecided(kind: FaultKind) -> None:
    """Set in every story and met in none; met once is enough."""
    stories = [racing(accepted=False, story=name) for name in "ab"]
    for number, story in enumerate(stories):
        story.faults.append(fault(kind, met=0, n=90 + number))
    result = tallied(*stories)
    assert result.scenarios[0].verdict is Verdict.UNDECIDED
    assert result.scenarios[0].reason == f"fault set but never met by traffic: {kind.value}"
    assert result.exit_code == 10
    assert result.faults == {kind.value: {"set": 2, "met": 0}}

    stories[1].faults[0] = fault(kind, met=1, n=91)

    assert tallied(*stories).exit_code == 0


def fault(kind: FaultKind, *, met: int, n: int) -> Fault:
    return Fault(n=n, story="s1", fault=kind, begin=1.25, end=1.26, met=met)


def test_crash_is_met_by_whoever_calls_after_it() -> None:
    """Nobody needs to be waiting while the target dies; but somebody must ask afterwards."""
    tape = Tape()
    tape.crash(0.5, 0.6, met=0)
    assert tallied(named(tape.story, ())).scenarios[0].reason == "fault set but never met by traffic: crash"
    tape.call("validate", "laptop", 1, 1.1)

    assert tallied(named(tape.story, ("VAL-004",))).exit_code == 0


def test_scenario_that_could_not_be_run_says_why() -> None:
    """By the plugin's word, by a story's own, or because none of its promises applies."""
    tally = Tally(HEADER)
    tally.judge(racing(accepted=False))
    tally.not_run("offline::month", "live", "needs a clock that can be set")
    stopped = named(Tape(world="live").story, ("SEA-003",), "b", "seats::lease")
    stopped.not_run = "would have to wait 3600s for real"
    tally.judge(stopped)
    result = tally.result()

    assert [(each.id, each.verdict, each.reason) for each in result.scenarios[1:]] == [
        ("offline::month", Verdict.NOT_RUN, "needs a clock that can be set"),
        ("seats::lease", Verdict.NOT_RUN, "would have to wait 3600s for real"),
    ]
    assert verdict_of(result, "SEA-003") == (Verdict.NOT_RUN, "no scenario tried it")
    assert result.exit_code == 0

    bare = Header(capabilities=("issue", "validate"), contract={})
    result = tallied(racing(accepted=True), header=bare)
    assert result.scenarios[0].verdict is Verdict.NOT_RUN
    assert result.scenarios[0].reason == "SEA-001 needs 'seats': not declared by the target"


def test_one_scenario_can_be_asked_for_while_the_run_goes_on() -> None:
    """What the plugin tells of a test at its end; of one that never had a story, nothing is proved."""
    tally = Tally(HEADER)
    tally.judge(racing(accepted=False))

    assert tally.scenario("seats::race", "simulated").verdict is Verdict.HELD
    assert tally.scenario("seats::race", "live").verdict is Verdict.UNDECIDED


def test_errors_of_the_run_outweigh_its_findings() -> None:
    """A story whose record can't be trusted makes the exit code 3, whatever else was found."""
    overlapping = Tape()
    overlapping.call("activate", "laptop", 1, 1.2)
    overlapping.call("validate", "laptop", 1.1, 1.3)

    result = tallied(racing(accepted=True), named(overlapping.story, (), "b"))

    assert result.exit_code == 3
    assert len(result.errors) == 1
    assert Tally(HEADER).result(codes=[12]).exit_code == 12


@pytest.mark.parametrize(
    ("codes", "verdict", "code"), [([0], "held", 0), ([11], "undecided", 11), ([0, 10], "undecided", 10)]
)
def test_only_exit_0_is_held(codes: list[int], verdict: str, code: int) -> None:
    """What else went wrong takes the verdict away from a run in which every promise held."""
    tally = Tally(HEADER)
    tally.judge(racing(accepted=False))

    result = tally.result(codes=codes)

    assert (result.verdict.value, result.exit_code) == (verdict, code)
    assert Tally(HEADER).result(codes=codes).exit_code == 10


def test_findings_are_counted_once_with_the_smallest_evidence() -> None:
    """Same promise, scenario, world and kind of evidence: one finding, seen twice; another world is another."""
    crashed = racing(accepted=True, story="a")
    first = tallied(crashed, racing(accepted=True, story="b"), racing(accepted=True, story="c", world="live"))

    assert [(each.world, each.times) for each in sorted(first.findings, key=lambda each: each.world)] == [
        ("live", 1),
        ("simulated", 2),
    ]
    assert len({each.case for each in first.findings}) == 2
    again = tallied(racing(accepted=True, story="z"))
    assert again.findings[0].case in {each.case for each in first.findings}
    assert again.findings[0].case.startswith("SEA-001-")
    assert [row["client"] for row in again.findings[0].evidence] == ["laptop", "phone"]


def test_smaller_evidence_replaces_larger() -> None:
    """The case that is kept is the one that is easiest to read."""
    large = Tape(seats=2)
    for device in ("laptop", "phone", "tablet"):
        large.call("activate", device, 1, 1.2)
    small = racing(accepted=True, story="small")
    tally = Tally(HEADER)
    tally.judge(named(large.story, (), "large"))
    tally.judge(small)

    (found,) = tally.result().findings
    assert (found.story, found.times, len(found.evidence)) == ("small", 2, 2)
    assert tally.cases == {found.case: small}


def test_stored_history_gets_the_verdict_of_the_live_run(tmp_path: Path) -> None:
    """Held, broken, undecided and not run, from a file as from memory."""
    stopped = named(Tape(world="live").story, ("SEA-003",), "d", "seats::lease")
    stopped.not_run = "would have to wait"
    stories = [
        racing(accepted=False, story="a"),
        racing(accepted=True, story="b"),
        named(Tape(features=("x", "y")).story, ("REV-001",), "c", "revocation::bound"),
        stopped,
    ]
    live = tallied(*stories)
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path, HEADER) as writer:
        for story in stories:
            writer.write(*(_of(story.story, record) for record in lines_of(story)))

    assert judge_file(path).result() == live
    assert judge(read_history(path)).result() == live


def _of(story: str, record: Record) -> Record:
    return msgspec.structs.replace(record, story=story)


def test_torn_end_is_a_note_of_the_run(tmp_path: Path) -> None:
    """Nobody reads a cut history as a whole one."""
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path, HEADER) as writer:
        writer.write(*lines_of(racing(accepted=False)))
    path.write_bytes(path.read_bytes()[:-9])

    for result in (judge_file(path).result(), judge(read_history(path)).result()):
        assert "the last line was cut" in result.notes[0]


def test_every_promise_is_known_by_its_id() -> None:
    """And an unknown id is a KeyError."""
    assert [promise(each.id) for each in ALL_PROMISES] == list(ALL_PROMISES)
    with pytest.raises(KeyError):
        promise("XXX-001")
