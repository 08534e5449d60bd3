"""A licensing server of two nodes, and its adapter: what several nodes are tried with.

The first node, the leader, takes writes. The second one, the follower, answers
questions. It asks the leader every BEAT seconds what changed; the leader pushes
a revocation as well, as soon as it is durable. The follower says how old what it
knows may be, counted from when it *asked* the leader last, and answers nothing
when that is more than BOUND: with a push alone, a message that was long on its
way would look fresh.

``forever=1`` is a mistake: the follower says yes however old its knowledge is.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from licensing_harness import Adapter, Allowed, Cap, Contract, Denied, Grant, Indeterminate, LicenceSpec, Target

PAIR = "asgi:pair:simulated?nodes=2"
LEADER, FOLLOWER = "server-1", "server-2"
BEAT = 0.5
BOUND = 2.0

DDL = """
CREATE TABLE licence (id TEXT PRIMARY KEY, request TEXT, revoked INTEGER, seq INTEGER);
"""

Row = tuple[str, str, int, int]


def write(connection: sqlite3.Connection, rows: list[Row]) -> None:
    connection.executemany("INSERT OR REPLACE INTO licence VALUES (?, ?, ?, ?)", rows)


class Node:
    """Either node: what it knows is in its store, and in memory while it runs."""

    def __init__(
        self,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        store: Any,
        *,
        peers: Mapping[str, str],
        http: Any,
        how: dict[str, str],
    ) -> None:
        self.clock, self.entropy, self.store, self.http, self.how = clock, entropy, store, http, how
        self.peers = peers
        self.rows: dict[str, Row] = {}
        self.asked_at: float | None = None
        """On its own clock, when it asked for what it knows; None: it never did since it started."""
        self.lock = asyncio.Lock()
        self.working: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        connection = self.store.connection
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'licence'").fetchone():
            connection.executescript(DDL)
        self.rows = {row[0]: row for row in connection.execute("SELECT * FROM licence")}
        self.begin()
        yield

    def begin(self) -> None:
        """What it does by itself."""

    def go(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.working.add(task)
        task.add_done_callback(self.working.discard)

    @property
    def seq(self) -> int:
        return max((row[3] for row in self.rows.values()), default=0)

    async def keep(self, rows: list[Row]) -> None:
        await self.store.commit(write, rows)
        self.rows |= {row[0]: row for row in rows}

    def answer(self, status: int, **body: Any) -> JSONResponse:
        return JSONResponse({**body, "time": self.clock()}, status)


class Leader(Node):
    async def issue(self, request: Request) -> JSONResponse:
        asked = (await request.json())["request"]
        async with self.lock:
            name = next((row[0] for row in self.rows.values() if row[1] == asked), None)
            if name is None:
                name = "lic_" + self.entropy(6).hex()
                await self.keep([(name, asked, 0, self.seq + 1)])
        return self.answer(201, id=name)

    async def revoke(self, request: Request) -> JSONResponse:
        name = (await request.json())["key"]
        async with self.lock:
            if name not in self.rows:
                return self.answer(404, code="unknown-licence")
            row = (name, self.rows[name][1], 1, self.seq + 1)
            await self.keep([row])
        for url in self.peers.values():
            self.go(self.push(url, row))
        return self.answer(200)

    async def push(self, url: str, row: Row) -> None:
        try:
            await self.http.request("POST", f"{url}/push", json={"rows": [row]})
        except OSError:
            return  # the follower asks anyway

    async def feed(self, request: Request) -> JSONResponse:
        after = int(request.query_params["after"])
        return self.answer(200, rows=[row for row in self.rows.values() if row[3] > after])


class Follower(Node):
    def begin(self) -> None:
        self.go(self.follow())

    async def follow(self) -> None:
        (leader,) = self.peers.values()
        while True:
            asked_at = self.clock()
            try:
                said = await self.http.request("GET", f"{leader}/feed", params={"after": self.seq})
                await self.take(said.json()["rows"])
                self.asked_at = asked_at
            except (OSError, ValueError, KeyError, sqlite3.Error):
                pass  # as old as it was
            await asyncio.sleep(BEAT)

    async def take(self, rows: list[list[Any]]) -> None:
        new = [(str(name), str(asked), int(revoked), int(seq)) for name, asked, revoked, seq in rows]
        new = [row for row in new if row[0] not in self.rows or row[3] > self.rows[row[0]][3]]
        if new:
            await self.keep(new)

    async def push(self, request: Request) -> JSONResponse:
        # Only what follows the last one known: a gap would hide what the feed still has to bring.
        rows = [row for row in (await request.json())["rows"] if row[3] == self.seq + 1]
        await self.take(rows)
        return self.answer(200)

    async def validate(self, request: Request) -> JSONResponse:
        stale = None if self.asked_at is None else self.clock() - self.asked_at
        if stale is None or (stale > BOUND and "forever" not in self.how):
            return self.answer(503, code="stale", stale=stale)
        row = self.rows.get((await request.json())["key"])
        if row is None:
            return self.answer(404, code="unknown-licence", stale=stale)
        return self.answer(403, code="revoked", stale=stale) if row[2] else self.answer(200, stale=stale)


def simulated(
    clock: Callable[[], float],
    entropy: Callable[[int], bytes],
    keys: bytes,
    store: Any,
    *,
    node: str,
    peers: Mapping[str, str],
    http: Any,
    **how: str,
) -> Starlette:
    """One node of the pair."""
    made = (Leader if node == LEADER else Follower)(clock, entropy, store, peers=peers, http=http, how=how)
    paths = ("issue", "revoke") if node == LEADER else ("validate", "push")
    routes = [Route(f"/{path}", getattr(made, path), methods=["POST"]) for path in paths]
    if isinstance(made, Leader):
        routes.append(Route("/feed", made.feed))
    return Starlette(routes=routes, lifespan=made.lifespan)


class PairAdapter(Adapter):
    """Orders from the leader, asks the follower. A licence the follower does not know yet is no refusal."""

    capabilities: ClassVar = {Cap.ISSUE, Cap.IDEMPOTENCY, Cap.VALIDATE, Cap.REVOKE}
    contract = Contract(revocation_bound=BOUND, clock_tolerance=0.05)
    stale: ClassVar[list[float | None]] = []
    """How old the follower said its knowledge was, answer by answer."""

    def open(self, target: Target) -> None:
        self.http, self.nodes = target.http, target.nodes

    async def _post(self, node: str, path: str, **body: Any) -> Any:
        response = await self.http.request("POST", f"{self.nodes[node]}/{path}", json=body)
        said = response.json() if response.status_code < 500 or path == "validate" else {}
        if path == "validate":
            self.stale.append(said.get("stale"))
        if response.status_code >= 500 or said.get("code") == "unknown-licence":
            raise Indeterminate(response)
        return Denied(said["code"], server_time=said["time"]) if "code" in said else said

    async def issue(self, spec: LicenceSpec) -> Grant | Denied:
        said = await self._post(LEADER, "issue", request=spec.idempotency_key)
        return said if isinstance(said, Denied) else Grant(id=said["id"], key=said["id"], server_time=said["time"])

    async def revoke(self, grant: Grant) -> Allowed | Denied:
        said = await self._post(LEADER, "revoke", key=grant.key)
        return said if isinstance(said, Denied) else Allowed(server_time=said["time"])

    async def validate(self, key: str, machine: str | None = None) -> Allowed | Denied:
        said = await self._post(FOLLOWER, "validate", key=key)
        return said if isinstance(said, Denied) else Allowed(server_time=said["time"])
