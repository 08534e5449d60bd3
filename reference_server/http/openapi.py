"""The OpenAPI 3.1 document, made from the operations and the msgspec types that serve them."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from typing import Any, Final

import msgspec

from reference_server.http import shapes, validation, wire
from reference_server.http.endpoint import Operation
from reference_server.http.operations import OPERATIONS
from reference_server.http.problems import PROBLEMS
from reference_server.http.wire import Receive, Scope, Send
from reference_server.ledger import FORMAT

_REF: Final = "#/components/schemas/{name}"
_PROBLEM_JSON: Final = "application/problem+json"

_QUERY: Final[dict[str, dict[str, Any]]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    "status": {"type": "string", "enum": ["active", "expired", "revoked", "suspended"]},
}
_AFTER: Final[dict[str, dict[str, Any]]] = {
    "listLicences": {"type": "string"},
    "readAudit": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1, "default": 0},
}
_IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same request gives the same answer, and nothing is done twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[\\u0021-\\u007e]+$"},
}

VALIDATE: Final = Operation(
    name="validate",
    method="POST",
    path=validation.PATH,
    summary="Whether a licence is in force, by its key or by an access token",
    run=None,  # type: ignore[arg-type]  # served by validation.validate, in front of the router
    request=shapes.ValidateRequest,
    answer=shapes.ValidateAnswer,
    auth=False,
)


@lru_cache
def document() -> bytes:
    """The document, as JSON in UTF-8."""
    operations = (*OPERATIONS, VALIDATE)
    types = {each.answer for each in operations} | {each.request for each in operations if each.request is not None}
    _, components = msgspec.json.schema_components([*types, shapes.Problem], ref_template=_REF)
    components["Problem"]["properties"]["code"] = {"enum": sorted(PROBLEMS)}
    components["ValidateRequest"]["oneOf"] = [_only("key", "token"), _only("token", "key")]
    components["AuditEntry"]["description"] += f" {FORMAT}"
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for each in sorted(operations, key=lambda operation: operation.path):
        paths[each.path][each.method.lower()] = _described(each)
    paths["/openapi.json"] = {
        "get": {
            "operationId": "getOpenApi",
            "summary": "This document",
            "security": [],
            "responses": {
                "200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}
            },
        }
    }
    return wire.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Reference licensing server",
                "version": "1",
                "summary": "Issues licences, answers whether they are in force, and keeps an audit trail.",
                "description": "Every time is in Unix milliseconds. Errors are problem details (RFC 9457) with a "
                f"stable code. The audit trail is a hash chain: {FORMAT}",
            },
            "paths": paths,
            "components": {
                "schemas": dict(sorted(components.items())),
                "securitySchemes": {"apiToken": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _described(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(operation.status): {
            "description": "Done",
            "content": {"application/json": {"schema": _ref(operation.answer)}},
        }
    }
    codes: dict[int, list[str]] = defaultdict(list)
    for status, code in (*operation.problems, *_usual(operation)):
        if code not in codes[status]:
            codes[status].append(code)
    for status, found in sorted(codes.items()):
        responses[str(status)] = {
            "description": "; ".join(f"{code}: {PROBLEMS[code].title}" for code in found),
            "content": {_PROBLEM_JSON: {"schema": _ref(shapes.Problem)}},
        }
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": [{"apiToken": []}] if operation.auth else [],
        "responses": responses,
    }
    parameters = _parameters(operation)
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(operation.request)}},
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    found += [
        {"name": name, "in": "query", "schema": _AFTER[operation.name] if name == "after" else _QUERY[name]}
        for name in operation.query
    ]
    if operation.idempotency != "none":
        found.append({**_IDEMPOTENCY_KEY, "required": operation.idempotency == "required"})
    return found


def _usual(operation: Operation) -> list[tuple[int, str]]:
    """The problems that follow from what an operation takes."""
    found: list[tuple[int, str]] = []
    if operation.auth:
        found.append((401, "not-authorised"))
    if operation.request is not None:
        found += [(400, "malformed-json"), (413, "body-too-large"), (415, "unsupported-media-type")]
    if operation.request is not None or operation.query:
        found.append((422, "invalid-request"))
    found.append((400, "invalid-request"))
    if operation.idempotency != "none":
        found += [(400, "idempotency-key-invalid"), (409, "idempotency-conflict")]
    if operation.idempotency == "required":
        found.append((400, "idempotency-key-required"))
    if operation.auth and operation.method != "GET":
        found += [(503, "store-unavailable"), (503, "overloaded"), (503, "draining")]
    return found


def _only(wanted: str, other: str) -> dict[str, Any]:
    """One member is there and the other is not."""
    return {"required": [wanted], "properties": {wanted: {"type": "string"}, other: {"type": "null"}}}


def _ref(shape: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REF.format(name=shape.__name__)}


class DocumentEndpoint:
    """Serves the document."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del scope, receive
        await wire.answer(send, document())
