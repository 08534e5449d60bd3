"""A network without sockets between adapters and an ASGI application, in virtual time.

Each request is a real task on the server's loop. What is sent arrives after a
delay that is drawn for this very message, so that leaving out a call changes
the delays of no other. A server speaks to us as it does to uvicorn: the same
scope, the same answers to what applications do wrong.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import random  # noqa: TID251 - the type only
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from licensing_harness.errors import GuardRefused, HarnessError, TargetNotReady
from licensing_harness.worlds.loop import NodeLoop, PowerOff, Timeline

URL: Final = "http://target.simulated"

HOP: Final = 0.0002
"""Seconds that every message takes at least."""

GAPS: Final = (0.0, 0.0, 0.001, 0.002, 0.010, 0.050)
"""Seconds on top. Overlap is designed: with gaps drawn evenly, races are hardly ever met."""

LOSS: Final = 0.05
"""Seconds until a client notices that its connection is lost."""

AsgiApp = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

_SERVER_ERROR: Final = (500, ((b"content-type", b"text/plain; charset=utf-8"),), b"Internal Server Error")


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

    __slots__ = ("_raw_headers", "content", "status_code")

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...], content: bytes) -> None:
        self.status_code = status
        self.content = content
        self._raw_headers = headers

    @property
    def headers(self) -> SimHeaders:
        """The answer's headers."""
        return SimHeaders(self._raw_headers)

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
    chance: random.Random
    port: int
    cut: ArmedCut | None = None
    busy: bool = False


@dataclass(slots=True, eq=False)
class _Exchange:
    """One request and its answer."""

    lane: Lane
    scope: dict[str, Any]
    body: bytes
    answer: asyncio.Future[SimResponse]
    back: float
    cut: ArmedCut | None
    timer: asyncio.TimerHandle | None = None
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
            if self.timer is not None:
                self.timer.cancel()
            self.answer.set_result(response)

    def lose(self, error: Exception) -> None:
        """The client learns that no answer will come."""
        if not self.answer.done():
            if self.timer is not None:
                self.timer.cancel()
            self.answer.set_exception(error)


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

    def start(self) -> None:
        """Run the application's start-up to its end, in virtual time.

        Raises TargetNotReady when it fails or never ends.
        """
        with self.node.running():
            self._messages = asyncio.Queue()
        self._messages.put_nowait({"type": "lifespan.startup"})
        self.node.create_task(self._lifespan())
        timeline = self.node.timeline
        if not timeline.run(stop=lambda: self._started or self._failed is not None):
            self._failed = "its start-up waits for something that never happens"
        if self._failed is not None:
            message = f"the simulated target did not start: {self._failed}"
            raise TargetNotReady(message)

    def stop(self) -> None:
        """Run the application's shutdown, as far as it gets, then end the process."""
        if not self.node.dead and self._started and not self._stopped and self._messages is not None:
            self._messages.put_nowait({"type": "lifespan.shutdown"})
            timeline = self.node.timeline
            timeline.run(until=timeline.now + 30, stop=lambda: self._stopped)
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

    async def serve(self, exchange: _Exchange, done: Callable[[_Exchange], None]) -> None:
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


class Network:
    """Between the clients and the one server process that is up, if one is."""

    def __init__(self, timeline: Timeline, *, timeout: float, spend: Callable[[], None] = lambda: None) -> None:
        self._timeline = timeline
        self._timeout = timeout
        self._spend = spend
        self._under_way: dict[_Exchange, None] = {}
        self.server: Server | None = None

    def send(self, lane: Lane, scope: dict[str, Any], body: bytes) -> asyncio.Future[SimResponse]:
        """Send a request; the future ends with the answer, or with an OSError."""
        self._spend()
        chance = lane.chance
        there, back = HOP + chance.choice(GAPS), HOP + chance.choice(GAPS)
        cut, lane.cut = lane.cut, None
        exchange = _Exchange(lane, scope, body, lane.node.create_future(), back, cut)
        if cut is not None and cut.what == "request":
            cut.met()
            self._lose(exchange, LOSS, ConnectionResetError("the connection was lost"))
            return exchange.answer
        exchange.timer = lane.node.call_later(self._timeout, self._give_up, exchange)
        server = self.server
        if server is None or server.node.dead:
            self._lose(exchange, there + HOP, ConnectionRefusedError("the target is down"))
        else:
            self._under_way[exchange] = None
            self._timeline.after(there, server.node, self._deliver, server, exchange)
        return exchange.answer

    def cut_off(self) -> int:
        """The server process died: every connection to it breaks. Returns how many requests were under way."""
        lost, self._under_way = self._under_way, {}
        for exchange in lost:
            if exchange.cut is not None:
                exchange.lane.cut = exchange.cut  # its message never came to be: the cut goes on waiting
            self._lose(exchange, HOP, ConnectionResetError("the target closed the connection"))
        return len(lost)

    def _deliver(self, server: Server, exchange: _Exchange) -> None:
        server.node.create_task(server.serve(exchange, self._answer))

    def _answer(self, exchange: _Exchange) -> None:
        self._under_way.pop(exchange, None)
        exchange.over = True
        if exchange.gone is not None and not exchange.gone.done():
            exchange.gone.set_result(None)
        if exchange.cut is not None:
            exchange.cut.met()
            self._lose(exchange, LOSS, ConnectionResetError("the connection was lost"))
        elif not exchange.status:
            self._lose(exchange, exchange.back, ConnectionResetError("the target closed the connection"))
        else:
            parts = exchange.parts
            response = SimResponse(exchange.status, exchange.headers, parts[0] if len(parts) == 1 else b"".join(parts))
            self._timeline.after(exchange.back, exchange.lane.node, exchange.arrive, response)

    def _lose(self, exchange: _Exchange, delay: float, error: Exception) -> None:
        self._timeline.after(delay, exchange.lane.node, exchange.lose, error)

    def _give_up(self, exchange: _Exchange) -> None:
        """The client's timeout. The server may go on: what it does takes effect all the same."""
        server = self.server
        if exchange in self._under_way and server is not None and server.node.dead is False:
            clients = frozenset(each.lane.node for each in self._under_way)
            if self._timeline.quiet(clients):
                raise HarnessError(self.hanging())
            if exchange.gone is None:
                exchange.gone = server.node.create_future()
            exchange.over = True
            self._timeline.after(0, server.node, _hang_up, exchange)
        exchange.lose(TimeoutError(f"no answer within {self._timeout:g} s"))

    def hanging(self) -> str:
        """What to say when requests wait and nothing is left to happen."""
        waiting = ", ".join(f"{each.scope['method']} {each.scope['path']}" for each in self._under_way) or "none"
        server = self.server
        last = f" Its last uncaught exception: {server.node.troubles[-1]!r}." if server and server.node.troubles else ""
        return (
            f"the simulated target hangs: requests wait for it ({waiting}) and nothing is left to happen.{last} "
            "Endpoints must be async def: a plain def runs in a thread, and the simulation has none."
        )


def _hang_up(exchange: _Exchange) -> None:
    if exchange.gone is not None and not exchange.gone.done():
        exchange.gone.set_result(None)


class SimHttp:
    """``target.http`` of one client."""

    def __init__(self, network: Network, lane: Lane) -> None:
        self._network = network
        self._lane = lane

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> SimResponse:
        """Send one request to the simulated target.

        Raises ConnectionError or TimeoutError when no answer came.
        """
        body = content or b""
        raw = [(b"host", b"target.simulated"), (b"accept", b"*/*"), (b"user-agent", b"licensing-harness")]
        if json is not None:
            body = msgspec.json.encode(json)
            raw.append((b"content-type", b"application/json"))
        if headers:
            given = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
            names = {name for name, _ in given}
            raw = [each for each in raw if each[0] not in names] + given
        if body or method in {"POST", "PUT", "PATCH"}:
            raw.append((b"content-length", str(len(body)).encode()))
        path, _, query = url.removeprefix(URL).partition("?")
        if "://" in path:
            parts = urlsplit(url)
            if parts.hostname != "target.simulated":
                message = f"the simulated world has one host: give a path below {URL}, not {url!r}"
                raise GuardRefused(message)
            path, query = parts.path, parts.query
        if params:
            query = "&".join(filter(None, (query, urlencode(_plain(params), doseq=True))))
        scope = {
            "type": "http",
            # What uvicorn states, so that frameworks take the same branches in both worlds.
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method.upper(),
            "scheme": "http",
            "path": unquote(path) or "/",
            "raw_path": path.encode("ascii", "replace"),
            "query_string": query.encode("ascii", "replace"),
            "root_path": "",
            "headers": raw,
            "client": ("127.0.0.1", self._lane.port),
            "server": ("127.0.0.1", 80),
        }
        return await self._network.send(self._lane, scope, body)


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters as httpx2 writes them: true, false, and an empty text for None."""
    words = {True: "true", False: "false"}
    return {
        name: "" if value is None else words[value] if isinstance(value, bool) else value
        for name, value in params.items()
    }
