"""The HTTP API of the embedded server and of a real Toxiproxy 2.12, by the same cases.

Where ours differs on purpose, the case says so and runs against ours alone.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from echo_server import Echo, connect
from toxiproxy_calls import address, made, send

from licensing_harness.faults.server import FaultServer


def test_version(fault_server: FaultServer) -> None:
    """/version answers JSON with a version."""
    status, text, headers = send(fault_server, "GET", "/version")
    assert status == 200
    assert list(json.loads(text)) == ["version"]
    assert headers["content-type"] == "application/json;charset=utf-8"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/metrics", 404),
        ("GET", "/proxies/", 404),
        ("PUT", "/proxies", 405),
        ("HEAD", "/proxies", 405),
        ("GET", "/reset", 405),
        ("GET", "//proxies", 301),
    ],
)
def test_routes(fault_server: FaultServer, method: str, path: str, status: int) -> None:
    """Unknown paths, wrong methods and doubled slashes answer as Toxiproxy does."""
    got, text, headers = send(fault_server, method, path)
    assert got == status
    assert text == ("404 page not found\n" if status == 404 else "")
    assert headers.get("location") == ("/proxies" if status == 301 else None)
    assert "x-toxiproxy-request-id" not in headers


def test_browsers_are_refused(fault_server: FaultServer) -> None:
    """A User-Agent of a browser gets 403."""
    assert send(fault_server, "GET", "/proxies", None, **{"User-Agent": "Mozilla/5.0"})[:2] == (
        403,
        "User agent not allowed\n",
    )


@pytest.mark.parametrize(
    ("body", "status", "begins"),
    [
        ("", 400, "bad request body: EOF"),
        ("{", 400, "bad request body: unexpected EOF"),
        ("null", 400, "missing required field: name"),
        ("[]", 400, "bad request body: json: cannot unmarshal array"),
        ('{"name": 5}', 400, "bad request body: json: cannot unmarshal number into Go struct field Proxy.name"),
        ('{"name": "a"}', 400, "missing required field: upstream"),
        ('{"upstream": "127.0.0.1:9"}', 400, "missing required field: name"),
        (
            '{"name": "b", "upstream": "127.0.0.1:9", "listen": "local373"}',
            500,
            "listen tcp: address local373: missing",
        ),
    ],
)
def test_a_bad_proxy_is_refused(fault_server: FaultServer, body: str, status: int, begins: str) -> None:
    """Each bad body has its status and its text, as text/plain."""
    got, text, headers = send(fault_server, "POST", "/proxies", body)
    assert got == status
    answer = json.loads(text)
    assert list(answer) == ["error", "status"]
    assert answer["error"].startswith(begins)
    assert answer["status"] == status
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert len(headers["x-toxiproxy-request-id"]) == 20


def test_a_proxy_lives_and_dies(fault_server: FaultServer, echo: Echo) -> None:
    """Created, shown, forwarding, deleted; its second of the same name and its absence are errors."""
    proxy = made(fault_server, echo)
    assert list(proxy) == ["name", "listen", "upstream", "enabled", "Logger", "toxics"]
    with connect(address(proxy)) as client:
        assert client.ask(b"a") == b"A"
    again = {"name": "p", "upstream": "127.0.0.1:9", "listen": "127.0.0.1:0"}
    assert send(fault_server, "POST", "/proxies", again)[:2] == (409, '{"error":"proxy already exists","status":409}\n')
    assert json.loads(send(fault_server, "GET", "/proxies/p")[1]) == proxy
    assert json.loads(send(fault_server, "GET", "/proxies")[1]) == {"p": proxy}
    assert send(fault_server, "DELETE", "/proxies/p")[:2] == (204, "")
    gone = '{"error":"proxy not found","status":404}\n'
    for method, path in (("GET", "/proxies/p"), ("DELETE", "/proxies/p"), ("GET", "/proxies/p/toxics")):
        assert send(fault_server, method, path)[:2] == (404, gone)
    with pytest.raises(ConnectionRefusedError):
        connect(address(proxy))


def test_keys_in_any_case_and_trailing_bytes_are_read(fault_server: FaultServer) -> None:
    """A body is read as Go reads JSON."""
    body = '{"NAME":"a","Upstream":"127.0.0.1:9","LISTEN":"127.0.0.1:0","unknown":1,"enabled":null} trailing'
    status, text, _ = send(fault_server, "POST", "/proxies", body)
    assert status == 201
    assert json.loads(text)["enabled"] is True


def test_a_port_in_use_is_a_500(fault_server: FaultServer, echo: Echo) -> None:
    """Neither creating on it nor enabling on it passes, and the proxy shows the truth."""
    taken = made(fault_server, echo, "first")["listen"]
    body = {"name": "second", "upstream": "127.0.0.1:9", "listen": taken}
    assert send(fault_server, "POST", "/proxies", body)[0] == 500
    made(fault_server, echo, "third", enabled=False)
    status, text, _ = send(fault_server, "PATCH", "/proxies/third", {"listen": taken, "enabled": True})
    assert status == 500
    assert "address already in use" in text
    shown = json.loads(send(fault_server, "GET", "/proxies/third")[1])
    assert (shown["enabled"], shown["listen"]) == (False, taken)
    assert send(fault_server, "POST", "/reset")[0] == 500


def test_disabling_refuses_and_enabling_keeps_the_port(fault_server: FaultServer, echo: Echo) -> None:
    """A disabled proxy refuses connections; enabled again it listens where it was."""
    proxy = made(fault_server, echo)
    status, text, _ = send(fault_server, "POST", "/proxies/p", {"enabled": False})
    assert (status, json.loads(text)["enabled"]) == (200, False)
    with pytest.raises(ConnectionRefusedError):
        connect(address(proxy))
    assert json.loads(send(fault_server, "PATCH", "/proxies/p", {"enabled": True})[1]) == proxy
    with connect(address(proxy)) as client:
        assert client.ask(b"a") == b"A"


def test_a_changed_upstream_keeps_the_toxics(fault_server: FaultServer, echo: Echo) -> None:
    """PATCH moves a proxy to another upstream, ignores a name and keeps the toxics."""
    proxy = made(fault_server, echo, upstream="127.0.0.1:9")
    send(fault_server, "POST", "/proxies/p/toxics", {"type": "noop"})
    upstream = f"127.0.0.1:{echo.address[1]}"
    body = {"name": "other", "upstream": upstream}
    shown = json.loads(send(fault_server, "PATCH", "/proxies/p", body)[1])
    assert (shown["name"], shown["upstream"], shown["listen"]) == ("p", upstream, proxy["listen"])
    assert [toxic["name"] for toxic in shown["toxics"]] == ["noop_downstream"]
    with connect(address(shown)) as client:
        assert client.ask(b"a") == b"A"
    assert send(fault_server, "PATCH", "/proxies/p", {"listen": "xx"})[0] == 500
    assert send(fault_server, "PATCH", "/proxies/p", "")[0] == 400


def test_populate(fault_server: FaultServer, echo: Echo) -> None:
    """Populate validates all first, keeps what is the same, replaces what differs."""
    assert send(fault_server, "POST", "/populate", "[]")[:2] == (201, '{"proxies":null}')
    assert send(fault_server, "POST", "/populate", "null")[:2] == (201, '{"proxies":null}')
    status, text, headers = send(
        fault_server, "POST", "/populate", [{"name": "a", "upstream": "x:1"}, {"upstream": "x"}]
    )
    assert (status, json.loads(text)["error"]) == (400, "missing required field: name at proxy 2")
    assert json.loads(text)["proxies"] is None
    assert headers["content-type"] == "application/json"
    assert send(fault_server, "POST", "/populate", "{}")[0] == 400
    proxy = made(fault_server, echo)
    send(fault_server, "POST", "/proxies/p/toxics", {"type": "noop"})
    same = {"name": "p", "upstream": proxy["upstream"], "listen": proxy["listen"], "enabled": False}
    (kept,) = json.loads(send(fault_server, "POST", "/populate", [same])[1])["proxies"]
    assert (kept["enabled"], len(kept["toxics"])) == (True, 1)
    (replaced,) = json.loads(send(fault_server, "POST", "/populate", [{**same, "upstream": "127.0.0.1:9"}])[1])[
        "proxies"
    ]
    assert (replaced["enabled"], replaced["toxics"]) == (False, [])


def test_populate_stops_at_the_first_failure(fault_server: FaultServer, echo: Echo) -> None:
    """What was made before a failure stays and is told."""
    taken = made(fault_server, echo)["listen"]
    one = {"name": "one", "upstream": "127.0.0.1:9", "listen": "127.0.0.1:0"}
    status, text, _ = send(fault_server, "POST", "/populate", [one, {**one, "name": "two", "listen": taken}])
    answer = json.loads(text)
    assert (status, answer["status"]) == (500, 500)
    assert [each["name"] for each in answer["proxies"]] == ["one"]


def test_reset_enables_and_removes_toxics(fault_server: FaultServer, echo: Echo) -> None:
    """After a reset every proxy listens and no toxic is left."""
    made(fault_server, echo)
    send(fault_server, "POST", "/proxies/p/toxics", {"type": "timeout"})
    send(fault_server, "POST", "/proxies/p", {"enabled": False})
    assert send(fault_server, "POST", "/reset")[:2] == (204, "")
    shown = json.loads(send(fault_server, "GET", "/proxies/p")[1])
    assert (shown["enabled"], shown["toxics"]) == (True, [])


def shown_as(type_: str, **more: Any) -> dict[str, Any]:
    attributes = {"latency": {"latency": 0, "jitter": 0}, "noop": {}}.get(type_, {"timeout": 0})
    return {
        "attributes": attributes,
        "name": f"{type_}_{more.get('stream', 'downstream')}",
        "type": type_,
        "stream": "downstream",
        "toxicity": 1,
    } | more


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"type": "latency"}, shown_as("latency")),
        ({"type": "timeout"}, shown_as("timeout")),
        ({"type": "reset_peer", "stream": "upstream"}, shown_as("reset_peer", stream="upstream")),
        ({"type": "noop"}, shown_as("noop")),
        (
            {
                "type": "latency",
                "stream": "UPSTREAM",
                "name": "u",
                "toxicity": -1,
                "attributes": {"latency": -5, "JITTER": 7, "zz": 1},
            },
            shown_as("latency", stream="UPSTREAM", name="u", toxicity=-1, attributes={"latency": -5, "jitter": 7}),
        ),
        (
            {"type": "latency", "name": "u", "stream": None, "toxicity": None, "attributes": None},
            shown_as("latency", name="u"),
        ),
        ({"type": "latency", "name": "a b", "toxicity": 0.5}, shown_as("latency", name="a b", toxicity=0.5)),
    ],
)
def test_a_toxic_is_made_with_defaults(
    fault_server: FaultServer, echo: Echo, body: dict[str, Any], shown: dict[str, Any]
) -> None:
    """A toxic answers 200 with every field, and is then listed and found by its name."""
    made(fault_server, echo)
    status, text, _ = send(fault_server, "POST", "/proxies/p/toxics", body)
    assert (status, json.loads(text)) == (200, shown)
    assert list(json.loads(text)) == ["attributes", "name", "type", "stream", "toxicity"]
    assert json.loads(send(fault_server, "GET", "/proxies/p/toxics")[1]) == [shown]
    path = f"/proxies/p/toxics/{shown['name'].replace(' ', '%20')}"
    assert json.loads(send(fault_server, "GET", path)[1]) == shown
    assert send(fault_server, "DELETE", path)[:2] == (204, "")
    assert send(fault_server, "GET", path)[:2] == (404, '{"error":"toxic not found","status":404}\n')


@pytest.mark.parametrize(
    ("body", "status", "begins"),
    [
        ("", 400, "bad request body: EOF"),
        ("{}", 400, "invalid toxic type"),
        ('{"type": "bogus"}', 400, "invalid toxic type"),
        ('{"type": "bogus", "stream": "both"}', 400, "stream was invalid, can be either upstream or downstream"),
        ('{"type": "latency", "stream": ""}', 400, "stream was invalid, can be either upstream or downstream"),
        (
            '{"type": "latency", "attributes": {"latency": 1.5}}',
            400,
            "bad request body: json: cannot unmarshal number 1.5",
        ),
        (
            '{"type": "latency", "attributes": {"latency": 1000.0}}',
            400,
            "bad request body: json: cannot unmarshal number",
        ),
        ('{"type": "latency", "attributes": {"latency": "1"}}', 400, "bad request body: json: cannot unmarshal string"),
        ('{"type": "latency", "attributes": 5}', 400, "bad request body: json: cannot unmarshal number"),
        ('{"type": "latency", "toxicity": "1"}', 400, "bad request body: json: cannot unmarshal string"),
        ('{"type": "noop"}', 409, "toxic already exists"),
        ('{"type": "noop", "name": "noop_downstream", "stream": "upstream"}', 409, "toxic already exists"),
    ],
)
def test_a_bad_toxic_is_refused(fault_server: FaultServer, echo: Echo, body: str, status: int, begins: str) -> None:
    """Checks come in Toxiproxy's order: body, stream, type, name over both streams, attributes."""
    made(fault_server, echo)
    assert send(fault_server, "POST", "/proxies/p/toxics", {"type": "noop"})[0] == 200
    got, text, _ = send(fault_server, "POST", "/proxies/p/toxics", body)
    assert got == status
    assert json.loads(text)["error"].startswith(begins)


def test_toxics_are_listed_upstream_first(fault_server: FaultServer, echo: Echo) -> None:
    """Upstream first, then in the order in which they were added."""
    made(fault_server, echo)
    for name, stream in (("d1", "downstream"), ("u1", "upstream"), ("d2", "downstream"), ("u2", "upstream")):
        send(fault_server, "POST", "/proxies/p/toxics", {"type": "noop", "name": name, "stream": stream})
    shown = json.loads(send(fault_server, "GET", "/proxies/p")[1])["toxics"]
    assert [each["name"] for each in shown] == ["u1", "u2", "d1", "d2"]


def test_a_toxic_is_changed(fault_server: FaultServer, echo: Echo) -> None:
    """An update changes attributes and toxicity and ignores type, stream and name."""
    made(fault_server, echo)
    send(fault_server, "POST", "/proxies/p/toxics", {"type": "latency", "attributes": {"jitter": 3}})
    path = "/proxies/p/toxics/latency_downstream"
    body = {"type": "timeout", "stream": "upstream", "name": "n", "toxicity": 0.5, "attributes": {"latency": 9}}
    status, text, _ = send(fault_server, "PATCH", path, body)
    assert status == 200
    assert json.loads(text) == {
        "attributes": {"latency": 9, "jitter": 3},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 0.5,
    }
    assert json.loads(send(fault_server, "POST", path, {"attributes": {}})[1])["toxicity"] == 0.5
    assert send(fault_server, "PATCH", path, "")[0] == 400
    assert send(fault_server, "PATCH", "/proxies/p/toxics/x", {})[0] == 404


@pytest.mark.parametrize("fault_server", ["embedded"], indirect=True)
def test_our_own_ways(fault_server: FaultServer, echo: Echo) -> None:
    """On purpose: loopback only, a PATCH that fails changes nothing, no toxic that would crash."""
    body = {"name": "a", "upstream": "127.0.0.1:9"}
    assert json.loads(send(fault_server, "POST", "/proxies", body)[1])["listen"].startswith("127.0.0.1:")
    outside = {**body, "name": "b", "listen": "0.0.0.0:0"}
    status, text, _ = send(fault_server, "POST", "/proxies", outside)
    assert status == 500
    assert "loopback addresses only" in text
    made(fault_server, echo)
    send(fault_server, "POST", "/proxies/p/toxics", {"type": "latency"})
    path = "/proxies/p/toxics/latency_downstream"
    assert send(fault_server, "PATCH", path, {"attributes": {"latency": 5, "jitter": "x"}})[0] == 400
    assert json.loads(send(fault_server, "GET", path)[1])["attributes"] == {"latency": 0, "jitter": 0}
    assert send(fault_server, "POST", "/proxies/p/toxics", {"type": "slicer"})[0] == 400


@pytest.mark.parametrize("fault_server", ["embedded"], indirect=True)
def test_what_is_not_http_is_closed(fault_server: FaultServer) -> None:
    """Garbage, a chunked body and a negative length get no further."""
    for sent, begins in (
        (b"nonsense\r\n\r\n", b""),
        (b"POST /proxies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 413"),
        (b"POST /proxies HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 413"),
    ):
        with connect(fault_server.address) as client:
            assert client.ask(sent).startswith(begins)


def test_timeout_and_reset_on_the_wire(fault_server: FaultServer, echo: Echo) -> None:
    """Set over HTTP, a reset is a reset, and a black hole ends when it is removed."""
    proxy = made(fault_server, echo)
    send(fault_server, "POST", "/proxies/p/toxics", {"type": "reset_peer"})
    with connect(address(proxy)) as client, pytest.raises(ConnectionResetError):
        client.ask(b"a")
    send(fault_server, "DELETE", "/proxies/p/toxics/reset_peer_downstream")
    send(fault_server, "POST", "/proxies/p/toxics", {"type": "timeout"})
    with connect(address(proxy)) as client:
        client.sendall(b"b")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(10)
        client.settimeout(10)
        send(fault_server, "DELETE", "/proxies/p/toxics/timeout_downstream")
        assert client.recv(10) == b""
    assert echo.seen == [b"a", b"b"]
