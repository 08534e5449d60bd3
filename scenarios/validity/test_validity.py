"""A licence in its term says yes, with its own features; any other says no."""

from __future__ import annotations

import pytest

from licensing_harness.suite import Campaign, Cap, Story, Trouble, ValidityMachine, insist, troubled

every_trouble = pytest.mark.parametrize("trouble", list(Trouble))


@pytest.mark.licensing(tries=("VAL-001", "VAL-005", "VAL-006"), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.SUSPEND))
@every_trouble
def test_validity_of_a_suspension(licensing_story: Story, trouble: Trouble) -> None:
    """Yes before a suspension, no while it lasts, yes after; and one licence's features are not another's."""
    story = licensing_story
    wide = story.fresh_licence(features=("base", "export"))
    narrow = story.fresh_licence(features=("base",))
    story.contend("validate", wide)
    story.contend("validate", narrow)
    for verb in ("suspend", "reinstate"):
        met = trouble if trouble is not Trouble.KILLED or verb == "suspend" else Trouble.CALM
        troubled(story, met, "vendor", verb, wide)
        insist(story, "vendor", verb, wide)
        story.contend("validate", wide)
        story.contend("validate", narrow)
    story.settle()


@pytest.mark.licensing(tries=("VAL-002", "VAL-005"), needs=(Cap.ISSUE, Cap.VALIDATE))
@every_trouble
def test_validity_of_a_term(licensing_story: Story, trouble: Trouble) -> None:
    """Yes until the term is over, and no after it."""
    story = licensing_story
    licence = story.fresh_licence(duration=1.5)
    story.contend("validate", licence)
    troubled(story, Trouble.CALM if trouble is Trouble.KILLED else trouble, "laptop", "validate", licence)
    story.contend("validate", licence)
    story.settle()
    story.advance(1.7)
    troubled(story, trouble, "laptop", "validate", licence)
    story.contend("validate", licence)
    story.settle()


@pytest.mark.licensing(tries=("VAL-005",), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.RENEW))
@every_trouble
def test_validity_of_a_renewal(licensing_story: Story, trouble: Trouble) -> None:
    """A renewed licence is good for its new term, whatever happened to the call that renewed it.

    When the new term is over can't be tried here: a lost renewal may take effect at any time.
    """
    story = licensing_story
    licence = story.fresh_licence(duration=1.5)
    story.contend("validate", licence)
    troubled(story, trouble, "vendor", "renew", licence, duration=8.0)
    insist(story, "vendor", "renew", licence, duration=8.0)
    story.contend("validate", licence)
    story.settle()
    story.advance(1.0)
    story.contend("validate", licence)
    story.settle()


@pytest.mark.licensing(tries=("VAL-003",), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.SEATS))
def test_validity_at_the_last_moment(licensing_story: Story) -> None:
    """No answer is stamped later than the expiry that it states, however close the call comes."""
    story = licensing_story
    term = 0.15
    for millisecond in range(12):
        licence = story.fresh_licence(duration=term, seats=3)
        story.start("laptop", "validate", licence)
        story.advance(term - millisecond / 1000)
        for device in story.devices:
            story.start(device, "activate", licence)
            story.start(device, "validate", licence)
        story.settle()


@pytest.mark.licensing(tries=("VAL-004",), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.RESTART))
@pytest.mark.parametrize("power", [False, True], ids=["killed", "power-lost"])
def test_validity_of_what_was_acknowledged(licensing_story: Story, *, power: bool) -> None:
    """A licence that was acknowledged is known after the server was killed, and after the power was lost.

    The end comes a moment after the order was sent, each time a little later: around the
    moment at which the answer leaves.
    """
    story = licensing_story
    licences = []
    for quarter_millisecond in [*range(20)] * 6 if power else (0, 8):
        story.cut_next("vendor", "request")
        licences.append(story.fresh_licence())
        story.start("vendor", "issue", licences[-1])
        story.advance(quarter_millisecond / 4000)
        story.crash(power=power)
        story.settle()
        insist(story, "vendor", "issue", licences[-1])
    for licence in licences:
        story.start("laptop", "validate", licence)
    story.settle()


@pytest.mark.licensing(tries=("VAL-001", "VAL-002", "VAL-005"), needs=(Cap.ISSUE, Cap.VALIDATE, Cap.RENEW, Cap.SUSPEND))
def test_validity_generated(licensing_world: Campaign) -> None:
    """No sequence of terms, suspensions, losses and restarts makes a wrong answer."""
    licensing_world.machine(ValidityMachine)
