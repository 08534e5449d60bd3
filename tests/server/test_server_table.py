"""The table in front of the router finds what the router would find, and nothing else."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest
from starlette.routing import Match, Route

from reference_server.http import wire
from reference_server.http.app import ROUTES
from reference_server.http.shapes import SeatRequest
from reference_server.http.table import RouteTable
from reference_server.licence_keys import LicenceKeys

METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "get")


def routed(scope: dict[str, Any]) -> tuple[Any, Any]:
    """Endpoint and path parameters by Starlette's own router."""
    for route in ROUTES:
        match, found = route.matches(scope)
        if match is Match.FULL:
            return route.endpoint, found["path_params"]
    return None, None


def paths() -> list[str]:
    """The path of every route, with plain and with odd parameters, and what is almost one."""
    whole = [route.path.replace(route.path.partition("{")[2].partition("}")[0], "x") for route in ROUTES]
    filled = [
        path.replace("{x}", value)
        for path in whole
        for value in ("lic_a", "", "a/b", "ü", "a%20b", " ", "renew", "{licence_id}")
    ]
    return [*filled, *(f"{path}/" for path in filled), *(f"/{path}" for path in filled), "", "/", "/v1", "nothing"]


def test_the_table_finds_what_the_router_finds() -> None:
    """Every method on every path, likely or not: the same endpoint with the same parameters, or none."""
    table = RouteTable(ROUTES)
    found = 0
    for path in paths():
        for method in METHODS:
            scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "root_path": ""}
            endpoint, parameters = routed(dict(scope))
            assert table.find(scope) is endpoint, (method, path)
            assert scope.get("path_params") == parameters, (method, path)
            found += endpoint is not None
    assert found > len(ROUTES)


def test_what_the_table_does_not_understand_is_left_to_the_router() -> None:
    """Two parameters, a converter, a parameter that is part of a segment."""

    def endpoint(*_: object) -> None: ...

    table = RouteTable([Route(path, endpoint) for path in ("/{a}/{b}", "/n/{a:int}", "/m/x{a}", "/o/{a}.json")])
    for path in ("/1/2", "/n/3", "/m/x4", "/o/5.json"):
        assert table.find({"method": "GET", "path": path}) is None


@pytest.mark.parametrize(
    ("body", "fine"),
    [
        (b'{"key":"a","device":"b"}', True),
        (b'{"key":"device","device":"key"}', True),
        (b'{"key":"{","device":"b"}', True),
        (b'{"key":"a","device":"b","key":"a"}', False),
        (b'{"key" : "a","device":"b" , "device"\n:"c"}', False),
        (b'{"key":"a","device":"b","k\\u0065y":"a"}', False),
        (b'{"key":"{","device":"b","key":"a"}', False),
    ],
)
def test_a_member_that_is_there_twice_is_seen(body: bytes, fine: bool) -> None:
    """However it is spelled; and a value that looks like a member is none."""
    decode = msgspec.json.Decoder(SeatRequest).decode
    if fine:
        assert wire.decoded(decode, body).device
    else:
        with pytest.raises(wire.BadRequest, match="malformed-json"):
            wire.decoded(decode, body)


@pytest.mark.parametrize("secret", [b"", b"short", b"k" * 64, b"longer than a block of SHA-256 " * 4])
def test_a_licence_key_carries_an_hmac(secret: bytes) -> None:
    """RFC 2104 by the standard library says the same, for secrets of any length."""
    mac = urlsafe_b64encode(hmac.digest(secret, b"lic_a", "sha256")).decode().rstrip("=")
    assert LicenceKeys(secret).key_of("lic_a") == f"lic_a.{mac}"
