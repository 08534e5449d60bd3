"""A drill on the wire: slow, silent, reset; a steady state before, between and after.

Every device holds a seat of a licence with a seat for each, so no call has a
cause to be refused. While a fault is on, a call may be slow or its outcome
unknown. When the fault is gone everything works again, and no seat is lost to
an activation whose answer was.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest

from licensing_harness.suite import Cap, NotRun, Story, Undecided

Outage = Callable[..., AbstractContextManager[Any]]

FAULTS: Final[tuple[tuple[str, str, dict[str, int]], ...]] = (
    ("latency", "downstream", {"latency": 120, "jitter": 20}),
    ("timeout", "upstream", {"timeout": 250}),  # the request never arrives
    ("timeout", "downstream", {"timeout": 250}),  # it was applied and the answer is swallowed
    ("reset_peer", "downstream", {}),
)
RECOVERY: Final = 3.0
"""Seconds after a fault within which every device must be served again. Ours: no contract states it."""


@pytest.mark.licensing(
    tries=("VAL-001", "VAL-005", "SEA-001", "SEA-002"),
    needs=(Cap.ISSUE, Cap.VALIDATE, Cap.SEATS),
)
def test_outage_drill(licensing_story: Story, licensing_outage: Outage) -> None:
    """The wire is slow, then silent, then reset; a licensing system is no worse for it afterwards."""
    story = licensing_story
    if story.world != "live":
        reason = f"a drill on the wire needs real sockets; the {story.world} world has none"
        raise NotRun(reason)
    licence = story.fresh_licence(seats=len(story.devices))
    if not story.acknowledged(licence) or troubles(story, licence):
        reason = "no steady state before the first fault: nothing can be told about an outage"
        raise Undecided(reason)
    for kind, stream, attributes in FAULTS:
        with licensing_outage(kind, stream=stream, **attributes):
            during = traffic(story, licence)
        assert not [each for each in during if each.refused], f"refused because of a {kind} {stream} on the wire"
        served = [each for each in during if each.accepted]
        if kind == "latency":
            assert len(served) == len(during), "a delay well below the client's patience lost a call"
        elif served:
            reason = f"{kind} {stream} was on, and #{served[0].n} was answered all the same: it was no outage"
            raise Undecided(reason)
        recover(story, licence, kind)
    for device in story.devices:
        story.call(device, "release", licence)
    for device in story.devices:
        taken = story.call(device, "activate", licence, device=f"{device}-2")
        assert taken is not None
        assert taken.accepted, f"after every seat was released, one is not free again: {taken.reason}"


def traffic(story: Story, licence: str) -> list[Any]:
    """Activations and validations, every device at once; what came of them."""
    before = len(story.history.operations)
    for verb in ("activate", "validate"):
        story.contend(verb, licence)
        story.settle()
    return story.history.operations[before:]


def troubles(story: Story, licence: str) -> list[Any]:
    """What is not accepted of a round of traffic: empty in the steady state."""
    return [each for each in traffic(story, licence) if not each.accepted]


def recover(story: Story, licence: str, kind: str) -> None:
    """The steady state comes back within RECOVERY; nothing is refused on the way."""
    begin = story.now
    while left := troubles(story, licence):
        refused = [each for each in left if each.refused]
        assert not refused, f"after the {kind}: #{refused[0].n} {refused[0].verb} refused: {refused[0].reason}"
        assert story.now - begin < RECOVERY, f"{RECOVERY:g} s after the {kind} was gone: {left[0].reason}"
        story.advance(0.1)
