"""The clock of a live target is set wrong, and right again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_live
from toy_live import TOKEN, AsyncToy

from licensing_harness import Adapter, ControlAdapter
from licensing_harness.errors import CleanUpIncomplete, HarnessError, NotRun
from licensing_harness.history import Header, HistoryWriter
from licensing_harness.masking import Masker
from licensing_harness.worlds.live import LiveWorld
from licensing_harness.worlds.live_story import LiveStory
from licensing_harness.worlds.process import ReferenceProcess
from licensing_harness.worlds.story import Setting

reference = pytest.importorskip("licensing_harness.target.reference")
pytest.importorskip("reference_server.__main__")

LEASE = 100.0


def setting(adapter: type[Adapter], **secrets: str) -> Setting:
    masker = Masker()
    writer = HistoryWriter(None, Header(), masker)
    return Setting(adapter=adapter, writer=writer, masker=masker, seed=1, tag="clocks", secrets=secrets)


@pytest.fixture(scope="module")
def world() -> Iterator[LiveWorld]:
    live = LiveWorld(ReferenceProcess(lease=LEASE), setting(reference.ReferenceAdapter))
    yield live
    live.close()


def seat(story: LiveStory, device: str, label: str) -> str:
    call = story.call(device, "activate", label)
    assert call is not None
    return call.outcome.value


def test_a_clock_that_is_off_ends_a_lease(world: LiveWorld) -> None:
    """A lease ahead, a seat is free that was taken; after, the clock is right, and the record says so."""
    with world.story(scenario="clock") as story:
        label = story.fresh_licence(seats=1)
        assert seat(story, "laptop", label) == "accepted"
        assert seat(story, "phone", label) == "refused"
        on = story.fault("clock-offset", place="server", parameters={"offset": LEASE + 1})
        assert world.clock_offset == LEASE + 1
        assert seat(story, "phone", label) == "accepted"
        story.mend(on)
        assert world.clock_offset == 0
    (fault,) = story.history.faults
    assert (fault.met, fault.where) == (1, "server")
    assert fault.detail == {"offset": LEASE + 1, "of": "target", "alone": True, "taken_back": True}


def test_a_jump_stays_to_the_end_of_the_story(world: LiveWorld) -> None:
    """Jumps add up, a crash in between changes nothing, and the next story finds the clock right."""
    with world.story(scenario="clock") as story:
        label = story.fresh_licence(seats=1, duration=3600)
        short = story.fresh_licence(seats=1, duration=1500)
        story.fault("clock-jump", parameters={"by": 3000})
        story.fault("clock-rollback", parameters={"by": 1000})
        story.crash()
        process: Any = world.own_process("")
        assert world.clock_offset == 2000
        first = story.call("laptop", "validate", label)
        over = story.call("laptop", "validate", short)
        story.fault("clock-jump", parameters={"by": 2000})
        second = story.call("laptop", "validate", label)
        assert first is not None
        assert over is not None
        assert over.reason == "expired", "the new process began with the right time"
        assert second is not None
        assert (first.outcome.value, second.reason) == ("accepted", "expired")
        assert process.set_clock(4000) == 4000
    assert world.clock_offset == 0
    assert sorted((str(each.fault), each.detail.get("by"), each.met) for each in story.history.faults) == [
        ("clock-jump", 2000, 1),
        ("clock-jump", 3000, 3),
        ("clock-rollback", 1000, 3),
        ("crash", None, 1),
    ]
    assert not any("taken_back" in each.detail for each in story.history.faults)


def test_a_clock_that_nobody_read_was_not_met(world: LiveWorld) -> None:
    """No call while it was off."""
    with world.story(scenario="clock") as story:
        story.fresh_licence()
        story.mend(story.fault("clock-offset", parameters={"offset": -5}))
    assert [each.met for each in story.history.faults] == [0]


def test_a_clock_is_set_right_after_ctrl_c(world: LiveWorld) -> None:
    """Interrupted with the clock off: it is right again."""
    story = world.story(scenario="clock")

    def interrupted() -> None:
        with story:
            story.fault("clock-offset", parameters={"offset": 50})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert world.clock_offset == 0


# A target of the user's own ------------------------------------------------------------------------


class Control(ControlAdapter):
    """Keeps what it was told; fails where it is told to."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.stuck = False

    def set_clock(self, offset: float) -> None:
        if self.stuck:
            raise RuntimeError("no such clock")
        self.told.append(offset)


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[str]:
    with toy_live.served(toy_live.State(tmp_path / "toy.log")) as url:
        yield url


def test_a_control_adapter_sets_the_clock_of_its_target(toy: str) -> None:
    """``set_clock`` is told the offset, and 0 at the end; what it raises is an error with file and line."""
    control = Control()
    live = LiveWorld(toy, setting(AsyncToy, api_token=TOKEN), control=control)
    with live.story(scenario="clock") as story:
        story.fault("clock-rollback", parameters={"by": 30})
        story.fresh_licence()
    assert control.told == [-30, 0]
    assert story.history.faults[0].detail == {"by": 30, "of": "target"}
    story = live.story(scenario="clock")
    on = story.fault("clock-offset", parameters={"offset": 9})
    control.stuck = True
    with pytest.raises(CleanUpIncomplete, match="still wrong: the control adapter failed in set_clock"):
        story.mend(on)
    with pytest.raises(HarnessError, match=r"failed in set_clock\(\): RuntimeError: no such clock .*test_live_clocks"):
        story.fault("clock-offset", parameters={"offset": 9})
    story.close()
    live.close()


def test_a_clock_that_nobody_can_set(toy: str) -> None:
    """Without a control that can, it is not run, with the way out."""
    live = LiveWorld(toy, setting(AsyncToy, api_token=TOKEN), control=ControlAdapter())
    with (
        live.story(scenario="clock") as story,
        pytest.raises(NotRun, match=r"has set_clock\(\) \(--licensing-control\)"),
    ):
        story.fault("clock-offset", parameters={"offset": 9})
    assert story.history.faults == []
    live.close()
