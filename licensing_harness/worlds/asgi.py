"""One process of an ASGI application on a simulated loop, and what passes between it and a client.

A server speaks to us as it does to uvicorn: the same scope, the same lifespan,
the same answers to what applications do wrong.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import msgspec

from licensing_harness.entropy import Draws
from licensing_harness.errors import TargetNotReady
from licensing_harness.worlds.loop import NodeLoop, PowerOff, Timer

AsgiApp = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

_SERVER_ERROR: Final = (500, ((b"content-type", b"text/plain; charset=utf-8"),), b"Internal Server Error")

PATIENCE: Final = 30.0
"""Seconds that a process has to end by itself when it is asked to."""


class SimHeaders(Mapping[str, str]):
    """Headers looked up in any case; the last of equal names counts, but cookies."""

    def __init__(self, raw: tuple[tuple[bytes, bytes], ...]) -> None:
        self._values = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class SimResponse:
    """An answer, as httpx2's Response where adapters look at it."""

    __slots__ = ("content", "raw_headers", "status_code")

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...], content: bytes) -> None:
        self.status_code = status
        self.content = content
        self.raw_headers = headers

    @property
    def headers(self) -> SimHeaders:
        """The answer's headers."""
        return SimHeaders(self.raw_headers)

    @property
    def text(self) -> str:
        """The body as UTF-8, with replacement characters where it is none."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises json.JSONDecodeError when it is none."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return jsonlib.loads(self.content)  # slower, and raises what is documented

    def __repr__(self) -> str:
        return f"<SimResponse [{self.status_code}]>"


@dataclass(slots=True)
class ArmedCut:
    """A cut that waits for its message. ``met`` is called when the message was dropped."""

    what: str
    met: Callable[[], None]


@dataclass(slots=True)
class Lane:
    """One client: its process, the chance of its present call, and the cut that waits for it."""

    name: str
    node: NodeLoop
    chance: Draws
    port: int
    cut: ArmedCut | None = None
    busy: bool = False
    call: tuple[Any, ...] = (0,)
    """Of the present call: its record number (0: none), then what it is about."""
    serves: bool = False
    """Whether it is a node of the target, which speaks to other nodes."""
    waits: deque[Exchange] = field(default_factory=deque)
    """Its requests, oldest first, until their answer came or their time was over."""
    timer: Timer | None = None
    """Set to when the oldest of them is too old."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its answer."""

    lane: Lane
    scope: dict[str, Any]
    body: bytes
    answer: asyncio.Future[SimResponse]
    back: float
    cut: ArmedCut | None
    to: str
    """The node that it is for."""
    call: tuple[Any, ...]
    """The client's call that it belongs to, as in its lane."""
    patience: float = inf
    """Until when the client waits."""
    gone: asyncio.Future[None] | None = None
    """The server's side of "the client hung up, or has its answer"."""
    over: bool = False
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    parts: list[bytes] = field(default_factory=list)
    complete: bool = False

    def arrive(self, response: SimResponse) -> None:
        """The answer reached the client."""
        if not self.answer.done():
            self._settled()
            self.answer.set_result(response)

    def lose(self, error: Exception) -> None:
        """The client learns that no answer will come."""
        if not self.answer.done():
            self._settled()
            self.answer.set_exception(error)

    def _settled(self) -> None:
        lane = self.lane
        waits = lane.waits
        if waits and waits[0] is self:
            waits.popleft()
        elif self in waits:
            waits.remove(self)
        if not waits and lane.timer is not None:
            lane.timer.idle = True


class Server:
    """One process of the target, from its start to its end."""

    def __init__(self, node: NodeLoop, app: AsgiApp) -> None:
        self.node = node
        self.app = app
        self._state: dict[str, Any] = {}
        self._started = False
        self._stopped = False
        self._failed: str | None = None
        self._messages: asyncio.Queue[dict[str, Any]] | None = None

    def start(self, run: Callable[..., bool] | None = None) -> None:
        """Run the application's start-up to its end, in virtual time, by ``run`` (or the timeline's own).

        Raises TargetNotReady when it fails or never ends.
        """
        with self.node.running():
            self._messages = asyncio.Queue()
        self._messages.put_nowait({"type": "lifespan.startup"})
        self.node.create_task(self._lifespan())
        run = run or self.node.timeline.run
        if not run(stop=lambda: self._started or self._failed is not None):
            self._failed = "its start-up waits for something that never happens"
        if self._failed is not None:
            message = f"the simulated target did not start: {self._failed}"
            raise TargetNotReady(message)

    def stop(self, run: Callable[..., bool] | None = None) -> None:
        """Run the application's shutdown, as far as it gets, then end the process."""
        if not self.node.dead and self._started and not self._stopped and self._messages is not None:
            self._messages.put_nowait({"type": "lifespan.shutdown"})
            timeline = self.node.timeline
            run = run or timeline.run
            run(until=timeline.now + PATIENCE, stop=lambda: self._stopped)
        self.node.kill()

    async def _lifespan(self) -> None:
        messages = self._messages

        async def receive() -> dict[str, Any]:
            if messages is None:
                raise PowerOff
            return await messages.get()

        async def send(message: dict[str, Any]) -> None:
            match message["type"]:
                case "lifespan.startup.complete":
                    self._started = True
                case "lifespan.startup.failed":
                    lines = str(message.get("message", "")).strip().splitlines()
                    self._failed = lines[-1] if lines else "it said lifespan.startup.failed"
                case _:
                    self._stopped = True

        asgi = {"version": "3.0", "spec_version": "2.0"}
        try:
            await self.app({"type": "lifespan", "asgi": asgi, "state": self._state}, receive, send)
        except Exception as error:  # noqa: BLE001 - any application, any exception
            if not self._started and self._failed is None:
                self._failed = f"{type(error).__name__}: {error}"
        finally:
            self._stopped = True

    async def serve(self, exchange: Exchange, done: Callable[[Exchange], None]) -> None:
        """Answer one request; ``done`` is called once, when the answer is complete or hopeless."""
        unread = True
        node = self.node

        async def receive() -> dict[str, Any]:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": exchange.body, "more_body": False}
            if not exchange.over:
                if exchange.gone is None:
                    exchange.gone = node.create_future()
                # Shielded: several tasks of one application may wait for it, and one may be cancelled.
                await asyncio.shield(exchange.gone)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if node.dead:
                raise PowerOff
            if exchange.complete:
                return
            if message["type"] == "http.response.start":
                exchange.status = int(message["status"])
                exchange.headers = tuple(message.get("headers", ()))
            elif message["type"] == "http.response.body":
                exchange.parts.append(bytes(message.get("body", b"")))
                if not message.get("more_body", False):
                    exchange.complete = True
                    done(exchange)

        exchange.scope["state"] = dict(self._state)
        try:
            await self.app(exchange.scope, receive, send)
        except Exception as error:  # noqa: BLE001 - as in life: the client gets a 500 and the server goes on
            node.troubles.append(error)
        if not exchange.complete:
            if exchange.status:
                exchange.status = 0  # the headers were gone already: uvicorn closes the connection
            else:
                exchange.status, exchange.headers, body = _SERVER_ERROR
                exchange.parts = [body]
            exchange.complete = True
            done(exchange)
