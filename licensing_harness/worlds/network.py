"""A network without sockets between adapters and a simulated server, in virtual time.

What is sent arrives after a delay that is drawn for this very message, so that
leaving out a call changes the delays of no other. A lost message is an OSError
to the client, some time later: it can't tell which of the two was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from licensing_harness.errors import GuardRefused, HarnessError
from licensing_harness.worlds.asgi import Exchange, Lane, Server, SimResponse
from licensing_harness.worlds.loop import Timeline

URL: Final = "http://target.simulated"

HOP: Final = 0.0002
"""Seconds that every message takes at least."""

GAPS: Final = (0.0, 0.0, 0.001, 0.002, 0.010, 0.050)
"""Seconds on top. Overlap is designed: with gaps drawn evenly, races are hardly ever met."""

LOSS: Final = 0.05
"""Seconds until a client notices that its connection is lost."""


class Network:
    """Between the clients and the one server process that is up, if one is.

    On a ``calm`` one every message takes just one HOP: what a generated story shrinks to.
    """

    def __init__(
        self, timeline: Timeline, *, timeout: float, calm: bool = False, spend: Callable[[], None] = lambda: None
    ) -> None:
        self._timeline = timeline
        self._timeout = timeout
        self._gaps = (0.0,) if calm else GAPS
        self._spend = spend
        self._under_way: dict[Exchange, None] = {}
        self.server: Server | None = None

    def send(self, lane: Lane, scope: dict[str, Any], body: bytes) -> asyncio.Future[SimResponse]:
        """Send a request; the future ends with the answer, or with an OSError."""
        self._spend()
        chance = lane.chance
        there, back = HOP + chance.choice(self._gaps), HOP + chance.choice(self._gaps)
        cut, lane.cut = lane.cut, None
        exchange = Exchange(lane, scope, body, lane.node.create_future(), back, cut)
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

    def _deliver(self, server: Server, exchange: Exchange) -> None:
        server.node.create_task(server.serve(exchange, self._answer))

    def _answer(self, exchange: Exchange) -> None:
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

    def _lose(self, exchange: Exchange, delay: float, error: Exception) -> None:
        self._timeline.after(delay, exchange.lane.node, exchange.lose, error)

    def _give_up(self, exchange: Exchange) -> None:
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
        if server is not None:
            server.node.tidy()
        last = f" Its last uncaught exception: {server.node.troubles[-1]!r}." if server and server.node.troubles else ""
        return (
            f"the simulated target hangs: requests wait for it ({waiting}) and nothing is left to happen.{last} "
            "Endpoints must be async def: a plain def runs in a thread, and the simulation has none."
        )


def _hang_up(exchange: Exchange) -> None:
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
