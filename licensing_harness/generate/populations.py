"""Made-up customers with devices and licences: the same seed makes the same people, one at a time.

Names come from Faker in several languages, so that a target meets letters beyond
ASCII. Customer ``i`` depends on the seed and on ``i`` alone: asking for more
customers, or skipping some, changes nobody. (Names may differ between Faker
releases; how many devices and seats there are does not.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from faker import Faker

from licensing_harness.entropy import stream
from licensing_harness.errors import UsageError
from licensing_harness.vocabulary import LicenceSpec

DAY: Final = 86_400.0
LONGEST_NAME: Final = 60
"""Characters kept of a customer's name: a target may well have a limit above that."""

_LOCALES: Final = ("en_GB", "de_DE", "fr_FR", "pl_PL", "tr_TR", "ja_JP")
_PLATFORMS: Final = ("windows", "macos", "linux", "ios", "android")
_TERMS: Final = (None, 30 * DAY, 365 * DAY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier:
    """A plan on sale: up to so many seats, with these features."""

    plan: str
    most_seats: int
    features: tuple[str, ...]


TIERS: Final = (
    Tier(plan="starter", most_seats=1, features=("base",)),
    Tier(plan="team", most_seats=3, features=("base", "sync")),
    Tier(plan="business", most_seats=10, features=("base", "sync", "export")),
    Tier(plan="enterprise", most_seats=100_000, features=("base", "sync", "export", "sso", "audit")),
)
"""Smallest first; a customer is in the smallest tier that has room for their seats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A machine that checks in. ``name`` is unique among its customer's devices and is plain ASCII."""

    name: str
    platform: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Customer:
    """Who bought what, and the devices that want it.

    ``spec.seats`` is below ``len(devices)`` wherever there is more than one
    device: somebody always has to wait. ``spec.customer`` is the name after the
    population's tag; ``spec.idempotency_key`` is unique in the population.
    """

    number: int
    name: str
    devices: tuple[Device, ...]
    spec: LicenceSpec


def population(
    seed: int | str,
    customers: int | None = None,
    *,
    devices: tuple[int, int] = (2, 6),
    tag: str = "",
) -> Iterator[Customer]:
    """Customers one by one, the first ``customers`` of them or without end.

    ``devices`` is the least and the most that one has. ``tag`` goes into what is
    created in the target, so that a run's licences can be told apart. Raises
    UsageError for a range that holds nothing.
    """
    least, most = devices
    if not 1 <= least <= most:
        message = f"population(devices=({least}, {most})): give the least and the most, from 1 up"
        raise UsageError(message)
    if customers is not None and customers < 0:
        message = f"population(customers={customers}): give zero or more, or None for no end"
        raise UsageError(message)
    numbers = itertools.count(1) if customers is None else range(1, customers + 1)
    return (customer(seed, number, devices=devices, tag=tag) for number in numbers)


def customer(seed: int | str, number: int, *, devices: tuple[int, int] = (2, 6), tag: str = "") -> Customer:
    """Customer ``number`` (from 1) of the population of this seed."""
    draw = stream(seed, "customer", number)
    count = draw.randint(*devices)
    seats = draw.randint(1, max(1, count - 1))
    term = draw.choice(_TERMS)
    fake = _faker(draw.choice(_LOCALES))
    fake.seed_instance(draw.getrandbits(32))
    name = fake.company()[:LONGEST_NAME]
    tier = next(each for each in TIERS if seats <= each.most_seats)
    platforms = [draw.choice(_PLATFORMS) for _ in range(count)]
    return Customer(
        number=number,
        name=name,
        devices=tuple(
            Device(name=f"{platform}-{draw.getrandbits(20):05x}-{index}", platform=platform)
            for index, platform in enumerate(platforms, start=1)
        ),
        spec=LicenceSpec(
            plan=tier.plan,
            seats=seats,
            features=tier.features,
            duration=term,
            customer=f"{tag} {name}".strip(),
            idempotency_key="-".join(
                part for part in (tag, f"{stream(seed).getrandbits(32):08x}", str(number)) if part
            ),
        ),
    )


def load_names() -> None:
    """Load the names of every language now, and not in the middle of a measurement."""
    for locale in _LOCALES:
        _faker(locale)


@cache
def _faker(locale: str) -> Faker:
    return Faker(locale)
