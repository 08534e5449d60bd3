"""Bugs of floating seats."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from reference_server.projection import Overlay
from reference_server.rules import seats
from reference_server.rules.commands import Activate, Command
from reference_server.rules.states import Outcome, Seat, Terms, View
from reference_server.service import Service

if TYPE_CHECKING:
    from reference_server.composition import Parts

_ELSEWHERE: float = 0.002
"""Seconds between the look and the act: a round trip to a database."""


def seats_race(parts: Parts) -> Parts:
    """Check against what is committed, wait, act without checking: two activations both see the last free seat."""

    async def submit(service: Service, command: Command) -> msgspec.Struct:
        if isinstance(command, Activate):
            now = service.ticks()
            seats.activate(Overlay(service.book, now, live=parts.live, seal=parts.seal), command, now, service.terms)
            await asyncio.sleep(_ELSEWHERE)
        return await parts.submit(service, command)

    def activate(view: View, command: Activate, now: int, terms: Terms) -> Outcome:
        licence = seats.usable(view, command.licence_id, now)
        taken = len({*view.leases(licence.id), command.device})
        until = now + terms.lease
        return Outcome(
            action="activate",
            licence_id=licence.id,
            seat=Seat(command.device, until, taken, licence.seats),
            data={"device": command.device, "lease_until": until},
        )

    return replace(parts, submit=submit, decide={**parts.decide, Activate: activate})
