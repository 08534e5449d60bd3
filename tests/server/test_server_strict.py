"""Strict in what it takes: one form for every error, all of it described, and never a 500 for what a client sends."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from server_inside import ISSUE, Disk, Hand, run, running

from reference_server.http import wire
from reference_server.http.app import ROUTES
from reference_server.http.openapi import document
from reference_server.http.problems import PROBLEMS

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
def test_a_body_that_does_not_fit_changes_nothing(disk: Disk, clock: Hand, raw: bytes, status: int, code: str) -> None:
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
            answered = await call("POST", "/v1/licences", {**ISSUE, **changed}, headers={"idempotency-key": "k"})
            assert (answered.status, answered.code) == (422, "invalid-request")
            assert len(await call.audit()) == 1

    run(body())


def test_an_integer_may_be_written_as_a_fraction(disk: Disk, clock: Hand) -> None:
    """To JSON Schema 2.0 and 2e0 are integers, so they are here; 2.5, 1e999 and a number of 5,000 digits are not."""

    async def body() -> None:
        async with running(disk, clock) as call:
            endless = {"idempotency-key": "k"}
            huge = json.dumps({**ISSUE, "customer": "."}).encode().replace(b"1", b"1" * 5_000, 1)
            assert (await call("POST", "/v1/licences", huge, headers=endless)).status == 400
            for seats, status in ((b"2.0", 201), (b"2e0", 201), (b"2.5", 422), (b"1e999", 400), (b"NaN", 400)):
                raw = json.dumps(ISSUE).encode().replace(b'"seats": 1', b'"seats": ' + seats)
                answered = await call("POST", "/v1/licences", raw, headers={"idempotency-key": seats.decode()})
                assert answered.status == status, seats
                if status == 201:
                    assert answered.json["licence"]["seats"] == 2

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
            for path, query in (("/v1/licences/%00", ""), ("/v1/licences", "after=lic_nobody")):
                missing = await call("GET", path, query=query)
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


@given(
    raw=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["key", "token", "device", "reason", "x"]), inner, max_size=3)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
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
