"""Whole fault plans in the simulated world: each event at its time, told again the same, with every kind of fault."""

from __future__ import annotations

from typing import Any

import pytest
from toy import ToyAdapter, world

from licensing_harness.checkers.judge import judge_story
from licensing_harness.checkers.tally import Tally
from licensing_harness.entropy import stream
from licensing_harness.errors import NotRun, UsageError
from licensing_harness.faults.plan import Plan, PlannedFault
from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.history import Header, StoryHistory
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.simulated import SimulatedStory

GIVEN: dict[str, dict[str, float]] = {
    "latency": {"latency": 80, "jitter": 40},
    "bandwidth": {"rate": 4000},
    "timeout": {"timeout": 100},
    "flapping": {"period": 0.4},
    "status": {"status": 503, "every": 2},
    "truncate-body": {"keep": 4, "every": 2},
    "corrupt-body": {"every": 3},
    "stale-answer": {"age": 0.05},
    "duplicate": {"delay": 300},
    "reorder": {"delay": 200},
    "cut-request": {"every": 3},
    "cut-answer": {"first": 2},
    "clock-offset": {"offset": -30.0},
    "clock-drift": {"drift": 0.25},
    "clock-jump": {"by": 5.0},
    "clock-rollback": {"by": 2.0},
    "store-slow": {"delay": 30},
    "rolling-restart": {"gap": 0.5},
}
POSSIBLE = tuple(name for name, kind in KINDS.items() if not kind.not_simulated)
PLACE: dict[str, dict[str, Any]] = {
    "link": {"link": "clients->server"},
    "node": {"node": "server"},
    "nodes": {"nodes": ["server"]},
    "store": {"store": "store"},
}


def fault(kind: str, at: float, **more: Any) -> dict[str, Any]:
    """A table of a plan: this kind, from ``at``, a second long or almost two."""
    long = 1.0 if KINDS[kind].fault is FaultKind.PROXY_DOWN else 1.8
    when = {"at": at} if KINDS[kind].when == "at" else {"start": at, "end": at + long}
    return {"kind": kind, **PLACE[KINDS[kind].where], **when, **GIVEN.get(kind, {}), **more}


def every_kind(seed: int) -> list[dict[str, Any]]:
    """A plan with every kind that this world can do, in an order and at times of its own, some overlapping."""
    draw = stream(seed, "plan")
    kinds = sorted(POSSIBLE)
    draw.shuffle(kinds)
    return [
        fault(kind, round(0.4 + 1.1 * n + draw.random() / 10, 2), **({"spread": 0.2} if n % 3 == 0 else {}))
        for n, kind in enumerate(kinds)
    ]


def busy(story: SimulatedStory, rounds: int) -> None:
    """All clients call on, two rounds a second, with fresh licences now and then."""
    for n in range(rounds):
        if n % 5 == 0:
            licence = story.fresh_licence(seats=2, wait=False)
        verb = ("validate", "activate", "validate", "validate", "release")[n % 5]
        for device in story.devices:
            if story.idle(device):
                story.start(device, verb, licence)
        if n % 8 == 5 and story.idle("vendor"):
            story.start("vendor", "revoke", licence)
        if n % 8 == 7 and story.idle("vendor"):
            story.start("vendor", "audit_log")
        story.advance(0.3)
    story.settle()
    story.call("vendor", "audit_log")


def told(seed: int) -> StoryHistory:
    """A busy story under a plan with every kind of fault."""
    with world(timeout=1).story(scenario="plans", seed=f"{seed}/plans") as story:
        story.carry_out(every_kind(seed))
        busy(story, 120)
    return story.history


def test_the_same_seed_gives_the_same_history_under_every_kind_of_fault() -> None:
    """Told twice: equal digests. Every kind of call was accepted, and every kind of fault met."""
    histories = [told(seed) for seed in range(8)]
    accepted = {each.verb for history in histories for each in history.operations if each.accepted}
    met = {each.fault for history in histories for each in history.faults if each.met}

    assert [told(seed).digest() for seed in range(8)] == [each.digest() for each in histories]
    assert len({each.digest() for each in histories}) == 8
    assert accepted == {"issue", "validate", "activate", "release", "revoke", "audit_log"}
    assert met == {KINDS[kind].fault for kind in POSSIBLE}


def test_a_sound_target_is_not_accused_under_every_kind_of_fault() -> None:
    """Nor is anything taken for tried that was not."""
    for seed in range(8):
        judgement = judge_story(told(seed), ToyAdapter.contract, ToyAdapter.capabilities)

        assert judgement.violations == (), seed
        assert judgement.occasions["AUD-001"] > 0


def test_a_told_plan_can_be_performed_again() -> None:
    """The steps of a story with a plan are data: performed in a story of that seed, the same history."""
    first = told(3)
    with world(timeout=1).story(scenario="plans", seed="3/plans") as story:
        for step in first.plan:
            story.perform(step)

    assert story.history.digest() == first.digest()


def test_leaving_out_a_fault_changes_no_other() -> None:
    """Chance is keyed by what it is about: the laptop's calls are the same with and without the phone's fault."""

    def laptops(*plan: dict[str, Any]) -> list[tuple[float, float, str]]:
        with world(timeout=1).story(scenario="s", seed="7") as story:
            licence = story.fresh_licence()
            story.carry_out(plan)
            for _ in range(60):
                for device in story.devices:
                    if story.idle(device):
                        story.start(device, "validate", licence)
                story.advance(0.1)
        return [(each.begin, each.ended, each.reason) for each in story.history.operations if each.client == "laptop"]

    mine = {**fault("latency", 0.5, link="laptop->server", jitter=70), "end": 5, "toxicity": 0.5, "spread": 0.3}
    other = {**fault("reset-peer", 0.2, link="phone->server"), "end": 4, "toxicity": 0.4, "spread": 0.1}
    calls = laptops(mine)

    assert laptops(other, mine) == calls
    assert laptops(other) != calls


def test_events_happen_at_their_very_times_also_while_the_story_waits() -> None:
    """One long wait, and every beginning and end in it."""
    plan = [
        fault("pause", 0.5),
        {**fault("proxy-down", 2.5), "end": 2.75},
        {**fault("flapping", 3.0), "end": 4, "period": 0.5},
    ]
    with world(timeout=20).story(scenario="s") as story:
        licence = story.fresh_licence()
        begin = story.now
        story.carry_out(plan)
        story.fault("timeout", parameters={"timeout": 0})
        story.call("laptop", "validate", licence)
    times = [(each.fault.value, each.begin - begin, (each.end or 0) - begin) for each in story.history.faults[:-1]]

    assert times == [
        ("pause", pytest.approx(0.5), pytest.approx(2.3)),
        ("proxy-down", pytest.approx(2.5), pytest.approx(2.75)),
        ("proxy-down", pytest.approx(3.0), pytest.approx(3.25)),
        ("proxy-down", pytest.approx(3.5), pytest.approx(3.75)),
    ]


def test_a_fault_whose_time_never_comes_is_not_met() -> None:
    """The story ends before; the run does not pass for having rehearsed it."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.carry_out([fault("latency", 0.0), fault("crash", 60)])
        story.call("laptop", "validate", licence)
        story.advance(2)
        story.call("laptop", "validate", licence)
    tally = Tally(Header(capabilities=tuple(ToyAdapter.capabilities)))
    tally.judge(story.history)
    latency, crash = story.history.faults

    assert latency.met == 1
    assert (crash.met, crash.detail) == (0, {"not_begun": "the story ended before its time"})
    assert tally.scenario("s", "simulated").reason == "fault set but never met by traffic: crash"


@pytest.mark.parametrize(
    ("plan", "error", "text"),
    [
        ([{**fault("latency", 0), "kind": "slicer", "average_size": 3}], UsageError, "takes|unknown key"),
        ([{"kind": "limit-data", **PLACE["link"], "start": 0, "end": 1, "bytes": 3}], NotRun, "has no connections"),
        ([fault("latency", 0), {**fault("crash", 2), "node": "one"}], UsageError, "fault 2: unknown node 'one'"),
        ([fault("crash", 0), fault("crash", 0.5)], UsageError, "fault 2: .* overlaps fault 1"),
        ([], UsageError, "the plan is empty"),
    ],
)
def test_a_plan_that_can_not_be_carried_out_is_refused_before_it_begins(
    plan: list[dict[str, Any]], error: type[Exception], text: str
) -> None:
    """Whole: no part of it happens."""
    with world().story(scenario="s") as story:
        with pytest.raises(error, match=text):
            story.carry_out(plan)
        story.advance(5)

    assert story.history.faults == []


def test_a_plan_made_in_python_is_carried_out_as_its_tables_are() -> None:
    """By the seed that it is given."""

    def begins(seed: int | None) -> list[float]:
        plan = Plan((PlannedFault(kind="pause", node="server", start=1, end=3, spread=1),))
        with world().story(scenario="s") as story:
            story.fresh_licence()
            story.carry_out(plan, seed=seed)
            story.advance(4)
        return [each.begin for each in story.history.faults]

    assert begins(1) == begins(1) != begins(2)
    assert begins(None) != begins(1)
