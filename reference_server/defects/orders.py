"""Bugs of idempotency: an order that is repeated is not recognised."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from reference_server.projection import Overlay
from reference_server.rules.commands import Command, Issue
from reference_server.rules.states import Outcome
from reference_server.service import Service
from reference_server.store.rows import Rows
from reference_server.writer import Answer, Recalled, Writer

if TYPE_CHECKING:
    from reference_server.composition import Parts

_ELSEWHERE = 0.002
"""Seconds between the look and the act: a round trip to a cache."""


def idempotency_ignored(parts: Parts) -> Parts:
    """The idempotency key is read and thrown away."""

    async def submit(service: Service, command: Command) -> msgspec.Struct:
        return await parts.submit(service, msgspec.structs.replace(command, idempotency=None))

    return replace(parts, submit=submit)


def idempotency_in_memory(parts: Parts) -> Parts:
    """Answers are kept under their keys in memory only, so a restart forgets them."""

    def write(connection: Any, rows: Rows) -> None:
        parts.write(connection, rows._replace(answers=()))

    return replace(parts, write=write)


def idempotency_race(parts: Parts) -> Parts:
    """Whether the key was seen is looked up, then the order is carried out, then the key is put down."""
    seen: dict[tuple[str, str], bytes] = {}

    async def submit(service: Service, command: Command) -> msgspec.Struct:
        if command.idempotency is None:
            return await parts.submit(service, command)
        key = command.actor, command.idempotency.key
        if key in seen:
            return Recalled(seen[key])
        await asyncio.sleep(_ELSEWHERE)
        answer = await parts.submit(service, msgspec.structs.replace(command, idempotency=None))
        seen[key] = msgspec.json.encode(answer)
        return answer

    return replace(parts, submit=submit)


def repeated_order_logged(parts: Parts) -> Parts:
    """A repeated order is answered rightly, and entered into the trail once more."""

    class Chatty(Writer):
        """Logs before it looks."""

        def one(self, overlay: Overlay, command: Command, now: int) -> Answer:
            stored = self.recall(overlay, command)
            if stored is not None and isinstance(command, Issue):
                made = msgspec.json.decode(stored.body)["licence"]["id"]
                overlay.record(command, Outcome(action="issue", licence_id=made, data={"plan": command.plan}))
                return Recalled(stored.body)
            return super().one(overlay, command, now)

    return replace(parts, writer=Chatty)
