"""What simulated operations are compared with: the least that such a world and such a server can be.

One heap of events, an asyncio loop of ninety lines, two hops for each request, a
task for each request on the server's side. The server is Starlette and msgspec
over a dictionary, or over one SQLite table in memory with one durable commit a
write. Each operation is recorded and hashed. No tokens, no rules, no audit
trail, no idempotency, no seeds, no faults, no checks: what those cost is what
the ratio tells.
"""

# ruff: noqa: D102, SLF001 - asyncio documents what loops have; and a handle's _run is for loops to call

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HOP: Final = 0.0002
FSYNC: Final = 0.001
CLIENTS: Final = 3

_Loop: Any = asyncio.AbstractEventLoop
_encode: Final = msgspec.json.Encoder().encode


class Asked(msgspec.Struct):
    """A request."""

    key: str
    device: str


class Recorded(msgspec.Struct):
    """One operation of the history."""

    n: int
    client: str
    verb: str
    begin: float
    end: float
    answer: dict[str, Any]


_asked: Final = msgspec.json.Decoder(Asked).decode


class World:
    """Time, and what happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.heap: list[tuple[float, int, Node, asyncio.Handle]] = []
        self.counter = count()

    def at(self, when: float, node: Node, handle: asyncio.Handle) -> None:
        heappush(self.heap, (when, next(self.counter), node, handle))

    def run(self) -> None:
        """Until nothing is left to happen."""
        heap = self.heap
        while heap:
            when, _, node, handle = heappop(heap)
            if handle.cancelled():
                continue
            self.now = max(self.now, when)
            _set_running_loop(node)
            node.drain(handle)
        _set_running_loop(None)


class Node(_Loop):  # type: ignore[misc]
    """One process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ready: deque[asyncio.Handle] = deque()
        self.draining = False

    def drain(self, handle: asyncio.Handle) -> None:
        self.draining = True
        handle._run()
        while self.ready:
            self.ready.popleft()._run()
        self.draining = False

    def time(self) -> float:
        return self.world.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if self.draining:
            self.ready.append(handle)
        else:
            self.world.at(self.world.now, self, handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.world.at(when, self, handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coroutine: Coroutine[Any, Any, Any], **how: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coroutine, loop=self, **how)

    def get_debug(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    def is_running(self) -> bool:
        return True

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise RuntimeError(context["message"]) from context.get("exception")


def app(database: sqlite3.Connection, start: Callable[[Coroutine[Any, Any, None]], object]) -> Starlette:
    """The server: reads from a dictionary, and one writer that commits whatever waits for it."""
    known = {"a-key": {"valid": True, "features": ["base"]}}

    async def read(request: Request) -> Response:
        asked = _asked(await request.body())
        return Response(_encode(known[asked.key]), media_type="application/json")

    waiting: list[tuple[Asked, asyncio.Future[str]]] = []
    wake = asyncio.Event()

    async def writer() -> None:
        nonlocal waiting
        while True:
            await wake.wait()
            wake.clear()
            while waiting:
                batch, waiting = waiting, []
                await asyncio.sleep(FSYNC)
                database.execute("BEGIN IMMEDIATE")
                for asked, _ in batch:
                    database.execute("INSERT INTO seats VALUES (?, ?)", (asked.key, asked.device))
                database.execute("COMMIT")
                for asked, answered in batch:
                    answered.set_result(asked.device)

    async def write(request: Request) -> Response:
        answered = asyncio.get_running_loop().create_future()
        waiting.append((_asked(await request.body()), answered))
        wake.set()
        return Response(_encode({"seat": await answered}), media_type="application/json")

    start(writer())
    return Starlette(routes=[Route("/read", read, methods=["POST"]), Route("/write", write, methods=["POST"])])


def tell(verb: str, operations: int) -> str:
    """That many operations by a few clients, from a new world to the digest of its history."""
    world = World()
    server, clients = Node(world), [Node(world) for _ in range(CLIENTS)]
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute("CREATE TABLE seats (licence TEXT, device TEXT)")
    writers: list[asyncio.Task[None]] = []
    serve = app(database, lambda work: writers.append(server.create_task(work)))
    history: list[Recorded] = []

    async def answer(body: bytes, reply: Callable[[bytes], None]) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                reply(message["body"])

        headers = [(b"host", b"toy"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": f"/{verb}",
            "raw_path": b"",
            "query_string": b"",
            "root_path": "",
            "headers": headers,
        }
        await serve(scope, receive, send)

    async def client(node: Node, name: str, calls: int) -> None:
        for _ in range(calls):
            begin, heard = world.now, node.create_future()

            def reply(body: bytes, heard: asyncio.Future[bytes] = heard) -> None:
                world.at(world.now + HOP, node, asyncio.Handle(heard.set_result, (body,), node))

            def arrive(reply: Callable[[bytes], None] = reply) -> None:
                server.create_task(answer(_encode({"key": "a-key", "device": name}), reply))

            world.at(world.now + HOP, server, asyncio.Handle(arrive, (), server))
            said = msgspec.json.decode(await heard)
            history.append(Recorded(len(history), name, verb, begin, world.now, said))

    for place, node in enumerate(clients):
        node.create_task(client(node, f"client-{place}", operations // CLIENTS))
    world.run()
    for task in writers:
        task.cancel()
    world.run()
    database.close()
    if len(history) != operations // CLIENTS * CLIENTS:
        message = f"{len(history)} of {operations} operations were recorded"
        raise RuntimeError(message)
    return hashlib.sha256(b"\n".join(map(_encode, history))).hexdigest()
