"""Helpers of the server's tests: a simulated disk, a server driven through its ASGI app, a database of each kind."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy

from reference_server.composition import simulated
from reference_server.http.app import LicensingApp
from reference_server.keys import make_pem
from reference_server.store.adapter import Store
from reference_server.store.rows import Rows

PEM = make_pem(lambda count: bytes(range(count)))
START = 1_800_000_000.0
ISSUE = {"plan": "standard", "seats": 1, "features": ["base"], "duration": 60_000, "customer": "somebody"}


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


def counted() -> Callable[[int], bytes]:
    """Entropy that repeats in every run: SHA-256 of a counter."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha256(str(count).encode()).digest()[:size]

    return draw


class Disk:
    """A disk in memory that commits at once, or fails as it is told."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.failing: Exception | None = None
        self.applied = False
        self.commits = 0
        self.gate: asyncio.Event | None = None

    async def commit(self, write: Callable[[Any, Rows], None], rows: Rows) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.failing is None or self.applied:
            self.connection.execute("BEGIN IMMEDIATE")
            write(self.connection, rows)
            self.connection.execute("COMMIT")
            self.commits += 1
        if self.failing is not None:
            raise self.failing

    def close(self) -> None:
        self.connection.close()


@dataclass
class Answered:
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    json: Any

    @property
    def code(self) -> str:
        return str(self.json["code"])


@dataclass
class Caller:
    """Calls an ASGI app as its only client."""

    app: LicensingApp
    token: str
    used: list[str] = field(default_factory=list)

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        auth: str | None = "",
    ) -> Answered:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", **(headers or {})}
        if auth is not None:
            given["authorization"] = f"Bearer {auth or self.token}"
        chunks = [raw[at : at + 16_384] for at in range(0, len(raw), 16_384)] or [b""]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        await self.app(scope, receive, send)
        start, *parts = sent
        text = b"".join(part.get("body", b"") for part in parts)
        headers_of = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answered(start["status"], headers_of, json.loads(text))

    async def issue(self, key: str = "", **changed: Any) -> dict[str, Any]:
        """Issue a licence, under a new idempotency key unless one is given; returns the licence."""
        self.used.append(key or f"key-{len(self.used)}")
        answered = await self("POST", "/v1/licences", {**ISSUE, **changed}, headers={"idempotency-key": self.used[-1]})
        assert answered.status == 201, answered.json
        licence: dict[str, Any] = answered.json["licence"]
        return licence

    async def seat(self, verb: str, licence: Mapping[str, Any], device: str) -> Answered:
        return await self("POST", f"/v1/seats/{verb}", {"key": licence["key"], "device": device})

    async def validate(self, licence: Mapping[str, Any]) -> dict[str, Any]:
        answered = await self("POST", "/v1/validate", {"key": licence["key"]}, auth=None)
        assert answered.status == 200, answered.json
        found: dict[str, Any] = answered.json
        return found

    async def audit(self) -> list[dict[str, Any]]:
        answered = await self("GET", "/v1/audit", query="limit=1000")
        events: list[dict[str, Any]] = answered.json["events"]
        return events


@asynccontextmanager
async def running(disk: Disk, clock: Callable[[], float], token: str = "", **options: str) -> AsyncIterator[Caller]:
    """A simulated server on the disk, started, and stopped in order at the end."""
    app = simulated(clock, counted() if not token else _other(), PEM, disk, **options)
    async with app.router.lifespan_context(app):
        yield Caller(app, app.state.secrets.get("api_token", token))


def _other() -> Callable[[int], bytes]:
    """Entropy of a restarted server: it must not draw the ids of the first one."""
    draw = counted()
    return lambda size: hashlib.sha256(b"again" + draw(32)).digest()[:size]


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; a test that hangs fails."""
    asyncio.run(asyncio.wait_for(coroutine, 30))


class Database(Protocol):
    """A database of one kind, empty at first."""

    url: str

    def store(self) -> Store: ...

    def engine(self) -> sqlalchemy.Engine: ...


class SqliteDatabase:
    def __init__(self, path: Path) -> None:
        self.url = str(path)

    def store(self) -> Store:
        from reference_server.store.sqlite import SqliteStore

        return SqliteStore(Path(self.url), busy_ms=100)

    def engine(self) -> sqlalchemy.Engine:
        return sqlalchemy.create_engine(f"sqlite:///{self.url}", poolclass=sqlalchemy.NullPool)


class PostgresqlDatabase:
    def __init__(self, url: str) -> None:
        self.url = url

    def store(self) -> Store:
        from reference_server.store.postgresql import PostgresqlStore

        return PostgresqlStore(self.url)

    def engine(self) -> sqlalchemy.Engine:
        url = self.url.replace("postgresql://", "postgresql+psycopg://", 1)
        return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
