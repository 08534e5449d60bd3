"""Where the embedded server differs from Toxiproxy on purpose."""

from __future__ import annotations

import json

import pytest
from echo_server import Echo, connect
from line import CLOCK, EMBEDDED, TOXICS, Line
from toxiproxy_calls import address, made, send

from licensing_harness.faults.server import find_server
from licensing_harness.faults.wire import Wire

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


def test_a_failed_change_changes_nothing(line: Line) -> None:
    """An update with one bad attribute leaves the good ones as they were; Toxiproxy applies those before it."""
    path = line.toxic("slicer", average_size=9)
    assert send(line.server, "PATCH", path, {"attributes": {"average_size": 5, "delay": "x"}})[0] == 400
    expected = 9 if line.server.kind == "embedded" else 5
    assert line.ok("GET", path)["attributes"]["average_size"] == expected


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
