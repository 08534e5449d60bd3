"""A right server is never accused, whatever the network did; a wrong one is found by its own promise."""

from __future__ import annotations

from itertools import pairwise

import pytest
from histories import CONTRACT, EVERYTHING
from hypothesis import given, settings
from hypothesis import strategies as st
from model import Call, play

from licensing_harness.checkers.judge import ALL_PROMISES, judge_story
from licensing_harness.entropy import stream

TICK = 0.05
TROUBLES = ["answer lost", "request lost", "answer cut", "request cut", "late"]
VENDOR = ["issue", "renew", "suspend", "reinstate", "revoke", "validate", "audit_log", "renew", "suspend", "reinstate"]
PATIENT = [verb for verb in VENDOR if verb != "revoke"]
DEVICE = ["validate", "activate", "activate", "heartbeat", "heartbeat", "release", "audit_log"]


def a_call(draw: st.DrawFn) -> Call:
    client = draw(st.sampled_from(["vendor", "laptop", "phone", "tablet"]))
    return Call(
        client=client,
        verb=draw(st.sampled_from(VENDOR if client == "vendor" else DEVICE)),
        licence=draw(st.sampled_from(["L1", "L1", "L1", "L2"])),
        wait=draw(st.integers(0, 30)) * TICK,
        there=draw(st.integers(1, 8)) * TICK,
        back=draw(st.integers(0, 8)) * TICK,
        fate=draw(st.sampled_from(["ok", "ok", "ok", "ok", *TROUBLES])),
        late=draw(st.integers(1, 90)) * TICK,
        duration=draw(st.integers(1, 60)) * TICK,
        drift=draw(st.sampled_from([0.0, 0.0, -0.02, 0.02])),
    )


@st.composite
def plans(draw: st.DrawFn) -> list[Call]:
    issues = [
        Call(client="vendor", verb="issue", licence=label, wait=0.0, there=TICK, back=TICK) for label in ("L1", "L2")
    ]
    count = draw(st.integers(1, 40))
    return issues + [a_call(draw) for _ in range(count)]


@settings(max_examples=200, deadline=None)
@given(plans(), st.integers(1, 2), st.sampled_from([1.0, 3.0, 50.0]), st.sets(st.integers(8, 400), max_size=2))
def test_a_right_server_breaks_no_promise(plan: list[Call], seats: int, term: float, kills: set[int]) -> None:
    """Lost requests and answers, late requests, kills, and clocks off by the tolerance accuse nobody."""
    story = play(plan, seats=seats, term=term, kills=tuple(tick * TICK for tick in sorted(kills)))

    judgement = judge_story(story, CONTRACT, EVERYTHING)

    assert judgement.violations == ()


def random_kills(seed: int) -> tuple[float, ...]:
    draw = stream(seed, "kills")
    return tuple(sorted(draw.randint(8, 400) * TICK for _ in range(seed % 3)))


def random_plan(seed: int) -> list[Call]:
    """A plan drawn at random rather than by Hypothesis: many, fast, and the same each time."""
    draw = stream(seed, "plan")
    plan = [Call(client="vendor", verb="issue", licence=label, wait=0, there=TICK, back=TICK) for label in ("L1", "L2")]
    revoking, calm = seed % 3 == 0, seed % 4 < 2
    for _ in range(draw.randint(20, 60)):
        client = draw.choice(["vendor", "laptop", "phone", "tablet"])
        vendor = ["issue", "validate", "audit_log"] if calm else VENDOR if revoking else PATIENT
        verbs = vendor if client == "vendor" else DEVICE
        plan.append(
            Call(
                client=client,
                verb=draw.choice(verbs),
                licence=draw.choice(["L1", "L1", "L1", "L2"]),
                wait=draw.randint(0, 14) * TICK,
                there=draw.randint(1, 8) * TICK,
                back=draw.randint(0, 8) * TICK,
                fate=draw.choice(["ok"] * (30 if seed % 2 else 8) + TROUBLES),
                late=draw.randint(1, 90) * TICK,
                duration=draw.randint(1, 60) * TICK,
                drift=draw.choice([0.0, 0.0, -0.02, 0.02]),
            )
        )
    plan.append(Call(client="vendor", verb="audit_log", licence="", wait=9.0, there=TICK, back=TICK))
    return plan


def broken_by(flaws: frozenset[str], seeds: range, promise: str) -> set[str]:
    found: set[str] = set()
    for seed in seeds:
        if promise in found:
            break
        story = play(random_plan(seed), seats=1 + seed % 2, term=(50.0, 1.0, 3.0)[seed // 3 % 3], flaws=flaws)
        found |= {each.promise for each in judge_story(story, CONTRACT, EVERYTHING).violations}
    return found


def test_a_right_server_is_not_accused_by_random_plans() -> None:
    """No false alarm, and every promise about it had its occasions."""
    occasions: set[str] = set()
    for seed in range(600):
        story = play(
            random_plan(seed), seats=1 + seed % 2, term=(50.0, 1.0, 3.0)[seed // 3 % 3], kills=random_kills(seed)
        )
        judgement = judge_story(story, CONTRACT, EVERYTHING)

        assert judgement.violations == (), seed
        occasions |= judgement.occasions.keys()

    tried = {each.id for each in ALL_PROMISES if each.family != "TOK"} - {"REV-004"}
    assert tried <= occasions


@pytest.mark.parametrize(
    ("flaw", "promise"),
    [
        ("one too many", "SEA-001"),
        ("one too few", "SEA-002"),
        ("lease never ends", "SEA-003"),
        ("release does nothing", "SEA-004"),
        ("heartbeat takes", "SEA-005"),
        ("key ignored", "IDM-001"),
        ("key ignored", "IDM-002"),
        ("stale", "REV-001"),
        ("stale", "REV-003"),
        ("suspension ignored", "VAL-006"),
        ("never expires", "VAL-002"),
        ("never expires", "VAL-003"),
        ("suspend unrecorded", "AUD-001"),
        ("hash without actor", "AUD-003"),
    ],
)
def test_a_wrong_server_is_found_by_its_own_promise(flaw: str, promise: str) -> None:
    """A hundred and fifty random plans are enough for each flaw."""
    assert promise in broken_by(frozenset({flaw}), range(150), promise)


def test_the_model_keeps_clients_apart() -> None:
    """The calls of one client never overlap: otherwise the judge would refuse the history."""
    story = play(random_plan(7), seats=1)
    calls = sorted((each for each in story.operations if each.client == "laptop"), key=lambda each: each.n)

    assert all(one.end is None or one.end <= two.begin for one, two in pairwise(calls))
