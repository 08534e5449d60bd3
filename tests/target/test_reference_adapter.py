"""The reference server's adapter: what it makes of answers, without a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from licensing_harness import Allowed, AuditPage, Denied, Grant, Indeterminate, KeySet
from licensing_harness.errors import UsageError
from licensing_harness.target.adapter import Target, blocking_verbs, check_adapter
from licensing_harness.target.reference import REFERENCE_SIMULATED, ReferenceAdapter, simulated
from licensing_harness.vocabulary import LicenceSpec
from licensing_harness.worlds.asgi import SimResponse

PROBLEM = "application/problem+json"
LICENCE = {"id": "lic_1", "key": "lic_1.mac", "features": ["base"], "expires_at": 61_500}


class Script:
    """An HTTP client that answers what it was told to, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, Any, str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []

    async def request(self, method: str, url: str, *, json: Any = None, headers: Any = None, **_: Any) -> SimResponse:
        self.asked.append((method, url, json, dict(headers or {})))
        status, body, kind = self.answers.pop(0)
        content = body if isinstance(body, bytes) else encoded(body)
        return SimResponse(status, ((b"Content-Type", kind.encode()),), content)


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def adapter(*answers: tuple[int, Any] | tuple[int, Any, str]) -> tuple[ReferenceAdapter, Script]:
    http = Script(*((*each, "application/json")[:3] for each in answers))
    made = ReferenceAdapter()
    made.open(Target(url="", timeout=5, http=http, client="phone", tag="t", secrets={"api_token": "tok"}))
    return made, http


GRANT = Grant(id="lic_1", key="lic_1.mac")


def test_it_declares_what_it_has() -> None:
    """Capabilities and methods agree, and all verbs are async: both worlds can run it."""
    check_adapter(ReferenceAdapter)

    assert blocking_verbs(ReferenceAdapter) == []


def test_issue_asks_and_reads() -> None:
    """Seconds become milliseconds and back; the idempotency key is a header."""
    it, http = adapter((201, {"licence": LICENCE, "server_time": 1_500}))
    spec = LicenceSpec(seats=2, duration=60.0, customer="c", idempotency_key="k")
    answer = asyncio.run(it.issue(spec))

    assert answer == Grant(id="lic_1", key="lic_1.mac", features=frozenset({"base"}), expires=61.5, server_time=1.5)
    method, url, asked, headers = http.asked[0]
    assert (method, url) == ("POST", "/v1/licences")
    assert asked == {"plan": "standard", "seats": 2, "features": ["base"], "duration": 60_000, "customer": "c"}
    assert headers == {"Authorization": "Bearer tok", "Idempotency-Key": "k"}


@pytest.mark.parametrize(
    ("verb", "args", "url"),
    [
        ("renew", (GRANT, 1.5), "/v1/licences/lic_1/renew"),
        ("suspend", (GRANT,), "/v1/licences/lic_1/suspend"),
        ("reinstate", (GRANT,), "/v1/licences/lic_1/reinstate"),
        ("revoke", (GRANT,), "/v1/licences/lic_1/revoke"),
    ],
)
def test_changes_are_allowed_or_denied(verb: str, args: tuple[Any, ...], url: str) -> None:
    """A yes states the term; a problem document is a no with its code."""
    yes = (200, {"licence": LICENCE, "server_time": 2_000})
    no = (409, {"code": "revoked", "server_time": 2_500}, PROBLEM)
    it, http = adapter(yes, no)

    assert asyncio.run(getattr(it, verb)(*args)) == Allowed(frozenset({"base"}), expires=61.5, server_time=2.0)
    assert asyncio.run(getattr(it, verb)(*args)) == Denied("revoked", server_time=2.5)
    assert {each[1] for each in http.asked} == {url}


@pytest.mark.parametrize("verb", ["activate", "heartbeat", "release"])
def test_seats_state_the_lease(verb: str) -> None:
    """In seconds; a refusal carries the server's code."""
    yes = (200, {"lease_until": 4_000, "server_time": 2_000})
    no = (409, {"code": "no-free-seat", "server_time": 2_000}, PROBLEM)
    it, http = adapter(yes, no)

    assert asyncio.run(getattr(it, verb)("key", "phone")) == Allowed(lease_until=4.0, server_time=2.0)
    assert asyncio.run(getattr(it, verb)("key", "phone")) == Denied("no-free-seat", server_time=2.0)
    assert http.asked[0][2] == {"key": "key", "device": "phone"}


def test_validate_reads_yes_and_no_from_the_body() -> None:
    """Both are 200."""
    common = {"features": ["base"], "expires_at": None, "server_time": 1_000}
    it, http = adapter(
        (200, {"valid": True, "reason": None, **common}), (200, {"valid": False, "reason": "invalid-token", **common})
    )

    assert asyncio.run(it.validate("key", "phone")) == Allowed(frozenset({"base"}), server_time=1.0)
    assert asyncio.run(it.validate_token("token")) == Denied("invalid-token", server_time=1.0)
    assert [each[2] for each in http.asked] == [{"key": "key", "device": "phone"}, {"token": "token"}]


def test_tokens_and_keys() -> None:
    """A token has an expiry; the key set is the value of keys."""
    it, _ = adapter((200, {"token": "t.t.t", "expires_at": 3_000, "server_time": 0}), (200, {"keys": [{"kid": "1"}]}))

    assert asyncio.run(it.issue_token("key")) == Allowed(token="t.t.t", expires=3.0, server_time=0.0)
    assert asyncio.run(it.jwks()) == KeySet([{"kid": "1"}])


def test_the_trail_is_read_page_by_page() -> None:
    """Up to the head of the last page, as it was then."""

    def page(*numbers: int, head: int) -> tuple[int, Any]:
        events = [
            {"event": {"seq": n, "actor": "a", "action": "issue", "licence": None}, "previous": "0", "hash": "1"}
            for n in numbers
        ]
        return 200, {"events": events, "head": {"seq": head, "hash": "1"}, "server_time": 0}

    it, http = adapter(page(5, 6, head=7), page(7, head=7))
    answer = asyncio.run(it.audit_log(4, frozenset()))

    assert isinstance(answer, AuditPage)
    assert [(each.seq, each.licence) for each in answer.entries] == [(5, ""), (6, ""), (7, "")]
    assert [each[1] for each in http.asked] == ["/v1/audit?after=4&limit=500", "/v1/audit?after=6&limit=500"]


@pytest.mark.parametrize(
    "answer",
    [
        (503, {"code": "not-ready"}, PROBLEM),
        (500, b"oops", "text/plain"),
        (429, {"code": "slow-down"}, PROBLEM),
        (404, b"<html>nginx</html>", "text/html"),
    ],
)
def test_what_is_neither_yes_nor_no_is_indeterminate(answer: tuple[int, Any, str]) -> None:
    """Server errors, rate limits and a proxy's page say nothing about the licence."""
    it, _ = adapter(answer)

    with pytest.raises(Indeterminate):
        asyncio.run(it.revoke(GRANT))


def test_a_refused_api_token_is_no_finding() -> None:
    """UsageError says which variable to set."""
    it, _ = adapter((401, {"code": "not-authorised"}, PROBLEM))

    with pytest.raises(UsageError, match="set LICENSING_SECRET_API_TOKEN"):
        asyncio.run(it.revoke(GRANT))


def test_a_defect_is_switched_on_by_name() -> None:
    """In the target string."""
    assert simulated() == REFERENCE_SIMULATED
    assert simulated("x").endswith("token_lifetime=3&defect=x")
