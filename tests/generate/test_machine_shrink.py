"""Shrinking a plan: what is left breaks, and nothing in it can be left out."""

from __future__ import annotations

from licensing_harness.generate.shrink import Plan, described, smallest, without


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
