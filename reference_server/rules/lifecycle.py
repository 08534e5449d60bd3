"""A licence's life: issued, renewed, suspended, reinstated, revoked. A revoked one never comes back."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from reference_server.errors import Conflict, Missing
from reference_server.rules.commands import Issue, Reinstate, Renew, Revoke, Suspend
from reference_server.rules.states import Licences, LicenceState, Outcome, Status, Terms, View

FOR_EVER: Final = None


def status(licence: LicenceState, now: int) -> Status:
    """What a licence is at a time. A revocation outweighs a suspension, which outweighs the end of the term."""
    if licence.standing != "active":
        return licence.standing
    if licence.expires_at is not None and now >= licence.expires_at:
        return "expired"
    return "active"


def existing(view: Licences, licence_id: str) -> LicenceState:
    """The licence. Raises Missing."""
    licence = view.licence(licence_id)
    if licence is None:
        raise Missing("unknown-licence")
    return licence


def _changeable(view: View, licence_id: str) -> LicenceState:
    licence = existing(view, licence_id)
    if licence.standing == "revoked":
        raise Conflict("revoked")
    return licence


def issue(view: View, command: Issue, now: int, terms: Terms) -> Outcome:
    """A new, active licence whose term begins now."""
    del view, terms
    expires_at = FOR_EVER if command.duration is None else now + command.duration
    licence = LicenceState(
        id=command.licence_id,
        plan=command.plan,
        seats=command.seats,
        features=command.features,
        customer=command.customer,
        standing="active",
        issued_at=now,
        expires_at=expires_at,
    )
    data = {
        "plan": command.plan,
        "seats": command.seats,
        "features": list(command.features),
        "customer": command.customer,
        "duration": command.duration,
        "expires_at": expires_at,
    }
    return Outcome(action="issue", licence_id=licence.id, licence=licence, data=data)


def renew(view: View, command: Renew, now: int, terms: Terms) -> Outcome:
    """A new term, counted from now; a suspended licence stays suspended. Raises Conflict when revoked."""
    del terms
    licence = replace(_changeable(view, command.licence_id), expires_at=now + command.duration)
    data = {"duration": command.duration, "expires_at": licence.expires_at}
    return Outcome(action="renew", licence_id=licence.id, licence=licence, data=data)


def suspend(view: View, command: Suspend, now: int, terms: Terms) -> Outcome:
    """The licence is stopped; its term runs on. Raises Conflict when suspended or revoked."""
    del now, terms
    licence = _changeable(view, command.licence_id)
    if licence.standing == "suspended":
        raise Conflict("suspended")
    stopped = replace(licence, standing="suspended")
    return Outcome(action="suspend", licence_id=licence.id, licence=stopped, data={"reason": command.reason})


def reinstate(view: View, command: Reinstate, now: int, terms: Terms) -> Outcome:
    """The suspension is lifted. Raises Conflict when there is none."""
    del now, terms
    licence = _changeable(view, command.licence_id)
    if licence.standing != "suspended":
        raise Conflict("not-suspended")
    lifted = replace(licence, standing="active")
    return Outcome(action="reinstate", licence_id=licence.id, licence=lifted, data={"reason": command.reason})


def revoke(view: View, command: Revoke, now: int, terms: Terms) -> Outcome:
    """The licence is over for good. Raises Conflict when it already is."""
    del now, terms
    licence = replace(_changeable(view, command.licence_id), standing="revoked")
    return Outcome(action="revoke", licence_id=licence.id, licence=licence, data={"reason": command.reason})
