"""Over HTTP: licences, seats, tokens, who may change things, and the server's own condition."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from server_inside import ISSUE, Caller, Disk, Hand, run, running

MUTATIONS = [
    ("POST", "/v1/licences"),
    *(("POST", f"/v1/licences/lic_a/{verb}") for verb in ("renew", "suspend", "reinstate", "revoke")),
    *(("POST", f"/v1/seats/{verb}") for verb in ("activate", "heartbeat", "release")),
    ("POST", "/v1/api-tokens"),
    ("DELETE", "/v1/api-tokens/tok_a"),
]
READS = [("GET", f"/v1/{each}") for each in ("licences", "licences/lic_a", "audit", "api-tokens")]


def test_a_licence_lives_and_ends(disk: Disk, clock: Hand) -> None:
    """Issued, renewed, suspended, reinstated, run out, revoked: each answer says how it stands, and validate agrees."""

    async def body() -> None:
        async with running(disk, clock) as call:
            licence = await call.issue(features=["pro", "base"], seats=3)
            path = f"/v1/licences/{licence['id']}"
            now = int(clock.now * 1000)
            assert {name: value for name, value in licence.items() if name not in {"id", "key"}} == {
                **{name: value for name, value in ISSUE.items() if name != "duration"},
                "features": ["pro", "base"],
                "seats": 3,
                "status": "active",
                "issued_at": now,
                "expires_at": now + 60_000,
            }
            assert (await call.validate(licence)) == {
                "valid": True,
                "reason": None,
                "features": ["pro", "base"],
                "expires_at": now + 60_000,
                "status": "active",
                "as_of": 2,
                "server_time": now,
            }
            for verb, body_, status in (
                ("suspend", {"reason": "unpaid"}, "suspended"),
                ("reinstate", {"reason": "paid"}, "active"),
                ("renew", {"duration": 5_000}, "active"),
            ):
                answered = await call("POST", f"{path}/{verb}", body_)
                assert (answered.status, answered.json["licence"]["status"]) == (200, status)
                assert "key" not in answered.json["licence"]
            clock.now += 5
            assert (await call.validate(licence))["reason"] == "expired"
            assert (await call("GET", path)).json["licence"]["status"] == "expired"
            answered = await call("POST", f"{path}/revoke", {"reason": "fraud"})
            assert answered.json["licence"]["status"] == "revoked"
            found = await call.validate(licence)
            assert (found["valid"], found["reason"], found["features"]) == (False, "revoked", [])
            for verb, body_ in (("revoke", {"reason": ""}), ("renew", {"duration": 1}), ("reinstate", {"reason": ""})):
                again = await call("POST", f"{path}/{verb}", body_)
                assert (again.status, again.code) == (409, "revoked")

    run(body())


def test_seats_are_shared_by_devices(disk: Disk, clock: Hand) -> None:
    """Two seats for three devices, with leases of two seconds."""

    async def body() -> None:
        async with running(disk, clock, lease="2") as call:
            licence = await call.issue(seats=2)
            until = int(clock.now * 1000) + 2_000
            first = await call.seat("activate", licence, "a")
            assert first.json == {"lease_until": until, "seats_taken": 1, "seats": 2, "server_time": until - 2_000}
            await call.seat("activate", licence, "b")
            third = await call.seat("activate", licence, "c")
            assert (third.status, third.code) == (409, "no-free-seat")
            clock.now += 1
            assert (await call.seat("heartbeat", licence, "a")).json["lease_until"] == until + 1_000
            clock.now += 1
            late = await call.seat("heartbeat", licence, "b")
            assert (late.status, late.code) == (409, "no-such-seat")
            assert (await call.seat("activate", licence, "c")).json["seats_taken"] == 2
            assert (await call.seat("release", licence, "a")).json["seats_taken"] == 1
            await call("POST", f"/v1/licences/{licence['id']}/suspend", {"reason": ""})
            refused = await call.seat("heartbeat", licence, "c")
            assert (refused.status, refused.code) == (403, "suspended")
            assert (await call.seat("release", licence, "c")).status == 200
            unknown = await call.seat("activate", {"key": "lic_a.xyz"}, "a")
            assert (unknown.status, unknown.code) == (404, "unknown-licence")

    run(body())


def test_an_idempotency_key_makes_one_licence(disk: Disk, clock: Hand) -> None:
    """Same key and request: same answer and one event, at the same time, later, and after a restart."""

    async def body() -> None:
        async with running(disk, clock) as call:
            first, second = await asyncio.gather(call.issue("k"), call.issue("k"))
            clock.now += 10
            assert first == second == await call.issue("k")
            other = await call("POST", "/v1/licences", {**ISSUE, "seats": 2}, headers={"idempotency-key": "k"})
            assert (other.status, other.code) == (409, "idempotency-conflict")
            token = call.token
        async with running(disk, clock, token) as call:
            assert first == await call.issue("k")
            actions = [each["event"]["action"] for each in await call.audit()]
            assert actions == ["api-token.create", "issue"]
            named = (await call("POST", "/v1/api-tokens", {"name": "other"})).json["api_token"]
            elsewhere = Caller(call.app, named["secret"])
            assert (await elsewhere.issue("k"))["id"] != first["id"], "a key belongs to its actor"

    run(body())


def test_a_refusal_is_not_kept_under_the_key(disk: Disk, clock: Hand) -> None:
    """No seat was free; with the same key it may be tried again, and then the answer stays."""

    async def body() -> None:
        async with running(disk, clock) as call:
            licence = await call.issue()
            await call.seat("activate", licence, "a")
            want = {"key": licence["key"], "device": "b"}

            async def again() -> Any:
                return await call("POST", "/v1/seats/activate", want, headers={"idempotency-key": "s"})

            assert (await again()).code == "no-free-seat"
            await call.seat("release", licence, "a")
            taken = await again()
            assert taken.status == 200
            clock.now += 1
            assert (await again()).json == taken.json

    run(body())


def test_state_survives_a_restart(disk: Disk, clock: Hand) -> None:
    """Licences, leases, tokens and time itself: a clock that was set back meanwhile does not bring anything back."""

    async def body() -> None:
        async with running(disk, clock, lease="2") as call:
            licence = await call.issue(duration=None)
            gone = await call.issue()
            await call.seat("activate", licence, "a")
            clock.now += 1
            await call("POST", f"/v1/licences/{gone['id']}/revoke", {"reason": ""})
            token, before = call.token, (await call("GET", "/v1/licences")).json
        clock.now -= 100
        async with running(disk, clock, token, lease="2") as call:
            assert (await call("GET", "/v1/licences")).json == before
            assert (await call.seat("activate", licence, "b")).code == "no-free-seat"
            assert (await call.validate(gone))["reason"] == "revoked"
            assert (await call.validate(licence))["server_time"] == before["server_time"]
            clock.now += 102
            assert (await call.seat("activate", licence, "b")).status == 200

    run(body())


def test_tokens_are_validated_online(disk: Disk, clock: Hand) -> None:
    """A token says yes while it and its licence are in force; every bad one gets one and the same no."""

    async def body() -> None:
        async with running(disk, clock, token_lifetime="3") as call:
            licence = await call.issue()
            made = (await call("POST", "/v1/tokens", {"key": licence["key"]}, auth=None)).json
            token = made["token"]
            assert made["expires_at"] == int(clock.now) * 1000 + 3_000

            async def ask(text: str) -> dict[str, Any]:
                answered: dict[str, Any] = (await call("POST", "/v1/validate", {"token": text}, auth=None)).json
                return answered

            assert [(await ask(token))["valid"] for _ in range(2)] == [True, True]
            no = {"valid": False, "reason": "invalid-token", "features": [], "expires_at": None, "status": None}
            for bad in (token[:-2], "x", f"{token}=", licence["key"]):
                assert no.items() <= (await ask(bad)).items()
            clock.now += 3
            assert no.items() <= (await ask(token)).items()
            fresh = (await call("POST", "/v1/tokens", {"key": licence["key"]}, auth=None)).json["token"]
            await call("POST", f"/v1/licences/{licence['id']}/revoke", {"reason": ""})
            assert (await ask(fresh))["reason"] == "revoked"
            refused = await call("POST", "/v1/tokens", {"key": licence["key"]}, auth=None)
            assert (refused.status, refused.code) == (403, "revoked")
            keys = (await call("GET", "/.well-known/jwks.json", auth=None)).json["keys"]
            assert [set(each) for each in keys] == [{"kty", "crv", "x", "kid", "use", "alg"}]

    run(body())


@pytest.mark.parametrize(("method", "path"), MUTATIONS + READS)
def test_what_changes_or_tells_needs_an_api_token(disk: Disk, clock: Hand, method: str, path: str) -> None:
    """Without one, with a wrong one and with a revoked one: 401, and nothing is done."""

    async def body() -> None:
        async with running(disk, clock) as call:
            revoked = (await call("POST", "/v1/api-tokens", {"name": "gone"})).json["api_token"]
            assert (await call("DELETE", f"/v1/api-tokens/{revoked['id']}")).status == 200
            before = await call.audit()
            for auth in (None, "wrong", revoked["secret"]):
                answered = await call(method, path, {}, auth=auth, headers={"idempotency-key": "k"})
                assert (answered.status, answered.code) == (401, "not-authorised")
                assert answered.headers["www-authenticate"] == "Bearer"
            basic = await call(method, path, {}, auth=None, headers={"authorization": f"Basic {call.token}"})
            assert basic.status == 401
            assert await call.audit() == before

    run(body())


def test_every_change_names_the_one_who_made_it(disk: Disk, clock: Hand) -> None:
    """The actor of an event is the id of the API token; a token's own making and end are events too."""

    async def body() -> None:
        async with running(disk, clock) as call:
            made = (await call("POST", "/v1/api-tokens", {"name": "ci"})).json["api_token"]
            await Caller(call.app, made["secret"]).issue("k")
            await call("DELETE", f"/v1/api-tokens/{made['id']}")
            listed = (await call("GET", "/v1/api-tokens")).json["api_tokens"]
            first = listed[0]["id"]
            assert [each["name"] for each in listed] == ["first", "ci"]
            assert all("secret" not in each for each in listed)
            assert [(each["event"]["actor"], each["event"]["action"]) for each in await call.audit()] == [
                ("server", "api-token.create"),
                (first, "api-token.create"),
                (made["id"], "issue"),
                (first, "api-token.revoke"),
            ]
            last = await call("DELETE", f"/v1/api-tokens/{first}")
            assert (last.status, last.code) == (409, "last-api-token")

    run(body())


def test_lists_come_in_pages(disk: Disk, clock: Hand) -> None:
    """Oldest first; ``next`` leads on and is null at the end; the status filters."""

    async def body() -> None:
        async with running(disk, clock) as call:
            made = [(await call.issue())["id"] for _ in range(5)]
            await call("POST", f"/v1/licences/{made[1]}/revoke", {"reason": ""})
            found, after = [], ""
            while True:
                page = (await call("GET", "/v1/licences", query=f"limit=2&after={after}")).json
                found += [each["id"] for each in page["licences"]]
                after = page["next"]
                if after is None:
                    break
            assert found == made
            revoked = (await call("GET", "/v1/licences", query="status=revoked")).json
            assert [each["id"] for each in revoked["licences"]] == [made[1]]
            trail = (await call("GET", "/v1/audit", query="after=2&limit=3")).json
            assert [each["event"]["seq"] for each in trail["events"]] == [3, 4, 5]
            assert trail["head"] == {"seq": 7, "hash": (await call.audit())[-1]["hash"]}

    run(body())


def test_readiness_tells_the_truth(disk: Disk, clock: Hand) -> None:
    """Ready while the store commits, 503 when it fails or hangs, ready again after; health says only that we live."""

    async def body() -> None:
        async with running(disk, clock) as call:
            assert (await call("GET", "/ready", auth=None)).status == 200
            commits = disk.commits
            assert (await call("GET", "/ready", auth=None)).status == 200
            assert disk.commits == commits, "a commit of the last second is proof enough"
            clock.now += 2
            disk.failing = OSError("the disk is gone")
            for _ in range(2):
                answered = await call("GET", "/ready", auth=None)
                assert (answered.status, answered.code) == (503, "store-unavailable")
                assert answered.headers["retry-after"] == "1"
            assert (await call("GET", "/health", auth=None)).status == 200
            disk.failing, disk.gate = None, asyncio.Event()
            clock.now += 2
            assert (await call("GET", "/ready", auth=None)).status == 503
            disk.gate.set()
            await asyncio.sleep(0)
            assert (await call("GET", "/ready", auth=None)).status == 200

    run(body())


def test_health_notices_a_dead_writer(disk: Disk, clock: Hand) -> None:
    """A server whose writer has stopped can do nothing useful."""

    async def body() -> None:
        async with running(disk, clock) as call:
            writer = call.app.service.running
            assert writer is not None
            writer.cancel()
            await asyncio.sleep(0)
            assert (await call("GET", "/health", auth=None)).status == 503

    run(body())


def test_a_bug_is_a_500_without_its_secrets(disk: Disk, clock: Hand, caplog: pytest.LogCaptureFixture) -> None:
    """The caller hears of it, the log has it, and the server goes on."""

    async def body() -> None:
        async with running(disk, clock) as call:

            def broken(*_: object) -> Any:
                raise ZeroDivisionError("secret")

            service = call.app.service
            sound, service.validate = service.validate, broken
            answered = await call("POST", "/v1/validate", {"key": "x"}, auth=None)
            assert (answered.status, answered.code) == (500, "internal-error")
            assert "secret" not in json.dumps(answered.json)
            service.validate = sound
            assert (await call.validate({"key": "x"}))["reason"] == "unknown-licence"

    run(body())
    assert "ZeroDivisionError" in caplog.text
