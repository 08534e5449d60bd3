"""Defects are planted by name, replace parts, and show."""

from __future__ import annotations

import asyncio

import pytest
from server_inside import Disk, Hand, run, running

from reference_server.composition import simulated, terms_of
from reference_server.defects import DEFECTS, find
from reference_server.errors import StartError


@pytest.mark.parametrize(("defect", "holders"), [("", 1), ("seats-race", 3)])
def test_the_seats_race_gives_one_seat_to_three(disk: Disk, clock: Hand, defect: str, holders: int) -> None:
    """Three activations at once for one seat: the sound server gives it once."""

    async def body() -> None:
        async with running(disk, clock, **({"defect": defect} if defect else {})) as call:
            licence = await call.issue(seats=1)
            answers = await asyncio.gather(*(call.seat("activate", licence, each) for each in "abc"))
            assert sum(each.status == 200 for each in answers) == holders

    run(body())


def test_the_seats_race_is_no_race_one_after_the_other(disk: Disk, clock: Hand) -> None:
    """The sequential control: without overlap the defect is not seen."""

    async def body() -> None:
        async with running(disk, clock, defect="seats-race") as call:
            licence = await call.issue(seats=1)
            assert [(await call.seat("activate", licence, each)).status for each in "abc"] == [200, 409, 409]

    run(body())


def test_an_unknown_defect_is_named_with_those_there_are() -> None:
    """A misspelt name must not give a sound server."""
    with pytest.raises(StartError, match=r"no defect 'seat-race'.*seats-race"):
        find("seat-race")


def test_every_defect_says_what_it_breaks() -> None:
    """A promise's id and a sentence."""
    for name, defect in DEFECTS.items():
        assert defect.name == name
        assert defect.promise[3] == "-"
        assert defect.sentence.endswith(".")


@pytest.mark.parametrize(
    "options", [{"leese": "2"}, {"lease": "x"}, {"lease": "0"}, {"lease": "inf"}, {"token_lifetime": "0"}], ids=str
)
def test_a_simulated_server_takes_no_unknown_options(disk: Disk, clock: Hand, options: dict[str, str]) -> None:
    """Nor numbers that make no sense."""
    with pytest.raises(StartError):
        simulated(clock, bytes, b"", disk, **options)


def test_terms_are_kept_in_milliseconds_and_seconds() -> None:
    """As the rules and the tokens count."""
    terms = terms_of("0.5", "3")

    assert (terms.lease, terms.token_lifetime) == (500, 3)
