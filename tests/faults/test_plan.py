"""Fault plans: what they take, what they refuse, and what a seed makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import EXAMPLES, plans

from licensing_harness.errors import UsageError
from licensing_harness.faults.plan import Event, Plan, PlanError, PlannedFault, check_places, not_run, schedule
from licensing_harness.faults.plan_kinds import KINDS, WORLDS, why_not
from licensing_harness.vocabulary import FaultKind

LINK = "laptop->server"


def fault(**table: Any) -> PlannedFault:
    return PlannedFault.of(table)


def plan(*tables: dict[str, Any]) -> Plan:
    return Plan(tuple(PlannedFault.of(table) for table in tables))


def latency(start: float, end: float, **more: Any) -> dict[str, Any]:
    return {"kind": "latency", "link": LINK, "start": start, "end": end, "latency": 200, **more}


def flapping(start: float, end: float, **more: Any) -> dict[str, Any]:
    return {"kind": "flapping", "link": LINK, "start": start, "end": end, "period": 2, **more}


def rolling(**more: Any) -> dict[str, Any]:
    return {"kind": "rolling-restart", "nodes": ["a", "b", "c"], "at": 1, "gap": 5, **more}


# Kinds


def test_every_kind_of_fault_can_be_planned() -> None:
    """No fault that the history knows is left out, and each kind has an example here."""
    assert {kind.fault for kind in KINDS.values()} == set(FaultKind)
    assert [table["kind"] for table in EXAMPLES] == list(KINDS)


def test_a_kind_is_called_what_the_history_calls_it() -> None:
    """Two kinds only have names of their own: those that stand for several events."""
    assert {name for name, kind in KINDS.items() if name != kind.fault} == {"flapping", "rolling-restart"}


@pytest.mark.parametrize("table", EXAMPLES, ids=lambda table: table["kind"])
def test_an_example_of_each_kind_makes_events(table: dict[str, Any]) -> None:
    """Each kind is read from a table, and comes to an event of its fault."""
    events = schedule(plan(table), "seed")

    assert {event.kind for event in events} == {KINDS[table["kind"]].fault}
    assert all((event.end is None) == ("at" in table) for event in events)


def test_every_kind_can_be_done_somewhere() -> None:
    """A kind that no world can do would be a word without a thing."""
    assert [kind for kind in KINDS if all(why_not(kind, world) for world in WORLDS)] == []


def test_a_world_says_why_it_cannot() -> None:
    """The reason is a sentence to be shown; there is none where the fault is possible."""
    assert "whole messages" in why_not("slicer", "simulated")
    assert why_not("slicer", "live") == ""
    assert "fsynced" in why_not("power-loss", "live")
    assert why_not("power-loss", "simulated") == ""
    assert "another speed" in why_not("clock-drift", "live")


@pytest.mark.parametrize(
    ("kind", "world", "message"),
    [("latancy", "live", "did you mean 'latency'?"), ("latency", "lively", "unknown world 'lively'; did you mean")],
)
def test_nobody_knows_an_unknown_kind_or_world(kind: str, world: str, message: str) -> None:
    """A misspelt name is no reason, and not the lack of one either."""
    with pytest.raises(UsageError) as caught:
        why_not(kind, world)

    assert message in str(caught.value)


def test_what_a_world_cannot_do_is_not_run_with_the_reason() -> None:
    """Impossible and not there yet are told apart; what is left is run."""
    made = plan(latency(0, 1), {"kind": "power-loss", "node": "server", "at": 2}, flapping(3, 9))

    reasons = not_run(made, "live", {"latency"})

    assert list(reasons) == [1, 2]
    assert reasons[1] == why_not("power-loss", "live")
    assert reasons[2] == "the live world does not have flapping yet"
    assert not_run(made, "live", set(KINDS)) == {1: why_not("power-loss", "live")}


# Values


def test_what_is_left_out_gets_its_default() -> None:
    """Defaults are in the fault, so that an event says everything."""
    made = fault(**latency(0, 1))

    assert (made.stream, made.parameters) == ("downstream", {"latency": 200, "jitter": 0, "toxicity": 1.0})
    assert fault(kind="cut-answer", link=LINK, start=0, end=1).parameters == {}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "a fault needs a 'kind'"),
    ({"kind": 5}, "kind", "kind: expected a text, got 5"),
    ({"kind": "latancy"}, "kind", "unknown kind 'latancy'; did you mean 'latency'?"),
    ({"kind": "zzz"}, "kind", "unknown kind 'zzz'; known: cut-request"),
    (latency(0, 1, jiter=3), "jiter", "unknown key 'jiter'; did you mean 'jitter'?"),
    (latency(0, 1, parameters={}), "parameters", "unknown key 'parameters'"),
    (latency(0, 1, latency="slow"), "latency", "latency: expected a number of milliseconds, got 'slow'"),
    (latency(0, 1, latency=True), "latency", "latency: expected a number of milliseconds, got True"),
    (latency(0, 1, latency=1.5), "latency", "latency: 1.5 is not a whole number; give a number of milliseconds"),
    (latency(0, 1, latency=-1), "latency", "latency: -1 is too small; give 0 or more"),
    (latency(0, 1, latency=10**400), "latency", "latency: it is too large; give 1000000000 or less"),
    (latency(0, 1, toxicity=0), "toxicity", "toxicity: 0 is too small; give 0.001 or more"),
    (latency(0, 1, toxicity=2), "toxicity", "toxicity: 2 is too large; give 1 or less"),
    (latency(0, 1, toxicity="x"), "toxicity", "toxicity: expected a share of connections, got 'x'"),
    (latency(0, float("inf")), "end", "end: inf is not finite; give a number of seconds"),
    (latency(float("nan"), 1), "start", "start: nan is not finite"),
    (latency(-1, 1), "start", "start: -1 is too small; give 0 or more"),
    (latency(2, 1), "end", "end: 1 is not after the start, 2"),
    (latency(1, 1), "end", "end: 1 is not after the start, 1"),
    (latency(0, 1, spread=1), "spread", "spread: 1 is not less than the fault is long"),
    (latency(0, 1, at=1), "at", "latency takes no 'at'; it takes start, end, spread, link, stream, latency"),
    (latency(0, 1, node="server"), "node", "latency takes no 'node'; it takes start, end"),
    (latency(0, 1, stream="sideways"), "stream", "stream: 'sideways' is none of downstream, upstream"),
    (latency(0, 1, link=""), "link", "link: expected a name, got ''"),
    (latency(0, 1, link=7), "link", "link: expected a text, got 7"),
    (latency(0, 1, link="laptop"), "link", "link: 'laptop' is no pair of names; write \"client->server\""),
    (latency(0, 1, link="a->b->c"), "link", "is no pair of names"),
    (latency(0, 1, link="->b"), "link", "is no pair of names"),
    ({"kind": "latency", "link": LINK, "start": 0, "end": 1}, "kind", "latency needs 'latency', a number of millis"),
    ({"kind": "latency", "start": 0, "end": 1, "latency": 1}, "kind", 'needs a place: link = "laptop->server"'),
    ({"kind": "pause", "node": "server", "start": 0}, "kind", "pause needs 'end', in seconds from the start"),
    (
        {"kind": "crash", "node": "server"},
        "kind",
        "crash needs 'start', in seconds from the start of the plan, or 'at'",
    ),
    ({"kind": "crash", "node": "server", "at": 1, "start": 1, "end": 2}, "at", "'at' and 'start' or 'end' exclude"),
    ({"kind": "restart", "node": "server"}, "kind", "restart happens at one moment: it needs 'at'"),
    ({"kind": "pause", "node": "server", "at": 1}, "at", "pause takes no 'at'"),
    ({"kind": "store-full", "store": "main", "start": 0, "end": 1, "stream": "upstream"}, "stream", "no 'stream'"),
    (rolling(nodes=[]), "nodes", "nodes: expected a list of names, got []"),
    (rolling(nodes="abc"), "nodes", "nodes: expected a list of names, got 'abc'"),
    (rolling(nodes=["a", 5]), "nodes", "nodes: expected a list of names, got ['a', 5]"),
    (rolling(nodes=["a", "a"]), "nodes", "nodes: a node is named twice; name each once"),
    (rolling(spread=5), "spread", "spread: give less than the gap"),
    (flapping(0, 1), "period", "period: 2 is longer than the fault, 1"),
    (flapping(0, 100, period=0.001), "period", "period: 0.001 makes more than 10000 intervals"),
    (flapping(0, 9, spread=1.5), "spread", "spread: give at most the time that the link is up in a period"),
    (flapping(0, 9, up=1), "up", "up: 1 is too large; give 0.999 or less"),
    ({"kind": "cut-answer", "link": LINK, "start": 0, "end": 1, "first": 1, "every": 2}, "every", "exclude each other"),
    ({"kind": "cut-answer", "link": LINK, "start": 0, "end": 1, "first": 0}, "first", "first: 0 is too small; give 1"),
    (
        {"kind": "status", "link": LINK, "start": 0, "end": 1, "status": 418},
        "status",
        "418 is none of 200, 429, 500, 502",
    ),
    (
        {"kind": "status", "link": LINK, "start": 0, "end": 1, "status": 500, "retry_after": 1},
        "retry_after",
        "retry_after goes with 429 and 503, not with 500",
    ),
    (
        {"kind": "slicer", "link": LINK, "start": 0, "end": 1, "average_size": 5, "size_variation": 5},
        "size_variation",
        "size_variation: give less than average_size",
    ),
    ({"kind": "clock-offset", "node": "a", "start": 0, "end": 1, "offset": 0}, "offset", "offset: 0 changes nothing"),
    ({"kind": "clock-drift", "node": "a", "start": 0, "end": 1, "drift": -1}, "drift", "give -0.999 or more"),
]


@pytest.mark.parametrize(("table", "key", "message"), REFUSED)
def test_a_fault_that_cannot_be_meant_is_refused_by_its_key(table: dict[str, Any], key: str, message: str) -> None:
    """The error is one line: what was wrong, with which key, and the way out."""
    with pytest.raises(PlanError) as caught:
        PlannedFault.of(table)

    assert message in str(caught.value)
    assert (caught.value.key, caught.value.exit_code) == (key, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "number", "message"),
    [
        ([], 0, "the plan is empty; give at least one fault"),
        ([latency(0, 5), latency(4, 6)], 2, f"latency on {LINK} overlaps fault 1, 0 to 5 s; move one of the two"),
        ([latency(4, 6), latency(0, 5)], 2, "overlaps fault 1, 4 to 6 s"),
        ([flapping(0, 5), {"kind": "proxy-down", "link": LINK, "start": 4, "end": 6}], 2, "proxy-down on"),
        ([rolling(), {"kind": "restart", "node": "c", "at": 11}], 2, "restart on c overlaps fault 1, 1 to 11 s"),
        ([{"kind": "crash", "node": "a", "at": 1}, {"kind": "crash", "node": "a", "at": 1}], 2, "crash on a"),
        ([{"kind": "crash", "node": "a", "at": 0, "spread": 2}, {"kind": "crash", "node": "a", "at": 1}], 2, "crash"),
    ],
)
def test_a_plan_that_overlaps_itself_or_is_empty_is_refused(
    tables: list[dict[str, Any]], number: int, message: str
) -> None:
    """The same fault on the same place at the same time can't be told apart, set or removed."""
    with pytest.raises(PlanError) as caught:
        plan(*tables)

    assert message in str(caught.value)
    assert caught.value.number == number


@pytest.mark.parametrize(
    "tables",
    [
        [latency(0, 5), latency(5, 6)],
        [latency(0, 5), latency(0, 5, stream="upstream")],
        [latency(0, 5), latency(0, 5, link="phone->server")],
        [latency(0, 5), flapping(0, 5)],
        [{"kind": "crash", "node": "a", "start": 0, "end": 1}, {"kind": "crash", "node": "a", "at": 1}],
    ],
)
def test_faults_that_do_not_meet_are_a_plan(tables: list[dict[str, Any]]) -> None:
    """A fault may begin when another is over, and go on beside another kind, place or direction."""
    assert len(plan(*tables).faults) == 2


PLACES: dict[str, list[str]] = {"links": [LINK], "nodes": ["server"], "stores": []}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (latency(0, 1, link="laptp->server"), f"unknown link 'laptp->server'; did you mean '{LINK}'?"),
        ({"kind": "crash", "node": "zzz", "at": 1}, "unknown node 'zzz'; known: server"),
        (rolling(nodes=["server", "sever"]), "unknown node 'sever'; did you mean 'server'?"),
        ({"kind": "store-gone", "store": "main", "start": 0, "end": 1}, "there is no store to break"),
    ],
)
def test_a_fault_on_a_place_that_there_is_none_of_is_refused(table: dict[str, Any], message: str) -> None:
    """A fault that could never be met is a mistake in the plan."""
    with pytest.raises(PlanError) as caught:
        check_places(plan(latency(5, 6), table), **PLACES)

    assert message in str(caught.value)
    check_places(plan(latency(5, 6)), **PLACES)


# Schedules


def test_flapping_goes_down_and_up_until_its_end() -> None:
    """Each period begins with the link down; the last one is cut off at the end."""
    events = schedule(plan(flapping(1, 8.5, period=3, up=0.5)), 1)

    assert [(event.kind, event.begin, event.end) for event in events] == [
        (FaultKind.PROXY_DOWN, 1, 2.5),
        (FaultKind.PROXY_DOWN, 4, 5.5),
        (FaultKind.PROXY_DOWN, 7, 8.5),
    ]


def test_flapping_is_up_for_its_share_of_a_period() -> None:
    """With the link up for three quarters, it is down for one."""
    (event,) = schedule(plan(flapping(0, 2, period=2, up=0.75)), 1)

    assert (event.begin, event.end) == (0, 0.5)


def test_a_plan_is_the_same_in_whatever_order_it_was_given() -> None:
    """Faults stand in the order of their beginnings, and so do their numbers in events."""
    early, late = latency(0, 1), latency(2, 3)

    assert plan(late, early) == plan(early, late)
    assert [event.fault for event in schedule(plan(late, early), 1)] == [0, 1]


def test_a_rolling_restart_takes_the_nodes_in_turn() -> None:
    """One node after the other, a gap apart, in the order in which they are listed."""
    events = schedule(plan(rolling(nodes=["b", "a"])), 1)

    assert [(event.kind, event.place, event.begin, event.end) for event in events] == [
        (FaultKind.RESTART, "b", 1, None),
        (FaultKind.RESTART, "a", 6, None),
    ]


def test_a_crash_may_last() -> None:
    """With a start and an end the process stays down in between; at one moment it is started at once."""
    lasting = schedule(plan({"kind": "crash", "node": "server", "start": 1, "end": 3}), 1)
    momentary = schedule(plan({"kind": "crash", "node": "server", "at": 1}), 1)

    assert [(event.begin, event.end) for event in (*lasting, *momentary)] == [(1, 3), (1, None)]


def begins(events: tuple[Event, ...]) -> list[float]:
    return [event.begin for event in events]


def test_another_seed_gives_other_beginnings_where_chance_is_asked_for() -> None:
    """Only what has a spread depends on the seed."""
    spread = plan(latency(0, 5, spread=2), flapping(0, 9, spread=1), rolling(spread=3))
    exact = plan(latency(0, 5), flapping(0, 9), rolling())

    assert not set(begins(schedule(spread, 1))) & set(begins(schedule(spread, 2)))
    assert schedule(exact, 1) == schedule(exact, 2)


def test_the_occurrences_of_a_fault_are_decided_one_by_one() -> None:
    """Two periods of a flapping link do not begin late by the same time."""
    events = schedule(plan(flapping(0, 8, spread=1)), 1)

    assert len({round(event.begin - 2 * event.occurrence, 9) for event in events}) == len(events) == 4


@settings(max_examples=60)
@given(made=plans(), seed=st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_schedule(made: Plan, seed: int) -> None:
    """A schedule is a function of the plan and the seed, whatever else was drawn."""
    first = schedule(made, seed)
    schedule(made, seed + 1)

    assert schedule(made, seed) == first


@settings(max_examples=100)
@given(made=plans(), seed=st.text(max_size=5))
def test_a_schedule_is_sorted_and_keeps_within_its_plan(made: Plan, seed: str) -> None:
    """Every fault comes to events, in order, and none begins before or ends after what was planned."""
    events = schedule(made, seed)

    assert begins(events) == sorted(begins(events))
    assert {event.fault for event in events} == set(range(len(made.faults)))
    for event in events:
        planned = made.faults[event.fault]
        end = event.begin if event.end is None else event.end
        assert planned.begin <= event.begin <= end <= planned.over <= made.end
        assert event.end is None or event.begin < event.end


@settings(max_examples=60)
@given(made=plans(least=2), seed=st.integers(0, 99))
def test_leaving_a_fault_out_leaves_the_others_as_they_were(made: Plan, seed: int) -> None:
    """Without that, no plan could be made smaller while what it found stays found."""
    whole = [replace(event, fault=event.fault - 1) for event in schedule(made, seed) if event.fault > 0]

    assert list(schedule(Plan(made.faults[1:]), seed)) == whole


@settings(max_examples=60)
@given(made=plans(), seed=st.integers(0, 99))
def test_one_place_never_has_the_same_fault_twice_at_once(made: Plan, seed: int) -> None:
    """What the plan promises, the schedule keeps: each event can be set and removed by its kind and place."""
    last: dict[tuple[str, str, str], float] = {}
    for event in schedule(made, seed):
        where = (event.kind, event.place, event.stream)
        assert event.begin >= last.get(where, 0)
        last[where] = event.begin if event.end is None else event.end
