"""A licence toy over HTTP, with bugs to switch on: what load runs are tried against.

``overbooks`` looks for a free seat, waits, and takes it without looking again.
``breaks`` answers one call in so many with a 500. ``keeps`` refuses to revoke.
"""

from __future__ import annotations

import http.server
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar

from licensing_harness.target import Adapter, Target
from licensing_harness.vocabulary import (
    Allowed,
    Answer,
    Cap,
    Contract,
    Denied,
    Grant,
    Indeterminate,
    LicenceSpec,
    Reason,
)

SECRET = "toy-secret-1234567890"


@dataclass
class Toy:
    """The toy's state and its switches."""

    overbooks: bool = False
    breaks: int = 0
    keeps: bool = False
    licences: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and body for one call."""
        with self.lock:
            self.calls += 1
            if self.breaks and self.calls % self.breaks == 0:
                return HTTPStatus.INTERNAL_SERVER_ERROR, {}
        if path == "/issue":
            return self._issue(asked)
        licence = self.licences.get(asked["key"])
        if licence is None:
            return HTTPStatus.NOT_FOUND, {"code": "unknown-licence"}
        if path == "/revoke" and self.keeps:
            return HTTPStatus.FORBIDDEN, {"code": "not-authorised"}
        if path == "/revoke":
            licence["revoked"] = True
            return HTTPStatus.OK, {}
        if path != "/release" and licence["revoked"]:
            return HTTPStatus.FORBIDDEN, {"code": "revoked"}
        if path == "/validate":
            return HTTPStatus.OK, {"features": licence["features"]}
        return self._seat(path, licence, asked["device"])

    def _issue(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            for key, licence in self.licences.items():
                if licence["again"] == asked["again"]:
                    return HTTPStatus.OK, {"id": licence["id"], "key": key}
            number = next(self.numbers)
            key = f"toy-key-{number:08d}"
            self.licences[key] = {**asked, "id": f"toy-{number}", "revoked": False, "taken": set()}
            return HTTPStatus.OK, {"id": f"toy-{number}", "key": key}

    def _seat(self, path: str, licence: dict[str, Any], device: str) -> tuple[int, dict[str, Any]]:
        taken: set[str] = licence["taken"]
        if path == "/release":
            with self.lock:
                held = device in taken
                taken.discard(device)
            return (HTTPStatus.OK, {}) if held else (HTTPStatus.CONFLICT, {"code": "no-such-seat"})
        with self.lock:
            if device in taken:
                return HTTPStatus.OK, {}
            free = len(taken) < licence["seats"]
            if not self.overbooks and free:
                taken.add(device)
        if not free:
            return HTTPStatus.CONFLICT, {"code": "no-free-seat"}
        if self.overbooks:
            threading.Event().wait(0.005)
            taken.add(device)
        return HTTPStatus.OK, {}


@contextmanager
def serving(toy: Toy) -> Iterator[str]:
    """The toy on a free port of loopback: its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = (
                toy.answer(self.path, asked)
                if self.headers["Authorization"] == f"Bearer {SECRET}"
                else (HTTPStatus.UNAUTHORIZED, {"code": "not-authorised"})
            )
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            """Clients come and go."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class ToyAdapter(Adapter):
    """Speaks to the toy with ``async def`` verbs over ``target.http``."""

    capabilities: ClassVar[set[Cap]] = {
        Cap.ISSUE,
        Cap.VALIDATE,
        Cap.REVOKE,
        Cap.SEATS,
        Cap.HEARTBEAT,
        Cap.IDEMPOTENCY,
    }
    contract = Contract(revocation_bound=0, lease=60)

    def open(self, target: Target) -> None:
        self.http = target.http
        self.headers = {"Authorization": f"Bearer {target.secret('token')}"}

    async def _ask(self, path: str, **asked: Any) -> dict[str, Any] | Denied:
        answer = await self.http.request("POST", path, json=asked, headers=self.headers)
        if answer.status_code >= 500:
            raise Indeterminate(answer)
        body: dict[str, Any] = answer.json()
        return body if answer.status_code == HTTPStatus.OK else Denied(Reason(body["code"]))

    async def _yes(self, path: str, key: str, device: str = "") -> Answer:
        body = await self._ask(path, key=key, device=device)
        return body if isinstance(body, Denied) else Allowed(frozenset(body.get("features", ())))

    async def issue(self, spec: LicenceSpec) -> Answer:
        again = spec.idempotency_key
        body = await self._ask("/issue", seats=spec.seats, features=spec.features, again=again)
        return body if isinstance(body, Denied) else Grant(id=body["id"], key=body["key"])

    async def validate(self, key: str, machine: str | None = None) -> Answer:
        return await self._yes("/validate", key)

    async def revoke(self, grant: Grant) -> Answer:
        return await self._yes("/revoke", grant.key)

    async def activate(self, key: str, machine: str) -> Answer:
        return await self._yes("/activate", key, machine)

    async def heartbeat(self, key: str, machine: str) -> Answer:
        return await self._yes("/heartbeat", key, machine)

    async def release(self, key: str, machine: str) -> Answer:
        return await self._yes("/release", key, machine)
