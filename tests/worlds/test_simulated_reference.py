"""The reference server in the simulated world: every verb, the same history for the same seed."""

from __future__ import annotations

from toy import world

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
