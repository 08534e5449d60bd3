"""What was acknowledged is in the trail once; nothing else is."""

from __future__ import annotations

import pytest

from licensing_harness.suite import AuditMachine, Campaign, Cap, Story, Trouble, insist, troubled

every_trouble = pytest.mark.parametrize("trouble", list(Trouble))
LIFE: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("vendor", "renew", {"duration": 600.0}),
    ("vendor", "suspend", {}),
    ("vendor", "reinstate", {}),
    ("laptop", "activate", {}),
    ("laptop", "heartbeat", {}),
    ("laptop", "release", {}),
    ("vendor", "revoke", {}),
)
"""One of each change, in an order in which every one can be accepted."""


@pytest.mark.licensing(
    tries=("AUD-001", "AUD-005"),
    needs=(Cap.ISSUE, Cap.RENEW, Cap.SUSPEND, Cap.REVOKE, Cap.SEATS, Cap.HEARTBEAT, Cap.AUDIT),
)
@every_trouble
def test_audit_of_a_whole_life(licensing_story: Story, trouble: Trouble) -> None:
    """Every change of a licence's life is in the trail, whatever happened to its call."""
    story = licensing_story
    story.call("vendor", "audit_log")
    licence = story.fresh_licence(seats=2)
    for client, verb, asked in LIFE:
        # A kill costs a live target a second or more: two of them are enough, the first and the last change.
        met = trouble if trouble is not Trouble.KILLED or verb in {"renew", "revoke"} else Trouble.CALM
        troubled(story, met, client, verb, licence, **asked)
        insist(story, client, verb, licence, **asked)
    story.call("vendor", "audit_log")


@pytest.mark.licensing(
    tries=("AUD-004",), needs=(Cap.ISSUE, Cap.RENEW, Cap.SUSPEND, Cap.REVOKE, Cap.SEATS, Cap.HEARTBEAT, Cap.AUDIT)
)
def test_audit_order(licensing_story: Story) -> None:
    """What happened after something else stands behind it in the trail."""
    story = licensing_story
    story.call("vendor", "audit_log")
    for _ in range(2):
        licence = story.fresh_licence(seats=2)
        for client, verb, asked in LIFE:
            story.call(client, verb, licence, **asked)
    story.call("vendor", "audit_log")


@pytest.mark.licensing(tries=("AUD-003",), needs=(Cap.ISSUE, Cap.REVOKE, Cap.AUDIT, Cap.AUDIT_CHAIN))
@pytest.mark.parametrize("trouble", [Trouble.CALM, Trouble.KILLED])
def test_audit_chain(licensing_story: Story, trouble: Trouble) -> None:
    """The trail's hash chain can be recomputed from what the trail shows, across a restart too."""
    story = licensing_story
    story.call("vendor", "audit_log")
    for met in (Trouble.CALM, trouble):
        licence = story.fresh_licence()
        troubled(story, met, "vendor", "revoke", licence)
        story.call("vendor", "audit_log")


@pytest.mark.licensing(tries=("AUD-001", "AUD-002"), needs=(Cap.ISSUE, Cap.AUDIT))
def test_audit_generated(licensing_world: Campaign) -> None:
    """No sequence of changes, losses and restarts leaves a gap or a surplus in the trail."""
    licensing_world.machine(AuditMachine)
