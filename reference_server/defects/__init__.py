"""Named bugs: each replaces one part of a sound server, to prove that a promise's checker finds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from reference_server.defects import durability, licences, orders, seats, timing, trail, wire
from reference_server.defects.tokens import TOKEN_DEFECTS, TokenDefect
from reference_server.errors import StartError

if TYPE_CHECKING:
    from reference_server.composition import Parts

Plant = Callable[["Parts"], "Parts"]


@dataclass(frozen=True, slots=True)
class Defect:
    """A bug that can be switched on by name.

    ``promise`` is the id of the promise that it breaks, ``plant`` returns the
    parts with the bug in them. With ``explored`` something must go wrong at the
    right moment for it to show: no scenario tries that, ``explore`` finds it.
    """

    name: str
    promise: str
    plant: Plant
    sentence: str
    explored: bool = False


def _said(plant: Plant) -> str:
    return (plant.__doc__ or "").partition("\n")[0]


def _of_verifier(defect: TokenDefect) -> Plant:
    def plant(parts: Parts) -> Parts:
        return dataclasses.replace(parts, verifier=defect.make_verifier(parts.verifier))

    return plant


_PLANTED: Final[tuple[tuple[str, str, Plant], ...]] = (
    ("features-by-plan", "VAL-001", licences.features_by_plan),
    ("expired-accepted", "VAL-002", licences.expired_accepted),
    ("clock-read-twice", "VAL-003", licences.clock_read_twice),
    ("answer-before-fsync", "VAL-004", durability.answer_before_fsync),
    ("expires-early", "VAL-005", licences.expires_early),
    ("suspended-accepted", "VAL-006", licences.suspended_accepted),
    ("revoked-cached", "REV-001", licences.revoked_cached),
    ("revoked-keeps-seats", "REV-002", licences.revoked_keeps_seats),
    ("renewal-revives", "REV-003", licences.renewal_revives),
    ("reinstatement-revives", "REV-003", licences.reinstatement_revives),
    ("restart-forgets-revocation", "REV-003", licences.restart_forgets_revocation),
    ("tokens-outlive-revocation", "REV-004", licences.tokens_outlive_revocation),
    ("seats-race", "SEA-001", seats.seats_race),
    ("last-seat-kept-back", "SEA-002", seats.last_seat_kept_back),
    ("lease-never-ends", "SEA-003", seats.lease_never_ends),
    ("seats-leak-on-restart", "SEA-003", seats.seats_leak_on_restart),
    ("release-ignored", "SEA-004", seats.release_ignored),
    ("heartbeat-takes-seat", "SEA-005", seats.heartbeat_takes_seat),
    ("idempotency-ignored", "IDM-001", orders.idempotency_ignored),
    ("idempotency-in-memory", "IDM-001", orders.idempotency_in_memory),
    ("idempotency-race", "IDM-001", orders.idempotency_race),
    ("repeated-order-logged", "IDM-002", orders.repeated_order_logged),
    ("renewal-not-logged", "AUD-001", trail.renewal_not_logged),
    ("refusals-logged", "AUD-002", trail.refusals_logged),
    ("chain-skips-actor", "AUD-003", trail.chain_skips_actor),
    ("trail-written-late", "AUD-004", trail.trail_written_late),
    ("actor-missing", "AUD-005", trail.actor_missing),
    ("bad-token-crashes", "TOK-002", wire.bad_token_crashes),
    ("private-key-published", "TOK-003", wire.private_key_published),
    ("refusal-outlives-forgery", "TOK-004", wire.refusal_outlives_forgery),
)

_EXPLORED: Final[tuple[tuple[str, str, Plant], ...]] = (
    ("revoked-behind", "REV-001", timing.revoked_behind),
    ("slow-commit-answered", "VAL-004", timing.slow_commit_answered),
    ("heartbeat-checked-early", "SEA-001", timing.heartbeat_checked_early),
    ("lease-by-two-clocks", "SEA-001", timing.lease_by_two_clocks),
)

DEFECTS: Final[Mapping[str, Defect]] = MappingProxyType(
    {name: Defect(name, promise, plant, _said(plant)) for name, promise, plant in _PLANTED}
    | {name: Defect(name, promise, plant, _said(plant), explored=True) for name, promise, plant in _EXPLORED}
    | {each.name: Defect(each.name, each.promise, _of_verifier(each), each.sentence) for each in TOKEN_DEFECTS}
)
"""Every defect by its name."""


def find(name: str) -> Defect:
    """The defect called ``name``. Raises StartError with the names that there are."""
    try:
        return DEFECTS[name]
    except KeyError:
        message = f"there is no defect {name!r}: there are {', '.join(sorted(DEFECTS))}"
        raise StartError(message) from None
