"""An HTTP/1.1 target that counts what reaches it, and the HTTP clients that tests try it with."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import requests
import urllib3
from echo_server import DEADLINE

BIG = b"".join(b"%07d\n" % number for number in range(400_000))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break here on purpose."""


class HttpTarget:
    """``/count`` tells how many requests came, ``/chunked`` and ``/big`` answer so, ``/empty`` is 204, ``/gate`` waits.

    ``seen`` are the requests that arrived whole: method, path, body.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.lock = threading.Lock()
        self.gate = threading.Event()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = DEADLINE

            def do(self) -> None:
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with target.lock:
                    target.seen.append((self.command, self.path, body))
                    count = len(target.seen)
                if self.path == "/gate":
                    target.gate.wait(DEADLINE)
                if self.path == "/empty":
                    self.send_response(204)
                    self.end_headers()
                elif self.path == "/chunked":
                    self.send_response(200)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for part in (b"hello ", b"chunked ", b"world"):
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    answer = BIG if self.path == "/big" else json.dumps({"count": count, "size": len(body)}).encode()
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_HEAD = do  # noqa: N815 - http.server names them

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address: tuple[str, int] = self._server.server_address[:2]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join(DEADLINE)
        self._server.server_close()


@dataclass(frozen=True)
class Said:
    """What a client got."""

    status: int
    body: bytes
    fields: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body)


class Broken(Exception):
    """The client's own error for an answer that did not come, or not whole."""


Ask = Callable[..., Said]
"""``ask(method, path, body=None, headers=...)``"""


def url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"


@contextmanager
def by_http_client(address: tuple[str, int]) -> Iterator[Ask]:
    connection = http.client.HTTPConnection(*address, timeout=DEADLINE)

    def ask(method: str, path: str, body: Any = None, **headers: str) -> Said:
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            read = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Broken(repr(error)) from error
        return Said(answer.status, read, {name.lower(): value for name, value in answer.getheaders()})

    yield ask
    connection.close()


@contextmanager
def by_httpx2(address: tuple[str, int]) -> Iterator[Ask]:
    with httpx2.Client(trust_env=False, timeout=DEADLINE, base_url=url(address)) as client:

        def ask(method: str, path: str, body: Any = None, **headers: str) -> Said:
            try:
                answer = client.request(method, path, content=body, headers=headers)
            except httpx2.HTTPError as error:
                raise Broken(repr(error)) from error
            return Said(answer.status_code, answer.content, dict(answer.headers))

        yield ask


@contextmanager
def by_requests(address: tuple[str, int]) -> Iterator[Ask]:
    with requests.Session() as session:
        session.trust_env = False

        def ask(method: str, path: str, body: Any = None, **headers: str) -> Said:
            try:
                answer = session.request(method, url(address) + path, data=body, headers=headers, timeout=DEADLINE)
            except requests.RequestException as error:
                raise Broken(repr(error)) from error
            return Said(answer.status_code, answer.content, {k.lower(): v for k, v in answer.headers.items()})

        yield ask


@contextmanager
def by_urllib3(address: tuple[str, int]) -> Iterator[Ask]:
    with urllib3.PoolManager(retries=False, timeout=DEADLINE) as pool:

        def ask(method: str, path: str, body: Any = None, **headers: str) -> Said:
            try:
                answer = pool.request(method, url(address) + path, body=body, headers=headers)
            except urllib3.exceptions.HTTPError as error:
                raise Broken(repr(error)) from error
            return Said(answer.status, answer.data, {k.lower(): v for k, v in answer.headers.items()})

        yield ask


CLIENTS = {
    "http.client": by_http_client,
    "httpx2": by_httpx2,
    "requests": by_requests,
    "urllib3": by_urllib3,
}
