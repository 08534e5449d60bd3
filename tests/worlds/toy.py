"""A licensing server of one page, and its adapter: what the simulated world is tried with.

Options of the server, each a mistake: ``race=1`` checks for a free seat, waits
2 ms, then takes it; ``early=1`` answers an issue before the fsync; ``boom=1``
raises in validate; ``sleepy=S`` waits S seconds in validate; ``quiet=1`` waits
there for ever; ``still=1`` does not start.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from licensing_harness import (
    Adapter,
    Allowed,
    AuditEntry,
    AuditPage,
    Cap,
    Contract,
    Denied,
    Grant,
    Indeterminate,
    LicenceSpec,
    Target,
)
from licensing_harness.history import Header, HistoryWriter
from licensing_harness.masking import Masker
from licensing_harness.target.adapter import Http
from licensing_harness.worlds.simulated import SimulatedWorld
from licensing_harness.worlds.story import Setting

TOY = "asgi:toy:simulated"

DDL = """
CREATE TABLE licence (id TEXT PRIMARY KEY, request TEXT UNIQUE, seats INTEGER, revoked INTEGER);
CREATE TABLE seat (licence TEXT, device TEXT, PRIMARY KEY (licence, device));
CREATE TABLE event (seq INTEGER PRIMARY KEY, action TEXT, licence TEXT);
"""

Row = tuple[str, tuple[Any, ...]]


def write(connection: sqlite3.Connection, rows: list[Row]) -> None:
    for statement, values in rows:
        connection.execute(statement, values)


class Toy:
    """The server. Its books are read anew at every start."""

    def __init__(
        self, clock: Callable[[], float], entropy: Callable[[int], bytes], store: Any, how: dict[str, str]
    ) -> None:
        self.clock, self.entropy, self.store, self.how = clock, entropy, store, how
        self.licences: dict[str, dict[str, Any]] = {}
        self.by_request: dict[str, str] = {}
        self.seq = 0
        self.lock = asyncio.Lock()
        self.late: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        connection = self.store.connection
        if "still" in self.how:
            raise RuntimeError("still asleep")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'licence'").fetchone():
            connection.executescript(DDL)
            app.state.secrets = {"toy_secret": "toy-" + self.entropy(8).hex()}
        for name, request, seats, revoked in connection.execute("SELECT * FROM licence"):
            self.licences[name] = {"seats": seats, "revoked": bool(revoked), "holders": set()}
            self.by_request[request] = name
        for name, device in connection.execute("SELECT * FROM seat"):
            self.licences[name]["holders"].add(device)
        self.seq = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
        yield

    def answer(self, status: int, **body: Any) -> JSONResponse:
        return JSONResponse({**body, "time": self.clock()}, status)

    def event(self, action: str, licence: str) -> Row:
        self.seq += 1
        return "INSERT INTO event VALUES (?, ?, ?)", (self.seq, action, licence)

    async def issue(self, request: Request) -> JSONResponse:
        asked = await request.json()
        async with self.lock:
            name = self.by_request.get(asked["request"])
            if name is None:
                name = "lic_" + self.entropy(6).hex()
                insert = "INSERT INTO licence VALUES (?, ?, ?, 0)", (name, asked["request"], asked["seats"])
                saving = self.store.commit(write, [insert, self.event("issue", name)])
                if "early" in self.how:
                    self.late = asyncio.create_task(saving)
                else:
                    await saving
                self.licences[name] = {"seats": asked["seats"], "revoked": False, "holders": set()}
                self.by_request[asked["request"]] = name
        return self.answer(201, id=name)

    async def validate(self, request: Request) -> JSONResponse:
        if "boom" in self.how:
            raise RuntimeError("boom")
        if "sleepy" in self.how:
            await asyncio.sleep(float(self.how["sleepy"]))
        if "quiet" in self.how:
            await asyncio.Event().wait()
        licence = self.licences.get((await request.json())["key"])
        if licence is None:
            return self.answer(404, code="unknown-licence")
        return self.answer(403, code="revoked") if licence["revoked"] else self.answer(200)

    async def activate(self, request: Request) -> JSONResponse:
        asked = await request.json()
        if "race" in self.how:
            return await self.take(asked)
        async with self.lock:
            return await self.take(asked)

    async def take(self, asked: dict[str, str]) -> JSONResponse:
        licence = self.licences.get(asked["key"])
        if licence is None:
            return self.answer(404, code="unknown-licence")
        if licence["revoked"]:
            return self.answer(403, code="revoked")
        if asked["device"] in licence["holders"]:
            return self.answer(200)
        if len(licence["holders"]) >= licence["seats"]:
            return self.answer(409, code="no-free-seat")
        if "race" in self.how:
            await asyncio.sleep(0.002)
        insert = "INSERT INTO seat VALUES (?, ?)", (asked["key"], asked["device"])
        await self.store.commit(write, [insert, self.event("activate", asked["key"])])
        licence["holders"].add(asked["device"])
        return self.answer(200)

    async def release(self, request: Request) -> JSONResponse:
        asked = await request.json()
        async with self.lock:
            licence = self.licences.get(asked["key"])
            if licence is None or asked["device"] not in licence["holders"]:
                return self.answer(409, code="no-such-seat")
            delete = "DELETE FROM seat WHERE licence = ? AND device = ?", (asked["key"], asked["device"])
            await self.store.commit(write, [delete, self.event("release", asked["key"])])
            licence["holders"].discard(asked["device"])
        return self.answer(200)

    async def revoke(self, request: Request) -> JSONResponse:
        name = (await request.json())["key"]
        async with self.lock:
            if name not in self.licences:
                return self.answer(404, code="unknown-licence")
            update = "UPDATE licence SET revoked = 1 WHERE id = ?", (name,)
            await self.store.commit(write, [update, self.event("revoke", name)])
            self.licences[name]["revoked"] = True
        return self.answer(200)

    async def audit(self, request: Request) -> JSONResponse:
        after = int(request.query_params.get("after", "0"))
        events = self.store.connection.execute("SELECT * FROM event WHERE seq > ? ORDER BY seq", (after,)).fetchall()
        return self.answer(200, events=events)


def simulated(
    clock: Callable[[], float], entropy: Callable[[int], bytes], keys: bytes, store: Any, **how: str
) -> Starlette:
    """The toy as a simulated target."""
    assert keys.startswith(b"-----BEGIN PRIVATE KEY-----")
    unknown = set(how) - {"race", "early", "boom", "sleepy", "quiet", "still"}
    if unknown:
        raise ValueError(f"no option {unknown.pop()!r}")
    toy = Toy(clock, entropy, store, how)
    posts = [toy.issue, toy.validate, toy.activate, toy.release, toy.revoke]
    routes = [Route(f"/{each.__name__}", each, methods=["POST"]) for each in posts]
    return Starlette(routes=[*routes, Route("/audit", toy.audit)], lifespan=toy.lifespan)


class ToyAdapter(Adapter):
    """As a user would write it."""

    capabilities: ClassVar = {Cap.ISSUE, Cap.IDEMPOTENCY, Cap.VALIDATE, Cap.REVOKE, Cap.SEATS, Cap.AUDIT}
    contract = Contract(revocation_bound=0, clock_tolerance=0.05)
    http: Http

    def open(self, target: Target) -> None:
        self.http = target.http
        assert target.secret("toy_secret").startswith("toy-")

    async def _post(self, path: str, **body: Any) -> Any:
        response = await self.http.request("POST", path, json=body)
        if response.status_code >= 500:
            raise Indeterminate(response)
        said = response.json()
        return Denied(said["code"], server_time=said["time"]) if "code" in said else said

    async def _yes(self, path: str, **body: Any) -> Allowed | Denied:
        said = await self._post(path, **body)
        return said if isinstance(said, Denied) else Allowed(server_time=said["time"])

    async def issue(self, spec: LicenceSpec) -> Grant | Denied:
        said = await self._post("/issue", request=spec.idempotency_key, seats=spec.seats)
        return said if isinstance(said, Denied) else Grant(id=said["id"], key=said["id"], server_time=said["time"])

    async def validate(self, key: str, machine: str | None = None) -> Allowed | Denied:
        return await self._yes("/validate", key=key)

    async def revoke(self, grant: Grant) -> Allowed | Denied:
        return await self._yes("/revoke", key=grant.key)

    async def activate(self, key: str, machine: str) -> Allowed | Denied:
        return await self._yes("/activate", key=key, device=machine)

    async def release(self, key: str, machine: str) -> Allowed | Denied:
        return await self._yes("/release", key=key, device=machine)

    async def audit_log(self, after: int, licences: frozenset[str]) -> AuditPage:
        response = await self.http.request("GET", "/audit", params={"after": after})
        events = response.json()["events"]
        return AuditPage([AuditEntry(seq=n, actor="toy", action=action, licence=name) for n, action, name in events])


def world(target: str = TOY, *, adapter: type[Adapter] = ToyAdapter, seed: int = 1, **setting: Any) -> SimulatedWorld:
    """A simulated world that keeps no file."""
    writer = HistoryWriter(None, Header())
    return SimulatedWorld(
        target, Setting(adapter=adapter, writer=writer, masker=Masker(), seed=seed, tag="toy", **setting)
    )


async def plain_app(scope: Any, receive: Any, send: Any) -> None:
    """An application that is no factory."""


def wrong_arguments(clock: Any) -> None:
    """A factory that takes something else."""


def makes_nothing(clock: Any, entropy: Any, keys: Any, store: Any) -> None:
    """A factory that makes no application."""
