"""Each fault of whole HTTP calls, through real sockets, with real HTTP clients."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from echo_server import DEADLINE, Echo, connect
from http_target import BIG, CLIENTS, Ask, Broken, HttpTarget, by_http_client

from licensing_harness.clock import RealClock
from licensing_harness.faults.call_faults import CallFault
from licensing_harness.faults.toxics import Toxic
from licensing_harness.faults.wire import Proxy, Wire

CLOCK = RealClock()


@pytest.fixture
def target() -> Iterator[HttpTarget]:
    made = HttpTarget()
    yield made
    made.close()


@pytest.fixture
def proxy(wire: Wire, target: HttpTarget) -> Proxy:
    return wire.open(name="p", upstream=target.address, watches=True)


@pytest.fixture(params=CLIENTS)
def ask(request: pytest.FixtureRequest, proxy: Proxy) -> Iterator[Ask]:
    with CLIENTS[request.param](proxy.listen) as made:
        yield made


@pytest.fixture
def plain(proxy: Proxy) -> Iterator[Ask]:
    with by_http_client(proxy.listen) as made:
        yield made


def put(wire: Wire, proxy: Proxy, kind: str, **attributes: int) -> CallFault:
    fault = CallFault(Toxic(name=kind, type=kind, attributes=attributes))
    wire.call(lambda: proxy.add_call_fault(fault))
    return fault


def take(wire: Wire, proxy: Proxy, fault: CallFault) -> int:
    wire.call(lambda: proxy.remove_call_fault(fault))
    return fault.toxic.hits


def until(condition: object, what: str = "") -> None:
    deadline = CLOCK.now() + DEADLINE
    while not condition():  # type: ignore[operator]
        assert CLOCK.now() < deadline, what
        CLOCK.sleep(0.002)


# Nothing is wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("watches", [False, True])
def test_calls_pass_unchanged(wire: Wire, target: HttpTarget, watches: bool) -> None:
    """Heads, lengths, chunks, empty answers and eight megabytes each way, on one connection."""
    proxy = wire.open(name="q", upstream=target.address, watches=watches)
    for client in CLIENTS.values():
        with client(proxy.listen) as ask:
            before = len(proxy.connections)
            assert ask("GET", "/chunked").body == b"hello chunked world"
            assert ask("GET", "/empty").status == 204
            assert ask("HEAD", "/big").fields["content-length"] == str(len(BIG))
            assert ask("GET", "/big").body == BIG
            assert ask("POST", "/count", BIG).json()["size"] == len(BIG)
            assert len(proxy.connections) <= before + 1


def test_a_chunked_request_passes(plain: Ask, target: HttpTarget) -> None:
    """A body without a length arrives as it was sent."""
    assert plain("POST", "/count", iter([b"abc", b"defg"])).json()["size"] == 7
    assert target.seen == [("POST", "/count", b"abcdefg")]


def test_pipelined_requests_are_answered_in_order(proxy: Proxy, target: HttpTarget) -> None:
    """A client that does not wait gets every answer, one after the other."""
    with connect(proxy.listen) as client:
        client.sendall(b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
        got = b""
        while got.count(b'"count"') < 5:
            got += client.recv(65536)
    assert [got.index(b'"count": %d' % n) for n in range(1, 6)] == sorted(
        got.index(b'"count": %d' % n) for n in range(1, 6)
    )


def test_what_the_wire_answers_waits_its_turn(wire: Wire, proxy: Proxy, target: HttpTarget) -> None:
    """The answer of a fault does not overtake the target's to the request before."""
    put(wire, proxy, "http_status", status=503, every=2)
    with connect(proxy.listen) as client:
        client.sendall(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\nGET /count HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: target.seen, "the first arrived")
        target.gate.set()
        got = b""
        while b" 503 " not in got or b" 200 " not in got:
            got += client.recv(65536)
    assert got.index(b" 200 ") < got.index(b" 503 ")


def test_calls_that_the_wire_answers_are_counted_and_cut(wire: Wire, proxy: Proxy, plain: Ask) -> None:
    """Each is a request of its own; the one after can be cut."""
    fault = put(wire, proxy, "http_status", status=503)
    for _ in range(3):
        assert plain("GET", "/count").status == 503
    assert wire.call(lambda: proxy.requests) == 3
    take(wire, proxy, fault)
    wire.call(lambda: proxy.arm("request"))
    with pytest.raises(Broken):
        plain("GET", "/count")
    assert wire.call(proxy.disarm) == 1


def test_what_is_not_http_passes(wire: Wire, echo: Echo) -> None:
    """A protocol of another kind goes through a proxy that reads calls, and no fault falls on it."""
    proxy = wire.open(name="q", upstream=echo.address, watches=True)
    fault = put(wire, proxy, "http_status", status=500)
    with connect(proxy.listen) as client:
        for text in (b"hello", b"PING\r\n", b"GET / HTTP/1.1\nno\n\n", b"\x00GET /"):
            assert client.ask(text) == text.upper()
    assert (take(wire, proxy, fault), fault.calls) == (0, 0)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Length: +1",
        b"Content-Length : 1",
        b" folded",
    ],
)
def test_an_ambiguous_request_passes_and_counts_nothing(wire: Wire, echo: Echo, head: bytes) -> None:
    """What two readers could frame differently is not touched."""
    proxy = wire.open(name="q", upstream=echo.address, watches=True)
    fault = put(wire, proxy, "http_status", status=500)
    sent = b"POST / HTTP/1.1\r\n" + head + b"\r\n\r\nx"
    with connect(proxy.listen) as client:
        client.sendall(sent)
        got = b""
        while len(got) < len(sent):
            got += client.recv(65536)
    assert got == sent.upper()
    assert (fault.calls, fault.toxic.hits) == (0, 0)


def test_an_upgrade_passes(wire: Wire) -> None:
    """After 101 the connection is no longer HTTP's, whoever speaks first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = wire.open(name="q", upstream=listener.getsockname(), watches=True)
        with connect(proxy.listen) as client:
            client.sendall(b"GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            server, _ = listener.accept()
            server.settimeout(DEADLINE)
            with server:
                server.recv(1000)
                server.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
                assert client.recv(1000).startswith(b"HTTP/1.1 101")
                fault = put(wire, proxy, "http_status", status=500)
                client.sendall(b"GET /frame HTTP/1.1\r\n\r\n")
                assert server.recv(1000) == b"GET /frame HTTP/1.1\r\n\r\n"
                server.sendall(b"\x00\x01")
                assert client.recv(1000) == b"\x00\x01"
    assert fault.calls == 0


# Status ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 429, 500, 502, 503])
def test_status_answers_instead_of_the_target(
    wire: Wire, proxy: Proxy, target: HttpTarget, ask: Ask, status: int
) -> None:
    """The call never arrives; the same connection goes on; after the fault the target answers again."""
    fault = put(wire, proxy, "http_status", status=status)
    said = ask("POST", "/count", b"x" * 200_000)
    assert said.status == status
    assert said.fields["content-type"].startswith("text/html" if status in {200, 502} else "text/plain")
    assert (b"<html" in said.body) == (status in {200, 502})
    head = ask("HEAD", "/count")
    assert (head.status, head.body) == (status, b"")
    assert target.seen == []
    assert take(wire, proxy, fault) == 2
    assert ask("GET", "/count").json()["count"] == 1
    assert len(proxy.connections) == 1


def test_retry_after_is_sent(wire: Wire, proxy: Proxy, plain: Ask) -> None:
    """429 says when to come again."""
    put(wire, proxy, "http_status", status=429, retry_after=7)
    assert plain("GET", "/count").fields["retry-after"] == "7"


def test_a_client_that_waits_for_continue_is_answered(wire: Wire, proxy: Proxy) -> None:
    """It gets the status before it sends its body, and the connection ends, as its rest could not be told."""
    put(wire, proxy, "http_status", status=503)
    with connect(proxy.listen) as client:
        client.sendall(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        got = b""
        while more := client.recv(65536):
            got += more
    assert got.startswith(b"HTTP/1.1 503 ")
    assert b"Connection: close" in got


def test_first_and_every(wire: Wire, proxy: Proxy, plain: Ask) -> None:
    """The first N calls of a fault, or every Nth."""
    fault = put(wire, proxy, "http_status", status=500, first=2)
    assert [plain("GET", "/count").status for _ in range(5)] == [500, 500, 200, 200, 200]
    assert take(wire, proxy, fault) == 2
    fault = put(wire, proxy, "http_status", status=500, every=3)
    assert [plain("GET", "/count").status for _ in range(7)] == [200, 200, 500, 200, 200, 500, 200]
    assert take(wire, proxy, fault) == 2


def test_concurrent_clients_share_one_count(wire: Wire, target: HttpTarget) -> None:
    """A fault on several links falls on exactly its first N calls, whoever makes them."""
    links = [wire.open(name=f"c{number}", upstream=target.address, watches=True) for number in range(8)]
    fault = CallFault(Toxic(name="f", type="http_status", attributes={"status": 503, "first": 25}))
    for link in links:
        wire.call(lambda link=link: link.add_call_fault(fault))
    got: list[int] = []

    def run(link: Proxy) -> None:
        with by_http_client(link.listen) as ask:
            got.extend(ask("GET", "/count").status for _ in range(20))

    threads = [threading.Thread(target=run, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (got.count(503), got.count(200)) == (25, 135)
    assert len(target.seen) == 135
    assert fault.toxic.hits == 25


# Bodies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/count", "/chunked", "/big"])
def test_a_truncated_body_ends_early_and_the_next_call_is_whole(
    wire: Wire, proxy: Proxy, target: HttpTarget, ask: Ask, path: str
) -> None:
    """The client sees its own error, and its next call, on a new connection, is answered."""
    whole = ask("GET", path).body
    fault = put(wire, proxy, "http_truncate_body", keep=7, first=1)
    with pytest.raises(Broken):
        ask("GET", path)
    after = ask("GET", path)
    assert len(after.body) == len(whole)
    assert len(target.seen) == 3
    assert take(wire, proxy, fault) == 1


def test_truncation_keeps_exactly_so_many_bytes(wire: Wire, proxy: Proxy) -> None:
    """The head is whole, ``keep`` bytes of the body follow, then the connection ends."""
    put(wire, proxy, "http_truncate_body", keep=100_000)
    with connect(proxy.listen) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while more := client.recv(65536):
            got += more
    assert got.partition(b"\r\n\r\n")[2] == BIG[:100_000]


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/big"), ("GET", "/empty"), ("GET", "/count")])
def test_a_body_that_is_short_enough_is_not_truncated(
    wire: Wire, proxy: Proxy, plain: Ask, method: str, path: str
) -> None:
    """Where nothing was changed, nothing was met."""
    fault = put(wire, proxy, "http_truncate_body", keep=1000)
    assert plain(method, path).status in {200, 204}
    assert take(wire, proxy, fault) == 0


@pytest.mark.parametrize("asked", [("/count", 3), ("/chunked", 8), ("/big", 1000), ("/chunked", 60_000)])
def test_a_corrupt_body_has_so_many_other_bytes(
    wire: Wire, proxy: Proxy, ask: Ask, target: HttpTarget, asked: tuple[str, int]
) -> None:
    """The length stays, exactly so many bytes differ, or all of a shorter body, and the connection goes on."""
    path, count = asked
    whole = ask("GET", path).body
    fault = put(wire, proxy, "http_corrupt_body", bytes=count)
    target.seen.clear()
    changed = ask("GET", path).body
    assert take(wire, proxy, fault) == 1
    target.seen.clear()
    assert ask("GET", path).body == whole
    assert len(changed) == len(whole)
    assert sum(a != b for a, b in zip(changed, whole, strict=True)) == min(count, len(whole))
    assert len(proxy.connections) == 1


def test_corruption_has_a_seed(target: HttpTarget) -> None:
    """The same seed changes the same bytes, another one others."""

    def got(seed: int) -> list[bytes]:
        with Wire(seed=seed) as wire:
            proxy = wire.open(name="p", upstream=target.address)
            put(wire, proxy, "http_corrupt_body", bytes=2)
            with by_http_client(proxy.listen) as ask:
                return [ask("GET", "/chunked").body for _ in range(3)]

    first = got(1)
    assert len(set(first)) == 3
    assert got(1) == first
    assert got(2) != first


@pytest.mark.parametrize("kind", ["http_truncate_body", "http_corrupt_body", "http_stale_answer", "http_cut_answer"])
def test_nothing_is_met_without_an_answer(wire: Wire, proxy: Proxy, plain: Ask, kind: str) -> None:
    """A fault of answers that are empty, or not there, is not met."""
    fault = put(wire, proxy, kind, keep=0, bytes=1, age=60_000)
    if kind == "http_cut_answer":
        with connect(proxy.listen) as client:
            client.sendall(b"GET /count")
            CLOCK.sleep(0.02)
    else:
        assert plain("GET", "/empty").status == 204
    assert take(wire, proxy, fault) == 0


# Stale answers ---------------------------------------------------------------------------------------


def test_a_stale_answer_is_what_was_said_before(wire: Wire, proxy: Proxy, target: HttpTarget, ask: Ask) -> None:
    """The same call is answered as it was, without the target; another one, or a young answer, is not stale."""
    assert ask("POST", "/count", b"one").json()["count"] == 1
    CLOCK.sleep(0.06)
    assert ask("POST", "/count", b"two").json()["count"] == 2
    fault = put(wire, proxy, "http_stale_answer", age=50)
    assert ask("POST", "/count", b"one").json()["count"] == 1
    assert ask("POST", "/count", b"two").json()["count"] == 3
    assert ask("PUT", "/count", b"one").json()["count"] == 4
    assert ask("POST", "/other", b"one").json()["count"] == 5
    assert take(wire, proxy, fault) == 1
    assert ask("POST", "/count", b"one").json()["count"] == 6
    assert len(proxy.connections) == 1


def test_of_several_old_answers_the_last_is_given(wire: Wire, proxy: Proxy, plain: Ask) -> None:
    """The youngest that is old enough."""
    for _ in range(3):
        plain("GET", "/count")
    CLOCK.sleep(0.11)
    plain("GET", "/count")
    put(wire, proxy, "http_stale_answer", age=100)
    assert plain("GET", "/count").json()["count"] == 3


def test_a_proxy_that_does_not_watch_remembers_from_the_fault_on(wire: Wire, target: HttpTarget) -> None:
    """And forgets when it is gone."""
    proxy = wire.open(name="q", upstream=target.address)
    with by_http_client(proxy.listen) as ask:
        ask("GET", "/count")
        fault = put(wire, proxy, "http_stale_answer", age=1)
        CLOCK.sleep(0.01)
        assert ask("GET", "/count").json()["count"] == 2
        CLOCK.sleep(0.01)
        assert ask("GET", "/count").json()["count"] == 2
        assert take(wire, proxy, fault) == 1
        assert ask("GET", "/count").json()["count"] == 3


# Twice, and in another order -------------------------------------------------------------------------


def test_a_duplicate_arrives_twice_and_is_answered_once(wire: Wire, proxy: Proxy, target: HttpTarget, ask: Ask) -> None:
    """The target gets the same request twice; the client one answer, and its connection goes on."""
    fault = put(wire, proxy, "http_duplicate", first=1)
    assert ask("POST", "/count", b"abc").status == 200
    until(lambda: len(target.seen) == 2, "the second delivery")
    assert target.seen == [("POST", "/count", b"abc")] * 2
    until(lambda: fault.toxic.hits == 1, "the count")
    assert take(wire, proxy, fault) == 1
    assert ask("GET", "/count").json()["count"] == 3


def test_a_duplicate_that_was_not_sent_by_the_end_never_is(
    wire: Wire, proxy: Proxy, target: HttpTarget, plain: Ask
) -> None:
    """The second delivery is a minute away when the fault ends."""
    fault = put(wire, proxy, "http_duplicate", delay=60_000)
    assert plain("POST", "/count", b"abc").json()["count"] == 1
    assert len(fault.copies) == 1
    assert take(wire, proxy, fault) == 0
    until(lambda: not fault.copies, "the copy is forgotten")
    assert plain("GET", "/count").json()["count"] == 2


def test_a_request_that_is_too_large_is_not_kept(wire: Wire, proxy: Proxy, target: HttpTarget, plain: Ask) -> None:
    """More than a mebibyte passes once, and nothing is counted."""
    faults = [put(wire, proxy, kind, age=1, delay=0) for kind in ("http_duplicate", "http_stale_answer")]
    for _ in range(2):
        assert plain("POST", "/count", BIG).json()["size"] == len(BIG)
    assert len(target.seen) == 2
    assert [take(wire, proxy, fault) for fault in faults] == [0, 0]


def test_reorder_lets_a_later_request_pass(wire: Wire, target: HttpTarget) -> None:
    """The first request arrives after the second one, of another client."""
    one, two = (wire.open(name=name, upstream=target.address, watches=True) for name in ("one", "two"))
    fault = CallFault(Toxic(name="f", type="http_reorder", attributes={"delay": 60_000}))
    wire.call(lambda: one.add_call_fault(fault))
    with by_http_client(one.listen) as first, by_http_client(two.listen) as second:
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.append(first("POST", "/count", b"first").json()["count"]))
        thread.start()
        until(lambda: fault.holding, "the first is held")
        assert second("POST", "/count", b"second").json()["count"] == 1
        thread.join(DEADLINE)
    assert got == [2]
    assert [body for _, _, body in target.seen] == [b"second", b"first"]
    assert fault.toxic.hits == 1


def test_reorder_waits_no_longer_than_its_delay(wire: Wire, proxy: Proxy, plain: Ask) -> None:
    """Without a later request it goes on alone; that is no other order, so nothing is counted."""
    fault = put(wire, proxy, "http_reorder", delay=80)
    begin = CLOCK.now()
    assert plain("GET", "/count").status == 200
    assert CLOCK.now() - begin >= 0.07
    assert take(wire, proxy, fault) == 0


def test_an_earlier_request_is_no_later_one(wire: Wire, target: HttpTarget) -> None:
    """An answer to a call that began before does not let a held request go."""
    one, two = (wire.open(name=name, upstream=target.address, watches=True) for name in ("one", "two"))
    with by_http_client(one.listen) as first, by_http_client(two.listen) as second:
        early = threading.Thread(target=lambda: second("GET", "/gate"))
        early.start()
        until(lambda: target.seen, "the early call arrived")
        fault = CallFault(Toxic(name="f", type="http_reorder", attributes={"delay": 60_000}))
        wire.call(lambda: one.add_call_fault(fault))
        late = threading.Thread(target=lambda: first("GET", "/count"))
        late.start()
        until(lambda: fault.holding, "held")
        target.gate.set()
        early.join(DEADLINE)
        assert fault.holding
        wire.call(lambda: one.remove_call_fault(fault))
        late.join(DEADLINE)
    assert [path for _, path, _ in target.seen] == ["/gate", "/count"]
    assert fault.toxic.hits == 0


def test_a_request_to_another_target_is_no_later_one(wire: Wire, proxy: Proxy, plain: Ask, echo: Echo) -> None:
    """Order is that of one target."""
    elsewhere = HttpTarget()
    other = wire.open(name="other", upstream=elsewhere.address, watches=True)
    fault = put(wire, proxy, "http_reorder", delay=60_000)
    thread = threading.Thread(target=lambda: plain("GET", "/count"))
    thread.start()
    until(lambda: fault.holding, "held")
    with by_http_client(other.listen) as second:
        assert second("GET", "/count").status == 200
    assert fault.holding
    assert take(wire, proxy, fault) == 0
    thread.join(DEADLINE)
    elsewhere.close()


def test_a_held_request_whose_client_left_is_not_sent(wire: Wire, proxy: Proxy, target: HttpTarget) -> None:
    """A client that gives up takes its request with it."""
    fault = put(wire, proxy, "http_reorder", delay=60_000)
    with connect(proxy.listen) as client:
        client.sendall(b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: fault.holding, "held")
    until(lambda: not fault.holding, "let go")
    assert take(wire, proxy, fault) == 0
    until(lambda: not proxy.connections, "closed")
    assert target.seen == []


# Cuts ------------------------------------------------------------------------------------------------


def test_a_cut_request_is_lost_before_it_arrives(wire: Wire, proxy: Proxy, target: HttpTarget, ask: Ask) -> None:
    """Every second request is lost; the client's connection is reset."""
    fault = put(wire, proxy, "http_cut_request", every=2)
    assert ask("POST", "/count", b"a").status == 200
    with pytest.raises(Broken):
        ask("POST", "/count", b"b")
    assert ask("POST", "/count", b"c").status == 200
    assert [body for _, _, body in target.seen] == [b"a", b"c"]
    assert take(wire, proxy, fault) == 1


def test_a_cut_answer_was_carried_out(wire: Wire, proxy: Proxy, target: HttpTarget, ask: Ask) -> None:
    """The request arrives whole, and the client never sees a byte of the answer."""
    fault = put(wire, proxy, "http_cut_answer", first=1)
    with pytest.raises(Broken):
        ask("POST", "/count", b"x" * 100_000)
    assert ask("POST", "/count", b"b").status == 200
    assert [len(body) for _, _, body in target.seen] == [100_000, 1]
    assert take(wire, proxy, fault) == 1


def test_faults_of_a_call_go_together(wire: Wire, proxy: Proxy, target: HttpTarget, plain: Ask) -> None:
    """A corrupt answer to a request that arrives twice: each counts what it changed."""
    twice, corrupt = put(wire, proxy, "http_duplicate"), put(wire, proxy, "http_corrupt_body", bytes=1)
    plain("GET", "/chunked")
    until(lambda: twice.toxic.hits == 1 and len(target.seen) == 2, "the second delivery")
    assert corrupt.toxic.hits == 1


def test_a_fault_falls_on_connections_that_are_open(wire: Wire, target: HttpTarget) -> None:
    """A proxy that did not read calls until then finds the next request on an open connection."""
    proxy = wire.open(name="q", upstream=target.address)
    for client in CLIENTS.values():
        with client(proxy.listen) as ask:
            assert ask("POST", "/count", b"x" * 100_000).status == 200
            fault = put(wire, proxy, "http_status", status=502)
            assert ask("POST", "/count", b"x" * 100_000).status == 502
            assert take(wire, proxy, fault) == 1
            assert ask("GET", "/count").status == 200
