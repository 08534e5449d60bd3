"""Each toxic and each cut of the embedded proxy, shown by real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest
from echo_server import Echo, connect

from licensing_harness.clock import RealClock
from licensing_harness.entropy import stream
from licensing_harness.errors import HarnessError
from licensing_harness.faults.connection import Alarm
from licensing_harness.faults.shaping import halved
from licensing_harness.faults.toxics import Toxic
from licensing_harness.faults.wire import Proxy, Wire

CLOCK = RealClock()


def toxic(type_: str, stream: str = "downstream", toxicity: float = 1.0, **attributes: int) -> Toxic:
    return Toxic(name=f"{type_}_{stream}", type=type_, stream=stream, toxicity=toxicity, attributes=attributes)


def put(wire: Wire, proxy: Proxy, one: Toxic) -> Toxic:
    wire.call(lambda: proxy.add(one))
    return one


def took(call: Any) -> tuple[Any, float]:
    begin = CLOCK.now()
    return call(), CLOCK.now() - begin


@pytest.fixture
def proxy(wire: Wire, echo: Echo) -> Proxy:
    return wire.open(name="p", upstream=echo.address)


def test_bytes_pass_both_ways(proxy: Proxy) -> None:
    """Without a toxic the proxy forwards what it gets, both ways."""
    with connect(proxy.listen) as client:
        assert client.ask(b"hello") == b"HELLO"


def test_a_large_stream_arrives_whole_and_in_order(wire: Wire, proxy: Proxy) -> None:
    """Eight megabytes through a latency toxic, past every buffer's limit, arrive as they were sent."""
    put(wire, proxy, toxic("latency", latency=5))
    sent = b"".join(b"%07d\n" % number for number in range(1_000_000))
    with connect(proxy.listen) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        got = bytearray()
        while len(got) < len(sent):
            got += client.recv(1 << 20)
        writer.join()
    assert bytes(got) == sent


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_delays_an_answer(wire: Wire, proxy: Proxy, stream: str) -> None:
    """An answer takes at least the latency, in either direction, and none once the toxic is gone."""
    one = put(wire, proxy, toxic("latency", stream, latency=200))
    with connect(proxy.listen) as client:
        answer, slow = took(lambda: client.ask(b"a"))
        wire.call(lambda: proxy.remove(one))
        assert answer == b"A"
        assert client.ask(b"b") == b"B"
    assert slow >= 0.19
    assert one.hits == 1


def test_chained_latencies_add(wire: Wire, proxy: Proxy) -> None:
    """Two latency toxics in one direction delay by their sum."""
    put(wire, proxy, toxic("latency", latency=120))
    second = toxic("latency", latency=120)
    second.name = "second"
    put(wire, proxy, second)
    with connect(proxy.listen) as client:
        _, slow = took(lambda: client.ask(b"a"))
    assert slow >= 0.23


def test_removing_latency_lets_go_of_what_it_held(wire: Wire, proxy: Proxy) -> None:
    """A minute's delay ends when the toxic is removed."""
    one = put(wire, proxy, toxic("latency", latency=60_000))
    with connect(proxy.listen) as client:
        client.sendall(b"a")
        while not one.hits:
            CLOCK.sleep(0.005)
        wire.call(lambda: proxy.remove(one))
        assert client.recv(10) == b"A"


def test_jitter_is_seeded(echo: Echo) -> None:
    """The same seed gives the same delays; jitter keeps the order."""

    def drawn(seed: int) -> list[int]:
        with Wire(seed=seed) as wire:
            proxy = wire.open(name="p", upstream=echo.address)
            with connect(proxy.listen) as client:
                assert client.ask(b"a") == b"A"
                (connection,) = proxy.connections
                return [connection.jitter(toxic("latency"), 1000) for _ in range(8)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_jitter_below_zero_overtakes_nothing(wire: Wire, proxy: Proxy) -> None:
    """A chunk that is not delayed waits for those before it that are."""
    put(wire, proxy, toxic("latency", latency=2, jitter=8))
    sent = b"".join(b"%07d\n" % number for number in range(100_000))
    with connect(proxy.listen) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        got = bytearray()
        while len(got) < len(sent):
            got += client.recv(1 << 20)
        writer.join()
    assert bytes(got) == sent


def test_latency_is_never_short(wire: Wire, proxy: Proxy) -> None:
    """Not by a fraction of a millisecond, whatever the loop's own clock is like."""
    put(wire, proxy, toxic("latency", latency=7))
    shortest: list[float] = []

    def run() -> None:
        with connect(proxy.listen) as client:
            shortest.append(min(took(lambda: client.ask(b"a"))[1] for _ in range(50)))

    threads = [threading.Thread(target=run) for _ in range(6)]  # each wakes the loop for the others
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(shortest) >= 0.007


def test_a_target_that_speaks_first_is_heard(wire: Wire) -> None:
    """Its first bytes, and its end, may come before the proxy knows that it is connected."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = wire.open(name="q", upstream=listener.getsockname())

        def greet() -> None:
            for _ in range(100):
                one, _ = listener.accept()
                one.sendall(b"hello")
                one.close()

        thread = threading.Thread(target=greet)
        thread.start()
        for _ in range(100):
            with connect(proxy.listen) as client:
                got = client.recv(10)
                assert got + client.recv(10) == b"hello"
        thread.join()


def test_an_alarm_never_rings_early() -> None:
    """A loop that calls too soon, by its own clock's grain, is asked again; a cancelled alarm is silent."""

    class Loop:
        def __init__(self) -> None:
            self.asked: list[tuple[float, Any]] = []

        def call_later(self, delay: float, call: Any) -> Any:
            self.asked.append((delay, call))
            return self

        def cancel(self) -> None:
            self.asked.clear()

    class Stage:
        rung = 0

        def ring(self) -> None:
            self.rung += 1

    class Hand:
        time = 5.0

        def now(self) -> float:
            return self.time

    loop, stage, clock = Loop(), Stage(), Hand()
    alarm = Alarm(loop, clock, 5.5, stage)  # type: ignore[arg-type]
    clock.time = 5.4995
    loop.asked[-1][1]()
    assert (stage.rung, [round(delay, 6) for delay, _ in loop.asked]) == (0, [0.5, 0.001])
    clock.time = 5.5005
    loop.asked[-1][1]()
    assert stage.rung == 1
    alarm.cancel()
    assert loop.asked == []


def test_a_client_that_leaves_while_the_dial_hangs_leaves_nothing(wire: Wire) -> None:
    """Its end comes before the upstream is reached; once it is, both connections end."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        proxy = wire.open(name="q", upstream=listener.getsockname())
        stack.enter_context(connect(listener.getsockname()))  # fills the backlog: the next dial gets no answer
        connect(proxy.listen).close()
        CLOCK.sleep(0.05)
        assert wire.call(lambda: len(proxy.connections)) == 1
        for _ in range(2):
            listener.settimeout(10)
            stack.enter_context(listener.accept()[0])
        deadline = CLOCK.now() + 5
        while wire.call(lambda: len(proxy.connections)):
            assert CLOCK.now() < deadline
            CLOCK.sleep(0.005)


def test_timeout_zero_is_a_black_hole_until_it_is_removed(wire: Wire, proxy: Proxy) -> None:
    """Nothing comes back, and the removal closes the connection."""
    one = put(wire, proxy, toxic("timeout"))
    with connect(proxy.listen) as client:
        client.sendall(b"a")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(10)
        client.settimeout(10)
        wire.call(lambda: proxy.remove(one))
        assert client.recv(10) == b""


def test_timeout_closes_an_idle_connection(wire: Wire, proxy: Proxy, echo: Echo) -> None:
    """After so many idle milliseconds the connection is closed; the target had the request."""
    put(wire, proxy, toxic("timeout", timeout=150))
    with connect(proxy.listen) as client:
        answer, slow = took(lambda: client.ask(b"a"))
    assert answer == b""
    assert slow >= 0.14
    assert echo.seen == [b"a"]


def test_timeout_upstream_keeps_the_request_from_the_target(wire: Wire, proxy: Proxy, echo: Echo) -> None:
    """A black hole on the way to the target: the request never arrives."""
    put(wire, proxy, toxic("timeout", "upstream", timeout=100))
    with connect(proxy.listen) as client:
        assert client.ask(b"a") == b""
    assert echo.seen == []


def test_reset_peer_resets_a_new_connection(wire: Wire, proxy: Proxy, echo: Echo) -> None:
    """Downstream, the target has the request and the client gets RST."""
    put(wire, proxy, toxic("reset_peer"))
    with connect(proxy.listen) as client, pytest.raises(ConnectionResetError):
        client.ask(b"a")
    assert echo.seen == [b"a"]


def test_reset_peer_upstream_keeps_the_request_from_the_target(wire: Wire, proxy: Proxy, echo: Echo) -> None:
    """Upstream, the client gets RST and the target nothing."""
    put(wire, proxy, toxic("reset_peer", "upstream"))
    with connect(proxy.listen) as client, pytest.raises(ConnectionResetError):
        client.ask(b"a")
    assert echo.seen == []


def test_reset_peer_waits(wire: Wire, proxy: Proxy) -> None:
    """The reset comes no sooner than its timeout."""
    put(wire, proxy, toxic("reset_peer", timeout=150))
    with connect(proxy.listen) as client:
        begin = CLOCK.now()
        with pytest.raises(ConnectionResetError):
            client.ask(b"a")
    assert CLOCK.now() - begin >= 0.14


def test_reset_peer_ends_an_older_connection_with_fin(wire: Wire, proxy: Proxy) -> None:
    """A connection that was open before the toxic is closed, not reset."""
    with connect(proxy.listen) as client:
        assert client.ask(b"a") == b"A"
        put(wire, proxy, toxic("reset_peer"))
        assert client.ask(b"b") == b""


def test_a_toxicity_of_zero_touches_nothing(wire: Wire, proxy: Proxy) -> None:
    """A toxic that falls on no connection is never met."""
    one = put(wire, proxy, toxic("timeout", toxicity=0.0))
    with connect(proxy.listen) as client:
        assert client.ask(b"a") == b"A"
    assert one.hits == 0


def test_a_toxicity_of_one_half_falls_on_some(wire: Wire, proxy: Proxy) -> None:
    """Of forty connections some are reset and some are not."""
    put(wire, proxy, toxic("reset_peer", toxicity=0.5))
    outcomes = []
    for _ in range(40):
        with connect(proxy.listen) as client:
            try:
                outcomes.append(client.ask(b"a"))
            except ConnectionResetError:
                outcomes.append(b"")
    assert {b"", b"A"} == set(outcomes)


def test_a_cut_request_never_arrives(wire: Wire, proxy: Proxy, echo: Echo) -> None:
    """The next request on an open connection is dropped before its first byte is forwarded."""
    with connect(proxy.listen) as client:
        assert client.ask(b"a") == b"A"
        wire.call(lambda: proxy.arm("request"))
        with pytest.raises(ConnectionResetError):
            client.ask(b"b")
    assert wire.call(proxy.disarm) == 1
    with connect(proxy.listen) as client:
        assert client.ask(b"c") == b"C"
    assert echo.seen == [b"a", b"c"]


def test_a_cut_answer_was_applied(wire: Wire, proxy: Proxy, echo: Echo) -> None:
    """The next request arrives whole and the client never sees a byte of the answer."""
    wire.call(lambda: proxy.arm("answer"))
    with connect(proxy.listen) as client, pytest.raises(ConnectionResetError):
        client.ask(b"a")
    assert echo.seen == [b"a"]
    assert wire.call(proxy.disarm) == 1


def test_an_interim_answer_is_not_the_answer(wire: Wire) -> None:
    """100 Continue passes an armed cut: without it the request's body would never be sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = wire.open(name="http", upstream=listener.getsockname())
        wire.call(lambda: proxy.arm("answer"))
        with connect(proxy.listen) as client:
            client.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")
            target, _ = listener.accept()
            with target:
                target.recv(1000)
                target.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                assert client.recv(1000).startswith(b"HTTP/1.1 100")
                client.sendall(b"body")
                assert target.recv(1000) == b"body"
                target.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                with pytest.raises(ConnectionResetError):
                    client.recv(1000)
    assert wire.call(proxy.disarm) == 1


def test_an_unmet_cut_counts_nothing(wire: Wire, proxy: Proxy) -> None:
    """A cut that no request ran into was met zero times and is gone."""
    wire.call(lambda: proxy.arm("request"))
    assert wire.call(proxy.disarm) == 0
    with connect(proxy.listen) as client:
        assert client.ask(b"a") == b"A"


def test_requests_are_counted(wire: Wire, proxy: Proxy) -> None:
    """Every question and answer on one connection is one request."""
    with connect(proxy.listen) as client:
        for _ in range(3):
            client.ask(b"a")
    assert wire.call(lambda: proxy.requests) == 3


def test_a_dead_upstream_closes_the_client(wire: Wire, echo: Echo) -> None:
    """When nobody listens behind it the proxy accepts and closes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = free.getsockname()
    proxy = wire.open(name="dead", upstream=dead)
    with connect(proxy.listen) as client:
        assert client.recv(10) == b""


def test_a_stopped_proxy_refuses_and_keeps_its_port(wire: Wire, proxy: Proxy) -> None:
    """Stopped, it drops its connections and refuses new ones; started again, it has the same port."""
    address = proxy.listen
    with connect(address) as client:
        assert client.ask(b"a") == b"A"
        wire.run(proxy.stop)
        assert client.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(address)
    wire.run(proxy.start)
    assert proxy.listen == address
    with connect(address) as client:
        assert client.ask(b"a") == b"A"


def test_it_listens_on_loopback_only(wire: Wire) -> None:
    """An address that others could reach is refused."""
    with pytest.raises(OSError, match="loopback addresses only, not on '0"):
        wire.run(lambda: wire.add(name="open", upstream=("127.0.0.1", 9), listen=("0.0.0.0", 0)))


def test_a_closed_wire_says_so() -> None:
    """A call after close is an error of the run, not a hang."""
    wire = Wire()
    wire.close()
    wire.close()
    with pytest.raises(HarnessError, match="the embedded fault proxy is closed"):
        wire.call(lambda: None)


def test_a_wire_that_does_not_answer_says_so() -> None:
    """A call that takes longer than the wire's patience is an error of the run."""
    import asyncio

    with Wire(patience=0.05) as wire:
        with pytest.raises(HarnessError, match="did not answer within"):
            wire.run(lambda: asyncio.sleep(0.3))
        CLOCK.sleep(0.4)


@pytest.mark.parametrize(
    ("size", "average", "variation"), [(0, 5, 0), (5, 5, 0), (6, 5, 0), (1000, 7, 3), (32768, 100, 100), (3, 1, 1)]
)
def test_a_slicer_loses_no_byte(size: int, average: int, variation: int) -> None:
    """The pieces add up, and none is larger than average plus variation."""
    chance = stream(3, "slicer")
    sizes = list(halved(size, average, variation, lambda: chance.randrange(-variation, variation)))

    assert sum(sizes) == size
    assert min(sizes) >= 0
    assert max(sizes) <= average + variation


@pytest.mark.parametrize(
    "shape",
    [
        {"type_": "bandwidth", "rate": 100_000},
        {"type_": "slicer", "average_size": 3000, "size_variation": 1000},
        {"type_": "slicer", "average_size": 20_000, "delay": 10},
        {"type_": "limit_data", "bytes": 1 << 30},
        {"type_": "slow_close", "delay": 10},
    ],
    ids=["bandwidth", "slicer", "slow slicer", "limit_data", "slow_close"],
)
def test_a_shaped_stream_arrives_whole_and_in_order(wire: Wire, proxy: Proxy, shape: dict[str, Any]) -> None:
    """Two megabytes arrive as they were sent, also when the toxic is changed and removed on the way."""
    one = put(wire, proxy, toxic(**shape))
    sent = b"".join(b"%07d\n" % number for number in range(250_000))
    with connect(proxy.listen) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        got = bytearray()
        while len(got) < len(sent) // 3:
            got += client.recv(1 << 16)
        wire.call(lambda: proxy.update(one))
        while len(got) < len(sent) // 2:
            got += client.recv(1 << 16)
        wire.call(lambda: proxy.remove(one))
        while len(got) < len(sent):
            got += client.recv(1 << 16)
        writer.join()
    assert bytes(got) == sent


def test_a_stalled_stream_stops_reading(wire: Wire, proxy: Proxy, echo: Echo) -> None:
    """A rate of zero keeps little: the sender blocks, and all arrives once the toxic is gone."""
    one = put(wire, proxy, toxic("bandwidth", "upstream"))
    sent = b"a" * (32 << 20)
    with connect(proxy.listen) as client:
        client.setblocking(False)
        written = 0
        quiet = CLOCK.now() + 0.3
        while CLOCK.now() < quiet and written < len(sent):
            try:
                written += client.send(sent[written : written + (1 << 20)])
            except BlockingIOError:
                CLOCK.sleep(0.01)
            else:
                quiet = CLOCK.now() + 0.3
        assert written < len(sent)
        assert echo.seen == []
        client.settimeout(10)
        wire.call(lambda: proxy.remove(one))
        got = 0
        while got < written:
            got += len(client.recv(1 << 20))
        assert got == written
