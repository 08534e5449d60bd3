"""What is broken on the wire and in the process of a live target: set, felt by a client, recorded, and gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import toy_live
from toy_live import TOKEN, AsyncToy, needs_binary

from licensing_harness import Adapter
from licensing_harness.clock import RealClock
from licensing_harness.errors import CleanUpIncomplete, HarnessError, NotRun, UsageError
from licensing_harness.faults.outage import outage
from licensing_harness.faults.server import find_server
from licensing_harness.faults.watchdog import Watchdog
from licensing_harness.faults.wire import Wire
from licensing_harness.history import Header, HistoryWriter, Operation
from licensing_harness.masking import Masker
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.live import LiveWorld
from licensing_harness.worlds.live_faults import Paused
from licensing_harness.worlds.live_story import LiveStory
from licensing_harness.worlds.process import TargetProcess
from licensing_harness.worlds.story import Setting

CLOCK = RealClock()
Open = Callable[..., LiveWorld]


class ReadsToTheEnd(AsyncToy):
    """A client that opens a connection for each call and reads until the server closes it."""

    def open(self, target: Any) -> None:
        super().open(target)
        self.at = urlsplit(target.url)
        self.timeout = target.timeout

    async def _post(self, path: str, **body: Any) -> tuple[int, Any]:
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: toy\r\nConnection: close\r\nContent-Length: {len(content)}\r\n"
        with socket.create_connection((self.at.hostname, self.at.port), self.timeout) as raw:
            raw.sendall(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode() + content)
            said = b""
            while more := raw.recv(65536):
                said += more
        lines, _, answer = said.partition(b"\r\n\r\n")
        return int(lines.split()[1]), json.loads(answer)


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[str]:
    with toy_live.served(toy_live.State(tmp_path / "toy.log")) as url:
        yield url


@pytest.fixture
def process(tmp_path: Path) -> TargetProcess:
    command = [sys.executable, toy_live.__file__, "--port", "{port}", "--log", str(tmp_path / "log")]
    return TargetProcess(command)


@pytest.fixture
def world(toy: str) -> Iterator[Open]:
    """Opens live worlds and closes them, whatever happened to them."""
    opened: list[LiveWorld] = []

    def make(target: Any, adapter: type[Adapter] = AsyncToy, **more: Any) -> LiveWorld:
        masker = Masker()
        setting = Setting(
            adapter=adapter,
            writer=HistoryWriter(None, Header(), masker),
            masker=masker,
            seed=1,
            tag="faults",
            timeout=more.pop("timeout", 2.0),
            secrets={"api_token": TOKEN},
        )
        opened.append(LiveWorld(target, setting, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def tell(live: LiveWorld) -> LiveStory:
    return live.story(scenario="faults")


def late(seconds: float) -> Callable[[Operation], bool]:
    return lambda call: call.accepted and (call.end or 0) - call.begin >= seconds


def lost(call: Operation) -> bool:
    return call.unknown


SERVERS = ["embedded", pytest.param("toxiproxy", marks=needs_binary)]
OUTAGES: list[tuple[str, dict[str, Any], Callable[[Operation], bool], type[Adapter]]] = [
    ("latency", {"latency": 120, "jitter": 20}, late(0.099), AsyncToy),
    ("bandwidth", {"rate": 1000}, late(0.1), AsyncToy),  # an answer has more than 100 bytes
    ("slicer", {"average_size": 20, "size_variation": 5, "delay": 30}, late(0.089), AsyncToy),
    ("slow-close", {"delay": 300}, late(0.25), ReadsToTheEnd),
    ("limit-data", {"bytes": 30}, lost, AsyncToy),
    ("timeout", {"timeout": 100}, lost, AsyncToy),
    ("reset-peer", {"timeout": 0}, lost, AsyncToy),
    ("lose-connections", {}, lost, AsyncToy),
    ("proxy-down", {}, lost, AsyncToy),
]


@pytest.mark.parametrize("server", SERVERS)
def test_each_outage_is_felt_recorded_and_gone(world: Open, toy: str, server: str) -> None:
    """Set, felt by the client that calls, met and recorded in the plan's units; and the next call is as ever."""
    lives = {kind: world(toy, kind, faults=server) for kind in (AsyncToy, ReadsToTheEnd)}
    for kind, parameters, felt, adapter in OUTAGES:
        with tell(lives[adapter]) as story:
            label = story.fresh_licence()
            story.call("laptop", "validate", label)
            on = story.fault(kind, parameters=parameters)
            during = story.call("laptop", "validate", label)
            story.mend(on)
            after = story.call("laptop", "validate", label)
        assert during is not None
        assert felt(during), f"{kind} was not felt: {during}"
        assert after is not None
        assert after.accepted, f"after {kind}: {after}"
        (fault,) = story.history.faults
        assert fault.fault == kind
        assert fault.met >= 1, f"{kind} was not met"
        assert fault.end is not None
        assert fault.detail.items() >= parameters.items()
    for live in lives.values():
        route = live.route
        assert route._client is not None
        assert all(
            not each.enabled or route._client.toxics(name) == {} for name, each in route._client.proxies().items()
        )


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("limit-data", {"bytes": 1_000_000}), ("slow-close", {"delay": 10}), ("lose-connections", {"toxicity": 0.001})],
)
def test_a_fault_without_effect_is_not_met(
    world: Open, toy: str, server: str, kind: str, parameters: dict[str, float]
) -> None:
    """Traffic passed, and the fault changed nothing of it: the connection was not cut, not closed, not drawn."""
    with tell(world(toy, faults=server)) as story:
        label = story.fresh_licence()
        on = story.fault(kind, parameters=parameters)
        during = story.call("laptop", "validate", label)
        story.mend(on)
    assert during is not None
    assert during.accepted
    assert [each.met for each in story.history.faults] == [0]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("latency", {"latency": 0}), ("slicer", {"average_size": 100_000})],
)
def test_the_embedded_proxy_tells_what_it_changed(
    world: Open, toy: str, kind: str, parameters: dict[str, float]
) -> None:
    """No delay and no cut is no effect."""
    with tell(world(toy)) as story, outage(story, kind, **parameters):
        story.fresh_licence()
    assert [each.met for each in story.history.faults] == [0]


def test_units_are_the_plans(world: Open, toy: str) -> None:
    """Bytes a second become Toxiproxy's thousands, milliseconds a slicer's microseconds; the record has the plan's."""
    with tell(world(toy)) as story:
        story.fresh_licence()
        with outage(story, "bandwidth", rate=65_499) as on:
            assert on.attributes == {"rate": 65}
        with outage(story, "slicer", average_size=64, delay=7) as on:
            assert on.attributes == {"average_size": 64, "size_variation": 0, "delay": 7000}
        with pytest.raises(NotRun, match="can't pass 999 bytes a second; give a rate of 1000 or more"):
            story.fault("bandwidth", parameters={"rate": 999})
    assert [each.detail.get("rate", each.detail.get("delay")) for each in story.history.faults] == [65_000, 7]


@pytest.mark.parametrize(
    ("kind", "place", "says"),
    [
        ("latency", "clients->sever", "no link 'clients->sever' for latency; did you mean 'clients->server'"),
        ("crash", "two", "no node 'two' for crash; known: server"),
        ("store-locked", "ledger", "no store 'ledger' for store-locked; known: store"),
    ],
)
def test_a_place_that_there_is_none_of(world: Open, toy: str, kind: str, place: str, says: str) -> None:
    """A fault on a link, node or store that this world does not have is refused with the nearest one."""
    parameters = {"latency": 1} if kind == "latency" else {}
    with tell(world(toy)) as story, pytest.raises(UsageError, match=says):
        story.fault(kind, place=place, parameters=parameters)
    assert story.history.faults == []


def test_a_wire_for_one_client_is_not_run(world: Open, toy: str) -> None:
    """A toxic falls on the wire of all clients: one client's link is possible for faults of whole calls only."""
    with tell(world(toy)) as story, pytest.raises(NotRun, match="latency falls on the wire of all clients in the live"):
        story.fault("latency", place="laptop->server", parameters={"latency": 1})
    assert story.history.faults == []


@pytest.mark.parametrize(("kind", "parameters"), [("clock-drift", {"drift": 0.1}), ("clock-freeze", {})])
def test_what_no_live_world_can_do(world: Open, toy: str, kind: str, parameters: dict[str, float]) -> None:
    """It is not run, with the reason and the world that can."""
    with tell(world(toy)) as story, pytest.raises(NotRun, match="not run at another speed; the simulated world does"):
        story.fault(kind, parameters=parameters)


# Toxiproxy in trouble -----------------------------------------------------------------------------


@needs_binary
def test_toxiproxy_that_dies_in_mid_outage(world: Open, process: TargetProcess) -> None:
    """The toxic can't be seen to be gone: exit 14, the fault has no end and was met by nobody."""
    live = world(process, faults="toxiproxy")
    story = tell(live)
    story.fresh_licence()
    on = story.fault("latency", parameters={"latency": 1})
    server: Any = live.route._server
    server._process.kill()
    server._process.wait()
    assert story.call("vendor", "validate", "L1") is not None
    with pytest.raises(CleanUpIncomplete, match=r"whether the latency on .* is gone can't be told: .* gave no answer"):
        story.mend(on)
    assert [(each.met, each.end) for each in story.history.faults] == [(0, None)]
    story.close()
    with pytest.raises(CleanUpIncomplete, match="is still in Toxiproxy"):
        live.close()


_ONE_ANSWER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    with listener.accept()[0] as client:
        client.recv(65536)
        client.sendall(sys.argv[1].encode())
"""


class _Answers:
    """An HTTP server on a thread, in the place of Toxiproxy, with one answer to everything."""

    def __init__(self, status: int, body: str) -> None:
        text = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ONE_ANSWER, text],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ((200, '{"version": "1.9.3"}'), UsageError, "Toxiproxy there is version 1.9.3, and this speaks to 2.x; start"),
        ((200, "2.1.4"), HarnessError, "does not answer as Toxiproxy does"),
        ((200, "<html>"), HarnessError, "does not answer as Toxiproxy does: '<html>'"),
        ((404, "no"), HarnessError, "answered GET /version with 404: no"),
    ],
)
def test_toxiproxy_of_another_version(
    world: Open, toy: str, answer: tuple[int, str], error: type[HarnessError], says: str
) -> None:
    """Something else, or another version, is told before anything is set."""
    with _Answers(*answer) as url, tell(world(toy, faults=url)) as story:
        with pytest.raises(error, match=says):
            story.fault("latency", parameters={"latency": 1})
        assert story.history.faults == []


@pytest.mark.parametrize("server", SERVERS)
def test_trouble_at_the_proxy_is_told(server: str) -> None:
    """A port that is taken, a toxic that there is none of, a type that is wrong: each is an error of ours."""
    with (
        Wire() as wire,
        find_server(server, wire, CLOCK) as found,
        found.client() as client,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        port = taken.getsockname()[1]
        with pytest.raises(HarnessError, match="address already in use"):
            client.create(name="one", upstream="127.0.0.1:1", listen=f"127.0.0.1:{port}")
        client.create(name="two", upstream="127.0.0.1:1")
        with pytest.raises(HarnessError, match="invalid toxic type"):
            client.add_toxic("two", name="t", type="flood")
        with pytest.raises(HarnessError, match="400"):
            client.add_toxic("two", name="t", type="latency", attributes={"latency": "5"})  # type: ignore[dict-item]
        with pytest.raises(HarnessError, match="toxic"):
            client.remove_toxic("two", "t")
        assert client.toxics("two") == {}


@pytest.mark.parametrize("server", SERVERS)
def test_an_upstream_that_refuses_or_hangs_is_unknown(world: Open, process: TargetProcess, server: str) -> None:
    """Behind the proxy nobody listens, or somebody who never answers: no call is refused, and none holds the run up."""
    with tell(world(process, faults=server, timeout=0.3)) as story:
        label = story.fresh_licence()
        on = story.fault("latency", parameters={"latency": 1})
        process.kill()
        gone = story.call("laptop", "validate", label)
        with socket.create_server(("127.0.0.1", urlsplit(process.url).port or 0)):
            silent = story.call("laptop", "validate", label)
        assert gone is not None
        assert silent is not None
        assert (gone.unknown, silent.unknown) == (True, True)
        story.mend(on)


# Processes ----------------------------------------------------------------------------------------


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a process's state is read in /proc")


@linux
@pytest.mark.parametrize("by", ["waitid", "ps"])
def test_a_pause_holds_calls_back(
    world: Open, process: TargetProcess, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is in state T; what was under way or begun meanwhile counts, and is answered when it goes on."""
    if by == "ps":
        monkeypatch.delattr(os, "waitid")  # as in Python on macOS before 3.13
    with tell(world(process)) as story:
        label = story.fresh_licence()
        on = story.fault("pause")
        assert state(process.pid) == "T"
        story.start("laptop", "validate", label)
        story.start("phone", "validate", label)
        story.mend(on)
        assert state(process.pid) in "SRD"
        story.settle()
        assert all(each.accepted for each in story.history.operations)
    (fault,) = story.history.faults
    assert (fault.fault, fault.met, fault.where) == (FaultKind.PAUSE, 2, "target")


def test_a_pause_that_no_call_met(world: Open, process: TargetProcess) -> None:
    """Nobody called while it was stopped: not met."""
    with tell(world(process)) as story:
        story.fresh_licence()
        story.mend(story.fault("pause"))
    assert [each.met for each in story.history.faults] == [0]


def test_calls_of_a_stopped_target_are_unknown(world: Open, process: TargetProcess) -> None:
    """A client that gives up does not know; after the pause the target is well, and kept what it took."""
    with tell(world(process, timeout=0.3)) as story:
        label = story.fresh_licence(seats=2)
        on = story.fault("pause", place="server")
        story.contend("activate", label)
        story.settle()
        story.mend(on)
        taken = story.call("laptop", "validate", label)
    assert taken is not None
    assert taken.accepted
    assert sum(each.unknown for each in story.history.operations) == 3
    assert story.history.faults[0].met == 3


@linux
@pytest.mark.parametrize("how", ["interrupt", "close", "death"])
def test_a_paused_target_never_stays_behind(world: Open, process: TargetProcess, how: str) -> None:
    """Ctrl-C in the story, a world that is closed, a process that was killed: nothing is left stopped."""
    live = world(process)
    story = tell(live)
    story.fresh_licence()

    def interrupted() -> None:
        with story:
            story.fault("pause")
            raise KeyboardInterrupt

    if how == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert state(process.pid) in "SRD"
        assert story.history.faults[0].end is not None
    elif how == "close":
        story.fault("pause")
        pid = process.pid
        live.close()
        assert not Path(f"/proc/{pid}").exists()
    else:
        on = story.fault("pause")
        os.killpg(process.pid, signal.SIGKILL)
        with pytest.raises(HarnessError, match="ended while it was stopped"):
            story.mend(on)
        story.abandon()


def test_a_mend_that_was_interrupted_is_done_again(
    world: Open, process: TargetProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of mending: whoever lets go of the story mends it, and it is recorded once."""
    story = tell(world(process))
    on = story.fault("pause")
    mend = Paused.mend
    tries: list[int] = []

    def interrupted(self: Paused) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise KeyboardInterrupt
        return mend(self)

    monkeypatch.setattr(Paused, "mend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        story.mend(on)
    assert story.history.faults == []
    story.abandon()
    assert [each.end is not None for each in story.history.faults] == [True]
    assert not process.stopped


def test_a_restart_is_asked_for(world: Open, process: TargetProcess) -> None:
    """SIGTERM, another process on the same port, and what was acknowledged is known."""
    with tell(world(process)) as story:
        label = story.fresh_licence()
        before = process.pid
        story.fault("restart")
        after = story.call("laptop", "validate", label)
    assert process.pid != before
    assert after is not None
    assert after.accepted
    (fault,) = story.history.faults
    assert (fault.fault, fault.met, fault.detail["graceful"]) == (FaultKind.RESTART, 1, True)


def test_a_crash_lasts_until_its_end(world: Open, process: TargetProcess) -> None:
    """Down until it is mended: calls are unknown, and then it is back."""
    with tell(world(process)) as story:
        label = story.fresh_licence()
        on = story.fault("crash", seconds=60)
        assert not process.alive
        down = story.call("laptop", "validate", label)
        story.mend(on)
        up = story.call("laptop", "validate", label)
    assert down is not None
    assert up is not None
    assert (down.unknown, up.accepted) == (True, True)


@pytest.mark.parametrize(("kind", "says"), [("pause", "can't stop a process"), ("restart", "--licensing-control")])
def test_a_target_that_is_not_ours(world: Open, toy: str, kind: str, says: str) -> None:
    """It is not run, with the reason."""
    with tell(world(toy)) as story, pytest.raises(NotRun, match=says):
        story.fault(kind)


# kill -9 of the harness -----------------------------------------------------------------------------

_HARNESS = """
import sys
from licensing_harness.worlds.process import TargetProcess
process = TargetProcess([sys.executable, sys.argv[1], "--port", "{port}", "--log", sys.argv[2]])
process.start()
if sys.argv[3] == "paused":
    process.pause()
print(process.pid, process.directory, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["running", "paused"])
def test_kill_9_of_the_harness_ends_its_target(tmp_path: Path, how: str) -> None:
    """No clean-up of ours runs, and the server goes all the same, stopped or not, with its directory."""
    harness = subprocess.Popen(
        [sys.executable, "-c", _HARNESS, toy_live.__file__, str(tmp_path / "log"), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert harness.stdout is not None
    pid, directory = harness.stdout.readline().decode().split()
    os.killpg(harness.pid, signal.SIGKILL)
    harness.communicate()
    assert _within(10, lambda: _gone(int(pid)))
    assert _within(10, lambda: not Path(directory).exists())


@needs_binary
def test_kill_9_of_the_harness_ends_toxiproxy(tmp_path: Path) -> None:
    """A Toxiproxy that we started goes as well."""
    text = (
        "import sys\n"
        "from licensing_harness.clock import RealClock\n"
        "from licensing_harness.faults.server import find_server\n"
        "from licensing_harness.faults.wire import Wire\n"
        "server = find_server('toxiproxy', Wire(), RealClock())\n"
        "print(server._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    harness = subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert harness.stdout is not None
    pid = int(harness.stdout.readline())
    harness.kill()
    harness.communicate()
    assert _within(10, lambda: _gone(pid))


def test_a_watchdog_that_is_dismissed_does_nothing(tmp_path: Path) -> None:
    """What was ended, or shall live on, is let alone."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    watchdog = Watchdog(other.pid, tmp_path)
    shell: Any = watchdog._shell
    watchdog.dismiss()
    watchdog.dismiss()
    assert shell.poll() == 0
    assert other.poll() is None
    assert tmp_path.exists()
    other.communicate(b"\n")


def _gone(pid: int) -> bool:
    """Gone, or a zombie that whoever adopted it has not reaped yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return state(pid) == "Z"
    except OSError:
        return not Path("/proc/self/stat").exists()


def _within(seconds: float, seen: Callable[[], bool]) -> bool:
    deadline = CLOCK.now() + seconds
    while CLOCK.now() < deadline:
        if seen():
            return True
        CLOCK.sleep(0.02)
    return seen()
