"""The embedded fault proxy: a thread that forwards TCP between loopback ports and targets.

A :class:`Proxy` listens on a loopback port and forwards to its upstream
through its toxics, as Toxiproxy does. Beyond Toxiproxy it can *cut* one call:
the next request is dropped before a byte of it is forwarded, or it is
forwarded whole and the answer is swallowed. Either way the client sees its
connection reset.

Everything here runs on the loop of one :class:`Wire`; other threads go
through ``Wire.run``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Self, TypeVar

from licensing_harness.errors import CleanUpIncomplete, HarnessError
from licensing_harness.faults.call_faults import CALL_ATTRIBUTES, Answers, Board, CallFault, Copy
from licensing_harness.faults.connection import Connection, Pipe
from licensing_harness.faults.toxics import Direction, Toxic

Cut = Literal["request", "answer"]
Address = tuple[str, int]
_T = TypeVar("_T")


class Proxy:
    """A loopback port that forwards to ``upstream`` through its toxics. Belongs to a wire's loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str,
        listen: Address,
        upstream: Address,
        seed: int,
        board: Board | None = None,
        watches: bool = False,
    ) -> None:
        self.loop = loop
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.seed = seed
        self.toxics: list[Toxic] = []
        self.call_faults: list[CallFault] = []
        """Extension toxics, in the order in which they were added."""
        self.board = board or Board()
        self.answers = Answers()
        self.watches = watches
        """Whether it remembers answers before a fault asks for them."""
        self._copies: set[asyncio.Task[None]] = set()
        self.connections: set[Connection] = set()
        self.requests = 0
        """Requests that clients began to send: bytes from a client that follow none or an answer."""
        self.unreachable = 0
        """Connections of clients for which the upstream could not be reached."""
        self.ended: dict[Direction, int] = {"upstream": 0, "downstream": 0}
        """Connections that were ended by the client (``upstream``) or by the other end (``downstream``)."""
        self.armed: Cut | None = None
        self.met = 0
        """How often an armed cut met traffic."""
        self._accepted = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._server: asyncio.Server | None = None

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    async def start(self) -> None:
        """Listen; the port that was bound is kept over stop and start. Raises OSError."""
        if self._server is None:
            require_loopback(self.listen[0])
            self._server = await self.loop.create_server(self._accept, *self.listen, backlog=512)
            self.listen = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()
        for copy in self._copies:
            copy.cancel()
        await self._empty.wait()

    def drop(self) -> None:
        """Close every connection; the port keeps listening."""
        for connection in tuple(self.connections):
            connection.abort()

    def _accept(self) -> asyncio.Protocol:
        self._accepted += 1
        connection = Connection(self, self._accepted)
        self.connections.add(connection)
        self._empty.clear()
        return connection.client

    def left(self, connection: Connection) -> None:
        """Both sockets of a connection are closed."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    # Toxics

    def add(self, toxic: Toxic) -> None:
        """Put a toxic at the end of its direction's chain, on open connections too."""
        self.toxics.append(toxic)
        if toxic.type in CALL_ATTRIBUTES:
            self.add_call_fault(CallFault(toxic))
            return
        for pipe in self._pipes(toxic):
            pipe.add(toxic)

    def update(self, toxic: Toxic) -> None:
        """A toxic's attributes or toxicity were changed."""
        for pipe in self._pipes(toxic):
            pipe.update(toxic)

    def remove(self, toxic: Toxic) -> None:
        """Take a toxic out of the chain, on open connections too."""
        self.toxics.remove(toxic)
        for fault in [each for each in self.call_faults if each.toxic is toxic]:
            self.remove_call_fault(fault)
        for pipe in self._pipes(toxic):
            pipe.remove(toxic)

    def _pipes(self, toxic: Toxic) -> list[Pipe]:
        pipes = (connection.pipe(toxic.direction) for connection in tuple(self.connections))
        return [pipe for pipe in pipes if pipe is not None]

    # Calls

    @property
    def reads_calls(self) -> bool:
        """Whether somebody wants to know where a call begins and ends."""
        return self.watches or bool(self.call_faults)

    @property
    def remembers(self) -> bool:
        """Whether answers are kept."""
        return self.watches or any(each.kind == "http_stale_answer" for each in self.call_faults)

    def add_call_fault(self, fault: CallFault) -> None:
        """From its next call on, every connection meets this fault."""
        self.call_faults.append(fault)

    def remove_call_fault(self, fault: CallFault) -> None:
        """No call meets it any more; what it holds back goes on, and what it would send later is not sent."""
        self.call_faults.remove(fault)
        self.board.end(fault)
        fault.end()
        if not self.remembers:
            self.answers = Answers()

    def send_copy(self, copy: Copy) -> None:
        """A second delivery is under way; it ends with the proxy."""
        self._copies.add(copy.task)
        copy.task.add_done_callback(self._copies.discard)

    # Cuts

    def arm(self, what: Cut) -> None:
        """Cut the next request, or the answer to it; ``met`` counts from zero again."""
        self.armed = what
        self.met = 0

    def disarm(self) -> int:
        """Forget a cut that was not met; returns how often it was met."""
        self.armed = None
        return self.met

    def cut(self) -> None:
        """An armed cut met its call."""
        self.armed = None
        self.met += 1


class Wire:
    """One thread with a loop, for proxies and for whoever else speaks through them.

    Raises nothing by itself; ``run`` passes on what the call raised.
    """

    def __init__(self, *, seed: int = 0, patience: float = 30.0) -> None:
        self.seed = seed
        self.board = Board()
        """Of the calls through all proxies of this wire."""
        self.proxies: list[Proxy] = []
        self._patience = patience
        self._loop = new_loop()
        self._thread = threading.Thread(target=self._live, name="licensing-wire", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; only what runs on it may touch proxies."""
        return self._loop

    def run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run ``work()`` on the wire's loop and wait for its result.

        Raises HarnessError when the wire is closed or does not answer.
        """
        if not self._thread.is_alive():
            message = "the embedded fault proxy is closed"
            raise HarnessError(message)
        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result(self._patience)
        except TimeoutError:
            if future.done():
                raise
            message = f"the embedded fault proxy did not answer within {self._patience:g} s"
            raise HarnessError(message) from None

    def call(self, function: Callable[[], _T]) -> _T:
        """Call ``function()`` on the wire's loop and wait for its result, as ``run`` does."""

        async def work() -> _T:
            return function()

        return self.run(work)

    async def add(
        self, *, name: str, upstream: Address, listen: Address = ("127.0.0.1", 0), watches: bool = False
    ) -> Proxy:
        """A started proxy, on the loop. Raises OSError when the port can't be had."""
        proxy = Proxy(
            self._loop,
            name=name,
            listen=listen,
            upstream=upstream,
            seed=self.seed,
            board=self.board,
            watches=watches,
        )
        await proxy.start()
        self.proxies.append(proxy)
        return proxy

    def open(self, *, name: str, upstream: Address, watches: bool = False) -> Proxy:
        """A started proxy on a free port, from any thread."""
        return self.run(lambda: self.add(name=name, upstream=upstream, watches=watches))

    def close(self) -> None:
        """Stop every proxy and the thread; harmless when repeated.

        Raises CleanUpIncomplete when the thread does not end.
        """
        if not self._thread.is_alive():
            return
        for proxy in self.proxies:
            with contextlib.suppress(HarnessError):
                self.run(proxy.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            message = "the embedded fault proxy's thread did not end"
            raise CleanUpIncomplete(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def require_loopback(host: str) -> None:
    """Raise OSError for an address to listen on that others could reach."""
    if host == "localhost":
        return
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        message = f"the embedded proxy listens on loopback addresses only, not on {host!r}"
        raise OSError(message)


def joined(address: Address) -> str:
    """Host and port as they stand in an URL."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
