"""Bugs of timing: each needs something to go wrong at the right moment, and nothing calm shows it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from reference_server.defects.seats import given_unseen
from reference_server.errors import Conflict, StoreError
from reference_server.projection import Overlay
from reference_server.rules.commands import Activate, Command, Heartbeat
from reference_server.rules.states import Outcome, Terms, View
from reference_server.service import Service
from reference_server.store.adapter import Store, Write
from reference_server.store.rows import Rows

if TYPE_CHECKING:
    from reference_server.composition import Parts

_STANDING = 5
"""The place of a licence's standing in its row."""

_PATIENCE = 0.25
"""Seconds: more than any sound disk takes for a commit."""


def revoked_behind(parts: Parts) -> Parts:
    """A revocation that the store has no room for holds in memory, and is written with the next change."""
    owed: list[Rows] = []

    async def commit(store: Store, write: Write, rows: Rows) -> None:
        try:
            await parts.commit(store, write, _together([*owed, rows]))
        except StoreError:
            if not any(licence[_STANDING] == "revoked" for licence in rows.licences):
                raise
            owed.append(rows)  # a crash before the next change forgets it
        else:
            owed.clear()

    return replace(parts, commit=commit)


def _together(batches: list[Rows]) -> Rows:
    """Rows of several batches, oldest first; of the standing of one licence the latest counts."""
    merged = Rows(*(tuple(row for batch in column for row in batch) for column in zip(*batches, strict=True)))
    return merged._replace(licences=tuple({row[0]: row for row in merged.licences}.values()))


def slow_commit_answered(parts: Parts) -> Parts:
    """A commit that takes longer than a client likes to wait is answered as if it were done."""
    under_way: set[asyncio.Task[None]] = set()

    async def commit(store: Store, write: Write, rows: Rows) -> None:
        task = asyncio.get_running_loop().create_task(_committed(store, write, rows))
        under_way.add(task)
        task.add_done_callback(_heard)
        await asyncio.wait({task}, timeout=_PATIENCE)
        if task.done():
            task.result()

    async def _committed(store: Store, write: Write, rows: Rows) -> None:
        await parts.commit(store, write, rows)

    def _heard(task: asyncio.Task[None]) -> None:
        under_way.discard(task)
        if not task.cancelled():
            task.exception()

    return replace(parts, commit=commit)


def heartbeat_checked_early(parts: Parts) -> Parts:
    """A heartbeat's lease is looked up when it arrives, and renewed when its turn comes, over or not."""

    async def submit(service: Service, command: Command) -> msgspec.Struct:
        if isinstance(command, Heartbeat):
            now = service.ticks()
            held = Overlay(service.book, now, live=parts.live, seal=parts.seal).leases(command.licence_id)
            if command.device not in held:
                raise Conflict("no-such-seat")
        return await parts.submit(service, command)

    return replace(parts, submit=submit, decide={**parts.decide, Heartbeat: partial(given_unseen, "heartbeat")})


def lease_by_two_clocks(parts: Parts) -> Parts:
    """A lease is given by the machine's clock, and judged by the server's own, which never goes back."""

    def activate(view: View, command: Activate, now: int, terms: Terms) -> Outcome:
        outcome = parts.decide[Activate](view, command, now, terms)
        if outcome.seat is None:
            return outcome
        until = int(parts.clock() * 1000) + terms.lease
        seat = msgspec.structs.replace(outcome.seat, until=until)
        return msgspec.structs.replace(outcome, seat=seat, data={**outcome.data, "lease_until": until})

    return replace(parts, decide={**parts.decide, Activate: activate})
