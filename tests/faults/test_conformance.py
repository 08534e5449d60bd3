"""What a client of Toxiproxy can see, shown on the embedded server and on a real Toxiproxy 2.12 by the same cases.

Times are bounded from below only. Where ours differs on purpose, the case is
under "Divergences" and runs against ours alone.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from echo_server import DEADLINE, Client, Echo, connect
from toxiproxy_calls import address, made, send

from licensing_harness.clock import RealClock
from licensing_harness.faults.server import FaultServer, find_server
from licensing_harness.faults.wire import Wire

CLOCK = RealClock()
BOTH = pytest.mark.parametrize("stream", ["upstream", "downstream"])
EMBEDDED = pytest.mark.parametrize("fault_server", ["embedded"], indirect=True)
TOXICS = "/proxies/p/toxics"
FOREVER = 60_000


class Line:
    """A proxy named ``p`` and the listener behind it."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE)
        self.upstream = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.proxy = self.ok("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": self.upstream})
        self._open: list[socket.socket] = [self.listener]

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        status, text, _ = send(self.server, method, path, body)
        assert status < 300, (status, text)
        return json.loads(text) if text else None

    def toxic(self, type_: str, stream: str = "downstream", toxicity: float = 1.0, **attributes: int) -> str:
        """Put a toxic on the proxy; returns its path."""
        asked = {"type": type_, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        return f"{TOXICS}/{self.ok('POST', TOXICS, asked)['name']}"

    def open(self) -> tuple[Client, socket.socket]:
        """A connection through the proxy: the client's end and the target's."""
        client = connect(address(self.proxy))
        self._open.append(client)
        target, _ = self.listener.accept()
        target.settimeout(DEADLINE)
        self._open.append(target)
        return client, target

    def ends(self, stream: str, *, warm: bool = False) -> tuple[socket.socket, socket.socket]:
        """Who sends in this direction and who receives; ``warm``: bytes have passed both ways."""
        client, target = self.open()
        if warm:
            passes(client, target)
            passes(target, client)
        return (client, target) if stream == "upstream" else (target, client)

    def close(self) -> None:
        for one in self._open:
            one.close()


def passes(source: socket.socket, sink: socket.socket, data: bytes = b"hello") -> None:
    source.sendall(data)
    assert exactly(sink, len(data)) == data


def exactly(sink: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (more := sink.recv(size - len(got))):
        got += more
    return got


def to_the_end(sink: socket.socket) -> bytes:
    got = b""
    while more := sink.recv(65536):
        got += more
    return got


def quiet(sink: socket.socket, seconds: float = 0.15) -> None:
    """Neither bytes nor an end come."""
    sink.settimeout(seconds)
    with pytest.raises(TimeoutError):
        sink.recv(1)
    sink.settimeout(DEADLINE)


@contextlib.contextmanager
def at_least(seconds: float) -> Iterator[None]:
    begin = CLOCK.now()
    yield
    assert CLOCK.now() - begin >= seconds


@pytest.fixture
def line(fault_server: FaultServer) -> Iterator[Line]:
    made_line = Line(fault_server)
    yield made_line
    made_line.close()


# Latency ------------------------------------------------------------------------------------------


@BOTH
def test_latency_delays_data(line: Line, stream: str) -> None:
    """Bytes arrive no sooner than the latency, and in order in spite of jitter."""
    line.toxic("latency", stream, latency=150, jitter=50)
    source, sink = line.ends(stream)
    sent = b"".join(b"%03d" % number for number in range(100))
    with at_least(0.09):
        for begin in range(0, len(sent), 30):
            source.sendall(sent[begin : begin + 30])
        assert exactly(sink, 1) == sent[:1]
    assert exactly(sink, len(sent) - 1) == sent[1:]


@BOTH
def test_latency_does_not_delay_an_end(line: Line, stream: str) -> None:
    """A connection on which nothing was said ends at once."""
    line.toxic("latency", stream, latency=FOREVER)
    source, sink = line.ends(stream)
    source.close()
    assert sink.recv(1) == b""


@BOTH
def test_removed_latency_lets_go(line: Line, stream: str) -> None:
    """What was kept back arrives when the toxic is removed."""
    path = line.toxic("latency", stream, latency=FOREVER)
    source, sink = line.ends(stream)
    source.sendall(b"hello")
    quiet(sink)
    line.ok("DELETE", path)
    assert exactly(sink, 5) == b"hello"
    passes(source, sink)


# Bandwidth ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("rate", "size", "seconds"), [(20, 7000, 0.33), (10, 900, 0.08)])
def test_bandwidth_takes_its_time(line: Line, stream: str, rate: int, size: int, seconds: float) -> None:
    """Bytes, in pieces or in one, take as long as the rate says; the end follows the last of them."""
    line.toxic("bandwidth", stream, rate=rate)
    source, sink = line.ends(stream)
    with at_least(seconds):
        source.sendall(b"x" * size)
        source.close()
        assert to_the_end(sink) == b"x" * size


@BOTH
def test_bandwidth_zero_stalls_until_it_is_removed(line: Line, stream: str) -> None:
    """Nothing passes and nothing is lost."""
    path = line.toxic("bandwidth", stream, rate=0)
    source, sink = line.ends(stream)
    source.sendall(b"x" * 100_000)
    quiet(sink)
    line.ok("DELETE", path)
    assert exactly(sink, 100_000) == b"x" * 100_000
    passes(source, sink)


@BOTH
def test_bandwidth_is_changed_on_an_open_connection(line: Line, stream: str) -> None:
    """A stalled connection goes on when the rate is raised."""
    path = line.toxic("bandwidth", stream, rate=0)
    source, sink = line.ends(stream)
    source.sendall(b"x" * 50_000)
    quiet(sink)
    assert line.ok("PATCH", path, {"attributes": {"rate": 10_000}})["attributes"] == {"rate": 10_000}
    assert exactly(sink, 50_000) == b"x" * 50_000


@BOTH
def test_a_toxic_leaves_the_other_direction_alone(line: Line, stream: str) -> None:
    """A stall one way does not touch the other way."""
    line.toxic("bandwidth", stream, rate=0)
    source, sink = line.ends(stream)
    passes(sink, source)
    source.sendall(b"a")
    passes(sink, source)
    quiet(sink, 0.05)


# Slow close ---------------------------------------------------------------------------------------


@BOTH
def test_slow_close_delays_the_end_alone(line: Line, stream: str) -> None:
    """Data passes as before; the end comes after the delay."""
    line.toxic("slow_close", stream, delay=300)
    source, sink = line.ends(stream)
    passes(source, sink)
    with at_least(0.28):
        source.close()
        assert sink.recv(1) == b""


@BOTH
def test_removing_slow_close_ends_at_once(line: Line, stream: str) -> None:
    """An end that waits goes on when the toxic is removed."""
    path = line.toxic("slow_close", stream, delay=FOREVER)
    source, sink = line.ends(stream)
    passes(source, sink)
    source.close()
    quiet(sink)
    line.ok("DELETE", path)
    assert sink.recv(1) == b""


@BOTH
def test_slow_close_leaves_the_other_end_alone(line: Line, stream: str) -> None:
    """Whoever receives in that direction may close, and the other sees it at once."""
    line.toxic("slow_close", stream, delay=FOREVER)
    source, sink = line.ends(stream)
    sink.close()
    assert source.recv(1) == b""


# Slicer -------------------------------------------------------------------------------------------


@BOTH
def test_slicer_cuts_and_waits(line: Line, stream: str) -> None:
    """A thousand bytes are halved into sixteen pieces, 10 ms after each, and arrive in order."""
    line.toxic("slicer", stream, average_size=100, size_variation=0, delay=10_000)
    source, sink = line.ends(stream)
    sent = b"".join(b"%04d" % number for number in range(250))
    got, reads = b"", 0
    with at_least(0.14):
        source.sendall(sent)
        while len(got) < len(sent):
            got += sink.recv(65536)
            reads += 1
    assert got == sent
    assert reads > 1


@BOTH
@pytest.mark.parametrize("variation", [1, 5, 10])
def test_slicer_loses_nothing(line: Line, stream: str, variation: int) -> None:
    """Whatever the variation, all bytes arrive in order, and then the end."""
    line.toxic("slicer", stream, average_size=10, size_variation=variation, delay=0)
    source, sink = line.ends(stream)
    sent = b"".join(b"%05d" % number for number in range(4000))
    writer = threading.Thread(target=lambda: (source.sendall(sent), source.close()))
    writer.start()
    assert to_the_end(sink) == sent
    writer.join()


@BOTH
def test_removing_a_slicer_lets_go(line: Line, stream: str) -> None:
    """The pieces that waited arrive when the toxic is removed."""
    path = line.toxic("slicer", stream, average_size=1, size_variation=0, delay=FOREVER * 1000)
    source, sink = line.ends(stream)
    source.sendall(b"abcdefghij")
    assert exactly(sink, 1) == b"a"
    quiet(sink)
    line.ok("DELETE", path)
    assert exactly(sink, 9) == b"bcdefghij"


# Limit data ---------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("limit", "size"), [(100, 250), (100, 100), (1, 70_000), (0, 1), (-5, 10)])
def test_limit_data_passes_exactly_so_many_bytes(line: Line, stream: str, limit: int, size: int) -> None:
    """So many bytes pass, then the connection ends; without data it stays open."""
    line.toxic("limit_data", stream, bytes=limit)
    source, sink = line.ends(stream)
    quiet(sink, 0.05)
    source.sendall(b"x" * size)
    assert to_the_end(sink) == b"x" * max(limit, 0)


def test_limit_data_counts_by_connection(line: Line) -> None:
    """Each connection has the whole limit."""
    line.toxic("limit_data", bytes=10)
    for _ in range(3):
        source, sink = line.ends("downstream")
        source.sendall(b"0123456789abc")
        assert to_the_end(sink) == b"0123456789"


@BOTH
@pytest.mark.parametrize(("limit", "more"), [(8, b"gh"), (10, b"ghij"), (6, b""), (2, b"")])
def test_limit_datas_count_survives_an_update(line: Line, stream: str, limit: int, more: bytes) -> None:
    """Bytes that passed before an update count against the new limit."""
    path = line.toxic("limit_data", stream, bytes=100)
    source, sink = line.ends(stream)
    passes(source, sink, b"abcdef")
    line.ok("POST", path, {"attributes": {"bytes": limit}})
    source.sendall(b"ghijklmnop")
    assert to_the_end(sink) == more


# Timeout, reset_peer, noop ------------------------------------------------------------------------


@BOTH
def test_timeout_drops_data_and_ends(line: Line, stream: str) -> None:
    """Nothing arrives, and after the time the connection ends."""
    line.toxic("timeout", stream, timeout=150)
    source, sink = line.ends(stream)
    with at_least(0.14):
        source.sendall(b"hello")
        assert to_the_end(sink) == b""


@BOTH
@pytest.mark.parametrize("toxicity", [0.0, 1.0])
def test_removing_a_timeout_closes(line: Line, stream: str, toxicity: float) -> None:
    """Removal ends the connection, even where the toxic did not apply."""
    path = line.toxic("timeout", stream, toxicity, timeout=0)
    source, sink = line.ends(stream)
    if toxicity:
        source.sendall(b"hello")
        quiet(sink)
    else:
        passes(source, sink)
    line.ok("DELETE", path)
    assert to_the_end(sink) == b""


@BOTH
def test_reset_peer_resets_a_new_connection(line: Line, stream: str) -> None:
    """Who waits for data gets RST; a connection on which nothing is said is left alone."""
    line.toxic("reset_peer", stream, timeout=50)
    source, sink = line.ends(stream)
    quiet(sink)
    source.sendall(b"hello")
    with pytest.raises(ConnectionResetError):
        sink.recv(1)


@BOTH
def test_reset_peer_ends_an_older_connection_with_fin(line: Line, stream: str) -> None:
    """A connection from before the toxic is closed in order."""
    source, sink = line.ends(stream, warm=True)
    line.toxic("reset_peer", stream)
    source.sendall(b"hello")
    assert to_the_end(sink) == b""


@BOTH
def test_noop_does_nothing(line: Line, stream: str) -> None:
    """Data and end pass."""
    line.toxic("noop", stream)
    source, sink = line.ends(stream)
    passes(source, sink)
    source.close()
    assert sink.recv(1) == b""


# Toxicity, chains, proxies ------------------------------------------------------------------------

HARSH = [
    ("latency", {"latency": FOREVER}),
    ("bandwidth", {"rate": 0}),
    ("slicer", {"average_size": 1, "delay": FOREVER * 1000}),
    ("limit_data", {"bytes": 0}),
    ("timeout", {"timeout": 0}),
    ("reset_peer", {"timeout": 0}),
]


@pytest.mark.parametrize(("type_", "attributes"), HARSH, ids=[each[0] for each in HARSH])
def test_toxicity_zero_touches_nothing_until_it_is_raised(line: Line, type_: str, attributes: dict[str, int]) -> None:
    """At 0 data passes; the same connection feels the toxic once its toxicity is 1."""
    path = line.toxic(type_, "downstream", 0.0, **attributes)
    source, sink = line.ends("downstream")
    passes(source, sink)
    passes(sink, source)
    assert line.ok("PATCH", path, {"toxicity": 1})["toxicity"] == 1
    source.sendall(b"hello")
    sink.settimeout(0.15)
    try:
        got = exactly(sink, 5)
    except (TimeoutError, ConnectionResetError):
        got = b""
    assert got != b"hello"


@BOTH
def test_toxics_of_one_direction_form_a_chain(line: Line, stream: str) -> None:
    """Each acts on what the one before lets through."""
    line.toxic("latency", stream, latency=100)
    line.toxic("slicer", stream, average_size=2, size_variation=0, delay=10_000)
    line.toxic("limit_data", stream, bytes=9)
    source, sink = line.ends(stream)
    with at_least(0.12):
        source.sendall(b"0123456789abcdef")
        assert to_the_end(sink) == b"012345678"


@BOTH
def test_a_toxic_falls_on_open_connections(line: Line, stream: str) -> None:
    """A toxic that is added later applies to what is already open, and is gone when it is removed."""
    source, sink = line.ends(stream, warm=True)
    path = line.toxic("bandwidth", stream, rate=0)
    source.sendall(b"hello")
    quiet(sink)
    line.ok("DELETE", path)
    assert exactly(sink, 5) == b"hello"
    passes(source, sink)


@BOTH
def test_a_reset_keeps_connections(line: Line, stream: str) -> None:
    """After a reset the toxics are gone and what they kept back arrives on the same connection."""
    line.toxic("bandwidth", stream, rate=0)
    source, sink = line.ends(stream)
    source.sendall(b"hello")
    quiet(sink, 0.05)
    line.ok("POST", "/reset")
    assert exactly(sink, 5) == b"hello"
    passes(source, sink)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/proxies/p", {"enabled": False}),
        ("POST", "/proxies/p", {"upstream": "127.0.0.1:9"}),
        ("DELETE", "/proxies/p", None),
        ("POST", "/populate", [{"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}]),
    ],
    ids=["disabled", "moved", "deleted", "replaced"],
)
def test_a_stopped_proxy_closes_its_connections(line: Line, method: str, path: str, body: Any) -> None:
    """Both ends of an open connection see its end."""
    client, target = line.open()
    passes(client, target)
    passes(target, client)
    line.ok(method, path, body)
    assert client.recv(1) == b""
    assert target.recv(1) == b""


def test_a_disabled_proxy_refuses_and_comes_back(line: Line) -> None:
    """Disabled it refuses; enabled it listens where it was, and its toxics apply."""
    line.toxic("limit_data", bytes=3)
    line.ok("POST", "/proxies/p", {"enabled": False})
    with pytest.raises(ConnectionRefusedError):
        connect(address(line.proxy))
    line.ok("PATCH", "/proxies/p", {"enabled": True})
    client, target = line.open()
    target.sendall(b"hello")
    assert to_the_end(client) == b"hel"


def test_a_refused_upstream_is_accept_and_fin(line: Line) -> None:
    """The client is connected and then closed, not reset."""
    line.listener.close()
    with connect(address(line.proxy)) as client:
        assert client.recv(1) == b""


def test_populating_the_same_keeps_toxics_and_connections(line: Line) -> None:
    """A proxy that is already as asked is left as it is."""
    line.toxic("limit_data", bytes=20)
    client, target = line.open()
    passes(target, client)
    same = {"name": "p", "listen": line.proxy["listen"], "upstream": line.upstream}
    (shown,) = line.ok("POST", "/populate", [same])["proxies"]
    assert [each["type"] for each in shown["toxics"]] == ["limit_data"]
    passes(target, client)


# The API ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/proxies", 200),
        ("GET", "/proxies/p", 200),
        ("GET", TOXICS, 200),
        ("GET", f"{TOXICS}/t", 200),
        ("GET", "/proxies/q", 404),
        ("PATCH", "/proxies/q", 404),
        ("DELETE", "/proxies/q", 404),
        ("POST", "/proxies/q/toxics", 404),
        ("GET", "/proxies/q/toxics/t", 404),
        ("GET", f"{TOXICS}/u", 404),
        ("PATCH", f"{TOXICS}/u", 404),
        ("DELETE", f"{TOXICS}/u", 404),
        ("DELETE", "/proxies", 405),
        ("PUT", "/proxies/p", 405),
        ("DELETE", TOXICS, 405),
        ("PUT", f"{TOXICS}/t", 405),
        ("GET", "/populate", 405),
        ("DELETE", "/reset", 405),
        ("POST", "/version", 405),
        ("GET", "/", 404),
        ("GET", "/proxies/p/", 404),
        ("GET", f"{TOXICS}/t/x", 404),
    ],
)
def test_each_route_answers(line: Line, method: str, path: str, status: int) -> None:
    """Statuses by route and method; errors name what is missing."""
    line.ok("POST", TOXICS, {"type": "noop", "name": "t"})
    got, text, _ = send(line.server, method, path, {} if method in {"POST", "PATCH"} else None)
    assert got == status
    if status == 404 and text.startswith("{"):
        error = {"error": f"{'proxy' if '/q' in path else 'toxic'} not found", "status": 404}
        assert json.loads(text) == error


SHOWN = [
    ("bandwidth", {}, {"rate": 0}),
    ("slow_close", {"DELAY": 7}, {"delay": 7}),
    ("slow_close", {"delay": -1}, {"delay": -1}),
    ("limit_data", {"bytes": 9_007_199_254_740_993}, {"bytes": 9_007_199_254_740_993}),
    ("slicer", {"average_size": 5}, {"average_size": 5, "size_variation": 0, "delay": 0}),
    ("slicer", {"average_size": 5, "size_variation": 5, "delay": 3, "rate": 9}, None),
]


@pytest.mark.parametrize(("type_", "given", "shown"), SHOWN)
def test_attributes_are_shown(line: Line, type_: str, given: dict[str, int], shown: dict[str, int] | None) -> None:
    """Every attribute of the type is shown, by its own name, with zero for what was not given."""
    shown = shown or {"average_size": 5, "size_variation": 5, "delay": 3}
    toxic = line.ok("POST", TOXICS, {"type": type_, "attributes": given})
    assert toxic == {
        "attributes": shown,
        "name": f"{type_}_downstream",
        "type": type_,
        "stream": "downstream",
        "toxicity": 1,
    }
    assert line.ok("GET", "/proxies/p")["toxics"] == [toxic]


NUMBERS = [
    ("bandwidth", "rate", 1.5, "number 1.5"),
    ("bandwidth", "rate", "1", "string"),
    ("bandwidth", "rate", True, "bool"),
    ("bandwidth", "rate", [], "array"),
    ("bandwidth", "rate", 2**63, "number 9223372036854775808"),
    ("slow_close", "delay", 1.5, "number 1.5"),
    ("slicer", "average_size", 0.5, "number 0.5"),
    ("slicer", "size_variation", "x", "string"),
    ("slicer", "delay", {}, "object"),
    ("limit_data", "bytes", False, "bool"),
    ("latency", "jitter", -1.5, "number -1.5"),
    ("timeout", "timeout", "", "string"),
    ("reset_peer", "timeout", -(2**63) - 1, "number -9223372036854775809"),
]


@pytest.mark.parametrize(("type_", "attribute", "value", "kind"), NUMBERS)
def test_an_attribute_is_a_whole_number(line: Line, type_: str, attribute: str, value: Any, kind: str) -> None:
    """Anything else is refused by its kind, and no toxic is made."""
    status, text, _ = send(line.server, "POST", TOXICS, {"type": type_, "attributes": {attribute: value}})
    assert status == 400
    assert json.loads(text)["error"].startswith(f"bad request body: json: cannot unmarshal {kind} into Go struct field")
    assert line.ok("GET", TOXICS) == []


def test_an_update_changes_only_what_it_names(line: Line) -> None:
    """The other attributes and the toxicity stay."""
    path = line.toxic("slicer", "upstream", 0.25, average_size=9, size_variation=4, delay=2)
    shown = line.ok("PATCH", path, {"attributes": {"size_variation": 3}, "name": "other", "type": "noop"})
    assert shown["attributes"] == {"average_size": 9, "size_variation": 3, "delay": 2}
    assert (shown["name"], shown["type"], shown["toxicity"]) == ("slicer_upstream", "slicer", 0.25)
    assert line.ok("GET", path) == shown


# Divergences --------------------------------------------------------------------------------------


@EMBEDDED
@pytest.mark.parametrize(
    ("type_", "attributes", "named"),
    [
        ("bandwidth", {"rate": -1}, "rate is -1; give 0 or more"),
        ("slicer", {}, "average_size is 0; give 1 or more"),
        ("slicer", {"average_size": -3}, "average_size is -3"),
        ("slicer", {"average_size": 5, "size_variation": 6}, "size_variation is 6; give 0 up to average_size, 5"),
        ("slicer", {"average_size": 5, "size_variation": -1}, "size_variation is -1"),
    ],
)
def test_a_toxic_that_would_crash_toxiproxy_is_refused(
    line: Line, type_: str, attributes: dict[str, int], named: str
) -> None:
    """Created or changed, it is a 400 that names the attribute, and nothing has changed."""
    asked = {"type": type_, "attributes": attributes}
    status, text, _ = send(line.server, "POST", TOXICS, asked)
    assert (status, line.ok("GET", TOXICS)) == (400, [])
    assert named in json.loads(text)["error"]

    sound = {"bandwidth": {"rate": 1}, "slicer": {"average_size": 3}}[type_]
    path = line.toxic(type_, **sound)
    before = line.ok("GET", path)
    status, _, _ = send(line.server, "PATCH", path, {"attributes": {"average_size": 0, **attributes}})
    assert (status, line.ok("GET", path)) == (400, before)


@EMBEDDED
@pytest.mark.parametrize(
    "body",
    [
        '{"type": "latency", "attributes": {"latency": ' + "9" * 5000 + "}}",
        '{"type": "latency", "toxicity": 1e999}',
        '{"type": "latency", "toxicity": NaN}',
        "[" * 100_000,
    ],
    ids=["digits", "infinite", "no number", "deep"],
)
def test_a_hostile_body_is_refused(line: Line, body: str) -> None:
    """It is a 400, and the server goes on."""
    assert send(line.server, "POST", TOXICS, body)[0] == 400
    assert line.ok("GET", TOXICS) == []


@EMBEDDED
def test_a_failed_change_changes_nothing(line: Line) -> None:
    """An update with one bad attribute leaves the good ones as they were."""
    path = line.toxic("slicer", average_size=9)
    assert send(line.server, "PATCH", path, {"attributes": {"average_size": 5, "delay": "x"}})[0] == 400
    assert line.ok("GET", path)["attributes"]["average_size"] == 9


@EMBEDDED
def test_an_empty_listen_is_loopback(line: Line) -> None:
    """Where Toxiproxy would listen on every interface, ours listens on 127.0.0.1, and nowhere else on request."""
    assert line.ok("POST", "/proxies", {"name": "q", "upstream": "127.0.0.1:9"})["listen"].startswith("127.0.0.1:")
    outside = {"name": "r", "upstream": "127.0.0.1:9", "listen": "0.0.0.0:0"}
    status, text, _ = send(line.server, "POST", "/proxies", outside)
    assert status == 500
    assert "loopback addresses only" in text


def test_toxicity_has_a_seed(echo: Echo) -> None:
    """The same seed lets a toxic fall on the same connections, another seed on others."""

    def fallen(seed: int) -> list[bytes]:
        with Wire(seed=seed) as wire, find_server("embedded", wire, CLOCK) as server:
            proxy = made(server, echo)
            body = {"type": "limit_data", "toxicity": 0.5, "attributes": {"bytes": 0}}
            assert send(server, "POST", TOXICS, body)[0] == 200
            answers = []
            for _ in range(24):
                with connect(address(proxy)) as client:
                    answers.append(client.ask(b"a"))
            return answers

    first = fallen(1)
    assert set(first) == {b"", b"A"}
    assert fallen(1) == first
    assert fallen(2) != first
