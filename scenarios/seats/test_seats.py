"""Never more holders than seats, and no seat lost for good."""

from __future__ import annotations

import pytest

from licensing_harness.suite import Campaign, Cap, NotRun, SeatsMachine, Story, Trouble, arm, insist, troubled

every_trouble = pytest.mark.parametrize("trouble", list(Trouble))
ROUNDS = 4


def lease_of(story: Story) -> float:
    """The stated lease in seconds."""
    if story.contract.lease is None:
        message = "needs the contract's number 'lease': not stated"
        raise NotRun(message)
    return story.contract.lease


@pytest.mark.licensing(tries=("SEA-001",), needs=(Cap.ISSUE, Cap.SEATS))
@every_trouble
def test_seats_contended(licensing_story: Story, trouble: Trouble) -> None:
    """Devices that ask for the last seat at the same moment do not all get it.

    The first licence is the control: the same calls one after the other.
    """
    story = licensing_story
    if trouble is Trouble.KILLED:
        story.needs(Cap.RESTART)
    control = story.fresh_licence(seats=1)
    for device in story.devices:
        story.call(device, "activate", control)
    for round_ in range(ROUNDS):
        licence = story.fresh_licence(seats=1 + round_ % 2)
        arm(story, trouble, story.devices[round_ % len(story.devices)])
        story.contend("activate", licence)
        if trouble is Trouble.KILLED and round_ == ROUNDS - 1:
            story.crash()
        story.settle()
        for device in story.devices:
            story.start(device, "activate", licence)
        story.settle()


@pytest.mark.licensing(tries=("SEA-002",), needs=(Cap.ISSUE, Cap.SEATS))
@pytest.mark.parametrize("trouble", [Trouble.CALM, Trouble.KILLED])
def test_seats_are_all_given(licensing_story: Story, trouble: Trouble) -> None:
    """As many devices get a seat as there are seats, one after the other."""
    story = licensing_story
    for seats in (2, 3):
        licence = story.fresh_licence(seats=seats)
        for device in story.devices[:seats]:
            story.call(device, "activate", licence)
        if trouble is Trouble.KILLED and seats == len(story.devices) - 1:
            story.needs(Cap.RESTART)
            story.crash()


@pytest.mark.licensing(tries=("SEA-004",), needs=(Cap.ISSUE, Cap.SEATS))
@every_trouble
def test_seats_released(licensing_story: Story, trouble: Trouble) -> None:
    """A seat that was given back can be taken by another device, and only by one."""
    story = licensing_story
    licence = story.fresh_licence(seats=1)
    story.call("laptop", "activate", licence)
    story.call("phone", "activate", licence)
    troubled(story, trouble, "laptop", "release", licence)
    insist(story, "laptop", "release", licence)
    story.call("phone", "activate", licence)
    story.call("tablet", "activate", licence)
    story.call("phone", "release", licence)
    story.contend("activate", licence)
    story.settle()


@pytest.mark.licensing(tries=("SEA-002", "SEA-003"), needs=(Cap.ISSUE, Cap.SEATS))
@pytest.mark.parametrize("trouble", [Trouble.CALM, Trouble.KILLED])
def test_seats_come_back(licensing_story: Story, trouble: Trouble) -> None:
    """A device that went away without a word loses its seat when its lease is over, and no sooner.

    With a lost activation this can't be tried: it may take effect at any time, and so begin its lease.
    """
    story = licensing_story
    lease = lease_of(story)
    licence = story.fresh_licence(seats=1)
    story.call("laptop", "activate", licence)
    if trouble is Trouble.KILLED:
        story.needs(Cap.RESTART)
        story.crash()
    story.call("phone", "activate", licence)
    story.advance(lease * 1.2)
    story.call("tablet", "activate", licence)
    story.call("phone", "activate", licence)


@pytest.mark.licensing(tries=("SEA-001", "SEA-005"), needs=(Cap.ISSUE, Cap.SEATS, Cap.HEARTBEAT))
@pytest.mark.parametrize("trouble", [Trouble.CALM, Trouble.ANSWER_LOST])
def test_seats_kept_by_heartbeats(licensing_story: Story, trouble: Trouble) -> None:
    """Heartbeats keep a seat from others; once the lease is over a heartbeat does not bring it back."""
    story = licensing_story
    lease = lease_of(story)
    licence = story.fresh_licence(seats=1)
    story.contend("activate", licence)
    story.settle()
    for beat in range(3):
        story.advance(lease * 0.5)
        for device in story.devices:
            story.start(device, "heartbeat", licence)
        if beat == 1:
            troubled(story, trouble, "laptop", "heartbeat", licence)
        story.contend("activate", licence)
        story.settle()
    story.advance(lease * 1.2)
    for device in story.devices:
        story.call(device, "heartbeat", licence)
    story.contend("activate", licence)
    story.settle()


@pytest.mark.licensing(tries=("SEA-001",), needs=(Cap.ISSUE, Cap.SEATS))
def test_seats_generated(licensing_world: Campaign) -> None:
    """No sequence of activations, releases, losses and restarts makes more holders than seats."""
    licensing_world.machine(SeatsMachine)
