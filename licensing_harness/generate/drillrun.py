"""Runs a drill as one story of the live world: a load at a steady rate, and faults on their schedule.

An open loop: calls begin when their time has come, whether or not others were
answered; a client that is still waiting sits its turn out. So an outage does
not thin out the load that meets it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from licensing_harness.clock import Clock
from licensing_harness.entropy import stream
from licensing_harness.errors import CleanUpIncomplete
from licensing_harness.faults.plan import schedule
from licensing_harness.generate.drill import Drill
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.live_story import LiveStory
from licensing_harness.worlds.story import VENDOR

_TRIES: Final = 20
"""Rounds of calls, a tenth of a second apart, within which the target must be healthy again at the end."""

_SHOWN: Final = 0.5
"""Seconds between two words on what is going on."""

Watch = Callable[[str, LiveStory], None]
"""Called about twice a second with what is going on."""


def tell(drill: Drill, story: LiveStory, clock: Clock, *, seed: int, watch: Watch = lambda *_: None) -> str:
    """Run the drill; returns why it was called off, or nothing. Every fault is gone when this returns or raises.

    Raises NotRun when the target or this world can't do it, HarnessError when a
    fault could not be set, CleanUpIncomplete when one could not be removed.
    """
    stopped = ""
    load = _Load(drill, story, seed)
    begin = shown = clock.now()
    waiting = list(schedule(drill.faults, seed))
    while not stopped:
        at = clock.now() - begin - drill.load.before
        if at >= drill.outage + drill.load.after:
            break
        story.mend_due()
        while waiting and waiting[0].begin <= at:
            event = waiting.pop(0)
            if event.kind is FaultKind.CRASH:
                load.burst()  # so that the server dies with calls under way
            seconds = None if event.end is None else max(0.0, event.end - at)
            story.fault(
                event.kind, place=event.place, stream=event.stream, seconds=seconds, parameters=event.parameters
            )
        load.turn()
        stopped = _stop(drill, story, clock.now() - begin)
        if clock.now() - shown > _SHOWN:
            shown = clock.now()
            watch(_now(at, drill, story), story)
        clock.sleep(max(0.0, begin + load.turns / drill.load.rate - clock.now()))
    story.settle()
    return stopped


def healthy(story: LiveStory, clock: Clock) -> None:
    """The clean-up's own story: a fresh licence, and every client is served. Raises CleanUpIncomplete."""
    for _ in range(_TRIES):
        licence = story.fresh_licence(seats=len(story.devices))
        before = len(story.history.operations)
        story.contend("validate", licence)
        story.settle()
        calls = story.history.operations[before:]
        if calls and all(each.accepted for each in calls):
            return
        clock.sleep(0.1)
    message = "every fault was removed, and the target does not serve all clients again: look at it before you go on"
    raise CleanUpIncomplete(message)


class _Load:
    """Clients in turn, verbs by their weights; the same seed gives the same turns."""

    def __init__(self, drill: Drill, story: LiveStory, seed: int) -> None:
        self.turns = 0
        self._story = story
        self._seats = max(drill.load.seats, 1)
        self._verbs = [verb for verb, weight in drill.load.verbs.items() for _ in range(weight)]
        self._draw = stream(seed, "drill", drill.title)
        self._repeated: set[str] = set()
        self._licence = story.fresh_licence(seats=self._seats)

    def turn(self) -> None:
        """The next client's call, unless it still waits for another."""
        client = self._story.devices[self.turns % len(self._story.devices)]
        self.turns += 1
        self._begin(client, self._verbs[self._draw.randrange(len(self._verbs))])

    def burst(self) -> None:
        """A call of every client that has none under way."""
        for client in self._story.devices:
            self._begin(client, next((verb for verb in self._verbs if verb != "issue"), "issue"))

    def _begin(self, client: str, verb: str) -> None:
        if verb == "issue":
            self._order()
        elif self._story.idle(client):
            self._story.start(client, verb, self._licence)

    def _order(self) -> None:
        """Orders are the vendor's: one without an answer is sent again, one that was acknowledged once more."""
        story = self._story
        last = story.labels[-1]
        if not story.idle(VENDOR):
            return
        if not story.acknowledged(last):
            story.start(VENDOR, "issue", last)
        elif last not in self._repeated:
            self._repeated.add(last)
            story.start(VENDOR, "issue", last)
        else:
            story.fresh_licence(seats=self._seats, wait=False)


def _stop(drill: Drill, story: LiveStory, seconds: float) -> str:
    if seconds > drill.stop.seconds:
        return f"[stop] seconds: {drill.stop.seconds:g} s are over"
    most = drill.stop.unanswered
    last = story.history.operations[-most:] if most else []
    if most and not story.faults_on and len(last) == most and all(each.unknown for each in last):
        return f"[stop] unanswered: {most} calls in a row had no answer while no fault was on"
    return ""


def _now(at: float, drill: Drill, story: LiveStory) -> str:
    if story.faults_on:
        return "during: " + ", ".join(str(on.wanted.kind) for on in story.faults_on)
    return "before" if at < 0 else "during" if at < drill.outage else "after"
