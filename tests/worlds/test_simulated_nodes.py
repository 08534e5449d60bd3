"""Several nodes: each its process, its clock and its disk, and the links between them."""

from __future__ import annotations

from typing import Any

import pytest
from pair import BOUND, FOLLOWER, LEADER, PAIR, PairAdapter
from toy import TOY, world

from licensing_harness.checkers.judge import judge_story
from licensing_harness.errors import GuardRefused, UsageError
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.vocabulary import FaultKind, Outcome
from licensing_harness.worlds.factory import SimulatedTarget
from licensing_harness.worlds.simulated import SimulatedStory

ACCEPTED, REFUSED, UNKNOWN = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNKNOWN
FEED, PUSH = f"{FOLLOWER}->{LEADER}", f"{LEADER}->{FOLLOWER}"


def pair(how: str = "", seed: str = "pair/0") -> SimulatedStory:
    """A story on both nodes; what was said of age is forgotten."""
    PairAdapter.stale.clear()
    return world(PAIR + how, adapter=PairAdapter).story(scenario="pair", seed=seed)


def asked(story: SimulatedStory, client: str, verb: str, licence: str) -> Operation:
    found = story.call(client, verb, licence)
    assert found is not None
    return found


def part(story: SimulatedStory, seconds: float) -> None:
    """Neither node hears of the other."""
    for link in (FEED, PUSH):
        story.fault("proxy-down", place=link, seconds=seconds)


def broken(history: StoryHistory) -> list[str]:
    judgement = judge_story(history, PairAdapter.contract, PairAdapter.capabilities)
    return sorted({each.promise for each in judgement.violations})


def occasions(history: StoryHistory, promise: str) -> int:
    return judge_story(history, PairAdapter.contract, PairAdapter.capabilities).occasions.get(promise, 0)


def test_what_the_leader_takes_the_follower_learns() -> None:
    """A licence by the feed, a revocation by the push."""
    with pair() as story:
        licence = story.fresh_licence()
        story.advance(1)
        before = asked(story, "laptop", "validate", licence)
        asked(story, "vendor", "revoke", licence)
        story.advance(0.05)
        after = asked(story, "laptop", "validate", licence)

    assert (before.outcome, after.reason) == (ACCEPTED, "revoked")


def test_a_partition_between_the_nodes_makes_the_follower_stale() -> None:
    """It says so, then answers nothing, and is right again when the link is."""
    with pair() as story:
        licence = story.fresh_licence()
        story.advance(1)
        part(story, 10)
        asked(story, "vendor", "revoke", licence)
        answers = []
        for _ in range(4):
            story.advance(1)
            answers.append(asked(story, "laptop", "validate", licence).outcome)
        stale = [each for each in PairAdapter.stale if each is not None]
        story.advance(8)
        healed = asked(story, "laptop", "validate", licence)
    faults = story.history.faults

    assert answers[0] is ACCEPTED
    assert answers[2:] == [UNKNOWN, UNKNOWN]
    assert stale == sorted(stale)
    assert stale[-1] > BOUND
    assert healed.reason == "revoked"
    assert {each.where: each.met > 0 for each in faults} == {FEED: True, PUSH: True}
    assert broken(story.history) == []


def outage(how: str, seed: str) -> StoryHistory:
    """A revoke behind a partition, and questions until it is over."""
    with pair(how, seed) as story:
        licence = story.fresh_licence()
        story.advance(1)
        asked(story, "laptop", "validate", licence)
        part(story, 8)
        asked(story, "vendor", "revoke", licence)
        for _ in range(10):
            story.advance(1)
            story.contend("validate", licence)
        story.settle()
        return story.history


def test_a_follower_that_says_yes_forever_is_found() -> None:
    """The planted mistake breaks REV-001 in every story; the sound pair holds it in each, having been tried."""
    for seed in map(str, range(10)):
        wrong, right = outage("&forever=1", seed), outage("", seed)

        assert broken(wrong) == ["REV-001"], seed
        assert broken(right) == [], seed
        assert occasions(right, "REV-001") > 0, seed


@pytest.mark.parametrize(
    ("kind", "given"),
    [("clock-drift", {"drift": -0.9}), ("clock-freeze", {}), ("clock-rollback", {"by": 60.0})],
)
def test_a_follower_whose_clock_is_wrong_is_not_accused(kind: str, given: dict[str, float]) -> None:
    """It does not see how old its knowledge is. By the right clock that is late; by the record it can't be told."""
    with pair() as story:
        licence = story.fresh_licence()
        story.advance(1)
        asked(story, "laptop", "validate", licence)
        part(story, 8)
        story.advance(0.1)
        story.fault(kind, place=FOLLOWER, parameters=given, seconds=7)
        revoke = asked(story, "vendor", "revoke", licence)
        story.advance(BOUND + 1)
        late = asked(story, "laptop", "validate", licence)
    blamed = story.history
    clock = next(each for each in blamed.faults if each.fault.value == kind)

    assert late.accepted
    assert late.begin > revoke.ended + BOUND
    assert broken(blamed) == []
    assert (clock.where, clock.detail.get("alone")) == (FOLLOWER, None)
    blamed.faults.remove(clock)
    assert broken(blamed) == ["REV-001"], "without the record of the fault it would be accused"


def test_a_clock_is_one_nodes_own() -> None:
    """The follower's drifts, the leader's does not."""
    with pair() as story:
        licence = story.fresh_licence()
        story.fault("clock-drift", place=FOLLOWER, parameters={"drift": 0.5}, seconds=100)
        story.advance(60)
        follower = asked(story, "laptop", "validate", licence)
        leader = asked(story, "vendor", "revoke", licence)

    assert follower.answer["server_time"] - leader.answer["server_time"] == pytest.approx(30, abs=1)


def test_each_node_has_a_disk_of_its_own() -> None:
    """The leader's is full, and the follower goes on; after a power loss of one, the other has what it had."""
    with pair() as story:
        licence = story.fresh_licence()
        story.advance(1)
        story.fault("store-full", place="store-1", seconds=5)
        full = asked(story, "vendor", "revoke", licence)
        read = asked(story, "laptop", "validate", licence)
        story.advance(6)
        story.fault("power-loss", place=FOLLOWER)
        story.advance(1)
        again = asked(story, "laptop", "validate", licence)

    assert (full.outcome, read.outcome, again.outcome) == (UNKNOWN, ACCEPTED, ACCEPTED)
    assert [each.where for each in story.history.faults] == ["store-1", FOLLOWER]


def test_a_kill_of_one_node_settles_nothing() -> None:
    """The other one may still have what was sent."""
    with pair() as story:
        story.fresh_licence()
        story.fault("crash", place=LEADER)

    assert story.history.faults[0].detail["settled"] is False


def test_what_nodes_ask_of_each_other_is_no_clients_call() -> None:
    """A doubled push touches no call, so nothing of the clients' is taken for unknown; it is met all the same."""
    with pair() as story:
        licence = story.fresh_licence()
        story.advance(1)
        story.fault("duplicate", place=PUSH, seconds=1)
        story.fault("stale-answer", place=FEED, parameters={"age": 0.2}, seconds=3)
        asked(story, "vendor", "revoke", licence)
        story.advance(5)
        asked(story, "laptop", "validate", licence)

    assert [(each.fault.value, each.met > 0, each.detail["calls"]) for each in story.history.faults] == [
        ("duplicate", True, []),
        ("stale-answer", True, []),
    ]


def test_a_rolling_restart_restarts_one_node_after_the_other() -> None:
    """By a plan; in between one is down at a time, and after it both serve."""
    plan = [{"kind": "rolling-restart", "nodes": [LEADER, FOLLOWER], "at": 1, "gap": 3}]
    with pair() as story:
        licence = story.fresh_licence()
        story.advance(1)
        begin = story.now
        story.carry_out(plan)
        story.advance(9)
        yes = asked(story, "laptop", "validate", licence)
        revoke = asked(story, "vendor", "revoke", licence)
    faults = story.history.faults

    assert yes.accepted
    assert revoke.accepted
    assert [(each.fault, each.where) for each in faults] == [
        (FaultKind.RESTART, LEADER),
        (FaultKind.RESTART, FOLLOWER),
    ]
    assert [each.begin - begin for each in faults] == pytest.approx([1, 4])


def test_a_plan_over_both_nodes_is_carried_out() -> None:
    """Links, nodes and stores by name, each at its time."""
    plan: list[dict[str, Any]] = [
        {"kind": "latency", "link": f"clients->{LEADER}", "start": 0, "end": 4, "latency": 100},
        {"kind": "pause", "node": FOLLOWER, "start": 1, "end": 2},
        {"kind": "store-slow", "store": "store-1", "start": 2, "end": 3, "delay": 50},
        {"kind": "flapping", "link": f"clients->{FOLLOWER}", "start": 4, "end": 6, "period": 1},
        {"kind": "clock-jump", "node": LEADER, "at": 5, "by": 60},
    ]
    with pair() as story:
        licence = story.fresh_licence()
        story.advance(1)
        begin = story.now
        story.carry_out(plan)
        for _ in range(35):
            story.advance(0.2)
            story.start("laptop", "validate", licence)
            story.start("vendor", "issue", story.fresh_licence(wait=False))
        story.settle()
    faults = story.history.faults
    times = sorted((each.fault.value, each.begin - begin, (each.end or 0) - begin) for each in faults)

    assert times == [
        ("clock-jump", pytest.approx(5), pytest.approx(5)),
        ("latency", pytest.approx(0), pytest.approx(4)),
        ("pause", pytest.approx(1), pytest.approx(2)),
        ("proxy-down", pytest.approx(4), pytest.approx(4.5)),
        ("proxy-down", pytest.approx(5), pytest.approx(5.5)),
        ("store-slow", pytest.approx(2), pytest.approx(3)),
    ]
    assert all(each.met for each in faults), [(each.fault.value, each.met) for each in faults]


def test_the_same_seed_gives_the_same_story_of_two_nodes() -> None:
    """Twice the same digest for each, and something of every kind was accepted."""
    first = [outage("", str(seed)) for seed in range(20)]
    second = [outage("", str(seed)) for seed in range(20)]
    accepted = {each.verb for history in first for each in history.operations if each.accepted}

    assert [each.digest() for each in first] == [each.digest() for each in second]
    assert len({each.digest() for each in first}) == 20
    assert accepted == {"issue", "validate", "revoke"}


def test_a_factory_that_asks_for_no_keyword_gets_none() -> None:
    """The toy of one page on two nodes: two servers that know nothing of each other."""
    with world(TOY + "?nodes=2").story(scenario="s") as story:
        licence = story.fresh_licence()
        assert asked(story, "laptop", "validate", licence).accepted
        with pytest.raises(UsageError, match=r"which node\? place = one of server-1, server-2"):
            story.fault("crash")


@pytest.mark.parametrize("nodes", ["0", "two", "10", ""])
def test_a_number_of_nodes_that_is_none_is_refused(nodes: str) -> None:
    """With the limits."""
    with pytest.raises(UsageError, match="is no number of nodes; give 1 to 9"):
        SimulatedTarget.parse(f"{TOY}?nodes={nodes}")


def test_a_target_string_says_how_many_nodes() -> None:
    """It reads back as it was written."""
    assert str(SimulatedTarget.parse(TOY + "?race=1&nodes=3")) == TOY + "?race=1&nodes=3"
    assert SimulatedTarget.parse(TOY).nodes == 1


class Astray(PairAdapter):
    """Asks a node that there is none of."""

    def open(self, target: Any) -> None:
        super().open(target)
        self.nodes = {**target.nodes, FOLLOWER: "http://server-7"}


def test_a_host_that_is_no_node_is_refused() -> None:
    """Nothing leaves the simulation."""
    with world(PAIR, adapter=Astray).story(scenario="s") as story:
        licence = story.fresh_licence()
        with pytest.raises(GuardRefused, match=r"no host 'server-7': .* http://server-1, http://server-2"):
            story.call("laptop", "validate", licence)
