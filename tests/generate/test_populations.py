"""Populations are repeatable, lazy, and fit for contention."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from licensing_harness.errors import UsageError
from licensing_harness.generate.populations import LONGEST_NAME, TIERS, customer, population


def test_the_same_seed_makes_the_same_people() -> None:
    """Two populations of one seed are equal, and of two seeds are not."""
    assert list(population(7, 25, tag="run")) == list(population(7, 25, tag="run"))
    assert list(population(7, 25)) != list(population(8, 25))


def test_the_same_seed_makes_the_same_people_in_another_process() -> None:
    """Nothing depends on this process: neither hash seeds nor what was drawn before."""
    code = "from licensing_harness.generate.populations import customer; print(ascii(customer('s', 3)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ascii(customer("s", 3)) == printed.stdout.strip()


def test_each_customer_stands_alone() -> None:
    """Customer 40 is the same whether or not the 39 before were ever made."""
    assert customer(3, 40) == list(population(3, 40))[-1]


def test_a_population_without_end_is_lazy() -> None:
    """Asking for three of an endless population makes three."""
    people = population(1)

    assert [each.number for each in itertools.islice(people, 3)] == [1, 2, 3]


def test_somebody_always_has_to_wait() -> None:
    """Seats are fewer than devices wherever there are several devices, and at least one."""
    for each in population(11, 200, devices=(1, 6)):
        assert 1 <= len(each.devices) <= 6
        assert each.spec.seats >= 1
        assert each.spec.seats < len(each.devices) or len(each.devices) == 1


def test_a_customer_is_in_the_smallest_tier_that_fits() -> None:
    """Plan and features follow from the seats."""
    for each in population(5, 100, devices=(2, 14)):
        tier = next(tier for tier in TIERS if tier.plan == each.spec.plan)

        assert each.spec.seats <= tier.most_seats
        assert tier.features == each.spec.features


def test_names_go_beyond_ascii_and_stay_short() -> None:
    """Customers' names have other letters; devices' names have none and are unique within a customer."""
    people = list(population(2, 120))

    assert any(not each.name.isascii() for each in people)
    assert all(0 < len(each.name) <= LONGEST_NAME for each in people)
    assert all(device.name.isascii() for each in people for device in each.devices)
    assert all(len({device.name for device in each.devices}) == len(each.devices) for each in people)


def test_every_licence_carries_the_tag_and_a_key_of_its_own() -> None:
    """What a run creates can be told apart: by its tag, and by one idempotency key a licence."""
    people = list(population(2, 50, tag="lh-42"))

    assert all(each.spec.customer.startswith("lh-42 ") for each in people)
    assert len({each.spec.idempotency_key for each in people}) == 50
    assert all(each.spec.idempotency_key.startswith("lh-42-") for each in people)


@pytest.mark.parametrize("devices", [(0, 3), (4, 3)])
def test_an_empty_range_of_devices_is_refused(devices: tuple[int, int]) -> None:
    """A range that holds nothing is an error that says what to give."""
    with pytest.raises(UsageError, match="least and the most"):
        population(1, 1, devices=devices)


def test_a_negative_number_of_customers_is_refused() -> None:
    """There is no population of minus one."""
    with pytest.raises(UsageError, match="zero or more"):
        population(1, -1)
