"""How connections end, how toxics come and go, and what a proxy does to both: as on a real Toxiproxy 2.12."""

from __future__ import annotations

from typing import Any

import pytest
from echo_server import connect
from line import BOTH, FOREVER, Line, at_least, exactly, passes, quiet, to_the_end
from toxiproxy_calls import address

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
