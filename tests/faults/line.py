"""A proxy with its target, as a client of Toxiproxy sees them: what the conformance cases share.

Times are bounded from below only.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from echo_server import DEADLINE, Client, connect
from toxiproxy_calls import address, send

from licensing_harness.clock import RealClock
from licensing_harness.faults.server import FaultServer

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
