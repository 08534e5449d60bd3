"""What a clock that was set wrong leaves of the promises about time: broken, held, or not to be told.

A term of one second, or a lease of two, on a target whose clock a fault touched.
Each case has the three outcomes: accused beyond the widened bound, an occasion
without an accusation, and neither, where nothing can be said.
"""

from __future__ import annotations

import pytest
from histories import CONTRACT, Tape

from licensing_harness.checkers.clocks import FOREVER, Clocks
from licensing_harness.entropy import stream
from licensing_harness.history import Fault
from licensing_harness.vocabulary import Contract, FaultKind

FULL = "no-free-seat"
ALONE = {"of": "target", "alone": True}
LATE = {
    FaultKind.CLOCK_ROLLBACK: {"by": 3.0},
    FaultKind.CLOCK_OFFSET: {"offset": -3.0},
    FaultKind.CLOCK_FREEZE: {},
    FaultKind.CLOCK_DRIFT: {"drift": -0.9},
}
"""Faults from 0.5 to 4.5 s by which a term of one second is over three seconds late, or four at most."""


def term(kind: FaultKind, **detail: object) -> Tape:
    """A licence for one second, good at first, and a fault soon after."""
    tape = Tape(duration=1.0)
    tape.call("validate", "laptop", 0.2, 0.3)
    lingers = kind is FaultKind.CLOCK_ROLLBACK
    tape.fault(kind, 0.5, 0.5 if lingers else 4.5, **LATE[kind], **detail)
    return tape


@pytest.mark.parametrize("kind", LATE)
def test_a_yes_after_the_term_on_a_clock_that_is_behind(kind: FaultKind) -> None:
    """Beyond the term and the fault it is wrong, a no there is right, and in between nobody can tell."""
    for answer, asked_at, broken, occasions in (
        ("", 7.0, ["VAL-002"], 1),
        ("expired", 7.0, [], 1),
        ("", 3.0, [], 0),
        ("expired", 3.0, [], 0),
    ):
        tape = term(kind, **ALONE)
        tape.call("validate", "phone", asked_at, asked_at + 0.1, no=answer)

        assert tape.broken() == broken
        assert tape.occasions("VAL-002") == occasions


def test_without_the_fault_the_same_yes_is_wrong() -> None:
    """The fault is what widens the bound."""
    tape = Tape(duration=1.0)
    tape.call("validate", "laptop", 0.2, 0.3)
    tape.call("validate", "phone", 3.0, 3.1)

    assert tape.broken() == ["VAL-002"]


@pytest.mark.parametrize(
    ("kind", "end", "detail"),
    [
        (FaultKind.CLOCK_JUMP, 0.5, {"by": 9.0}),
        (FaultKind.CLOCK_OFFSET, 3.0, {"offset": 9.0}),
        (FaultKind.CLOCK_DRIFT, 3.0, {"drift": 9.0}),
    ],
)
def test_a_no_within_the_term_on_a_clock_that_is_ahead(kind: FaultKind, end: float, detail: dict[str, float]) -> None:
    """Before the fault a no has no cause; with the clock ahead it may have one; a yes there is right all the same."""
    for asked_at, broken, occasions in ((0.3, ["VAL-005"], 1), (1.6, [], 0)):
        tape = Tape(duration=5.0)
        tape.fault(kind, 0.5, end, **detail, **ALONE)
        tape.call("validate", "phone", asked_at, asked_at + 0.1, no="expired")

        assert tape.broken() == broken
        assert tape.occasions("VAL-005") == occasions


def test_a_clock_that_was_set_before_the_term_began_is_as_good_as_any() -> None:
    """It jumped, and stayed there: a term that begins after is as long as ever."""
    tape = Tape(issued=False)
    tape.fault(FaultKind.CLOCK_JUMP, 0.1, 0.1, by=3600.0, **ALONE)
    tape.issue(0.5, 0.6, duration=1.0)
    tape.call("validate", "laptop", 0.7, 0.8)
    tape.call("validate", "laptop", 2.0, 2.1)

    assert tape.broken() == ["VAL-002"]


@pytest.mark.parametrize("detail", [{"of": "target"}, {"of": "target", "where": "server-2"}])
def test_of_several_nodes_another_one_may_have_judged(detail: dict[str, str]) -> None:
    """One of two clocks jumped: a term that one node gave may be over on the other's clock, or not yet."""
    tape = Tape(issued=False)
    where = detail.pop("where", "server-1")
    tape.fault(FaultKind.CLOCK_JUMP, 0.1, 0.1, where=where, by=3600.0, **detail)
    tape.issue(0.5, 0.6, duration=1.0)
    tape.call("validate", "laptop", 0.7, 0.8, no="expired")
    tape.call("validate", "laptop", 2.0, 2.1)

    assert tape.broken() == []


def test_a_clients_clock_is_none_of_the_targets() -> None:
    """The target is judged as ever."""
    tape = Tape(duration=1.0)
    tape.fault(FaultKind.CLOCK_FREEZE, 0.2, 9.0, where="laptop", of="client")
    tape.call("validate", "laptop", 2.0, 2.1)

    assert tape.broken() == ["VAL-002"]


def test_a_fault_of_unknown_size_makes_nothing_certain() -> None:
    """Neither a late yes nor an early no can be judged."""
    tape = Tape(duration=5.0)
    tape.fault(FaultKind.CLOCK_OFFSET, 0.2, 0.3)
    tape.call("validate", "laptop", 1.0, 1.1, no="expired")
    tape.call("validate", "laptop", 9.0, 9.1)

    assert tape.broken() == []
    assert tape.occasions("VAL-002") == tape.occasions("VAL-005") == 0


def seats(asked_at: float, *, answer: str, by: float = 10.0) -> Tape:
    """A seat is taken, the clock jumps over the lease, and another device asks for the seat."""
    tape = Tape()
    tape.call("activate", "laptop", 0.2, 0.3)
    tape.fault(FaultKind.CLOCK_JUMP, 0.5, 0.5, by=by, **ALONE)
    tape.call("activate", "phone", asked_at, asked_at + 0.1, no=answer)
    return tape


def test_a_lease_that_a_jump_may_have_ended_is_no_hold() -> None:
    """Just after the jump a yes and a no are right; when the lease is over on every clock a no is wrong."""
    assert seats(0.6, answer="").broken() == []
    assert seats(0.6, answer=FULL).broken() == []
    assert seats(2.6, answer=FULL).broken() == ["SEA-002", "SEA-003"]
    assert seats(0.6, answer="", by=0.1).broken() == ["SEA-001"], "a small jump leaves most of the lease"


def test_over_booking_is_not_called_tried_where_nobody_certainly_holds() -> None:
    """Two activates overlapped, on a clock that makes every lease uncertain: that is no occasion."""
    for offset, occasions in ((3600.0, 0), (0.5, 1)):
        tape = Tape()
        tape.fault(FaultKind.CLOCK_OFFSET, 0.2, 0.4, offset=offset, **ALONE)
        tape.call("activate", "laptop", 0.3, 0.5)
        tape.call("activate", "phone", 0.3, 0.5, no=FULL)

        assert tape.occasions("SEA-001") == occasions


def test_a_stated_bound_runs_on_the_targets_clock() -> None:
    """A follower whose clock stands still does not see that it is stale; a bound of nothing needs no clock."""
    for bound, asked_at, broken in ((1.0, 2.5, []), (1.0, 9.0, ["REV-001"]), (0.0, 2.5, ["REV-001"])):
        tape = Tape()
        tape.call("validate", "laptop", 0.2, 0.3)
        tape.fault(FaultKind.CLOCK_FREEZE, 0.4, 4.4, where="server-2", of="target")
        tape.call("revoke", "vendor", 0.5, 0.6)
        tape.call("validate", "laptop", asked_at, asked_at + 0.1)

        assert tape.broken(Contract(revocation_bound=bound, clock_tolerance=0.05)) == broken


def test_a_token_lives_on_the_targets_clock() -> None:
    """A frozen clock keeps it alive; when it is certainly dead, a yes is wrong."""
    for asked_at, broken in ((5.0, []), (9.0, ["TOK-001"])):
        tape = Tape()
        tape.call("issue_token", "laptop", 0.2, 0.3)
        tape.call("validate_token", "laptop", 0.4, 0.5)
        tape.fault(FaultKind.CLOCK_FREEZE, 1.0, 6.0, **ALONE)
        tape.call("validate_token", "laptop", asked_at, asked_at + 0.1)

        assert tape.broken(CONTRACT) == broken


# The arithmetic, beside clocks that run -----------------------------------------------------------

TICK = 0.05
SIZES = {
    FaultKind.CLOCK_OFFSET: ("offset", (-3.0, -0.5, 0.4, 6.0)),
    FaultKind.CLOCK_DRIFT: ("drift", (-0.8, -0.25, 0.5, 3.0)),
    FaultKind.CLOCK_JUMP: ("by", (0.3, 5.0)),
    FaultKind.CLOCK_ROLLBACK: ("by", (0.3, 5.0)),
    FaultKind.CLOCK_FREEZE: ("", (0.0,)),
}


def random_fault(seed: int, n: int, *, alone: bool) -> Fault:
    draw = stream(seed, "clock", n)
    kind = draw.choice(sorted(SIZES))
    name, sizes = SIZES[kind]
    begin = draw.randint(0, 100) * TICK
    end = begin if name == "by" else begin + draw.randint(1, 80) * TICK
    detail = {"of": "target", **({name: draw.choice(sizes)} if name else {}), **({"alone": True} if alone else {})}
    where = "server" if alone else draw.choice(["server-1", "server-2"])
    return Fault(n=n, story="s1", fault=kind, begin=begin, end=end, where=where, met=1, detail=detail)


def reading(faults: list[Fault], when: float) -> float:
    """What a clock with these faults shows, by the words of the kinds."""
    shown = when
    for fault in faults:
        end = FOREVER if fault.begin == fault.end or fault.end is None else fault.end
        if fault.begin <= when < end:
            size = fault.detail.get(SIZES[fault.fault][0], 0.0)
            since = when - fault.begin
            shown += {
                FaultKind.CLOCK_DRIFT: size * since,
                FaultKind.CLOCK_FREEZE: -since,
                FaultKind.CLOCK_ROLLBACK: -size,
            }.get(fault.fault, size)
    return shown


def over(clock: list[float], given: int, seconds: float) -> tuple[float, float]:
    """When so many seconds are over on this clock for the first time, and from when on they stay so."""
    until = clock[given] + seconds - 1e-9
    late = [at for at in range(given, len(clock)) if clock[at] < until]
    first = next((at for at in range(given, len(clock)) if clock[at] >= until), len(clock))
    return first * TICK, (late[-1] + 1 if late else given) * TICK


@pytest.mark.parametrize("alone", [True, False])
def test_no_clock_is_over_before_the_earliest_or_after_the_latest(alone: bool) -> None:
    """Clocks as they are, held where they were, and right ones; read in steps beside the arithmetic."""
    tight = 0
    for seed in range(300):
        draw = stream(seed, "given")
        faults = [random_fault(seed, n, alone=alone) for n in range(draw.randint(1, 3))]
        clocks = Clocks(faults)
        given, seconds = draw.randint(0, 120), draw.randint(1, 100) * TICK
        earliest, latest = clocks.earliest(given * TICK, given * TICK, seconds), clocks.latest(given * TICK, seconds)
        places = sorted({fault.where for fault in faults})
        shown = [
            [reading([fault for fault in faults if fault.where == place], at * TICK) for at in range(700)]
            for place in places
        ]
        kept = []
        for clock in shown:
            highest = [clock[0]]
            for each in clock[1:]:
                highest.append(max(each, highest[-1]))
            kept.append(highest)
        right = [at * TICK for at in range(700)]
        seen = [over(clock, given, seconds) for clock in (*shown, *kept, right)]

        assert all(earliest <= first + TICK for first, _ in seen), (seed, earliest, seen)
        assert all(last <= latest + TICK for _, last in seen), (seed, latest, seen)
        tight += earliest >= min(first for first, _ in seen) - TICK and latest <= max(last for _, last in seen) + TICK

    assert tight > (150 if alone else 60), "the bounds are no wider than they must be, mostly"
