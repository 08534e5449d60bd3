"""Bugs of floating seats."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from reference_server.errors import Conflict
from reference_server.projection import Book, Overlay
from reference_server.rules import seats
from reference_server.rules.commands import Activate, Command, Heartbeat, Release
from reference_server.rules.states import Outcome, Seat, Terms, View
from reference_server.service import Service
from reference_server.store.rows import Stock

if TYPE_CHECKING:
    from reference_server.composition import Parts

_ELSEWHERE: float = 0.002
"""Seconds between the look and the act: a round trip to a database."""

_NEVER = 1 << 52
"""A millisecond that no clock will show."""


def given_unseen(action: str, view: View, command: Activate | Heartbeat, now: int, terms: Terms) -> Outcome:
    """A lease for the device, whether or not it holds a seat or one is free."""
    licence = seats.usable(view, command.licence_id, now)
    taken = len({*view.leases(licence.id), command.device})
    until = now + terms.lease
    return Outcome(
        action=action,
        licence_id=licence.id,
        seat=Seat(command.device, until, taken, licence.seats),
        data={"device": command.device, "lease_until": until},
    )


def seats_race(parts: Parts) -> Parts:
    """Check against what is committed, wait, act without checking: two activations both see the last free seat."""

    async def submit(service: Service, command: Command) -> msgspec.Struct:
        if isinstance(command, Activate):
            now = service.ticks()
            seats.activate(Overlay(service.book, now, live=parts.live, seal=parts.seal), command, now, service.terms)
            await asyncio.sleep(_ELSEWHERE)
        return await parts.submit(service, command)

    return replace(parts, submit=submit, decide={**parts.decide, Activate: partial(given_unseen, "activate")})


def lease_never_ends(parts: Parts) -> Parts:
    """A lease is written down and never looked at again."""

    def live(leases: Mapping[str, int], now: int) -> dict[str, int]:
        del now
        return dict(leases)

    return replace(parts, live=live)


def seats_leak_on_restart(parts: Parts) -> Parts:
    """The timers that end leases are lost in a restart: what was held then is held for good."""

    def load(stock: Stock) -> Book:
        book = parts.load(stock)
        book.leases = {licence: dict.fromkeys(held, _NEVER) for licence, held in book.leases.items()}
        return book

    return replace(parts, load=load)


def last_seat_kept_back(parts: Parts) -> Parts:
    """Seats are counted from one: of several, the last is never given."""

    def activate(view: View, command: Activate, now: int, terms: Terms) -> Outcome:
        licence = seats.usable(view, command.licence_id, now)
        leases = view.leases(licence.id)
        if command.device not in leases and 1 < licence.seats <= len(leases) + 1:
            raise Conflict("no-free-seat")
        return parts.decide[Activate](view, command, now, terms)

    return replace(parts, decide={**parts.decide, Activate: activate})


def release_ignored(parts: Parts) -> Parts:
    """A seat that is given back is acknowledged, and stays taken until its lease is over."""

    def release(view: View, command: Release, now: int, terms: Terms) -> Outcome:
        outcome = parts.decide[Release](view, command, now, terms)
        leases = view.leases(command.licence_id)
        if outcome.seat is None:
            return outcome
        kept = msgspec.structs.replace(outcome.seat, until=leases[command.device], taken=len(leases))
        return msgspec.structs.replace(outcome, seat=kept)

    return replace(parts, decide={**parts.decide, Release: release})


def heartbeat_takes_seat(parts: Parts) -> Parts:
    """A heartbeat is taken as proof of a seat, whether the device holds one or not."""

    def heartbeat(view: View, command: Heartbeat, now: int, terms: Terms) -> Outcome:
        licence = seats.usable(view, command.licence_id, now)
        taken = len({*view.leases(licence.id), command.device})
        until = now + terms.lease
        return Outcome(
            action="heartbeat",
            licence_id=licence.id,
            seat=Seat(command.device, until, taken, licence.seats),
            data={"device": command.device, "lease_until": until},
        )

    return replace(parts, decide={**parts.decide, Heartbeat: heartbeat})
