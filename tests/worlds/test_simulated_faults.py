"""Every kind of fault in the simulated world: what the client sees, what the target did, what the history says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from toy import ToyAdapter, world

from licensing_harness.errors import NotRun, UsageError
from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.history import Fault, Operation
from licensing_harness.vocabulary import FaultKind, Outcome
from licensing_harness.worlds.simulated import SimulatedStory

ACCEPTED, UNKNOWN = Outcome.ACCEPTED, Outcome.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of fault, and what comes of a revoke that is sent while it is on."""

    kind: str
    stream: str = ""
    given: dict[str, float] = field(default_factory=dict)
    outcome: Outcome = UNKNOWN
    reason: str = ""
    revoked: int = 0
    """How often the target has it in its trail, at the end."""
    takes: float = 0.0
    """Seconds that the call takes at least."""
    ahead: float = 0.0
    """Seconds by which the target's clock is ahead, give or take a second."""
    met: int = 1
    """How often the fault was met at least."""

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.stream}" if self.stream else self.kind


ROWS = (
    Row(kind="cut-request", reason="ConnectionResetError: the connection was lost"),
    Row(kind="cut-answer", reason="ConnectionResetError: the connection was lost", revoked=1),
    Row(kind="latency", stream="upstream", given={"latency": 300}, outcome=ACCEPTED, revoked=1, takes=0.3),
    Row(kind="latency", stream="downstream", given={"latency": 300, "jitter": 50}, outcome=ACCEPTED, revoked=1,
        takes=0.25),
    Row(kind="bandwidth", stream="upstream", given={"rate": 500}, outcome=ACCEPTED, revoked=1, takes=0.2),
    Row(kind="bandwidth", stream="downstream", given={"rate": 500}, outcome=ACCEPTED, revoked=1, takes=0.1),
    Row(kind="reset-peer", stream="upstream", reason="ConnectionResetError: the connection was reset"),
    Row(kind="reset-peer", stream="downstream", given={"timeout": 400}, revoked=1,
        reason="ConnectionResetError: the connection was reset"),
    Row(kind="timeout", stream="upstream", given={"timeout": 250},
        reason="ConnectionAbortedError: the connection was closed without an answer"),
    Row(kind="timeout", stream="downstream", reason="TimeoutError: no answer within 5 s", revoked=1),
    Row(kind="proxy-down", reason="ConnectionRefusedError: nobody listens"),
    Row(kind="status", given={"status": 429, "retry_after": 3}, reason="JSONDecodeError"),
    Row(kind="status", given={"status": 500}, reason="HTTP 500"),
    Row(kind="status", given={"status": 502}, reason="HTTP 502"),
    Row(kind="status", given={"status": 503}, reason="HTTP 503"),
    Row(kind="truncate-body", given={"keep": 5}, reason="ConnectionAbortedError: the connection was closed after 5 of",
        revoked=1),
    Row(kind="corrupt-body", given={"bytes": 2}, reason="Decode", revoked=1),
    Row(kind="duplicate", given={"delay": 700}, outcome=ACCEPTED, revoked=2),
    Row(kind="reorder", given={"delay": 800}, outcome=ACCEPTED, revoked=1, takes=0.8),
    Row(kind="clock-offset", given={"offset": -3600}, outcome=ACCEPTED, revoked=1, ahead=-3600),
    Row(kind="clock-drift", given={"drift": 0.5}, outcome=ACCEPTED, revoked=1, ahead=5),
    Row(kind="clock-freeze", outcome=ACCEPTED, revoked=1, ahead=-10),
    Row(kind="clock-jump", given={"by": 600}, outcome=ACCEPTED, revoked=1, ahead=600),
    Row(kind="clock-rollback", given={"by": 600}, outcome=ACCEPTED, revoked=1, ahead=-600),
    Row(kind="crash", reason="ConnectionRefusedError: the target is down"),
    Row(kind="power-loss", reason="ConnectionRefusedError: the target is down"),
    Row(kind="restart", reason="ConnectionRefusedError: the target is down"),
    Row(kind="pause", reason="TimeoutError: no answer within 5 s", revoked=1),
    Row(kind="store-read-only", reason="HTTP 500"),
    Row(kind="store-full", reason="HTTP 500"),
    Row(kind="store-slow", given={"delay": 900}, outcome=ACCEPTED, revoked=1, takes=0.9),
    Row(kind="store-gone", reason="HTTP 500"),
)  # fmt: skip
EACH = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}{row.given.get('status', '')}")
EPOCH = 1_800_000_000.0
WHERE = {"link": "clients->server", "store": "store", "node": "server"}


def told(row: Row) -> tuple[Operation, Operation, list[str], Fault]:
    """A revoke that meets the fault, a validate once it is over, the target's trail, and the fault."""
    with world().story(scenario="s", seed="faults/1") as story:
        licence = story.fresh_licence()
        story.fault(row.kind, stream=row.stream, parameters=row.given, seconds=30)
        story.advance(10)
        met = story.call("vendor", "revoke", licence)
        story.advance(30)
        after = story.call("laptop", "validate", licence)
        trail = story.call("vendor", "audit_log")
    assert met is not None
    assert after is not None
    assert trail is not None
    assert trail.accepted
    return met, after, [each["action"] for each in trail.answer["entries"]], story.history.faults[0]


@EACH
def test_a_fault_has_its_effect_and_is_in_the_history(row: Row) -> None:
    """On the client's outcome, on the target's state, and in the record."""
    met, _, trail, fault = told(row)

    assert met.outcome is row.outcome
    assert row.reason in met.reason
    assert trail.count("revoke") == row.revoked
    assert met.outcome is UNKNOWN or met.ended - met.begin >= row.takes
    if met.accepted:
        assert met.answer["server_time"] - EPOCH - met.begin == pytest.approx(row.ahead, abs=1)
    assert fault.fault.value == row.kind
    assert fault.met >= row.met
    assert fault.where in (WHERE[KINDS[row.kind].where], "target")
    assert row.given.items() <= fault.detail.items()


@EACH
def test_a_fault_is_gone_at_its_very_end(row: Row) -> None:
    """After it a call is answered by the target as if nothing had been, at the right time."""
    _, after, _, fault = told(row)
    lasted = 0.0 if row.kind in ("crash", "power-loss", "restart") else 1e-9

    assert after.outcome is (Outcome.REFUSED if row.revoked else ACCEPTED)
    assert after.ended - after.begin < 0.2
    assert after.answer["server_time"] - EPOCH - after.begin == pytest.approx(0, abs=1)
    assert fault.end is not None
    assert fault.end - fault.begin == pytest.approx(30, abs=lasted or 0.1)


def test_every_kind_that_this_world_can_do_is_in_the_table() -> None:
    """Stale answers need two calls and flapping is a series: they have tests of their own."""
    possible = {name for name, kind in KINDS.items() if not kind.not_simulated}

    assert possible - {row.kind for row in ROWS} == {"stale-answer", "flapping", "rolling-restart"}


def test_a_node_that_is_killed_while_it_is_down_stays_down_until_the_last_one_ends() -> None:
    """There is one process at a time, started once."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.fault("crash", seconds=5)
        story.crash(power=True)
        story.fault("restart", seconds=1)
        story.advance(2)
        down = story.call("laptop", "validate", licence)
        story.advance(4)
        up = story.call("laptop", "validate", licence)
        second = story.fresh_licence()
        issued = {each.answer["id"] for each in story.history.operations if each.verb == "issue"}

    assert down is not None
    assert up is not None
    assert (down.outcome, up.outcome) == (UNKNOWN, ACCEPTED)
    assert len(issued) == 2, second


def asked(story: SimulatedStory, client: str, verb: str, licence: str = "") -> Operation:
    """A call, answered or not."""
    found = story.call(client, verb, licence)
    assert found is not None
    return found


def test_an_old_answer_is_given_for_the_same_call_and_named() -> None:
    """After a revoke the cache still says yes; another client's question is another call; and at the end it is gone."""
    with world().story(scenario="s", seed="stale/0") as story:
        licence = story.fresh_licence()
        asked(story, "laptop", "validate", licence)
        story.fault("stale-answer", parameters={"age": 0.5}, seconds=20)
        asked(story, "laptop", "validate", licence)
        asked(story, "vendor", "revoke", licence)
        story.advance(1)
        stale = asked(story, "laptop", "validate", licence)
        other = asked(story, "laptop", "activate", licence)
        story.advance(20)
        after = asked(story, "laptop", "validate", licence)
    fault = story.history.faults[0]

    assert (stale.outcome, other.outcome, after.reason) == (ACCEPTED, Outcome.REFUSED, "revoked")
    assert (fault.met, fault.detail["calls"]) == (1, [stale.n])


@pytest.mark.parametrize(
    ("given", "lost"),
    [({}, [1, 2, 3, 4, 5, 6]), ({"first": 2}, [1, 2]), ({"every": 3}, [3, 6]), ({"every": 1}, [1, 2, 3, 4, 5, 6])],
)
@pytest.mark.parametrize("kind", ["cut-request", "cut-answer", "status"])
def test_a_fault_falls_on_the_calls_that_it_says(kind: str, given: dict[str, float], lost: list[int]) -> None:
    """The first N, every Nth, or all, counted from its beginning."""
    given = {**given, "status": 503} if kind == "status" else given
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.fault(kind, parameters=given)
        calls = [asked(story, "laptop", "validate", licence) for _ in range(6)]

    assert [n for n, call in enumerate(calls, 1) if call.unknown] == lost
    assert story.history.faults[0].met == len(lost)


def test_toxicity_is_the_share_of_calls_that_a_fault_falls_on() -> None:
    """About a third of a hundred; and the same ones when it is told again."""

    def lost(seed: str) -> list[int]:
        with world().story(scenario="s", seed=seed) as story:
            licence = story.fresh_licence()
            story.fault("reset-peer", parameters={"toxicity": 0.3})
            return [n for n in range(100) if asked(story, "laptop", "validate", licence).unknown]

    assert 15 < len(lost("1")) < 45
    assert lost("1") == lost("1") != lost("2")


def test_a_fault_on_one_clients_link_leaves_the_others_alone() -> None:
    """A link has a name; what is not on it is not met."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.fault("proxy-down", place="laptop->server")
        cut, whole = asked(story, "laptop", "validate", licence), asked(story, "phone", "validate", licence)

    assert (cut.outcome, whole.outcome) == (UNKNOWN, ACCEPTED)
    assert story.history.faults[0].where == "laptop->server"


def test_a_call_under_way_is_closed_when_the_link_goes_down() -> None:
    """The client is told at once; the target goes on with what it has."""
    with world().story(scenario="s", seed="down/0") as story:
        licence = story.fresh_licence()
        story.fault("store-slow", parameters={"delay": 500}, seconds=3)
        story.start("vendor", "revoke", licence)
        story.advance(0.1)
        story.fault("proxy-down", seconds=1)
        story.settle()
        told_at = story.now
        story.advance(3)
        trail = asked(story, "vendor", "audit_log")
    revoke = next(each for each in story.history.operations if each.verb == "revoke")

    assert revoke.unknown
    assert told_at - revoke.begin < 0.2
    assert [each["action"] for each in trail.answer["entries"]] == ["issue", "revoke"]


def test_a_held_request_is_passed_by_a_later_one() -> None:
    """The first revoke waits with the network; the second one, of another licence, comes before it in the trail."""
    with world().story(scenario="s", seed="order/0") as story:
        first, second = story.fresh_licence(), story.fresh_licence()
        story.fault("reorder", parameters={"delay": 900}, seconds=5)
        story.start("laptop", "activate", first)
        story.advance(0.01)
        asked(story, "vendor", "revoke", second)
        story.settle()
        trail = asked(story, "vendor", "audit_log")
    held = next(each for each in story.history.operations if each.verb == "activate")

    assert held.accepted
    assert held.ended - held.begin < 0.3, "it went on right after the one that passed it"
    assert [each["action"] for each in trail.answer["entries"]][2:] == ["revoke", "activate"]


def test_a_copy_arrives_after_its_client_gave_up_and_after_the_process_too() -> None:
    """So a kill in between does not settle what was sent before it."""
    with world().story(scenario="s", seed="copy/0") as story:
        licence = story.fresh_licence()
        story.fault("duplicate", parameters={"delay": 8000, "first": 1}, seconds=1)
        asked(story, "laptop", "activate", licence)
        story.crash()
        asked(story, "laptop", "release", licence)
        story.advance(10)
        full = asked(story, "phone", "activate", licence)
        story.crash()
        trail = asked(story, "vendor", "audit_log")
    crashes = [each for each in story.history.faults if each.fault is FaultKind.CRASH]

    assert full.reason == "no-free-seat"
    assert [each["action"] for each in trail.answer["entries"]] == ["issue", "activate", "release", "activate"]
    assert [each.detail["settled"] for each in crashes] == [False, True]


@pytest.mark.parametrize("kind", ["crash", "power-loss", "restart", "pause", "timeout"])
def test_a_fault_ends_at_its_time_while_the_story_waits(kind: str) -> None:
    """A call that waits is what the story waits for; the end does not wait for it."""
    with world(timeout=60).story(scenario="s") as story:
        licence = story.fresh_licence()
        story.fault(kind, seconds=3)
        story.call("laptop", "validate", licence)
        story.settle()
        story.advance(10)
        again = asked(story, "laptop", "validate", licence)
    fault = story.history.faults[0]

    assert again.accepted
    assert fault.end is not None
    assert fault.end - fault.begin == pytest.approx(3, abs=0.1)


def test_a_restart_lets_calls_finish_and_a_kill_does_not() -> None:
    """Asked to end, the process answers what it has; killed, it takes the call with it."""
    outcomes = {}
    for kind in ("restart", "crash"):
        with world().story(scenario="s", seed="end/0") as story:
            licence = story.fresh_licence()
            story.fault("store-slow", parameters={"delay": 400}, seconds=5)
            story.start("vendor", "revoke", licence)
            story.advance(0.1)
            on = story.fault(kind)
            story.settle()
            outcomes[kind] = story.history.operations[-1].outcome
            settled = on.broken.detail["settled"]
        assert settled

    assert outcomes == {"restart": ACCEPTED, "crash": UNKNOWN}


def test_a_process_that_can_not_start_without_its_store_starts_when_it_is_back() -> None:
    """As whoever looks after servers would do."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.fault("store-gone", seconds=5)
        story.crash()
        down = asked(story, "laptop", "validate", licence)
        story.advance(6)
        up = asked(story, "laptop", "validate", licence)

    assert (down.outcome, up.outcome) == (UNKNOWN, ACCEPTED)


def test_a_clients_clock_is_its_own() -> None:
    """The fault is met when the client looks at its clock; the target's is right."""
    seen: dict[str, float] = {}

    class Looking(ToyAdapter):
        """Looks at its clock when it opens and at each question."""

        def open(self, target: Any) -> None:
            super().open(target)
            self.name, self.clock = target.client, target.clock

        async def validate(self, key: str, machine: str | None = None) -> Any:
            seen[self.name] = self.clock()
            return await super().validate(key, machine)

    with world(adapter=Looking).story(scenario="s") as story:
        licence = story.fresh_licence()
        story.fault("clock-rollback", place="laptop", parameters={"by": 500})
        told = asked(story, "laptop", "validate", licence)
        asked(story, "phone", "validate", licence)
    fault = story.history.faults[0]

    assert seen["phone"] - seen["laptop"] == pytest.approx(500, abs=1)
    assert told.answer["server_time"] == pytest.approx(EPOCH, abs=1)
    assert (fault.where, fault.met, fault.detail["of"]) == ("laptop", 1, "client")


def test_a_fault_that_nothing_met_says_so() -> None:
    """Set and over, with nobody there."""
    for row in ROWS:
        with world().story(scenario="s") as story:
            story.fault(row.kind, stream=row.stream, parameters=row.given, seconds=1)
            story.advance(2)
        down = row.kind in ("crash", "power-loss", "restart")

        assert [each.met for each in story.history.faults] == [int(down)], row


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"kind": "slicer", "parameters": {"average_size": 9}}, "the simulated network carries whole messages"),
        ({"kind": "store-locked"}, "the simulated disk has one user"),
        (
            {"kind": "proxy-down", "place": "latop->server"},
            "unknown link 'latop->server'; did you mean 'laptop->server'?",
        ),
        ({"kind": "crash", "place": "one"}, "unknown node 'one'"),
        ({"kind": "store-full", "place": "server"}, "unknown store 'server'"),
        ({"kind": "clock-jump", "place": "tower", "parameters": {"by": 1}}, "unknown node 'tower'"),
        ({"kind": "latency"}, "latency needs 'latency', a number of milliseconds"),
        ({"kind": "latency", "parameters": {"latncy": 1}}, "did you mean 'latency'"),
        ({"kind": "pause", "stream": "upstream"}, "pause works in no one direction"),
        ({"kind": "lag"}, "'lag' is no kind of fault"),
    ],
)
def test_what_can_not_be_broken_is_refused_in_words(how: dict[str, Any], text: str) -> None:
    """And nothing is broken by it."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        with pytest.raises((NotRun, UsageError), match=re.escape(text)):
            story.fault(**how)
        assert asked(story, "laptop", "validate", licence).accepted

    assert story.history.faults == []
