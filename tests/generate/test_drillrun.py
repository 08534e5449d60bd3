"""What a drill does to a target, told in virtual time on the toy: turns, faults, a herd, a revocation, the clean-up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from toy import world

from licensing_harness.errors import CleanUpIncomplete, NotRun
from licensing_harness.generate.drill import Drill
from licensing_harness.generate.drill_file import stored_drill
from licensing_harness.generate.drill_measures import phases, rehearsed
from licensing_harness.generate.drillrun import clients, healthy, tell
from licensing_harness.history import StoryHistory
from licensing_harness.worlds.breaking import FaultOn
from licensing_harness.worlds.story import Story

OUTAGE = {"kind": "proxy-down", "link": "clients->server", "start": 0, "end": 2}


def drill(*faults: dict[str, Any], stop: dict[str, Any] | None = None, **load: Any) -> Drill:
    return stored_drill(
        {
            "title": "x",
            "load": {"rate": 50, "before": 1, "after": 2, **load},
            "steady": [{"measure": "accepted-share", "at_least": 0.9}],
            "fault": list(faults or (OUTAGE,)),
            "stop": stop or {},
        },
        "x",
    )


def told(plan: Drill, *, seed: int = 1) -> StoryHistory:
    with world().story(scenario="drill/x", seed="drill/1", drill=plan.document) as story:
        tell(plan, story, seed=seed)
        healthy(plan, story)
    return story.history


def test_calls_begin_at_their_rate_and_faults_at_their_times() -> None:
    """Fifty turns a second; a client that waits sits its turn out; the fault lies where the plan has it."""
    history = told(drill(clients=20))
    begin = history.operations[0].begin
    [fault] = history.faults

    assert (round(fault.begin - begin, 3), round((fault.end or 0) - begin, 3)) == (1.0, 3.0)
    assert fault.met
    assert len(phases(history)["before"]) == pytest.approx(50, abs=5)
    assert rehearsed(drill(), history).codes == [0, 0, 0]


def test_the_same_seed_makes_the_same_drill() -> None:
    """Another one makes others of the same weights."""
    plan = drill(verbs={"validate": 1, "activate": 1, "issue": 1})

    assert told(plan).digest() == told(plan).digest()
    assert told(plan).digest() != told(plan, seed=2).digest()


def test_many_clients_have_names_of_their_own() -> None:
    """The devices first."""
    assert clients(drill(clients=2)) == ("laptop", "phone")
    assert clients(drill(clients=5)) == ("laptop", "phone", "tablet", "device-4", "device-5")
    called = {each.client for each in told(drill(clients=40, seats=40)).operations}
    assert called == {*clients(drill(clients=40)), "vendor"}


@pytest.mark.parametrize("herd", [True, False])
def test_a_herd_waits_for_the_end_and_calls_at_once(*, herd: bool) -> None:
    """With it each client calls once in the outage, and all together right after; without it nobody waits."""
    history = told(drill(clients=20, seats=20, herd=herd))
    [fault] = history.faults
    assert fault.end is not None
    during = Counter(each.client for each in phases(history)["during"])
    soon = [each for each in history.operations if 0 <= each.begin - fault.end <= 0.05]

    assert (max(during.values()) == 1) is herd
    assert (len({each.client for each in soon}) == 20) is herd


def test_the_vendor_revokes_until_it_is_acknowledged() -> None:
    """Then clients get a fresh licence, and every third call still asks for the revoked one."""
    history = told(drill(revoke_at=0.5))
    revokes = [each for each in history.operations if each.verb == "revoke"]
    after = [each for each in phases(history)["after"] if each.verb == "validate"]

    assert len(revokes) > 1
    assert revokes[0].begin - history.operations[0].begin == pytest.approx(1.5, abs=0.05)
    assert [each.accepted for each in revokes] == [*([False] * (len(revokes) - 1)), True]
    assert {each.licence for each in after if each.accepted} >= {"L2"}
    assert sum(each.refused for each in after) > 5
    assert all(each.licence == "L1" for each in after if each.refused)


def test_a_server_dies_with_calls_under_way_and_an_order_is_repeated_across() -> None:
    """Every client calls right before; the last order is sent before and after under one key."""
    history = told(drill({"kind": "crash", "node": "server", "at": 0}, verbs={"validate": 1, "issue": 1}))
    [crash] = history.faults
    under_way = [each for each in history.operations if each.begin <= crash.begin <= each.ended]
    orders = [(each.licence, each.begin < crash.begin) for each in history.operations if each.verb == "issue"]
    again = {
        licence for licence, _ in orders if {before for each, before in orders if each == licence} == {True, False}
    }

    assert len(under_way) >= 2
    assert again


def test_a_drill_that_is_called_off_mends_its_faults() -> None:
    """It says why, and the clean-up is told all the same."""
    history = told(drill(stop={"seconds": 1.5}))

    assert history.called_off == "[stop] seconds: 1.5 s are over"
    assert [each.end is not None for each in history.faults] == [True]
    assert phases(history)["clean-up"]


def test_calls_without_an_answer_in_a_row_call_it_off() -> None:
    """Only while no fault is on: that is what a target which does not come back looks like."""
    plan = drill(stop={"unanswered": 3})
    gone: list[FaultOn] = []

    def unplug(_: str, story: Story) -> None:
        if story.elapsed > 0.5 and not gone:
            gone.append(story.fault("reset-peer"))
            story._on.pop(gone[0].n)  # gone from the story's eyes, and still there

    with world().story(scenario="drill/x", seed="drill/1") as story:
        why = tell(plan, story, seed=1, watch=unplug)
        gone[0].broken.mend()

    assert why == "[stop] unanswered: 3 calls in a row had no answer while no fault was on"


def test_a_fault_that_this_world_can_t_do_is_not_run() -> None:
    """With the reason."""
    plan = drill({"kind": "slicer", "link": "clients->server", "start": 0, "end": 1, "average_size": 5})
    with world().story(scenario="drill/x") as story, pytest.raises(NotRun, match="no stream of bytes"):
        tell(plan, story, seed=1)


def test_a_target_that_does_not_come_back_is_an_incomplete_clean_up() -> None:
    """Nobody is told that all is well."""

    def stays_away(story: Story) -> None:
        story.fault("proxy-down")
        healthy(drill(), story)

    with world().story(scenario="drill/x") as story, pytest.raises(CleanUpIncomplete, match="does not serve all"):
        stays_away(story)
