"""What is done to the clock of a live target: it can be set at most, not run at another speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from licensing_harness.errors import CleanUpIncomplete, HarnessError
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.breaking import Wanted

if TYPE_CHECKING:
    from licensing_harness.worlds.live import LiveWorld
    from licensing_harness.worlds.live_story import LiveStory


class ClockSet:
    """The target's clock was set wrong. Met: by each call that was under way or begun while it was.

    An offset is taken back when it is mended. A jump stays to the end of the
    story; then the clock is set right, for the target is the next story's too.
    """

    def __init__(self, world: LiveWorld, story: LiveStory, wanted: Wanted) -> None:
        self.where = wanted.place or "target"
        self.lingers = not wanted.lasting
        self.detail: dict[str, Any] = {**wanted.parameters, "of": "target"}
        if world.one_process:
            self.detail["alone"] = True
        back = wanted.kind is FaultKind.CLOCK_ROLLBACK
        self._by = wanted.parameters["offset"] if "offset" in wanted.parameters else wanted.parameters["by"]
        self._by = -self._by if back else self._by
        self._world = world
        self._story = story
        self._begun = story.begun - world.under_way
        self._on = True
        world.set_clock(world.clock_offset + self._by)

    def mend(self) -> int:
        """Take it back, as far as this is what was wrong with the clock."""
        met = self._story.begun - self._begun
        if self._on:
            try:
                self._world.set_clock(round(self._world.clock_offset - self._by, 6))
            except HarnessError as error:
                message = f"the clock of the target is still wrong: {error}"
                raise CleanUpIncomplete(message) from error
            self._on = False
            if not self.lingers:
                self.detail["taken_back"] = True
        return met
