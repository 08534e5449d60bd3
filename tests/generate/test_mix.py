"""One table says what generated stories are made of, and both that draw from it follow it."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from typing import Final

import pytest

from licensing_harness.generate.draw import Family
from licensing_harness.generate.families import (
    AuditMachine,
    IdempotencyMachine,
    RevocationMachine,
    SeatsMachine,
    ValidityMachine,
)
from licensing_harness.generate.machine import LicensingMachine
from licensing_harness.generate.mix import EVERYTHING, MIXES, SEATS, Mix
from licensing_harness.target.reference import ReferenceAdapter
from licensing_harness.vocabulary import ADDED, CAP_OF
from licensing_harness.worlds.story import VENDOR

_MACHINES: Final[dict[str, type[LicensingMachine]]] = {
    "seats": SeatsMachine,
    "revocation": RevocationMachine,
    "validity": ValidityMachine,
    "idempotency": IdempotencyMachine,
    "audit": AuditMachine,
}


@pytest.mark.parametrize("name", MIXES)
def test_every_verb_of_a_row_is_one(name: str) -> None:
    """A verb that no target has is never tried, and nobody would notice."""
    mix = MIXES[name]

    assert {*mix.device_verbs, *mix.vendor_verbs, *mix.contended} <= {"issue", *CAP_OF}
    assert all(weight > 0 for weight in (*mix.device_verbs.values(), *mix.vendor_verbs.values()))


@pytest.mark.parametrize("name", _MACHINES)
def test_a_machine_is_made_of_its_row(name: str) -> None:
    """All that the row says, in the order in which it says it."""
    for each in fields(Mix):
        made, said = getattr(_MACHINES[name], each.name), getattr(MIXES[name], each.name)
        assert made == said, each.name
        if isinstance(said, dict):
            assert list(made) == list(said)


def test_explore_tries_whatever_a_family_tries() -> None:
    """No verb, seat count, pause or part of a lease of a family is missing where all is tried at once."""
    for name, mix in MIXES.items():
        assert mix.device_verbs.keys() <= EVERYTHING.device_verbs.keys(), name
        assert mix.vendor_verbs.keys() <= EVERYTHING.vendor_verbs.keys(), name
        for part in ("seats", "durations", "features", "advances", "leases"):
            assert set(getattr(mix, part)) <= set(getattr(EVERYTHING, part)), (name, part)


def test_stories_of_seeds_have_the_weights_of_the_row() -> None:
    """Single calls of devices come in the order of how much the row gives their verbs."""
    family = Family(frozenset(ReferenceAdapter.capabilities) | ADDED, ReferenceAdapter.contract, calm=True)
    counts = Counter(
        step["verb"]
        for seed in range(300)
        for step in family.plan(seed)
        if step["do"] == "start" and step["client"] != VENDOR
    )

    assert set(counts) == set(EVERYTHING.device_verbs)
    heavy, light = ("activate", "validate"), ("issue", "issue_token", "validate_token")
    assert min(counts[verb] for verb in heavy) > max(counts[verb] for verb in light)


def test_another_row_makes_another_machine() -> None:
    """A machine has the numbers of whatever row it names."""

    class Other(LicensingMachine, mix=replace(SEATS, device_verbs={"validate": 1})):
        """A machine of a row that is in no table."""

    assert Other.device_verbs == {"validate": 1}
    assert Other.leases == SEATS.leases
    assert Other.contended == SEATS.contended
