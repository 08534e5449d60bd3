"""Who speaks through the proxies, in a process of its own on a core of its own: prints its figure as JSON.

``python -m benchmarks.wire_client p50|bulk|connections PORT COUNT``
"""

from __future__ import annotations

import json
import selectors
import socket
import statistics
import sys
from typing import Final

from licensing_harness.clock import RealClock

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
AT_ONCE: Final = 16
CLOCK: Final = RealClock()
_BUFFER: Final = 1 << 20


def _connected(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def p50(port: int, count: int) -> float:
    """The median round trip of so many requests, one after the other, in microseconds."""
    took = []
    with _connected(port) as client:
        for _ in range(count):
            begin = CLOCK.now()
            client.sendall(REQUEST)
            if not client.recv(4096):
                raise RuntimeError("the connection was closed")
            took.append(CLOCK.now() - begin)
    return statistics.median(took) * 1e6


def bulk(port: int, count: int) -> float:
    """So many bytes to the client: MB/s."""
    room = memoryview(bytearray(_BUFFER))
    with _connected(port) as client:
        begin = CLOCK.now()
        client.sendall(b"BULK %d" % count)
        left = count
        while left:
            got = client.recv_into(room)
            if not got:
                raise RuntimeError("the connection was closed")
            left -= got
        return count / 1e6 / (CLOCK.now() - begin)


def connections(port: int, count: int) -> float:
    """So many new connections, each with one request, sixteen at once: connections a second."""
    begin = CLOCK.now()
    left, done = count, 0
    with selectors.DefaultSelector() as ready:

        def another() -> None:
            client = socket.socket()
            client.settimeout(0)
            client.connect_ex(("127.0.0.1", port))
            ready.register(client, selectors.EVENT_WRITE)

        for _ in range(AT_ONCE):
            another()
            left -= 1
        while done < count:
            for key, event in ready.select(30):
                client: socket.socket = key.fileobj  # type: ignore[assignment]
                if event & selectors.EVENT_WRITE:
                    client.send(REQUEST)
                    ready.modify(client, selectors.EVENT_READ)
                    continue
                if not client.recv(4096):
                    raise RuntimeError("the connection was closed")
                ready.unregister(client)
                client.close()
                done += 1
                if left:
                    left -= 1
                    another()
    return count / (CLOCK.now() - begin)


if __name__ == "__main__":
    what, port, count = sys.argv[1:]
    print(json.dumps({"p50": p50, "bulk": bulk, "connections": connections}[what](int(port), int(count))))
