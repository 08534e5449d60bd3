"""The sweep over holds agrees with a slow oracle that looks at every moment by itself."""

from __future__ import annotations

import itertools

from histories import CONTRACT, Tape
from hypothesis import given, settings
from hypothesis import strategies as st

from licensing_harness.checkers.holds import Occupancy, most_others, united
from licensing_harness.history import Operation

LEASE = CONTRACT.lease or 0.0
SLACK = CONTRACT.clock_tolerance or 0.0
FOREVER = float("inf")

calls = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["activate", "activate", "heartbeat", "release"]),
        st.integers(0, 12),
        st.integers(1, 8),
        st.sampled_from(["yes", "yes", "yes", "no", "lost"]),
    ),
    max_size=14,
)


def tape_of(drawn: list[tuple[str, str, int, int, str]], seats: int) -> Tape:
    """One lane for each device; a call begins some half seconds after the one before ended."""
    tape = Tape(seats=seats)
    free: dict[str, float] = {}
    for device, verb, wait, length, fate in drawn:
        begin = free.get(device, 1.0) + wait / 2
        end = begin + length / 2
        free[device] = end
        reason = {"activate": "no-free-seat"}.get(verb, "no-such-seat") if fate == "no" else ""
        tape.call(verb, device, begin, None if fate == "lost" else end, no=reason)
    return tape


def before(one: Operation, two: Operation) -> bool:
    return one.end is not None and (one.end, one.n) < (two.begin, two.n)


def certainly_holds(device: str, moment: float, operations: list[Operation]) -> bool:
    """Some grant of the device was answered, and nothing that may have ended it was sent up to now."""
    mine = [each for each in operations if each.client == device]
    return any(
        grant.accepted
        and grant.verb in ("activate", "heartbeat")
        and grant.ended <= moment < grant.begin + LEASE - SLACK
        and not any(
            each.verb == "release"
            and not each.refused
            and each.begin <= moment
            and (each.unknown or not before(each, grant))
            for each in mine
        )
        for grant in mine
    )


def possibly_holds(device: str, moment: float, operations: list[Operation]) -> bool:
    """Some grant of the device was sent, and neither an answered release nor its lease has ended it.

    A release is refused here because there is no such seat: that says as much as one that was acknowledged.
    """
    mine = [each for each in operations if each.client == device]
    beats = [each.begin for each in mine if each.verb == "heartbeat" and each.unknown]
    for grant in mine:
        if grant.begin > moment or grant.refused:
            continue
        if grant.unknown and grant.verb == "activate":
            return True
        if not grant.accepted or grant.verb == "release":
            continue
        over = grant.ended + LEASE + SLACK
        if any(beat <= over for beat in beats):
            over = FOREVER
        freed = min(
            (each.ended for each in mine if each.verb == "release" and not each.unknown and before(grant, each)),
            default=FOREVER,
        )
        if moment <= min(over, freed):
            return True
    return False


def moments(operations: list[Operation]) -> list[float]:
    """Every time at which something may change, and one in between each two."""
    edges = set()
    for each in operations:
        for time in (each.begin, each.ended):
            if time < FOREVER:
                edges.update((time, time + LEASE - SLACK, time + LEASE + SLACK))
    ordered = sorted(edges)
    return sorted([*ordered, *((one + two) / 2 for one, two in itertools.pairwise(ordered))])


@settings(max_examples=400, deadline=None)
@given(calls, st.integers(1, 2))
def test_over_booking_is_found_exactly_when_some_moment_has_too_many_certain_holders(
    drawn: list[tuple[str, str, int, int, str]], seats: int
) -> None:
    """No moment of the oracle is missed, and none is invented."""
    tape = tape_of(drawn, seats)
    operations = [each for each in tape.story.operations if each.verb != "issue"]
    expected = any(
        sum(certainly_holds(device, moment, operations) for device in "abc") > seats for moment in moments(operations)
    )

    found = tape.violations("SEA-001")

    assert expected == bool(found)
    if found:
        assert len(found[0].evidence) == seats + 1


@settings(max_examples=400, deadline=None)
@given(calls, st.integers(1, 2))
def test_wrong_refusals_are_found_exactly_when_no_moment_can_have_been_full(
    drawn: list[tuple[str, str, int, int, str]], seats: int
) -> None:
    """The oracle asks, at every moment of the refused call, how many others possibly hold a seat."""
    tape = tape_of(drawn, seats)
    operations = [each for each in tape.story.operations if each.verb != "issue"]
    times = moments(operations)
    asked = [
        each
        for each in operations
        if each.verb == "activate" and not each.unknown  # accepted ones come before and count as the first
    ]
    expected = any(
        max(
            sum(possibly_holds(device, moment, operations) for device in "abc" if device != each.client)
            for moment in times
            if each.begin <= moment <= each.ended
        )
        < seats
        for each in asked[1:]
        if each.refused
    )

    assert expected == bool(tape.violations("SEA-002"))


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=90)


@settings(max_examples=300, deadline=None)
@given(spans, spans, st.integers(0, 40), st.integers(0, 60))
def test_most_others_agrees_with_counting(
    drawn: list[tuple[int, int]], own_drawn: list[tuple[int, int]], begin: int, length: int
) -> None:
    """Closed intervals, counted at every quarter of a second, with and without the own ones."""
    others = [(float(start), float(start + width)) for start, width in drawn]
    own = united(sorted((float(start), float(start + width)) for start, width in own_drawn))
    end = begin + length
    quarters = [begin + step / 4 for step in range(length * 4 + 1)]

    counted = max(sum(start <= moment <= stop for start, stop in others) for moment in quarters)

    assert counted == most_others(Occupancy([*others, *own]), own, begin, end)
