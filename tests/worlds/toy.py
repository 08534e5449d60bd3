"""A licensing server of one page, and its adapter: what the simulated world is tried with.

Options: ``race=1`` checks for a free seat, waits 2 ms, then takes it.
``early=1`` answers an issue before the fsync. ``boom=1`` raises in validate.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

from starlette.applications import Starlette
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
    Target,
)
from licensing_harness.target.adapter import Http

DDL = """
CREATE TABLE licence (id TEXT PRIMARY KEY, request TEXT UNIQUE, seats INTEGER, revoked INTEGER);
CREATE TABLE seat (licence TEXT, device TEXT, PRIMARY KEY (licence, device));
CREATE TABLE event (seq INTEGER PRIMARY KEY, action TEXT, licence TEXT);
"""


def simulated(clock, entropy, keys, store, race="", early="", boom="", sleepy="", quiet=""):
    """The toy as a simulated target."""
    licences: dict[str, dict] = {}
    by_request: dict[str, str] = {}
    state = {"seq": 0, "lock": None}

    def write(connection, rows):
        for statement, values in rows:
            connection.execute(statement, values)

    def event(action, licence):
        state["seq"] += 1
        return ("INSERT INTO event VALUES (?, ?, ?)", (state["seq"], action, licence))

    @asynccontextmanager
    async def lifespan(app):
        connection = store.connection
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'licence'").fetchone():
            connection.executescript(DDL)
            app.state.secrets = {"toy_secret": "toy-" + entropy(8).hex()}
        for name, request, seats, revoked in connection.execute("SELECT * FROM licence"):
            licences[name] = {"seats": seats, "revoked": bool(revoked), "holders": set()}
            by_request[request] = name
        for name, device in connection.execute("SELECT * FROM seat"):
            licences[name]["holders"].add(device)
        state["seq"] = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
        state["lock"] = asyncio.Lock()
        yield

    def answer(status, **body):
        return JSONResponse({**body, "time": clock()}, status)

    async def issue(request):
        asked = await request.json()
        async with state["lock"]:
            name = by_request.get(asked["request"])
            if name is None:
                name = "lic_" + entropy(6).hex()
                rows = [
                    ("INSERT INTO licence VALUES (?, ?, ?, 0)", (name, asked["request"], asked["seats"])),
                    event("issue", name),
                ]
                if early:
                    state["late"] = asyncio.create_task(store.commit(write, rows))
                else:
                    await store.commit(write, rows)
                licences[name] = {"seats": asked["seats"], "revoked": False, "holders": set()}
                by_request[asked["request"]] = name
        return answer(201, id=name)

    async def validate(request):
        if boom:
            raise RuntimeError("boom")
        if sleepy:
            await asyncio.sleep(float(sleepy))
        if quiet:
            await asyncio.Event().wait()
        licence = licences.get((await request.json())["key"])
        if licence is None:
            return answer(404, code="unknown-licence")
        return answer(403, code="revoked") if licence["revoked"] else answer(200)

    async def activate(request):
        asked = await request.json()
        licence = licences.get(asked["key"])
        if licence is None:
            return answer(404, code="unknown-licence")
        if race:
            return await take(licence, asked)
        async with state["lock"]:
            return await take(licence, asked)

    async def take(licence, asked):
        if licence["revoked"]:
            return answer(403, code="revoked")
        if asked["device"] in licence["holders"]:
            return answer(200)
        if len(licence["holders"]) >= licence["seats"]:
            return answer(409, code="no-free-seat")
        if race:
            await asyncio.sleep(0.002)
        insert = ("INSERT OR REPLACE INTO seat VALUES (?, ?)", (asked["key"], asked["device"]))
        await store.commit(write, [insert, event("activate", asked["key"])])
        licence["holders"].add(asked["device"])
        return answer(200)

    async def release(request):
        asked = await request.json()
        async with state["lock"]:
            licence = licences.get(asked["key"])
            if licence is None or asked["device"] not in licence["holders"]:
                return answer(409, code="no-such-seat")
            delete = ("DELETE FROM seat WHERE licence = ? AND device = ?", (asked["key"], asked["device"]))
            await store.commit(write, [delete, event("release", asked["key"])])
            licence["holders"].discard(asked["device"])
        return answer(200)

    async def revoke(request):
        name = (await request.json())["key"]
        async with state["lock"]:
            if name not in licences:
                return answer(404, code="unknown-licence")
            update = ("UPDATE licence SET revoked = 1 WHERE id = ?", (name,))
            await store.commit(write, [update, event("revoke", name)])
            licences[name]["revoked"] = True
        return answer(200)

    async def audit(request):
        after = int(request.query_params.get("after", "0"))
        rows = store.connection.execute("SELECT * FROM event WHERE seq > ? ORDER BY seq", (after,)).fetchall()
        return answer(200, events=rows)

    routes = [
        Route(f"/{each.__name__}", each, methods=["POST"])
        for each in (issue, validate, activate, release, revoke)
    ]
    return Starlette(routes=[*routes, Route("/audit", audit)], lifespan=lifespan)


class ToyAdapter(Adapter):
    """As a user would write it."""

    capabilities = {Cap.ISSUE, Cap.IDEMPOTENCY, Cap.VALIDATE, Cap.REVOKE, Cap.SEATS, Cap.AUDIT}
    contract = Contract(revocation_bound=0, clock_tolerance=0.05)
    http: Http

    def open(self, target: Target) -> None:
        self.http = target.http
        assert target.secret("toy_secret").startswith("toy-")

    async def _post(self, path: str, **body):
        response = await self.http.request("POST", path, json=body)
        if response.status_code >= 500:
            raise Indeterminate(response)
        said = response.json()
        return Denied(said["code"], server_time=said["time"]) if "code" in said else said

    async def issue(self, spec):
        said = await self._post("/issue", request=spec.idempotency_key, seats=spec.seats)
        return said if isinstance(said, Denied) else Grant(id=said["id"], key=said["id"], server_time=said["time"])

    async def _yes(self, path, **body):
        said = await self._post(path, **body)
        return said if isinstance(said, Denied) else Allowed(server_time=said["time"])

    async def validate(self, key, machine=None):
        return await self._yes("/validate", key=key)

    async def revoke(self, grant):
        return await self._yes("/revoke", key=grant.key)

    async def activate(self, key, machine):
        return await self._yes("/activate", key=key, device=machine)

    async def release(self, key, machine):
        return await self._yes("/release", key=key, device=machine)

    async def audit_log(self, after, licences):
        response = await self.http.request("GET", "/audit", params={"after": after})
        return AuditPage([AuditEntry(seq=n, actor="toy", action=what, licence=name) for n, what, name in response.json()["events"]])


TOY = "asgi:toy:simulated"


async def plain_app(scope, receive, send):
    """An application that is no factory."""
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


def parse(line: bytes):
    """JSON of one record."""
    return json.loads(line)
