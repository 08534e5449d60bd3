"""The live world against a toy server: calls, cuts, crashes, outages, guards and clean-up."""

from __future__ import annotations

import itertools
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_live
from toy_live import TOKEN, AsyncToy, BlockingToy

from licensing_harness import Adapter, Cap, ControlAdapter, Grant
from licensing_harness.errors import (
    CleanUpIncomplete,
    GuardRefused,
    HarnessError,
    NotRun,
    TargetNotReady,
    UsageError,
)
from licensing_harness.faults.outage import outage
from licensing_harness.history import Header, HistoryWriter, StoryHistory, read_history
from licensing_harness.masking import Masker
from licensing_harness.vocabulary import FaultKind, Outcome
from licensing_harness.worlds.live import LiveWorld
from licensing_harness.worlds.live_story import LiveStory
from licensing_harness.worlds.process import TargetProcess
from licensing_harness.worlds.story import Setting

TIMEOUT = 2.0


def setting(adapter: type[Adapter], path: Path | None = None, **more: Any) -> Setting:
    masker = Masker()
    given = {"secrets": {"api_token": TOKEN}, "timeout": TIMEOUT} | more
    return Setting(
        adapter=adapter, writer=HistoryWriter(path, Header(), masker), masker=masker, seed=1, tag="run-1", **given
    )


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[str]:
    with toy_live.served(toy_live.State(tmp_path / "toy.log")) as url:
        yield url


@pytest.fixture
def process(tmp_path: Path) -> TargetProcess:
    command = [sys.executable, toy_live.__file__, "--port", "{port}", "--log", str(tmp_path / "log")]
    return TargetProcess(command)


Open = Callable[..., LiveWorld]


@pytest.fixture
def world(toy: str) -> Iterator[Open]:
    """Opens live worlds and closes them at the end, before the toy server ends."""
    opened: list[LiveWorld] = []

    def make(target: Any, adapter: type[Adapter] = AsyncToy, path: Path | None = None, **more: Any) -> LiveWorld:
        own = {name: more.pop(name) for name in ("timeout", "max_requests", "secrets", "closed") if name in more}
        opened.append(LiveWorld(target, setting(adapter, path, **own), **more))
        return opened[-1]

    yield make
    for each in opened:
        each.setting.writer.close()
        each.close()


def tell(live: LiveWorld) -> LiveStory:
    return live.story(scenario="toy")


def outcomes(story: LiveStory, verb: str) -> list[str]:
    made = [each for each in story.history.operations if each.verb == verb]
    return [f"{each.outcome}:{each.reason}" if each.refused else str(each.outcome) for each in made]


# Calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [AsyncToy, BlockingToy])
def test_a_story_is_told_live(world: Open, toy: str, adapter: type[Adapter]) -> None:
    """Verbs of either kind drive the target; operations come in the order in which they began."""
    with tell(world(toy, adapter)) as story:
        label = story.fresh_licence(seats=1)
        first = story.call("laptop", "activate", label)
        second = story.call("phone", "activate", label)
        story.call("vendor", "revoke", label)
        third = story.call("laptop", "validate", label)
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.outcome, second.outcome, third.outcome) == (Outcome.ACCEPTED, Outcome.REFUSED, Outcome.REFUSED)
    assert (second.reason, third.reason) == ("no-free-seat", "revoked")
    assert [each.n for each in story.history.operations] == [1, 2, 3, 4, 5]
    assert all(each.begin <= each.ended for each in story.history.operations)
    assert story.history.complete


def test_a_clients_calls_never_overlap(world: Open, toy: str) -> None:
    """``start`` waits for the same client's previous call and for nobody else's."""
    with tell(world(toy)) as story:
        label = story.fresh_licence(seats=3)
        for _ in range(10):
            for device in story.devices:
                story.start(device, "validate", label)
    for device in story.devices:
        own = [each for each in story.history.operations if each.client == device]
        assert all(before.ended <= after.begin for before, after in itertools.pairwise(own))


def test_contenders_overlap(world: Open, toy: str) -> None:
    """In ``contend`` all three calls are under way at the same time, and one seat goes to one of them."""
    with tell(world(toy)) as story:
        label = story.fresh_licence(seats=1)
        story.contend("activate", label)
        story.settle()
    race = [each for each in story.history.operations if each.verb == "activate"]
    assert max(each.begin for each in race) < min(each.ended for each in race)
    assert sorted(outcomes(story, "activate")) == ["accepted", "refused:no-free-seat", "refused:no-free-seat"]


def test_clients_are_kept_across_stories(world: Open, toy: str) -> None:
    """Two stories use the same adapter object of a client."""
    live = world(toy)
    with tell(live) as first:
        first.call("laptop", "validate", first.fresh_licence())
    adapter = live.client("laptop").lane.adapter
    with tell(live) as second:
        second.call("laptop", "validate", second.fresh_licence())
    assert live.client("laptop").lane.adapter is adapter
    assert (first.history.story, second.history.story) == ("live-1", "live-2")


def test_the_host_header_stays_the_targets(world: Open, toy: str) -> None:
    """Through its loopback port ``target.http`` still names the target."""
    hosts: list[str] = []

    class Nosy(AsyncToy):
        async def validate(self, key: str, machine: str | None = None) -> Any:
            status, answer = await self._post("/validate", key=key)
            hosts.append(answer["host"])
            return self._answer(status, answer)

    with tell(world(toy, Nosy)) as story:
        story.call("laptop", "validate", story.fresh_licence())
    assert hosts == [toy.removeprefix("http://")]


def test_a_run_that_is_killed_has_told_what_it_began(world: Open, toy: str, tmp_path: Path) -> None:
    """The beginning of a call is on disk before the call is made."""
    seen: list[StoryHistory] = []
    path = tmp_path / "history.jsonl"

    class Looking(AsyncToy):
        async def validate(self, key: str, machine: str | None = None) -> Any:
            seen.extend(read_history(path).stories.values())
            return await super().validate(key, machine)

    with tell(world(toy, Looking, path)) as story:
        story.call("laptop", "validate", story.fresh_licence())
    (killed,) = seen
    assert [(each.verb, each.outcome) for each in killed.operations] == [
        ("issue", Outcome.ACCEPTED),
        ("validate", Outcome.UNKNOWN),
    ]
    (whole,) = read_history(path).stories.values()
    assert whole.complete
    assert "toy-key" not in path.read_text()


# Cuts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [AsyncToy, BlockingToy])
@pytest.mark.parametrize(("what", "taken"), [("request", "accepted"), ("answer", "refused:no-free-seat")])
def test_a_cut_call_is_unknown(world: Open, toy: str, adapter: type[Adapter], what: Any, taken: str) -> None:
    """With its request lost a call was never applied, with its answer lost it was; both are unknown."""
    with tell(world(toy, adapter)) as story:
        label = story.fresh_licence(seats=1)
        story.call("laptop", "validate", label)
        story.cut_next("laptop", what)
        cut = story.call("laptop", "activate", label)
        other = story.call("phone", "activate", label)
    assert cut is not None
    assert other is not None
    assert (cut.outcome, cut.end) == (Outcome.UNKNOWN, None)
    assert outcomes(story, "activate") == ["unknown", taken]
    (fault,) = story.history.faults
    assert (fault.fault, fault.where, fault.met) == (FaultKind(f"cut-{what}"), "laptop", 1)
    assert fault.begin <= cut.begin
    assert fault.end is not None


def test_a_lost_issue_is_retried_under_its_key(world: Open, toy: str) -> None:
    """The retry of an issue whose answer was lost gets the same licence."""
    with tell(world(toy)) as story:
        story.cut_next("vendor", "answer")
        label = story.fresh_licence()
        assert not story.acknowledged(label)
        assert story.call("laptop", "validate", label) is None
        retried = story.call("vendor", "issue", label)
        again = story.call("vendor", "issue", label)
    assert retried is not None
    assert again is not None
    assert retried.answer["id"] == again.answer["id"]


def test_a_cut_that_was_never_met_says_so(world: Open, toy: str) -> None:
    """A cut with no call after it was met zero times; one set twice is one fault."""
    with tell(world(toy)) as story:
        story.fresh_licence()
        story.cut_next("phone", "answer")
        story.cut_next("phone", "answer")
        story.cut_next("phone", "request")
    assert [(each.fault, each.met) for each in story.history.faults] == [
        (FaultKind.CUT_ANSWER, 0),
        (FaultKind.CUT_REQUEST, 0),
    ]


# Crashes and time --------------------------------------------------------------------------------


def test_a_crash_while_calls_are_under_way(world: Open, process: TargetProcess) -> None:
    """The target is killed and comes back on its port with all it acknowledged."""
    live = world(process, secrets={})
    before = process.pid
    with tell(live) as story:
        label = story.fresh_licence(seats=2)
        story.call("laptop", "activate", label)
        for device in story.devices:
            story.start(device, "validate", label)
        story.crash()
        story.settle()
        after = story.call("laptop", "validate", label)
        story.call("phone", "activate", label)
        story.call("tablet", "activate", label)
    assert process.pid != before
    assert after is not None
    assert after.accepted
    assert outcomes(story, "activate") == ["accepted", "accepted", "refused:no-free-seat"]
    assert "refused" not in {str(each.outcome) for each in story.history.operations if each.verb == "validate"}
    (fault,) = story.history.faults
    assert (fault.fault, fault.met, fault.where) == (FaultKind.CRASH, 1, "target")
    assert fault.end is not None
    assert fault.end > fault.begin


def test_power_loss_is_not_run(world: Open, process: TargetProcess) -> None:
    """A killed process shows nothing of what an fsync lost."""
    with tell(world(process, secrets={})) as story, pytest.raises(NotRun, match="keeps what was written and not yet"):
        story.crash(power=True)
    assert story.history.faults == []


def test_a_target_that_is_not_ours_is_not_crashed(world: Open, toy: str) -> None:
    """Without control over it a crash is not run, and the world does not claim it can."""
    live = world(toy)
    assert live.capabilities == AsyncToy.capabilities
    with tell(live) as story, pytest.raises(NotRun, match="--licensing-control"):
        story.crash()


def test_a_control_adapter_restarts_and_signs(world: Open, toy: str) -> None:
    """With a control adapter the world can restart and sign; its bug is an error of the run."""
    restarts: list[int] = []

    class Control(ControlAdapter):
        def restart(self) -> None:
            restarts.append(1)
            if len(restarts) > 1:
                raise ZeroDivisionError

        def sign(self, header: Any, claims: Any) -> str:
            return "signed"

    live = world(toy, control=Control())
    assert live.capabilities == AsyncToy.capabilities | {Cap.RESTART, Cap.TEST_SIGNER}
    with tell(live) as story:
        story.crash()
        signer = story._signer()
        assert signer is not None
        assert signer({}, {}) == "signed"
        with pytest.raises(HarnessError, match=r"control adapter failed in restart\(\): ZeroDivisionError"):
            story.crash()
    assert [(each.fault, each.end is None) for each in story.history.faults] == [
        (FaultKind.CRASH, False),
        (FaultKind.CRASH, True),
    ]


def test_time_passes_within_a_budget(world: Open, toy: str) -> None:
    """Short waits are real; long ones are not run, with the way out."""
    with tell(world(toy, advance_budget=0.5)) as story:
        before = story.now
        story.advance(0.05)
        assert story.now - before >= 0.05
        with pytest.raises(NotRun, match="the simulated world does it at once"):
            story.advance(30)


# Outages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        "embedded",
        pytest.param("toxiproxy", marks=toy_live.needs_binary),
    ],
)
def test_outages_come_and_go(world: Open, toy: str, faults: str) -> None:
    """Latency slows, a black hole and a reset make calls unknown, a proxy that is down too; then all is well."""
    with tell(world(toy, faults=faults)) as story:
        label = story.fresh_licence(seats=3)
        with outage(story, "latency", latency=100):
            slow = story.call("laptop", "validate", label)
        with outage(story, FaultKind.TIMEOUT, "upstream", timeout=200):
            lost = story.call("laptop", "activate", label)
        with outage(story, "reset_peer"):
            reset = story.call("phone", "activate", label)
        with outage(story, "proxy-down"):
            down = story.call("tablet", "activate", label)
        well = [story.call(device, "activate", label) for device in story.devices]
    assert slow is not None
    assert slow.accepted
    assert slow.ended - slow.begin >= 0.1
    assert [each is not None and each.unknown for each in (lost, reset, down)] == [True, True, True]
    assert all(each is not None and each.accepted for each in well)
    assert [each.fault for each in story.history.faults] == ["latency", "timeout", "reset-peer", "proxy-down"]
    assert all(each.met >= 1 and each.end is not None for each in story.history.faults)
    assert story.history.faults[1].detail["stream"] == "upstream"


@pytest.mark.parametrize(
    ("kind", "more", "says"),
    [
        ("flood", {}, "no kind of outage; choose from latency, bandwidth, slicer, slow-close, reset-peer, timeout"),
        ("latency", {"latency": 5, "stream": "sideways"}, "stream 'sideways' is none; known: downstream, upstream"),
        ("latency", {"latency": 5, "stream": "up-stream"}, "did you mean 'upstream'"),
        ("latency", {"latency": 5, "toxicity": 0}, "toxicity: 0 is too small; give 0.001 or more"),
        ("latency", {"latncy": 5}, r"unknown parameter 'latncy'; did you mean 'latency'\? \(latency\)"),
        ("latency", {"latency": 1.5}, "latency: 1.5 is not a whole number; give a number of milliseconds"),
        ("latency", {"latency": "5"}, "latency: expected a number of milliseconds, got '5'"),
        ("latency", {}, "latency needs 'latency', a number of milliseconds"),
        ("bandwidth", {"rte": 5000}, "unknown parameter 'rte'; did you mean 'rate'"),
        ("slicer", {"average_size": 5, "size_variation": 5}, "size_variation: give less than average_size"),
        ("lose_connections", {"timeout": 5}, "unknown parameter 'timeout'; known: toxicity"),
        ("lose_connections", {"stream": "upstream"}, "lose-connections works in no one direction"),
        ("proxy-down", {"timeout": 5}, r"'timeout': it takes no parameters \(proxy-down\)"),
    ],
)
def test_an_outage_that_is_none_is_refused(world: Open, toy: str, kind: str, more: dict[str, Any], says: str) -> None:
    """A misspelt outage is a usage error before anything is set."""
    with tell(world(toy)) as story, pytest.raises(UsageError, match=says), outage(story, kind, **more):
        pass
    assert story.history.faults == []


def test_an_outage_that_someone_else_removed_is_an_error(world: Open, toy: str) -> None:
    """A fault that was not there all the time proves nothing."""
    with (
        tell(world(toy)) as story,
        pytest.raises(HarnessError, match="someone else removed it"),
        outage(story, "latency", latency=1) as set_,
    ):
        set_._client.reset()
    assert [each.end for each in story.history.faults] == [None]


def test_an_outage_that_stays_is_a_clean_up_that_failed(world: Open, toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toxic that can't be removed ends the run with exit code 14."""

    def stuck(*_: Any) -> None:
        raise HarnessError("stuck")

    with tell(world(toy)) as story:
        with (
            pytest.raises(CleanUpIncomplete, match="could not be removed: stuck"),
            outage(story, "latency", latency=1) as set_,
        ):
            monkeypatch.setattr(set_._client, "remove_toxic", stuck)
        monkeypatch.undo()
    assert [each.end for each in story.history.faults] == [None]


def test_faults_that_are_off_are_not_run(world: Open, toy: str) -> None:
    """With ``--licensing-faults off`` an outage is not run."""
    with (
        tell(world(toy, faults="off")) as story,
        pytest.raises(NotRun, match="--licensing-faults off"),
        outage(story, "latency", latency=1),
    ):
        pass


def test_a_world_without_a_wire_has_no_outage() -> None:
    """In the simulated world an outage is not run, with the way to run it."""

    class Simulated:
        history = StoryHistory(story="s", world="simulated", scenario="x")

    with pytest.raises(NotRun, match="the simulated world has none; run it live"):
        outage(Simulated(), "latency")


# Trouble -----------------------------------------------------------------------------------------


def test_an_adapters_bug_is_raised_in_the_story(world: Open, toy: str) -> None:
    """A bug in a client's thread is an error of the run, with the adapter's file and line."""

    class Buggy(AsyncToy):
        async def validate(self, key: str, machine: str | None = None) -> Any:
            return 1 / 0

    live = world(toy, Buggy)
    story = tell(live)
    label = story.fresh_licence()
    story.start("laptop", "validate", label)
    with pytest.raises(HarnessError, match=r"adapter failed in validate\(\): ZeroDivisionError.*test_live.py:\d+"):
        story.settle()
    story.close()


def test_an_adapters_own_usage_error_is_raised_as_it_is(world: Open, toy: str) -> None:
    """What the adapter says about its use (a wrong token, a missing secret) is said unchanged."""

    class Choosy(AsyncToy):
        async def validate(self, key: str, machine: str | None = None) -> Any:
            raise UsageError("the API token is not accepted: set LICENSING_SECRET_API_TOKEN")

    story = tell(world(toy, Choosy))
    label = story.fresh_licence()
    with pytest.raises(UsageError, match=r"^the API token is not accepted"):
        story.call("laptop", "validate", label)
    story.close()
    missing = tell(world(toy, secrets={}))
    with pytest.raises(UsageError, match="set LICENSING_SECRET_API_TOKEN"):
        missing.fresh_licence()
    missing.close()


@pytest.mark.parametrize(
    ("error", "expected", "says"),
    [
        (ConnectionRefusedError("no"), TargetNotReady, r"open\(\) got no answer: ConnectionRefusedError"),
        (KeyError("x"), HarnessError, r"adapter failed in open\(\): KeyError.*test_live.py"),
    ],
)
def test_a_failing_open_is_told(
    world: Open, toy: str, error: Exception, expected: type[HarnessError], says: str
) -> None:
    """An adapter that can't open is told by what went wrong."""

    class Closed(AsyncToy):
        def open(self, target: Any) -> None:
            raise error

    story = tell(world(toy, Closed))
    with pytest.raises(expected, match=says):
        story.fresh_licence()
    story.close()


def test_a_call_that_hangs_loses_its_connection(world: Open, toy: str) -> None:
    """A blocking client without a timeout of its own does not stop the run."""

    class Patient(BlockingToy):
        def open(self, target: Any) -> None:
            super().open(target)
            self.connection.timeout = None

    with tell(world(toy, Patient, timeout=0.2)) as story:
        label = story.fresh_licence()
        with outage(story, "timeout"):
            hung = story.call("laptop", "validate", label)
        well = story.call("laptop", "validate", label)
    assert hung is not None
    assert hung.unknown
    assert well is not None
    assert well.accepted


def test_an_adapter_that_never_returns_is_an_error(world: Open, toy: str) -> None:
    """A call that is stuck in the adapter itself ends the run with words, not with a hang."""
    release = threading.Event()

    class Stuck(BlockingToy):
        def validate(self, key: str, machine: str | None = None) -> Any:
            release.wait(30)
            return super().validate(key, machine)

    live = world(toy, Stuck, timeout=0.1)
    story = tell(live)
    label = story.fresh_licence()
    story.start("laptop", "validate", label)
    with pytest.raises(HarnessError, match="did not return for client laptop within"):
        story.settle()
    release.set()
    story.close()


def test_the_request_cap(world: Open, toy: str) -> None:
    """The call above the limit is refused with exit code 13, also in the middle of a race."""
    story = tell(world(toy, max_requests=3))
    label = story.fresh_licence()
    with pytest.raises(GuardRefused, match="the run sent 3 requests, its limit"):
        story.contend("validate", label)
    story.close()
    assert outcomes(story, "validate") == ["accepted", "accepted"]
    assert GuardRefused.exit_code == 13


# Before and after --------------------------------------------------------------------------------


def test_a_target_that_does_not_answer(world: Open) -> None:
    """Nobody there: exit code 12, with the URL and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(TargetNotReady, match=rf"{url} does not answer \(ConnectError") as caught:
        world(url, patience=0.1)
    assert caught.value.exit_code == 12


def test_another_host_is_refused(world: Open) -> None:
    """A host beside loopback is refused before a byte is sent."""
    with pytest.raises(GuardRefused, match="--licensing-allow-host 192"):
        world("http://192.0.2.1")


def test_tls_can_not_be_cut(world: Open, toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts and outages of an https target are not run."""
    monkeypatch.setattr(LiveWorld, "wait_ready", lambda self: None)
    with tell(world(toy.replace("http:", "https:"))) as story:
        with pytest.raises(NotRun, match="needs plain HTTP"):
            story.cut_next("laptop", "request")
        with pytest.raises(NotRun, match="needs plain HTTP"), outage(story, "latency", latency=1):
            pass


def test_what_was_made_on_a_foreign_target_is_revoked(world: Open, toy: str) -> None:
    """At the end every licence is revoked, also one whose issue got no answer."""
    live = world(toy)
    with tell(live) as story:
        story.fresh_licence()
        gone = story.fresh_licence()
        story.call("vendor", "revoke", gone)
        story.cut_next("vendor", "answer")
        story.fresh_licence()
    live.close()
    licences = toy_live.Handler.state.licences
    assert len(licences) == 3
    assert all(each["revoked"] for each in licences.values())
    assert live.notes == []


def test_what_can_not_be_revoked_is_noted(world: Open, toy: str) -> None:
    """An adapter without revoke leaves licences, and the run says how many and how they are tagged."""

    class NoRevoke(toy_live.ToyBase):
        capabilities = frozenset({Cap.ISSUE})
        open = AsyncToy.open
        _post = AsyncToy._post
        issue = AsyncToy.issue

    live = world(toy, NoRevoke)
    with tell(live) as story:
        story.fresh_licence()
    live.close()
    assert live.notes == ["1 licences stay on the target, tagged run-1: its adapter can't revoke"]


def test_a_revoke_that_fails_is_an_incomplete_clean_up(toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A licence that could not be revoked after retries: exit code 14, with the count and the tag."""

    class Flaky(AsyncToy):
        async def revoke(self, grant: Grant) -> Any:
            raise ConnectionResetError("gone")

    live = LiveWorld(toy, setting(Flaky))
    with tell(live) as story:
        story.fresh_licence()
    with pytest.raises(CleanUpIncomplete, match="1 licences of this run, tagged run-1, are still"):
        live.close()
    assert CleanUpIncomplete.exit_code == 14
    assert not any(thread.name.startswith("licensing-") for thread in threading.enumerate())


def test_nothing_is_left_running(process: TargetProcess) -> None:
    """A closed world has no thread, no process and no directory left."""
    live = LiveWorld(process, setting(AsyncToy, secrets={}))
    with tell(live) as story:
        story.call("laptop", "validate", story.fresh_licence())
        with outage(story, "latency", latency=1):
            pass
    live.close()
    live.close()
    assert not process.alive
    assert not process.directory.exists()
    assert not any(thread.name.startswith("licensing-") for thread in threading.enumerate())
