"""A network without sockets between adapters and the nodes of a simulated target, in virtual time.

What is sent arrives after a delay that is drawn for this very message, so that
leaving out a call changes the delays of no other. A lost message is an OSError
to the client, some time later: it can't tell which of the two was lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from licensing_harness.entropy import draws
from licensing_harness.errors import GuardRefused, HarnessError
from licensing_harness.worlds.asgi import Exchange, Lane, Server, SimResponse
from licensing_harness.worlds.loop import Timeline

if TYPE_CHECKING:
    from licensing_harness.worlds.simulated_wire import Wire

URL: Final = "http://target.simulated"

HOP: Final = 0.0002
"""Seconds that every message takes at least."""

GAPS: Final = (0.0, 0.0, 0.001, 0.002, 0.010, 0.050)
"""Seconds on top. Overlap is designed: with gaps drawn evenly, races are hardly ever met."""

LOSS: Final = 0.05
"""Seconds until a client notices that its connection is lost."""


_ALWAYS: Final = ((b"host", b"target.simulated"), (b"accept", b"*/*"), (b"user-agent", b"licensing-harness"))
"""Headers of every request, unless the adapter gives its own."""

_OURS: Final = frozenset({*(name for name, _ in _ALWAYS), b"content-type"})
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_SERVER: Final = ("127.0.0.1", 80)


def url_of(node: str) -> str:
    """The URL of a node by its name."""
    return f"http://{node}"


class Network:
    """Between the clients and the nodes of the target, and between these.

    ``nodes`` are their names; the first is who is meant by the target's own URL.
    On a ``calm`` one every message takes just one HOP: what a generated story shrinks to.
    """

    def __init__(
        self,
        timeline: Timeline,
        *,
        timeout: float,
        calm: bool = False,
        spend: Callable[[], None] = lambda: None,
        nodes: tuple[str, ...] = ("server",),
    ) -> None:
        self._timeline = timeline
        self._timeout = timeout
        self._gaps = (0.0,) if calm else GAPS
        self._spend = spend
        self.under_way: dict[Exchange, None] = {}
        """Requests that were handed to a process, or are on the way to it, and are not answered."""
        self.first = nodes[0]
        self.servers: dict[str, Server | None] = dict.fromkeys(nodes)
        """The process of each node that takes requests, if one does."""
        self.wire: Wire | None = None
        """What is broken on links, while something is."""

    def send(self, lane: Lane, scope: dict[str, Any], body: bytes, to: str = "") -> asyncio.Future[SimResponse]:
        """Send a request to a node, by default the first; the future ends with the answer, or with an OSError."""
        if not lane.serves:
            self._spend()
        chance = lane.chance
        there, back = HOP + chance.choice(self._gaps), HOP + chance.choice(self._gaps)
        cut, lane.cut = lane.cut, None
        exchange = Exchange(lane, scope, body, lane.node.create_future(), back, cut, to or self.first, lane.call)
        if cut is not None and cut.what == "request":
            cut.met()
            self.lose(exchange, LOSS, ConnectionResetError("the connection was lost"))
            return exchange.answer
        self._wait(lane, exchange)
        if self.wire is not None:
            self.wire.send(exchange, there)
        else:
            self.dispatch(exchange, there)
        return exchange.answer

    def dispatch(self, exchange: Exchange, delay: float) -> None:
        """Hand a request to the process that listens now; it arrives after ``delay``."""
        server = self.servers[exchange.to]
        if server is None or server.node.dead:
            self.lose(exchange, delay + HOP, ConnectionRefusedError("the target is down"))
        else:
            self.under_way[exchange] = None
            self._timeline.after(delay, server.node, self._deliver, server, exchange)

    def under_way_to(self, node: str) -> list[Exchange]:
        """Requests that a node has, or that are on their way to its process."""
        return [exchange for exchange in self.under_way if exchange.to == node]

    def cut_off(self, node: str) -> int:
        """The node's process died: every connection to it breaks. Returns how many requests were under way."""
        lost = self.under_way_to(node)
        for exchange in lost:
            del self.under_way[exchange]
            if exchange.cut is not None:
                exchange.lane.cut = exchange.cut  # its message never came to be: the cut goes on waiting
            self.lose(exchange, HOP, ConnectionResetError("the target closed the connection"))
        return len(lost)

    def _deliver(self, server: Server, exchange: Exchange) -> None:
        server.node.create_task(server.serve(exchange, self._answer))

    def _answer(self, exchange: Exchange) -> None:
        self.under_way.pop(exchange, None)
        exchange.over = True
        if exchange.gone is not None and not exchange.gone.done():
            exchange.gone.set_result(None)
        if exchange.cut is not None:
            exchange.cut.met()
            self.lose(exchange, LOSS, ConnectionResetError("the connection was lost"))
        elif not exchange.status:
            self.lose(exchange, exchange.back, ConnectionResetError("the target closed the connection"))
        else:
            parts = exchange.parts
            response = SimResponse(exchange.status, exchange.headers, parts[0] if len(parts) == 1 else b"".join(parts))
            if self.wire is not None:
                self.wire.answer(exchange, response)
            else:
                self._timeline.after(exchange.back, exchange.lane.node, exchange.arrive, response)

    def lose(self, exchange: Exchange, delay: float, error: Exception) -> None:
        """The client learns, after ``delay``, that no answer will come."""
        self._timeline.after(delay, exchange.lane.node, exchange.lose, error)

    def _wait(self, lane: Lane, exchange: Exchange) -> None:
        """Wait until the timeout. All requests of a lane have the same one, so it needs one timer."""
        exchange.patience = self._timeline.now + self._timeout
        lane.waits.append(exchange)
        if lane.timer is None:
            lane.timer = lane.node.call_at(exchange.patience, self._overdue, lane)
        else:
            lane.timer.idle = False

    def _overdue(self, lane: Lane) -> None:
        lane.timer = None
        waits, now = lane.waits, self._timeline.now
        while waits and waits[0].patience <= now:
            self._give_up(waits.popleft())
        if waits:
            lane.timer = lane.node.call_at(waits[0].patience, self._overdue, lane)

    def _give_up(self, exchange: Exchange) -> None:
        """The client's timeout. The server may go on: what it does takes effect all the same."""
        if exchange in self.under_way:
            clients = frozenset(each.lane.node for each in self.under_way if not each.lane.serves)
            if self._timeline.quiet(clients):
                raise HarnessError(self.hanging())
            self.hang_up(exchange)
        exchange.lose(TimeoutError(f"no answer within {self._timeout:g} s"))

    def hang_up(self, exchange: Exchange) -> None:
        """The client closes its connection: the process that has the request is told."""
        server = self.servers[exchange.to]
        if server is not None and not server.node.dead:
            if exchange.gone is None:
                exchange.gone = server.node.create_future()
            exchange.over = True
            self._timeline.after(0, server.node, _hang_up, exchange)

    def located(self, url: str) -> tuple[str, str, str]:
        """Node, path and query of an absolute URL. Raises GuardRefused for a host that is no node."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        to = self.first if host == urlsplit(URL).hostname else host
        if to not in self.servers:
            message = (
                f"the simulated world has no host {host!r}: give a path below {URL}, or one of "
                f"{', '.join(map(url_of, self.servers))}"
            )
            raise GuardRefused(message)
        return to, parts.path, parts.query

    def hanging(self) -> str:
        """What to say when requests wait and nothing is left to happen."""
        waiting = ", ".join(f"{each.scope['method']} {each.scope['path']}" for each in self.under_way) or "none"
        troubles: list[BaseException] = []
        for server in self.servers.values():
            if server is not None:
                server.node.tidy()
                troubles += server.node.troubles
        last = f" Its last uncaught exception: {troubles[-1]!r}." if troubles else ""
        return (
            f"the simulated target hangs: requests wait for it ({waiting}) and nothing is left to happen.{last} "
            "Endpoints must be async def: a plain def runs in a thread, and the simulation has none."
        )


def _hang_up(exchange: Exchange) -> None:
    if exchange.gone is not None and not exchange.gone.done():
        exchange.gone.set_result(None)


class SimHttp:
    """``target.http`` of one client, and ``http`` of one node."""

    def __init__(self, network: Network, lane: Lane, seed: str = "") -> None:
        self._network = network
        self._lane = lane
        self._address = ("127.0.0.1", lane.port)
        self._seed = seed
        self._asked: Counter[tuple[Any, ...]] = Counter()

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
        raw = list(_ALWAYS)
        if json is not None:
            body = msgspec.json.encode(json)
            raw.append((b"content-type", b"application/json"))
        if headers:
            given = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in headers.items()}
            if not given.keys().isdisjoint(_OURS):
                raw = [each for each in raw if each[0] not in given]
            raw += given.items()
        if body or method in _WITH_BODY:
            raw.append((b"content-length", b"%d" % len(body)))
        path, _, query = url.removeprefix(URL).partition("?")
        to = ""
        if "://" in path:
            to, path, query = self._network.located(url)
        if params:
            query = "&".join(filter(None, (query, urlencode(_plain(params), doseq=True))))
        scope = {
            "type": "http",
            # What uvicorn states, so that frameworks take the same branches in both worlds.
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method.upper(),
            "scheme": "http",
            "path": (unquote(path) if "%" in path else path) or "/",
            "raw_path": path.encode("ascii", "replace"),
            "query_string": query.encode("ascii", "replace"),
            "root_path": "",
            "headers": raw,
            "client": self._address,
            "server": _SERVER,
        }
        if self._lane.serves:
            self._about(to, scope)
        return await self._network.send(self._lane, scope, body, to)

    def _about(self, to: str, scope: Mapping[str, Any]) -> None:
        """Nobody tells a node's requests apart by calls: they are keyed by what they ask, and by how often it did."""
        what = (self._lane.name, to or self._network.first, scope["method"], scope["path"])
        self._asked[what] += 1
        self._lane.chance = draws(self._seed, "node", *what, self._asked[what])
        self._lane.call = (0, *what, self._asked[what])


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters as httpx2 writes them: true, false, and an empty text for None."""
    words = {True: "true", False: "false"}
    return {
        name: "" if value is None else words[value] if isinstance(value, bool) else value
        for name, value in params.items()
    }
