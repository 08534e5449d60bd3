"""The reference server in the simulated world: every verb, the same history for the same seed."""

from __future__ import annotations

import random  # noqa: TID251 - the type only
from typing import Any

from toy import world

from licensing_harness.entropy import stream
from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.generate.explore import Explorer
from licensing_harness.history import StoryHistory
from licensing_harness.target.reference import ReferenceAdapter, simulated
from licensing_harness.worlds.simulated import SimulatedWorld
from licensing_harness.worlds.story import DEVICES


def reference() -> SimulatedWorld:
    return world(simulated(), adapter=ReferenceAdapter)


def busy_story(place: SimulatedWorld, chance: int) -> StoryHistory:
    """Every verb, cuts, a crash and a power loss."""
    with place.story(scenario="busy", seed=str(chance)) as story:
        licence = story.fresh_licence(seats=2, duration=60.0)
        story.call("laptop", "issue_token", licence)
        story.call("laptop", "validate_token", licence)
        story.call("laptop", "jwks")
        story.contend("activate", licence)
        story.cut_next("phone", "answer")
        story.contend("heartbeat", licence)
        story.start("vendor", "suspend", licence)
        story.crash(power=True)
        story.call("vendor", "reinstate", licence)
        story.cut_next("vendor", "request")
        story.start("vendor", "renew", licence, duration=30.0)
        story.contend("release", licence)
        story.settle()
        story.call("vendor", "renew", licence, duration=90.0)
        other = story.fresh_licence()
        story.start("vendor", "revoke", licence)
        story.advance(0.001)
        story.crash()
        for device in DEVICES:
            story.start(device, "validate", other)
            story.start(device, "activate", licence)
        story.settle()
        story.call("vendor", "issue", licence)
        story.call("vendor", "revoke", other)
        story.call("vendor", "audit_log")
        return story.history


def test_the_same_seed_gives_the_same_history() -> None:
    """Twenty seeds, twice: equal digests, all different, and every kind of operation was accepted."""
    first, second = reference(), reference()
    histories = [busy_story(first, chance) for chance in range(20)]
    digests = [each.digest() for each in histories]
    accepted = {each.verb for history in histories for each in history.operations if each.accepted}
    asked = {each.verb for each in histories[0].operations}

    assert [busy_story(second, chance).digest() for chance in range(20)] == digests
    assert len(set(digests)) == 20
    assert accepted == asked
    assert len(asked) == 13
    assert not first.troubles


NUMBERS: dict[str, dict[str, tuple[float, ...]]] = {
    "latency": {"latency": (5, 60, 1500, 6000), "jitter": (0, 50)},
    "bandwidth": {"rate": (200, 2000)},
    "reset-peer": {"timeout": (0, 300)},
    "timeout": {"timeout": (0, 250)},
    "status": {"status": (429, 500, 502, 503)},
    "truncate-body": {"keep": (0, 10)},
    "corrupt-body": {"bytes": (1, 5)},
    "stale-answer": {"age": (0.001, 0.05, 0.5)},
    "duplicate": {"delay": (0, 1, 20, 700, 6000)},
    "reorder": {"delay": (10, 800, 7000)},
    "clock-offset": {"offset": (-5, -0.5, 0.5, 5, 100)},
    "clock-drift": {"drift": (-0.9, -0.2, 0.5, 3)},
    "clock-jump": {"by": (0.3, 1, 3, 70)},
    "clock-rollback": {"by": (0.3, 1, 3, 70)},
    "store-slow": {"delay": (10, 300)},
}
POSSIBLE = [kind for kind, row in KINDS.items() if not row.not_simulated and kind == row.fault.value]


def drawn_fault(draw: random.Random) -> dict[str, Any]:
    """A step that breaks something, anything: how much, which calls, how long."""
    kind = draw.choice(POSSIBLE)
    row = KINDS[kind]
    given: dict[str, float] = {name: draw.choice(values) for name, values in NUMBERS.get(kind, {}).items()}
    if "first" in row.parameters:
        given |= draw.choice([{}, {"first": draw.randint(1, 4)}, {"every": draw.randint(2, 4)}])
    if "toxicity" in row.parameters:
        given["toxicity"] = draw.choice([1.0, 0.5])
    step: dict[str, Any] = {"do": "fault", "kind": kind, "parameters": given}
    if row.stream:
        step["stream"] = draw.choice(["upstream", "downstream"])
    if row.when == "during" or (row.when == "either" and draw.random() < 0.5):
        step["seconds"] = draw.choice([0.01, 0.1, 0.5, 2.0, 20.0])
    return step


def test_the_sound_server_is_not_accused_whatever_breaks() -> None:
    """Explored stories with six faults of any kind in each: no violation, every kind met, most promises tried."""
    explorer = Explorer(simulated(), ReferenceAdapter)
    met: set[str] = set()
    tried: set[str] = set()
    for seed in range(80):
        plan = list(explorer.family.plan(seed, 40))
        draw = stream(seed, "faults")
        for _ in range(6):
            plan.insert(draw.randrange(len(plan) + 1), drawn_fault(draw))
        history = explorer.tell(plan, f"{seed}/faults")
        judgement = explorer.judge(history)

        assert judgement.violations == (), seed
        met |= {each.fault.value for each in history.faults if each.met}
        tried |= judgement.occasions.keys()

    assert met == set(POSSIBLE)
    assert len(tried) > 20
