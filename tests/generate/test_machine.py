"""Generated stories: what they find, how small it gets, and what they say of a run that can't be trusted."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
from toy import TOY, ToyAdapter, world

from licensing_harness import Cap, HarnessError, NotRun, PromiseBroken
from licensing_harness.generate.families import (
    AuditMachine,
    IdempotencyMachine,
    RevocationMachine,
    SeatsMachine,
    ValidityMachine,
)
from licensing_harness.generate.machine import LicensingMachine, MachineOutcome, overlaps, run_machine
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.worlds.story import Story

FAMILIES = [SeatsMachine, RevocationMachine, ValidityMachine, IdempotencyMachine, AuditMachine]


def judge_seats(history: StoryHistory) -> None:
    """Certain holders of a licence are never more than its seats: enough of a judge for the toy."""
    seats = {each.licence: each.asked["seats"] for each in history.operations if each.verb == "issue"}
    for licence, limit in seats.items():
        holders = []
        for device in Story.devices:
            calls = [each for each in history.operations if (each.client, each.licence) == (device, licence)]
            changes = [each for each in calls if each.verb in {"activate", "release"} and not each.refused]
            if changes and changes[-1].verb == "activate" and changes[-1].accepted:
                holders.append(device)
        if len(holders) > limit:
            message = f"SEA-001 {', '.join(holders)} hold {limit} of {licence}"
            raise PromiseBroken(message)


def accept(_: StoryHistory) -> None:
    """No promise at all."""


def run(machine: type[LicensingMachine], target: str = TOY, **how: Any) -> MachineOutcome:
    place = world(target)
    return run_machine(
        lambda chance: place.story(scenario="generated", seed=chance),
        machine,
        **{"examples": 30, "steps": 20, "seed": 1, "judge": accept, **how},
    )


def test_a_race_is_found_and_shrunk_to_its_core() -> None:
    """Check-then-act on a seat: one licence of one seat, and every device activates."""
    for seed in range(8):
        outcome = MachineOutcome()
        with pytest.raises(PromiseBroken, match="SEA-001"):
            run(SeatsMachine, TOY + "?race=1", seed=seed, judge=judge_seats, outcome=outcome)

        assert outcome.failed is not None
        assert [(step["do"], step.get("seats"), step.get("verb")) for step in outcome.failed.plan] == [
            ("fresh_licence", 1, None),
            ("contend", None, "activate"),
        ]
        assert outcome.stories < 100


def test_the_race_is_found_without_contend_too() -> None:
    """Single calls that overlap find it, and shrink to two, whatever came before them."""

    class Singles(SeatsMachine):
        """No rule starts several calls."""

        contended: ClassVar = ()
        device_verbs: ClassVar = {"activate": 2, "release": 1}
        seats: ClassVar = (1,)

    for seed in range(3):
        outcome = MachineOutcome()
        with pytest.raises(PromiseBroken):
            run(Singles, TOY + "?race=1", judge=judge_seats, outcome=outcome, examples=300, seed=seed)

        assert outcome.failed is not None
        assert [(step["do"], step.get("client")) for step in outcome.failed.plan] == [
            ("fresh_licence", None),
            ("start", "laptop"),
            ("start", "phone"),
        ]


def test_a_correct_target_stays_clean() -> None:
    """Nothing is found, and the outcome says how much was tried."""
    outcome = run(SeatsMachine, judge=judge_seats)

    assert outcome.failed is None
    assert outcome.examples == 30
    assert outcome.stories >= 30
    assert outcome.operations > 300
    assert outcome.overlaps > 100


@pytest.mark.parametrize("machine", FAMILIES)
def test_a_family_tries_what_it_says(machine: type[LicensingMachine]) -> None:
    """Its verbs are accepted, calls overlap, cuts and crashes are met, stories close."""
    histories: list[StoryHistory] = []
    outcome = run(machine, on_story=histories.append)
    operations = [each for history in histories for each in history.operations]
    accepted = {each.verb for each in operations if each.accepted}
    faults = Counter(each.fault for history in histories for each in history.faults if each.met)
    can = {"issue", "validate", "revoke", "activate", "release", "audit_log"}

    assert accepted >= can & {*machine.device_verbs, *machine.vendor_verbs, "issue"}
    assert {each.verb for each in operations} <= can
    assert outcome.overlaps > 0
    assert set(faults) == {"cut-request", "cut-answer", "crash", "power-loss"}
    assert all(history.complete for history in histories)


def test_the_same_seed_tells_the_same_stories() -> None:
    """Digest by digest; another seed tells others."""

    def digests(seed: int) -> list[str]:
        told: list[str] = []
        run(SeatsMachine, seed=seed, examples=15, on_story=lambda history: told.append(history.digest()))
        return told

    assert digests(3) == digests(3)
    assert digests(3) != digests(4)


def test_an_idempotency_story_ends_with_every_key_used_again() -> None:
    """Closing steps belong to the family."""
    histories: list[StoryHistory] = []
    run(IdempotencyMachine, examples=5, on_story=histories.append)

    for history in histories:
        assert history.operations[-1].verb == "audit_log"
        last = [each for each in history.operations[:-1] if each.verb == "issue"][-1]
        assert last.client == "vendor"


def test_crashes_are_few_and_only_where_the_target_can_restart() -> None:
    """At most as many as the family says; none for a target that can't be restarted."""

    def most_crashes(*, restart: bool) -> int:
        place, histories = world(), list[StoryHistory]()

        def make_story(chance: str) -> Story:
            story = place.story(scenario="s", seed=chance)
            story.capabilities = place.capabilities if restart else place.capabilities - {Cap.RESTART}
            return story

        run_machine(make_story, SeatsMachine, examples=20, steps=40, seed=2, judge=accept, on_story=histories.append)
        return max(sum(step["do"] == "crash" for step in history.plan) for history in histories)

    assert most_crashes(restart=True) == SeatsMachine.crashes
    assert most_crashes(restart=False) == 0


class Buggy(ToyAdapter):
    """Has a bug."""

    async def activate(self, key: str, machine: str) -> Any:
        raise LookupError("my own bug")


def test_a_bug_of_the_adapter_stops_the_machine() -> None:
    """HarnessError as it was raised; nothing is judged, nothing shrunk at length."""
    place = world(adapter=Buggy)
    outcome = MachineOutcome()
    with pytest.raises(HarnessError, match="my own bug"):
        run_machine(
            lambda chance: place.story(scenario="s", seed=chance),
            SeatsMachine,
            examples=50,
            steps=20,
            seed=1,
            judge=judge_seats,
            outcome=outcome,
        )

    assert outcome.failed is None
    assert outcome.stories < 50


def test_what_can_not_run_is_not_run() -> None:
    """NotRun of the world comes out as NotRun."""
    place = world("asgi:toy:plain_app")
    with pytest.raises(NotRun, match="plain ASGI application"):
        run_machine(
            lambda chance: place.story(scenario="s", seed=chance),
            SeatsMachine,
            examples=5,
            steps=5,
            seed=1,
            judge=accept,
        )


def test_a_violation_that_does_not_come_again_stays_broken() -> None:
    """Hypothesis calls it flaky; the promise was broken all the same."""
    outcome = MachineOutcome()

    def judge_once(history: StoryHistory) -> None:
        if outcome.broken is None and outcome.stories == 3:
            raise PromiseBroken("SEA-001 once")

    with pytest.raises(PromiseBroken, match="once"):
        run(SeatsMachine, judge=judge_once, outcome=outcome)

    assert outcome.failed is not None


def test_without_shrinking_the_first_finding_is_raised() -> None:
    """As a live run wants it: few stories after the find."""
    outcome = MachineOutcome()
    with pytest.raises(PromiseBroken):
        run(SeatsMachine, TOY + "?race=1", judge=judge_seats, outcome=outcome, shrink=False)

    assert outcome.stories <= 3


def test_overlaps_are_pairs_of_different_clients() -> None:
    """Touching ends and calls without a known end don't count."""

    def call(n: int, client: str, begin: float, end: float | None) -> Operation:
        return Operation(n=n, story="s", client=client, verb="validate", begin=begin, end=end)

    history = StoryHistory(story="s", world="simulated", scenario="s")
    history.operations = [
        call(1, "laptop", 0, 5),
        call(2, "phone", 1, 2),
        call(3, "tablet", 2, 3),
        call(4, "phone", 4, None),
        call(5, "phone", 5, 6),
    ]

    assert overlaps(history) == 2
