"""One idempotency key makes one licence."""

from __future__ import annotations

import pytest

from licensing_harness.suite import Campaign, Cap, IdempotencyMachine, Story, Trouble, arm, insist

every_trouble = pytest.mark.parametrize("trouble", list(Trouble))


@pytest.mark.licensing(tries=("IDM-001",), needs=(Cap.ISSUE, Cap.IDEMPOTENCY))
@every_trouble
def test_idempotency_of_a_repeated_order(licensing_story: Story, trouble: Trouble) -> None:
    """An order that is repeated, because its answer was lost or the server died, makes one licence."""
    story = licensing_story
    if trouble is Trouble.KILLED:
        story.needs(Cap.RESTART)
    for _ in range(1 if trouble is Trouble.KILLED else 3):
        arm(story, trouble, "vendor")
        licence = story.fresh_licence()
        if trouble is Trouble.KILLED:
            story.start("vendor", "issue", licence)
            story.crash()
            story.settle()
        insist(story, "vendor", "issue", licence)
        insist(story, "vendor", "issue", licence)


@pytest.mark.licensing(tries=("IDM-001",), needs=(Cap.ISSUE, Cap.IDEMPOTENCY))
def test_idempotency_of_orders_at_once(licensing_story: Story) -> None:
    """The same order from several processes at the same moment makes one licence."""
    story = licensing_story
    for _ in range(3):
        arm(story, Trouble.REQUEST_LOST, "vendor")
        licence = story.fresh_licence()
        story.contend("issue", licence)
        story.settle()
        insist(story, "vendor", "issue", licence)


@pytest.mark.licensing(tries=("IDM-002",), needs=(Cap.ISSUE, Cap.IDEMPOTENCY, Cap.AUDIT))
@every_trouble
def test_idempotency_in_the_trail(licensing_story: Story, trouble: Trouble) -> None:
    """A repeated order is one entry in the audit trail."""
    story = licensing_story
    if trouble is Trouble.KILLED:
        story.needs(Cap.RESTART)
    story.call("vendor", "audit_log")
    for _ in range(1 if trouble is Trouble.KILLED else 2):
        arm(story, trouble, "vendor")
        licence = story.fresh_licence()
        if trouble is Trouble.KILLED:
            story.crash()
        insist(story, "vendor", "issue", licence)
        insist(story, "vendor", "issue", licence)
    story.call("vendor", "audit_log")


@pytest.mark.licensing(tries=("IDM-001",), needs=(Cap.ISSUE, Cap.IDEMPOTENCY))
def test_idempotency_generated(licensing_world: Campaign) -> None:
    """No sequence of repeats, losses and restarts makes a second licence of one key."""
    licensing_world.machine(IdempotencyMachine)
