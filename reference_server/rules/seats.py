"""Floating seats: a device holds one for as long as its lease runs."""

from __future__ import annotations

from collections.abc import Mapping

from reference_server.errors import Conflict, Forbidden
from reference_server.rules.commands import Activate, Heartbeat, Release
from reference_server.rules.lifecycle import existing, status
from reference_server.rules.states import Licences, LicenceState, Outcome, Seat, Terms, View


def live(leases: Mapping[str, int], now: int) -> dict[str, int]:
    """The leases that are not over. A lease is over at the millisecond it names."""
    return {device: until for device, until in leases.items() if until > now}


def usable(view: Licences, licence_id: str, now: int) -> LicenceState:
    """The licence, if it is in force. Raises Missing, or Forbidden with its status."""
    licence = existing(view, licence_id)
    standing = status(licence, now)
    if standing != "active":
        raise Forbidden(standing)
    return licence


def _given(action: str, licence: LicenceState, device: str, taken: int, until: int) -> Outcome:
    return Outcome(
        action=action,
        licence_id=licence.id,
        seat=Seat(device, until, taken, licence.seats),
        data={"device": device, "lease_until": until},
    )


def activate(view: View, command: Activate, now: int, terms: Terms) -> Outcome:
    """A seat for the device, or a new lease for the one it holds. Raises Conflict when all are taken."""
    licence = usable(view, command.licence_id, now)
    leases = view.leases(licence.id)
    taken = len(leases)
    if command.device not in leases:
        if taken >= licence.seats:
            raise Conflict("no-free-seat")
        taken += 1
    return _given("activate", licence, command.device, taken, now + terms.lease)


def heartbeat(view: View, command: Heartbeat, now: int, terms: Terms) -> Outcome:
    """A new lease for the seat that the device holds. Raises Conflict when it holds none (any more)."""
    licence = usable(view, command.licence_id, now)
    leases = view.leases(licence.id)
    if command.device not in leases:
        raise Conflict("no-such-seat")
    return _given("heartbeat", licence, command.device, len(leases), now + terms.lease)


def release(view: View, command: Release, now: int, terms: Terms) -> Outcome:
    """The seat is free at once, whatever the licence's status. Raises Conflict when the device holds none."""
    del now, terms
    licence = existing(view, command.licence_id)
    leases = view.leases(licence.id)
    if command.device not in leases:
        raise Conflict("no-such-seat")
    return Outcome(
        action="release",
        licence_id=licence.id,
        seat=Seat(command.device, None, len(leases) - 1, licence.seats),
        data={"device": command.device},
    )
