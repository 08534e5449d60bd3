"""Bytes in, bytes out: the request's body and headers, strictly read, and the answer sent."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import cache
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

LARGEST: Final = 65_536
"""The most bytes that a request's body may have."""

encode: Final = msgspec.json.Encoder().encode

_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
_NO_STORE: Final = (b"cache-control", b"no-store")


class BadRequest(Exception):
    """The request can't be understood."""

    def __init__(self, code: str, status: int, detail: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.detail = detail
        self.headers = headers


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


async def body_of(receive: Receive) -> bytes:
    """The whole body. Raises BadRequest when it is larger than allowed, ClientLeft."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientLeft
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        parts = [body]
        size = len(body)
        while message.get("more_body", False):
            message = await receive()
            if message["type"] != "http.request":
                raise ClientLeft
            part: bytes = message.get("body", b"")
            size += len(part)
            if size <= LARGEST:
                parts.append(part)  # beyond it the rest is read and forgotten, so that the answer can be heard
        if size > LARGEST:
            raise BadRequest("body-too-large", 413)
        body = b"".join(parts)
    elif len(body) > LARGEST:
        raise BadRequest("body-too-large", 413)
    return body


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header (lower-case name). Raises BadRequest when there are two."""
    found = [value for each, value in scope["headers"] if each == name]
    if len(found) > 1:
        raise BadRequest("invalid-request", 400, f"The header {name.decode()} was sent {len(found)} times.")
    found_one: bytes | None = found[0] if found else None
    return found_one


def check_media_type(scope: Scope) -> None:
    """Raises BadRequest for a body that says it is not JSON. Saying nothing is fine."""
    for name, value in scope["headers"]:
        if name == b"content-type" and value != b"application/json":
            kind, _, parameters = value.partition(b";")
            if kind.strip().lower() != b"application/json":
                raise BadRequest("unsupported-media-type", 415)
            charset = parameters.strip().lower().removeprefix(b"charset=").strip(b'"')
            if charset not in {b"", b"utf-8"}:
                raise BadRequest("unsupported-media-type", 415, "Only UTF-8 is understood.")


def decoded(decode: Callable[[bytes], T], body: bytes) -> T:
    """The request in a body, strictly: no unknown or duplicate members, no control characters. Raises BadRequest."""
    try:
        try:
            request = decode(body)
        except msgspec.ValidationError:
            if b"." not in body and b"e" not in body.lower():
                raise
            request = decode(_with_integers(body))
    except msgspec.ValidationError as error:
        raise BadRequest("invalid-request", 422, f"{error}.") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRequest("malformed-json", 400) from error
    if not _plainly_unique(body, type(request)):
        _refuse_duplicates(body)
    if b"\\" in body and any(_ends_with_newline(getattr(request, name)) for name in request.__struct_fields__):  # type: ignore[attr-defined]
        raise BadRequest("invalid-request", 422, "Text must not hold control characters.")
    return request


def _with_integers(body: bytes) -> bytes:
    """The same, with ``2.0`` and ``2e0`` written as ``2``: to JSON Schema they are one integer."""

    def integral(text: str) -> float:
        value = float(text)
        return int(value) if value.is_integer() else value

    return json.dumps(json.loads(body, parse_float=integral)).encode()


def _plainly_unique(body: bytes, kind: type) -> bool:
    """Whether no member is there twice, seen cheaply: an object with one colon has one member.

    A member that is there twice is spelled the same way twice, unless it is written with
    escapes; and only the members of ``kind`` can be there at all, unless objects are nested.
    """
    if body.count(b":") == 1:
        return True
    if b"\\" in body or body.count(b"{") > 1:
        return False
    return all(body.count(name) <= 1 for name in _spelled(kind))


@cache
def _spelled(kind: Any) -> tuple[bytes, ...]:
    """The members of a struct as JSON writes their names."""
    return tuple(b'"%s"' % name.encode() for name in kind.__struct_encode_fields__)


def _refuse_duplicates(body: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> None:
        names = {name for name, _ in pairs}
        if len(names) != len(pairs):
            raise BadRequest("malformed-json", 400, "A member is there twice.")

    json.loads(body, object_pairs_hook=unique)


def _ends_with_newline(value: object) -> bool:
    """What a pattern's ``$`` lets through in Python, though not in JSON Schema."""
    if isinstance(value, str):
        return value.endswith("\n")
    return isinstance(value, list) and any(map(_ends_with_newline, value))


def query_of(scope: Scope, names: Iterable[str]) -> dict[str, str]:
    """The named query parameters; others are passed over. Raises BadRequest."""
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict"
        )
    except ValueError as error:
        raise BadRequest("invalid-request", 422, "The query can't be read.") from error
    known = set(names)
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise BadRequest("invalid-request", 422, f"The query parameter {name} was given twice.")
        if name in known:
            found[name] = value
    return found


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    """Send a JSON answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [_JSON, (b"content-length", b"%d" % len(body)), _NO_STORE],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, body: bytes, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a problem."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [_PROBLEM, (b"content-length", b"%d" % len(body)), _NO_STORE, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
