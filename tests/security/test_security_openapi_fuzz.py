"""The OpenAPI fuzzer against a toy target with planted bugs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from licensing_harness.clock import RealClock
from licensing_harness.errors import NotRun, TargetNotReady
from licensing_harness.generate import openapi_fuzz
from licensing_harness.generate.openapi_fuzz import FuzzReport, fuzz
from licensing_harness.masking import Masker
from licensing_harness.target.signing import signer
from reference_server.keys import make_pem

pytest.importorskip("schemathesis")

API_TOKEN = "the-api-token-of-this-test"
KEY = "licence-1.very-secret-mac"
TOKEN = signer(make_pem(lambda n: b"\x05" * n))({"alg": "EdDSA", "kid": "k"}, {"sub": "licence-1", "iat": 1, "exp": 2})
TEXT = {"type": "string"}


def _answer(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"description": "fine", "content": {"application/json": {"schema": schema}}}


def _post(body: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": body, "required": list(body), "additionalProperties": False}
    return {
        "post": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": {**answers, "400": {"description": "bad request"}},
        }
    }


DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "toy", "version": "1"},
    "paths": {
        "/licences": _post({"plan": {"enum": ["standard"]}}, {"201": _answer({"id": TEXT, "key": TEXT})}),
        "/tokens": _post({"key": {**TEXT, "pattern": "^[a-z]{40}$"}}, {"200": _answer({"token": TEXT})}),
        "/validate": _post({"token": TEXT}, {"200": _answer({"valid": {"type": "boolean"}})}),
        "/licences/{licence_id}": {
            "get": {
                "parameters": [{"in": "path", "name": "licence_id", "required": True, "schema": TEXT}],
                "responses": {"200": _answer({"status": TEXT}), "404": {"description": "unknown"}},
            }
        },
        "/api-tokens/{token_id}": {
            "delete": {
                "parameters": [{"in": "path", "name": "token_id", "required": True, "schema": TEXT}],
                "responses": {"204": {"description": "gone"}},
            }
        },
    },
}


class Toy(BaseHTTPRequestHandler):
    """Issues one licence, hands out its token, and validates it."""

    bug = ""
    document: Any = DOCUMENT
    seen: list[str]

    def do_GET(self) -> None:
        if self.path == "/openapi.json":
            self._say(200 if self.document else 404, self.document)
        elif self.path == "/licences/licence-1":
            self._say(200, {"status": 5 if self.bug == "schema" else "active"})
        else:
            self._say(418 if self.bug == "status" else 404, {})

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        except ValueError:
            body = None
        self.seen.append(f"{self.path} {body}")
        match self.path, body:
            case "/licences", {"plan": "standard"}:
                self._say(201, {"id": "licence-1", "key": KEY})
            case "/tokens", {"key": "licence-1.very-secret-mac"}:
                self._say(200, {"token": TOKEN})
            case "/validate", {"token": str(token)}:
                if self.bug == "crash" and token == TOKEN:
                    self._say(500, {"error": f"no such table, token {token}"})
                elif self.bug == "silence" and token == TOKEN:
                    self.close_connection = True
                else:
                    self._say(200, {"valid": token == TOKEN})
            case _:
                self._say(400, {})

    def do_DELETE(self) -> None:
        self.seen.append(f"DELETE {self.path}")
        self._say(204, None)

    def _say(self, status: int, value: Any) -> None:
        content = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(bug: str = "", document: Any = DOCUMENT) -> Iterator[tuple[str, list[str]]]:
    """The toy on a port of its own."""
    seen: list[str] = []
    handler = type("Handler", (Toy,), {"bug": bug, "document": document, "seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def run() -> Callable[..., FuzzReport]:
    """A short run against the toy with one bug."""

    def run_(bug: str = "", *, seconds: float = 20.0, requests: int = 120) -> FuzzReport:
        masker = Masker()
        masker.register(API_TOKEN)
        with served(bug) as (url, seen):
            report = fuzz(
                url,
                headers={"Authorization": f"Bearer {API_TOKEN}"},
                seconds=seconds,
                max_requests=requests,
                seed=7,
                clock=RealClock(),
                masker=masker,
            )
        assert not any(each.startswith("DELETE") for each in seen)
        return report

    return run_


def test_fuzz_reaches_what_is_behind_a_token_and_finds_nothing_on_a_good_target(run: Callable[..., FuzzReport]) -> None:
    """Every operation gives a 2xx at least once, without a finding, within the cap; the API tokens are left alone."""
    report = run()

    assert report.findings == ()
    assert report.reached == 4
    assert 0 < report.requests <= 120
    assert report.left_out == ("DELETE /api-tokens/{token_id}",)


def test_fuzz_finds_a_500_behind_a_valid_token_and_masks_it(run: Callable[..., FuzzReport]) -> None:
    """A crash that only an honest token reaches is one finding with a curl line, and no secret is in it."""
    [finding] = run("crash").findings

    assert (finding.operation, finding.status, finding.kind) == ("POST /validate", 500, "Server error")
    assert finding.curl.startswith("curl -X POST")
    assert "/validate" in finding.curl
    assert "no such table" in finding.text
    assert "[masked:" in finding.text
    for secret in (TOKEN, KEY, API_TOKEN, TOKEN.rpartition(".")[2]):
        assert secret not in str(finding)


def test_fuzz_finds_an_answer_that_breaks_its_schema(run: Callable[..., FuzzReport]) -> None:
    """A number where the document says text is found, on a licence made by the run itself."""
    [finding] = run("schema").findings

    assert (finding.operation, finding.status) == ("GET /licences/{licence_id}", 200)
    assert "schema" in finding.kind


def test_fuzz_finds_an_undocumented_status(run: Callable[..., FuzzReport]) -> None:
    """A status that the document does not list is found once, however often it comes."""
    [finding] = run("status").findings

    assert (finding.operation, finding.status) == ("GET /licences/{licence_id}", 418)


def test_fuzz_finds_silence(run: Callable[..., FuzzReport]) -> None:
    """A connection that is closed without an answer is a finding of its own."""
    [finding] = run("silence").findings

    assert (finding.kind, finding.status) == ("no answer", 0)
    assert "no answer" in str(finding)


def test_fuzz_keeps_to_its_time_and_its_cap(run: Callable[..., FuzzReport]) -> None:
    """Whichever is used up first ends the run."""
    assert run(requests=20).requests == 20
    assert run(seconds=0).requests == 0


@pytest.mark.parametrize("document", [None, {"no": "paths"}, [1]])
def test_fuzz_without_a_document_is_not_run(document: Any) -> None:
    """A target that publishes no OpenAPI is not fuzzed, and the reason names the address."""
    with served(document=document) as (url, _), pytest.raises(NotRun, match=r"openapi\.json"):
        _fuzz(url)


def test_fuzz_of_a_document_without_operations_is_not_run() -> None:
    """An empty document leaves nothing to try."""
    with served(document={**DOCUMENT, "paths": {}}) as (url, _), pytest.raises(NotRun, match="no operation"):
        _fuzz(url)


def test_fuzz_of_a_dead_target_says_that_it_does_not_answer() -> None:
    """A port that nobody listens on is a target that is not ready."""
    with served() as (url, _):
        pass
    with pytest.raises(TargetNotReady, match="no answer"):
        _fuzz(url)


def test_fuzz_without_schemathesis_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the reason is the pip line."""
    monkeypatch.setitem(__import__("sys").modules, "schemathesis", None)

    with pytest.raises(NotRun, match=r"licensing-harness\[fuzz\]"):
        _fuzz("http://127.0.0.1:9")


def _fuzz(url: str) -> FuzzReport:
    return fuzz(url, headers={}, seconds=1, max_requests=10, seed=1, clock=RealClock(), masker=Masker())


def test_fuzz_puts_formats_where_names_say_so() -> None:
    """Members and parameters by name get our formats; enumerations, other formats and other names stay."""
    document = {
        "properties": {
            "key": {"type": "string", "pattern": "x"},
            "token": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "plan": {"type": "string"},
            "licence_id": {"type": "string", "format": "uuid"},
        },
        "parameters": [{"in": "path", "name": "licence_id", "required": True, "schema": {"type": "string"}}],
    }

    assert openapi_fuzz._with_formats(document) == {
        "properties": {
            "key": {"type": "string", "format": "licence-key"},
            "token": {"anyOf": [{"type": "string", "format": "licence-token"}, {"type": "null"}]},
            "plan": {"type": "string"},
            "licence_id": {"type": "string", "format": "uuid"},
        },
        "parameters": [
            {
                "in": "path",
                "name": "licence_id",
                "required": True,
                "schema": {"type": "string", "format": "licence-id"},
            }
        ],
    }
