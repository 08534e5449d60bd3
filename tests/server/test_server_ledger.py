"""The ledger's bytes, judged by code that shares nothing with the server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from server_chain import jcs, verify
from server_inside import Disk, Hand, running

from reference_server import ledger

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = TEXT | st.integers(-(2**53) + 1, 2**53 - 1) | st.none() | st.lists(TEXT, max_size=3)


@given(
    data=st.dictionaries(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), VALUES, max_size=5),
    actor=TEXT,
    seq=st.integers(1, 2**53 - 1),
)
@settings(deadline=None)
def test_an_event_is_encoded_as_rfc_8785_has_it(data: dict[str, Any], actor: str, seq: int) -> None:
    """Any text, integers below 2**53, null and lists: the very same bytes as the slow way."""
    event = ledger.Event("issue", actor, data, "lic_a", seq, 5)
    plain = {"action": "issue", "actor": actor, "data": data, "licence": "lic_a", "seq": seq, "time": 5}

    assert ledger.canonical(event).decode() == jcs(plain)


def test_the_trail_verifies_and_every_field_is_covered(disk: Disk, clock: Hand) -> None:
    """As read over HTTP; then each field is altered in turn, and the chain is broken."""

    async def trail() -> list[dict[str, Any]]:
        async with running(disk, clock) as call:
            licence = await call.issue(customer='Zoë "\\/\u2028 😀', features=["b", "a"])
            await call.seat("activate", licence, "Ünit\u007e1")
            clock.now -= 100
            await call.seat("heartbeat", licence, "Ünit\u007e1")
            clock.now += 500
            await call("POST", f"/v1/licences/{licence['id']}/revoke", {"reason": "why\u00a0not"})
            return await call.audit()

    entries = asyncio.run(trail())
    verify(entries)
    assert [each["event"]["action"] for each in entries] == [
        "api-token.create",
        "issue",
        "activate",
        "heartbeat",
        "revoke",
    ]
    for field in ("action", "actor", "data", "licence", "seq", "time"):
        altered = json.loads(json.dumps(entries))
        event = altered[2]["event"]
        event[field] = {"device": "other"} if field == "data" else event[field] + type(event[field])(1)
        try:
            verify(altered)
        except AssertionError:
            continue
        raise AssertionError(field)


def test_no_secret_is_in_the_trail_or_the_store(disk: Disk, clock: Hand) -> None:
    """Licence key, API token and access token: only digests are kept, and ids."""

    async def body() -> None:
        async with running(disk, clock) as call:
            licence = await call.issue()
            token = (await call("POST", "/v1/tokens", {"key": licence["key"]}, auth=None)).json["token"]
            made = (await call("POST", "/v1/api-tokens", {"name": "ci"})).json["api_token"]["secret"]
            await call.issue(call.used[-1])
            dump = "\n".join(disk.connection.iterdump())
            blobs = disk.connection.execute("SELECT body FROM events UNION ALL SELECT body FROM answers").fetchall()
            kept = dump.encode() + b"".join(blob for (blob,) in blobs)
            for secret in (licence["key"], licence["key"].partition(".")[2], token, made, call.token):
                assert secret.encode() not in kept
                assert secret.encode().hex().upper() not in dump

    asyncio.run(body())
