"""A TCP target that answers in capitals, and a client with a deadline."""

from __future__ import annotations

import contextlib
import socket
import threading

DEADLINE = 10.0


class Echo:
    """A TCP server that answers every read with the same bytes in capitals, and keeps what it read."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = self.server.getsockname()
        self.seen: list[bytes] = []
        self.opened = 0
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self.server.accept()
            except OSError:
                return
            self.opened += 1
            self._open.append(one)
            thread = threading.Thread(target=self._serve, args=(one,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, one: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                self.seen.append(data)
                one.sendall(data.upper())
        except OSError:
            pass
        finally:
            one.close()

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)


class Client(socket.socket):
    """A TCP client with a deadline that closes itself in a ``with``."""

    def ask(self, data: bytes) -> bytes:
        self.sendall(data)
        return self.recv(65536)


def connect(address: tuple[str, int]) -> Client:
    client = Client()
    client.settimeout(DEADLINE)
    try:
        client.connect(tuple(address))
    except OSError:
        client.close()
        raise
    return client
