"""The extension toxics by the embedded proxy's API; a real Toxiproxy refuses them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from http_target import Ask, Broken, HttpTarget, by_http_client
from line import EMBEDDED, TOXICS
from toxiproxy_calls import address, send

from licensing_harness.faults.call_faults import CALL_ATTRIBUTES
from licensing_harness.faults.server import FaultServer

SOUND: dict[str, dict[str, int]] = {
    "http_status": {"status": 503},
    "http_truncate_body": {},
    "http_corrupt_body": {"bytes": 1},
    "http_stale_answer": {"age": 1},
    "http_duplicate": {},
    "http_reorder": {"delay": 1},
    "http_cut_request": {},
    "http_cut_answer": {},
}


@pytest.fixture
def target() -> Iterator[HttpTarget]:
    made = HttpTarget()
    yield made
    made.close()


@pytest.fixture
def ask(fault_server: FaultServer, target: HttpTarget) -> Iterator[Ask]:
    upstream = f"127.0.0.1:{target.address[1]}"
    status, text, _ = send(
        fault_server, "POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": upstream}
    )
    assert status == 201
    with by_http_client(address(json.loads(text))) as made:
        yield made


def add(server: FaultServer, type_: str, **attributes: Any) -> tuple[int, Any]:
    status, text, _ = send(server, "POST", TOXICS, {"type": type_, "name": "t", "attributes": attributes})
    return status, json.loads(text)


def test_every_extension_is_tried() -> None:
    """No extension toxic is left out below."""
    assert SOUND.keys() == CALL_ATTRIBUTES.keys()


@pytest.mark.parametrize("type_", SOUND)
def test_a_real_toxiproxy_refuses_an_extension(fault_server: FaultServer, ask: Ask, type_: str) -> None:
    """It has no such type; ours has, and shows every attribute."""
    status, said = add(fault_server, type_, **SOUND[type_])
    if fault_server.kind == "embedded":
        assert status == 200
        assert said["attributes"] == dict.fromkeys(CALL_ATTRIBUTES[type_], 0) | SOUND[type_]
        assert json.loads(send(fault_server, "GET", TOXICS)[1]) == [said]
    else:
        assert (status, said["error"]) == (400, "invalid toxic type")


@EMBEDDED
@pytest.mark.parametrize("type_", SOUND)
def test_an_extension_is_gone_when_it_is_removed(fault_server: FaultServer, ask: Ask, type_: str) -> None:
    """On the connection that was open before, and by a reset too."""
    assert ask("GET", "/count").status == 200
    for method, path in (("DELETE", f"{TOXICS}/t"), ("POST", "/reset")):
        assert add(fault_server, type_, **SOUND[type_])[0] == 200
        assert send(fault_server, method, path)[0] == 204
        assert "count" in ask("GET", "/count").json()


@EMBEDDED
def test_an_extension_is_changed_on_an_open_connection(fault_server: FaultServer, ask: Ask) -> None:
    """Its next call meets the new attributes; the server tells how many calls it was applied to."""
    add(fault_server, "http_status", status=503)
    assert ask("GET", "/count").status == 503
    status, _, _ = send(fault_server, "PATCH", f"{TOXICS}/t", {"attributes": {"status": 429, "retry_after": 3}})
    assert status == 200
    said = ask("GET", "/count")
    assert (said.status, said.fields["retry-after"]) == (429, "3")
    send(fault_server, "PATCH", f"{TOXICS}/t", {"toxicity": 0})
    assert ask("GET", "/count").status == 200
    assert fault_server.hits("p", "t") == 2


@EMBEDDED
def test_an_extension_goes_with_a_toxic(fault_server: FaultServer, ask: Ask) -> None:
    """Toxics of the stream act between the extension and the target: what the wire answers is not delayed."""
    send(fault_server, "POST", TOXICS, {"type": "bandwidth", "attributes": {"rate": 0}})
    add(fault_server, "http_status", status=200)
    assert b"sign in" in ask("GET", "/count").body


@EMBEDDED
def test_a_truncated_answer_through_the_api(fault_server: FaultServer, ask: Ask) -> None:
    """Every second body is cut."""
    add(fault_server, "http_truncate_body", keep=3, every=2)
    assert ask("GET", "/chunked").body == b"hello chunked world"
    with pytest.raises(Broken):
        ask("GET", "/chunked")


REFUSED = [
    ("http_status", {}, "status is 0; give one of 200, 429, 500, 502, 503"),
    ("http_status", {"status": 404}, "status is 404"),
    ("http_status", {"status": 500, "retry_after": 1}, "retry_after goes with 429 and 503, not with 500"),
    ("http_status", {"status": 503, "first": 1, "every": 1}, "first and every exclude each other"),
    ("http_status", {"status": 503, "first": -1}, "first is -1; give 0 or more"),
    ("http_truncate_body", {"keep": -1}, "keep is -1"),
    ("http_corrupt_body", {}, "bytes is 0; give 1 or more"),
    ("http_corrupt_body", {"bytes": 65_537}, "bytes is 65537; give 65536 or less"),
    ("http_stale_answer", {}, "age is 0; give 1 or more"),
    ("http_reorder", {}, "delay is 0; give 1 or more"),
    ("http_duplicate", {"delay": -1}, "delay is -1"),
]


@EMBEDDED
@pytest.mark.parametrize(("type_", "attributes", "named"), REFUSED)
def test_attributes_that_make_no_sense_are_refused(
    fault_server: FaultServer, ask: Ask, type_: str, attributes: dict[str, int], named: str
) -> None:
    """With 400, what is wrong and the way out; made or changed, and then nothing has changed."""
    status, said = add(fault_server, type_, **attributes)
    assert status == 400
    assert named in said["error"]
    assert json.loads(send(fault_server, "GET", TOXICS)[1]) == []
    _, before = add(fault_server, type_, **SOUND[type_])
    zeros = dict.fromkeys(CALL_ATTRIBUTES[type_], 0)
    assert send(fault_server, "PATCH", f"{TOXICS}/t", {"attributes": {**zeros, **attributes}})[0] == 400
    assert json.loads(send(fault_server, "GET", f"{TOXICS}/t")[1]) == before


@EMBEDDED
def test_an_extension_has_no_stream(fault_server: FaultServer, ask: Ask) -> None:
    """It acts on calls, which go both ways: ``upstream`` is refused, and the message says what to do."""
    asked = {"type": "http_duplicate", "stream": "upstream"}
    status, text, _ = send(fault_server, "POST", TOXICS, asked)
    assert status == 400
    assert "leave stream out, or give downstream" in json.loads(text)["error"]
