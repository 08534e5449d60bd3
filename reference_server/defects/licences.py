"""Bugs in what a licence allows: its term, its suspension, its revocation, its features."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from reference_server.projection import Book
from reference_server.rules import lifecycle, seats
from reference_server.rules.commands import Activate, Heartbeat, Reinstate, Renew
from reference_server.rules.decision import Decision, Reason
from reference_server.rules.states import LicenceState, Outcome, Terms, View
from reference_server.store.rows import Stock

if TYPE_CHECKING:
    from reference_server.composition import Parts

_CACHE_LIFE = 60_000
"""Milliseconds for which a yes is remembered."""

_HURRY = 1_000
"""Milliseconds by which a term ends too soon."""


def revoked_cached(parts: Parts) -> Parts:
    """A yes is remembered for a minute, and a revocation does not clear it."""
    remembered: dict[str, Decision] = {}

    def validate(licence: LicenceState | None, now: int, otherwise: Reason) -> Decision:
        if licence is None:
            return parts.validate(licence, now, otherwise)
        known = remembered.get(licence.id)
        if known is not None and now - known.at < _CACHE_LIFE:
            return structs.replace(known, at=now)
        decision = parts.validate(licence, now, otherwise)
        if decision.valid:
            remembered[licence.id] = decision
        return decision

    return replace(parts, validate=validate)


def expired_accepted(parts: Parts) -> Parts:
    """The end of the term is stated but not looked at."""

    def validate(licence: LicenceState | None, now: int, otherwise: Reason) -> Decision:
        if licence is None:
            return parts.validate(licence, now, otherwise)
        endless = parts.validate(structs.replace(licence, expires_at=None), now, otherwise)
        return structs.replace(endless, expires_at=licence.expires_at)

    return replace(parts, validate=validate)


def expires_early(parts: Parts) -> Parts:
    """A term is compared in whole seconds, rounded the wrong way."""

    def validate(licence: LicenceState | None, now: int, otherwise: Reason) -> Decision:
        return structs.replace(parts.validate(licence, now + _HURRY, otherwise), at=now)

    return replace(parts, validate=validate)


def clock_read_twice(parts: Parts) -> Parts:
    """The term is judged by the reading of the question before, the answer is stamped with this one's."""
    read = 0

    def validate(licence: LicenceState | None, now: int, otherwise: Reason) -> Decision:
        nonlocal read
        earlier, read = read or now, now
        return structs.replace(parts.validate(licence, earlier, otherwise), at=now)

    return replace(parts, validate=validate)


def suspended_accepted(parts: Parts) -> Parts:
    """A suspension stops seats, but not validation."""

    def validate(licence: LicenceState | None, now: int, otherwise: Reason) -> Decision:
        if licence is not None and licence.standing == "suspended":
            licence = structs.replace(licence, standing="active")
        return parts.validate(licence, now, otherwise)

    return replace(parts, validate=validate)


def features_by_plan(parts: Parts) -> Parts:
    """Features are looked up by plan, and the first licence of a plan decides them for all."""
    of_plan: dict[str, tuple[str, ...]] = {}

    def validate(licence: LicenceState | None, now: int, otherwise: Reason) -> Decision:
        decision = parts.validate(licence, now, otherwise)
        if licence is None or not decision.valid:
            return decision
        return structs.replace(decision, features=of_plan.setdefault(licence.plan, licence.features))

    return replace(parts, validate=validate)


def renewal_revives(parts: Parts) -> Parts:
    """A renewal makes any licence active, a revoked one too."""

    def renew(view: View, command: Renew, now: int, terms: Terms) -> Outcome:
        del terms
        licence = lifecycle.existing(view, command.licence_id)
        licence = structs.replace(licence, standing="active", expires_at=now + command.duration)
        data = {"duration": command.duration, "expires_at": licence.expires_at}
        return Outcome(action="renew", licence_id=licence.id, licence=licence, data=data)

    return replace(parts, decide={**parts.decide, Renew: renew})


def reinstatement_revives(parts: Parts) -> Parts:
    """A reinstatement asks only whether the licence is stopped, not why."""

    def reinstate(view: View, command: Reinstate, now: int, terms: Terms) -> Outcome:
        licence = lifecycle.existing(view, command.licence_id)
        if licence.standing != "revoked":
            return parts.decide[Reinstate](view, command, now, terms)
        lifted = structs.replace(licence, standing="active")
        return Outcome(action="reinstate", licence_id=licence.id, licence=lifted, data={"reason": command.reason})

    return replace(parts, decide={**parts.decide, Reinstate: reinstate})


def restart_forgets_revocation(parts: Parts) -> Parts:
    """What is loaded at start-up has no revocations."""

    def load(stock: Stock) -> Book:
        book = parts.load(stock)
        for licence in list(book.licences.values()):
            if licence.standing == "revoked":
                book.put_licence(structs.replace(licence, standing="active"))
        return book

    return replace(parts, load=load)


def revoked_keeps_seats(parts: Parts) -> Parts:
    """Seats are given and kept without a look at the licence's standing."""

    class Unstopped:
        """A view in which nothing was ever revoked."""

        def __init__(self, view: View) -> None:
            self._view = view
            self.leases = view.leases

        def licence(self, licence_id: str) -> LicenceState | None:
            licence = self._view.licence(licence_id)
            return licence and structs.replace(licence, standing="active")

    def activate(view: View, command: Activate, now: int, terms: Terms) -> Outcome:
        return seats.activate(Unstopped(view), command, now, terms)  # type: ignore[arg-type]

    def heartbeat(view: View, command: Heartbeat, now: int, terms: Terms) -> Outcome:
        return seats.heartbeat(Unstopped(view), command, now, terms)  # type: ignore[arg-type]

    return replace(parts, decide={**parts.decide, Activate: activate, Heartbeat: heartbeat})


def tokens_outlive_revocation(parts: Parts) -> Parts:
    """A token speaks for itself: whether its licence was revoked since is not looked up."""

    def validate(licence: LicenceState | None, now: int, otherwise: Reason) -> Decision:
        if otherwise == "invalid-token" and licence is not None and licence.standing == "revoked":
            licence = structs.replace(licence, standing="active")
        return parts.validate(licence, now, otherwise)

    return replace(parts, validate=validate)
