"""A toy licensing server of its own process, and adapters for it with ``async def`` and plain ``def`` verbs.

Its state is a log of requests, synced before each answer and replayed at the
start: SIGKILL loses nothing that was acknowledged.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from licensing_harness import Adapter, Allowed, Cap, Contract, Denied, Grant, Indeterminate
from licensing_harness.faults.server import find_binary

TOKEN = "toy-api-token"
needs_binary = pytest.mark.skipif(
    find_binary() is None and os.environ.get("CI") != "true", reason="no toxiproxy-server on PATH or in Go's bin"
)
"""In CI a missing Toxiproxy is a failure, not a skip."""
CAPS = {Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE, Cap.SEATS, Cap.IDEMPOTENCY}


class State:
    """Licences by key: seats, holders, whether revoked."""

    def __init__(self, log: Path) -> None:
        self.lock = threading.Lock()
        self.licences: dict[str, dict[str, Any]] = {}
        self.by_idempotency: dict[str, str] = {}
        if log.exists():
            for line in log.read_text().splitlines():
                path, body = json.loads(line)
                self.apply(path, body)
        self.log = log.open("a")

    def do(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            status, answer = self.apply(path, body)
            if status == 200 and path != "/validate":
                self.log.write(json.dumps([path, body]) + "\n")
                self.log.flush()
                os.fsync(self.log.fileno())
            return status, answer

    def apply(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/issue":
            key = self.by_idempotency.setdefault(body["idempotency"], f"toy-key-{len(self.by_idempotency) + 1:04}")
            self.licences.setdefault(key, {"seats": body["seats"], "holders": [], "revoked": False})
            return 200, {"id": f"id-{key[-4:]}", "key": key}
        licence = self.licences.get(body.get("key") or f"toy-key-{body.get('id', '')[-4:]}")
        if licence is None:
            return 404, {"code": "unknown-licence"}
        if path == "/revoke":
            if licence["revoked"]:
                return 403, {"code": "revoked"}
            licence["revoked"] = True
        elif path == "/release":
            licence["holders"] = [each for each in licence["holders"] if each != body["device"]]
        elif licence["revoked"]:
            return 403, {"code": "revoked"}
        elif path == "/activate" and body["device"] not in licence["holders"]:
            if len(licence["holders"]) >= licence["seats"]:
                return 403, {"code": "no-free-seat"}
            licence["holders"].append(body["device"])
        return 200, {"features": ["base"]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: ClassVar[State]
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self._send(404, {"code": "no-such-path"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/issue" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"code": "not-authorised"})
        else:
            self._send(*self.state.do(self.path, body))

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        answer["host"] = self.headers.get("Host")
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that went away is what the tests are about."""


def serve(port: int, state: State) -> Server:
    Handler.state = state
    return Server(("127.0.0.1", port), Handler)


@contextmanager
def served(state: State) -> Iterator[str]:
    """The toy server on a thread of this process, at the URL given; it ends with the context."""
    server = serve(0, state)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        state.log.close()


class ToyBase(Adapter):
    contract = Contract(revocation_bound=0)

    def _grant(self, status: int, answer: dict[str, Any]) -> Any:
        if status != 200:
            return self._answer(status, answer)
        return Grant(id=answer["id"], key=answer["key"])

    def _answer(self, status: int, answer: dict[str, Any]) -> Any:
        if status == 200:
            return Allowed(frozenset(answer["features"]))
        if status in {401, 403, 404}:
            return Denied(answer["code"])
        raise Indeterminate(f"HTTP {status}")


class AsyncToy(ToyBase):
    capabilities = CAPS

    def open(self, target: Any) -> None:
        self.http = target.http
        self.client = target.client
        self.auth = {"Authorization": f"Bearer {target.secret('api_token')}"}

    async def _post(self, path: str, **body: Any) -> tuple[int, Any]:
        answer = await self.http.request("POST", path, json=body, headers=self.auth)
        return answer.status_code, answer.json()

    async def issue(self, spec: Any) -> Any:
        return self._grant(*await self._post("/issue", seats=spec.seats, idempotency=spec.idempotency_key))

    async def validate(self, key: str, machine: str | None = None) -> Any:
        return self._answer(*await self._post("/validate", key=key))

    async def revoke(self, grant: Grant) -> Any:
        return self._answer(*await self._post("/revoke", id=grant.id))

    async def activate(self, key: str, machine: str) -> Any:
        return self._answer(*await self._post("/activate", key=key, device=machine))

    async def release(self, key: str, machine: str) -> Any:
        return self._answer(*await self._post("/release", key=key, device=machine))


class BlockingToy(ToyBase):
    capabilities = CAPS

    def open(self, target: Any) -> None:
        parts = urlsplit(target.url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=target.timeout)
        self.auth = {"Authorization": f"Bearer {target.secret('api_token')}"}

    def close(self) -> None:
        self.connection.close()

    def _post(self, path: str, **body: Any) -> tuple[int, Any]:
        try:
            self.connection.request("POST", path, body=json.dumps(body), headers=self.auth)
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read())
        except BaseException:
            self.connection.close()
            raise

    def issue(self, spec: Any) -> Any:
        return self._grant(*self._post("/issue", seats=spec.seats, idempotency=spec.idempotency_key))

    def validate(self, key: str, machine: str | None = None) -> Any:
        return self._answer(*self._post("/validate", key=key))

    def revoke(self, grant: Grant) -> Any:
        return self._answer(*self._post("/revoke", id=grant.id))

    def activate(self, key: str, machine: str) -> Any:
        return self._answer(*self._post("/activate", key=key, device=machine))

    def release(self, key: str, machine: str) -> Any:
        return self._answer(*self._post("/release", key=key, device=machine))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    given = parser.parse_args()
    server = serve(given.port, State(given.log))
    told = {"url": f"http://127.0.0.1:{server.server_address[1]}", "pid": os.getpid(), "api_token": TOKEN}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
