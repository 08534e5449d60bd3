"""Over HTTP: strict in what it takes, one form for every error, and never a 500 for what a client sends."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from server_inside import ISSUE, Caller, Disk, Hand, run, running

from reference_server.http import wire
from reference_server.http.app import ROUTES
from reference_server.http.openapi import document
from reference_server.http.problems import PROBLEMS

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
            other = await call(
                "POST", "/v1/licences", {**ISSUE, "seats": 2}, headers={"idempotency-key": "k"}
            )
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


BAD_BODIES = [
    (b"", 400, "malformed-json"),
    (b"{", 400, "malformed-json"),
    (b'{"reason": "\xff"}', 400, "malformed-json"),
    (b'{"reason": "\\ud800"}', 400, "malformed-json"),
    (b'{"reason": "a", "reason": "b"}', 400, "malformed-json"),
    (b'{"reason": NaN}', 400, "malformed-json"),
    (b'\xef\xbb\xbf{"reason": "a"}', 400, "malformed-json"),
    (b'{"reason": "a"} {}', 400, "malformed-json"),
    (b"[" * 50_000, 422, "invalid-request"),
    (b'{"x": ' + b"[" * 50_000, 422, "invalid-request"),
    (b"[]", 422, "invalid-request"),
    (b"null", 422, "invalid-request"),
    (b'{"reason": 1}', 422, "invalid-request"),
    (b'{"reason": "a", "more": 1}', 422, "invalid-request"),
    (b'{"reason": "a\\u0000b"}', 422, "invalid-request"),
    (b'{"reason": "a\\n"}', 422, "invalid-request"),
    (json.dumps({"reason": "x" * 501}).encode(), 422, "invalid-request"),
    (json.dumps({"reason": "x" * 70_000}).encode(), 413, "body-too-large"),
]


@pytest.mark.parametrize(("raw", "status", "code"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_body_that_does_not_fit_changes_nothing(
    disk: Disk, clock: Hand, raw: bytes, status: int, code: str
) -> None:
    """Each is a problem that names the way out."""

    async def body() -> None:
        async with running(disk, clock) as call:
            licence = await call.issue()
            answered = await call("POST", f"/v1/licences/{licence['id']}/revoke", raw)
            assert (answered.status, answered.code) == (status, code)
            assert answered.headers["content-type"] == "application/problem+json"
            assert set(answered.json) == {"type", "title", "status", "code", "detail", "server_time"}
            assert (await call.validate(licence))["valid"]

    run(body())


@pytest.mark.parametrize(
    "changed",
    [
        {"seats": 0},
        {"seats": 100_001},
        {"seats": 1.5},
        {"seats": True},
        {"seats": 2**70},
        {"duration": 0},
        {"duration": 2**60},
        {"features": ["a b"]},
        {"features": ["a\n"]},
        {"features": "base"},
        {"plan": ""},
        {"customer": None},
    ],
    ids=str,
)
def test_a_licence_out_of_bounds_is_not_issued(disk: Disk, clock: Hand, changed: dict[str, Any]) -> None:
    """422, whatever is wrong with it."""

    async def body() -> None:
        async with running(disk, clock) as call:
            answered = await call(
                "POST", "/v1/licences", {**ISSUE, **changed}, headers={"idempotency-key": "k"}
            )
            assert (answered.status, answered.code) == (422, "invalid-request")
            assert len(await call.audit()) == 1

    run(body())


def test_headers_are_read_strictly(disk: Disk, clock: Hand) -> None:
    """No key, an unusable key, a body that is no JSON by its own account."""

    async def body() -> None:
        async with running(disk, clock) as call:
            for headers, status, code in (
                ({}, 400, "idempotency-key-required"),
                ({"idempotency-key": ""}, 400, "idempotency-key-invalid"),
                ({"idempotency-key": "a b"}, 400, "idempotency-key-invalid"),
                ({"idempotency-key": "k" * 201}, 400, "idempotency-key-invalid"),
                ({"idempotency-key": "ü"}, 400, "idempotency-key-invalid"),
                ({"idempotency-key": "k", "content-type": "text/plain"}, 415, "unsupported-media-type"),
                (
                    {"idempotency-key": "k", "content-type": "application/json; charset=latin-1"},
                    415,
                    "unsupported-media-type",
                ),
            ):
                answered = await call("POST", "/v1/licences", ISSUE, headers=headers)
                assert (answered.status, answered.code) == (status, code)
            utf8 = {"idempotency-key": "k", "content-type": 'application/json; charset="UTF-8"'}
            assert (await call("POST", "/v1/licences", ISSUE, headers=utf8)).status == 201

    run(body())


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/licences", "limit=0"),
        ("/v1/licences", "limit=1001"),
        ("/v1/licences", "limit=x"),
        ("/v1/licences", "limit=1&limit=2"),
        ("/v1/licences", "after=lic_nobody"),
        ("/v1/licences", "status=gone"),
        ("/v1/licences", "limit=%ff"),
        ("/v1/audit", "after=-1"),
        ("/v1/audit", "after=99999999999999999999"),
        ("/v1/audit", "after=%D9%A1"),
    ],
)
def test_a_query_that_does_not_fit_is_refused(disk: Disk, clock: Hand, path: str, query: str) -> None:
    """422, with the parameter's name or its bounds."""

    async def body() -> None:
        async with running(disk, clock) as call:
            answered = await call("GET", path, query=query)
            assert (answered.status, answered.code) == (422, "invalid-request")

    run(body())


def test_other_paths_and_methods_are_problems_too(disk: Disk, clock: Hand) -> None:
    """404, and 405 with every method that the path has."""

    async def body() -> None:
        async with running(disk, clock) as call:
            for path in ("/", "/v1/licences/", "/v1/validate/", "/v1/licences/a/b/c", "//"):
                answered = await call("GET", path)
                assert (answered.status, answered.code) == (404, "not-found")
            for path, allowed in (
                ("/v1/licences", "GET, HEAD, POST"),
                ("/v1/validate", "POST"),
                ("/v1/licences/a/revoke", "POST"),
                ("/health", "GET, HEAD"),
            ):
                answered = await call("PUT", path)
                assert (answered.status, answered.code) == (405, "method-not-allowed")
                assert answered.headers["allow"] == allowed
            missing = await call("GET", "/v1/licences/%00")
            assert (missing.status, missing.code) == (404, "unknown-licence")

    run(body())


def test_validate_wants_a_key_or_a_token(disk: Disk, clock: Hand) -> None:
    """Neither and both are refused; a key that nobody made is a no, not an error."""

    async def body() -> None:
        async with running(disk, clock) as call:
            for raw in ({}, {"key": "a", "token": "b"}, {"key": None}):
                answered = await call("POST", "/v1/validate", raw, auth=None)
                assert (answered.status, answered.code) == (422, "invalid-request")
            licence = await call.issue()
            ident, _, mac = licence["key"].partition(".")
            for key in ("x", ".", "ü.ü", f"{ident}.", f"{ident}.{mac[:-1]}", f"{ident}.{mac.lower()}", f"lic_b.{mac}"):
                assert (await call.validate({"key": key}))["reason"] == "unknown-licence"
            late = await call("POST", "/v1/validate", b'{"key":"a","key":"b"}', auth=None)
            assert (late.status, late.code) == (400, "malformed-json")

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


def test_every_endpoint_is_async() -> None:
    """A sync one would start a thread of its own: in a simulation it hangs, in a process it races."""
    for route in ROUTES:
        assert inspect.iscoroutinefunction(type(route.endpoint).__call__), route.path
        operation = getattr(route.endpoint, "operation", None)
        assert operation is None or inspect.iscoroutinefunction(operation.run), route.path


def test_the_openapi_document_is_valid_and_complete() -> None:
    """Schemas are JSON Schema 2020-12, references resolve, every route and every answer is described."""
    found = json.loads(document())
    schemas = found["components"]["schemas"]

    assert found["openapi"] == "3.1.0"
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    text = json.dumps(found)
    for part in text.split('"$ref": "')[1:]:
        assert part.partition('"')[0].removeprefix("#/components/schemas/") in schemas
    described = {(path, method.upper()) for path, methods in found["paths"].items() for method in methods}
    assert described == {(route.path, method) for route in ROUTES for method in (route.methods or set()) - {"HEAD"}}
    assert set(schemas["Licence"]["required"]) == set(schemas["Licence"]["properties"]) - {"key"}
    assert "SHA-256(previous || JCS(event))" in schemas["AuditEntry"]["description"]
    assert [each["name"] for each in found["paths"]["/v1/licences/{licence_id}"]["get"]["parameters"]] == ["licence_id"]
    operations = list(schemathesis.openapi.from_dict(found).get_all_operations())
    assert len(operations) == len(described)


def test_every_problem_names_a_way_out() -> None:
    """A title and a sentence for each code, and none is left without."""
    for code, known in PROBLEMS.items():
        assert code.islower()
        assert known.title
        assert known.detail.endswith(".")


@given(raw=st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["key", "token", "device", "reason", "x"]), inner, max_size=3
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_makes_a_500(disk: Disk, clock: Hand, raw: bytes) -> None:
    """Bytes at random and JSON at random: an answer below 500, always JSON."""

    async def body() -> None:
        async with running(disk, clock, _token.get("token", "")) as call:
            _token.setdefault("token", call.token)
            for path in ("/v1/validate", "/v1/seats/activate", "/v1/tokens"):
                assert (await call("POST", path, raw)).status < 500

    if len(raw) <= wire.LARGEST:
        run(body())


_token: dict[str, str] = {}
