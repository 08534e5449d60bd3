"""Shrinking a plan: what is left breaks, and nothing in it can be left out."""

from __future__ import annotations

import pytest

from licensing_harness.faults.plan import numbers
from licensing_harness.generate.draw_faults import drawn
from licensing_harness.generate.shrink import Plan, described, smallest, without
from licensing_harness.vocabulary import Contract


def fresh(**more: object) -> dict[str, object]:
    return {"do": "fresh_licence", "seats": 2, "features": ["base", "export"], "duration": 3.0, **more}


def start(client: str, licence: str, verb: str = "activate") -> dict[str, object]:
    return {"do": "start", "client": client, "verb": verb, "licence": licence}


PLAN: Plan = [
    fresh(),
    start("phone", "L1"),
    {"do": "crash", "power": True},
    fresh(),
    start("tablet", "L2"),
    {"do": "settle"},
    start("phone", "L2", "release"),
    fresh(),
    start("vendor", "L2", "revoke"),
    start("tablet", "L2", "heartbeat"),
]


def test_only_what_matters_is_left() -> None:
    """Licences, devices and chance are as simple as they get."""

    def breaks(plan: Plan, chance: str) -> bool:
        verbs = [(step["verb"], step["licence"]) for step in plan if step["do"] == "start"]
        return any(("revoke", each) in verbs and ("heartbeat", each) in verbs for _, each in verbs)

    plan, chance = smallest(PLAN, "77", breaks)

    assert chance == "0"
    assert plan == [
        {"do": "fresh_licence", "seats": 1, "features": ["base"]},
        start("vendor", "L1", "revoke"),
        start("laptop", "L1", "heartbeat"),
    ]


def test_chance_stays_where_it_matters() -> None:
    """A plan that only breaks with its own chance keeps it."""
    plan, chance = smallest(PLAN, "77", lambda plan, chance: chance == "77" and {"do": "settle"} in plan)

    assert chance == "77"
    assert plan == [{"do": "settle"}]


def test_a_plan_that_never_breaks_again_is_given_back() -> None:
    """Nothing is smaller than what can't be repeated."""
    assert smallest(PLAN, "77", lambda _, __: False) == (PLAN, "77")


def test_the_number_of_tries_is_bounded() -> None:
    """A slow target is not told stories for ever."""
    tries: list[Plan] = []

    def breaks(plan: Plan, _: str) -> bool:
        tries.append(plan)
        return False

    smallest(PLAN, "77", breaks, tries=5)

    assert len(tries) == 5


def test_steps_go_with_their_licence() -> None:
    """Without the second licence its steps are gone; later labels move up."""
    plan: Plan = [fresh(), fresh(), fresh(), start("phone", "L2"), start("phone", "L3"), start("phone", "L1")]

    assert without(plan, range(1, 2)) == [fresh(), fresh(), start("phone", "L2"), start("phone", "L1")]


def test_a_plan_reads_as_words() -> None:
    """One step a line."""
    assert described([start("phone", "L1"), {"do": "settle"}]) == (
        "  start client=phone verb=activate licence=L1\n  settle"
    )


def fault(kind: str, **more: object) -> dict[str, object]:
    return {"do": "fault", "kind": kind, **more}


TABLE = drawn(Contract(lease=2.0, token_lifetime=3.0))


def test_a_fault_is_shortened_and_loses_what_does_not_matter() -> None:
    """Length, size and jitter are the plainest of the table with which it still breaks."""
    wide = fault(
        "latency",
        stream="upstream",
        seconds=2.2,
        parameters={"latency": 2200, "jitter": 20, "toxicity": 0.5},
    )

    def breaks(plan: Plan, _: str) -> bool:
        return any(
            step["do"] == "fault" and step["seconds"] >= 0.3 and step["parameters"]["latency"] >= 300 for step in plan
        )

    plan, _ = smallest([fresh(), wide, {"do": "settle"}], "77", breaks, table=TABLE)

    assert plan == [fault("latency", seconds=0.3, parameters={"latency": 300})]


def test_what_matters_of_a_fault_stays() -> None:
    """Jitter, a direction and a duration that are needed are kept."""
    needed = fault("latency", stream="upstream", seconds=2.2, parameters={"latency": 20, "jitter": 20})

    plan, _ = smallest([needed, {"do": "settle"}], "77", lambda plan, _: needed in plan, table=TABLE)

    assert plan == [needed]


def test_parameters_that_exclude_each_other_stay_apart() -> None:
    """Each plainer form is one that the kind takes."""
    told: Plan = []
    step = fault("duplicate", seconds=1.0, parameters={"delay": 300, "every": 2})

    def breaks(plan: Plan, _: str) -> bool:
        told.extend(plan)
        return False

    smallest([step, {"do": "settle"}], "77", breaks, table=TABLE)

    forms = [each["parameters"] for each in told if each["do"] == "fault" and "parameters" in each]
    assert {"every": 2} in forms
    assert {"delay": 300} in forms
    for each in forms:
        numbers("duplicate", each)


@pytest.mark.parametrize(
    ("step", "word"),
    [
        (fault("power-loss", seconds=1.0), {"do": "crash", "power": False}),
        (fault("restart"), {"do": "crash", "power": False}),
        (fault("store-gone", seconds=1.0), {"do": "crash", "power": False}),
        (
            fault("timeout", seconds=1.0, parameters={"timeout": 50}),
            {"do": "cut_next", "client": "laptop", "what": "request"},
        ),
    ],
)
def test_a_fault_that_is_a_word_is_told_by_it(step: dict[str, object], word: dict[str, object]) -> None:
    """Cuts and crashes are what every reader knows: a fault that does no more than they is one of them."""
    call = start("laptop", "L1")

    def breaks(plan: Plan, _: str) -> bool:
        return call in plan and plan[0]["do"] in {"fault", "crash", "cut_next"}

    plan, _ = smallest([step, fresh(), call], "77", lambda p, _: breaks(p, _) and len(p) == 3, table=TABLE)

    assert plan[0] == word


def test_a_power_loss_that_is_needed_stays_one() -> None:
    """A crash keeps what was committed; that is another finding."""

    def breaks(plan: Plan, _: str) -> bool:
        return any(step.get("kind") == "power-loss" or step.get("power") for step in plan)

    plan, _ = smallest([fault("power-loss", seconds=1.0)], "77", breaks, table=TABLE)

    assert plan == [{"do": "crash", "power": True}]


def test_waits_become_one() -> None:
    """Two waits are one, of a size from the table."""

    def breaks(plan: Plan, _: str) -> bool:
        return sum(float(step["seconds"]) for step in plan if step["do"] == "advance") >= 2.0

    plan, _ = smallest([{"do": "advance", "seconds": each} for each in (1.05, 1.05)], "77", breaks, table=TABLE)

    assert plan == [{"do": "advance", "seconds": 2.2}]


def test_one_licence_stands_for_two() -> None:
    """What two licences show, and one shows as well, is told of one."""

    def breaks(plan: Plan, _: str) -> bool:
        verbs = [step.get("verb") for step in plan]
        return plan[0]["do"] == "fresh_licence" and "revoke" in verbs and "heartbeat" in verbs

    plan, _ = smallest(
        [fresh(), fresh(), start("vendor", "L1", "revoke"), start("laptop", "L2", "heartbeat")], "77", breaks
    )

    assert [step.get("licence") for step in plan] == [None, "L1", "L1"]


def test_licences_are_named_as_they_appear() -> None:
    """Two findings that differ in which licence came first are one."""

    def breaks(plan: Plan, _: str) -> bool:
        seats = [step["seats"] for step in plan if step["do"] == "fresh_licence"]
        of = {step["verb"]: seats[int(step["licence"][1:]) - 1] for step in plan if step["do"] == "start"}
        return of == {"activate": 2, "release": 1} and len(seats) == 2

    one, _ = smallest([fresh(seats=1), fresh(), start("phone", "L2"), start("phone", "L1", "release")], "77", breaks)
    other, _ = smallest([fresh(), fresh(seats=1), start("phone", "L1"), start("phone", "L2", "release")], "77", breaks)

    assert one == other
    assert [step.get("licence") for step in one] == [None, None, "L1", "L2"]


def test_devices_that_do_the_same_contend() -> None:
    """Two calls of two devices are one step, where it does not matter that there are three."""

    def breaks(plan: Plan, _: str) -> bool:
        who = {step["client"] for step in plan if step["do"] == "start" and step["verb"] == "activate"}
        return plan[0]["do"] == "fresh_licence" and (len(who) > 1 or contend in plan)

    contend = {"do": "contend", "verb": "activate", "licence": "L1"}
    plan, _ = smallest([fresh(), start("phone", "L1"), start("tablet", "L1")], "77", breaks, contend=True)

    assert plan == [{"do": "fresh_licence", "seats": 1, "features": ["base"]}, contend]


def test_a_step_that_only_gave_another_one_time_goes() -> None:
    """A call that is waited for needs no second one of its client to be over before a crash."""

    def breaks(plan: Plan, _: str) -> bool:
        words = [step["do"] for step in plan]
        taken = words.count("start") > 1 or "call" in words
        return words[0] == "fresh_licence" and words[-1] == "crash" and taken

    plan, _ = smallest(
        [fresh(), start("phone", "L1"), start("phone", "L1", "validate"), {"do": "crash", "power": False}], "77", breaks
    )

    assert [step["do"] for step in plan] == ["fresh_licence", "call", "crash"]


def test_the_verb_that_says_least_is_told() -> None:
    """Where any change by the vendor shows it, it is told with one and the same."""
    plan, _ = smallest(
        [fresh(), {**start("vendor", "L1", "renew"), "duration": 60.0}],
        "77",
        lambda plan, _: any(step.get("client") == "vendor" for step in plan) and plan[0]["do"] == "fresh_licence",
    )

    assert plan[-1] == start("vendor", "L1", "suspend")


@pytest.mark.parametrize("kind", ["store-full", "store-read-only", "store-gone"])
def test_a_store_that_takes_nothing_is_a_full_one(kind: str) -> None:
    """What a target does wrong about one such store is told with the plainest."""

    def breaks(plan: Plan, _: str) -> bool:
        return any(str(step.get("kind", "")).startswith("store-") for step in plan)

    plan, _ = smallest([fault(kind, seconds=1.0)], "77", breaks, table=TABLE)

    assert plan == [fault("store-full", seconds=0.05)]


def test_one_device_does_what_two_did() -> None:
    """A second device is told of only where one alone does not show it."""

    def breaks(plan: Plan, _: str) -> bool:
        return plan[0]["do"] == "fresh_licence" and [step.get("verb") for step in plan[1:]] == ["activate", "release"]

    plan, _ = smallest([fresh(), start("phone", "L1"), start("tablet", "L1", "release")], "77", breaks)

    assert [step["client"] for step in plan[1:]] == ["laptop", "laptop"]
