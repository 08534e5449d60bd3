"""What was revoked stays revoked, for every client, whatever is lost or restarted."""

from __future__ import annotations

import pytest

from licensing_harness.suite import Campaign, Cap, RevocationMachine, Story, Trouble, insist, troubled

every_trouble = pytest.mark.parametrize("trouble", list(Trouble))


def revoke(story: Story, trouble: Trouble, licence: str) -> None:
    """Revoke under ``trouble`` until it is acknowledged, then let the stated bound pass."""
    troubled(story, trouble, "vendor", "revoke", licence)
    insist(story, "vendor", "revoke", licence)
    if story.contract.revocation_bound:
        story.advance(story.contract.revocation_bound)


@pytest.mark.licensing(tries=("REV-001",), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE))
@every_trouble
def test_revocation_reaches_every_client(licensing_story: Story, trouble: Trouble) -> None:
    """Every client was told yes before the revoke, and none is after it."""
    story = licensing_story
    licence, other = story.fresh_licence(), story.fresh_licence()
    story.contend("validate", licence)
    story.contend("validate", other)
    story.settle()
    revoke(story, trouble, licence)
    story.contend("validate", licence)
    story.contend("validate", other)
    story.settle()


@pytest.mark.licensing(tries=("REV-002",), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE, Cap.SEATS, Cap.HEARTBEAT))
@every_trouble
def test_revocation_ends_seats(licensing_story: Story, trouble: Trouble) -> None:
    """A revoked licence gives no seat and keeps none."""
    story = licensing_story
    licence = story.fresh_licence(seats=2)
    story.call("laptop", "activate", licence)
    story.call("laptop", "heartbeat", licence)
    revoke(story, trouble, licence)
    story.call("phone", "activate", licence)
    story.call("laptop", "heartbeat", licence)
    story.call("laptop", "activate", licence)


@pytest.mark.licensing(tries=("REV-003",), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE, Cap.RENEW, Cap.SUSPEND))
@every_trouble
def test_revocation_is_for_good(licensing_story: Story, trouble: Trouble) -> None:
    """No renewal, reinstatement, repeated order or restart brings a revoked licence back."""
    story = licensing_story
    licence = story.fresh_licence()
    story.contend("validate", licence)
    story.settle()
    revoke(story, Trouble.CALM, licence)
    story.contend("validate", licence)
    story.settle()
    for verb, asked in (("renew", {"duration": 60.0}), ("reinstate", {}), ("issue", {})):
        met = trouble if trouble is not Trouble.KILLED or verb == "reinstate" else Trouble.CALM
        troubled(story, met, "vendor", verb, licence, **asked)
        story.contend("validate", licence)
        story.settle()


@pytest.mark.licensing(tries=("REV-004",), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE, Cap.TOKENS))
@every_trouble
def test_revocation_stops_tokens(licensing_story: Story, trouble: Trouble) -> None:
    """A token issued before the revoke is refused after it, and no new one is issued."""
    story = licensing_story
    licence = story.fresh_licence()
    story.call("laptop", "issue_token", licence)
    story.contend("validate_token", licence)
    story.settle()
    revoke(story, trouble, licence)
    story.contend("validate_token", licence)
    story.settle()
    story.call("phone", "issue_token", licence)
    story.call("phone", "validate_token", licence)


@pytest.mark.licensing(tries=("REV-001", "REV-003"), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE))
def test_revocation_generated(licensing_world: Campaign) -> None:
    """No sequence of revokes, renewals, losses and restarts makes a wrong yes."""
    licensing_world.machine(RevocationMachine)
