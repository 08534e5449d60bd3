"""Runs a drill as one story, in either world: a load at a steady rate, and faults on their schedule.

An open loop: calls begin when their time has come, whether or not others were
answered; a client that is still waiting sits its turn out. So an outage does
not thin out the load that meets it. With ``herd``, a client without an answer
waits for the end of the outage instead, and calls with all the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from licensing_harness.entropy import stream
from licensing_harness.errors import CleanUpIncomplete
from licensing_harness.faults.plan import Event, schedule
from licensing_harness.generate.drill import Drill
from licensing_harness.vocabulary import FaultKind, Reason
from licensing_harness.worlds.story import DEVICES, TICK, VENDOR, Story, is_mutation

_ROUNDS: Final = 20
"""Rounds of calls, a tenth of a second apart, within which the target must be healthy again at the end."""

_PAUSE: Final = 0.1

_KILLS: Final = frozenset({FaultKind.CRASH, FaultKind.POWER_LOSS, FaultKind.RESTART})
Watch = Callable[[str, Story], None]
"""Called at every turn with what is going on."""


def clients(drill: Drill) -> tuple[str, ...]:
    """The clients of a drill, in their order."""
    more = (f"device-{number}" for number in range(len(DEVICES) + 1, drill.load.clients + 1))
    return (*DEVICES, *more)[: drill.load.clients]


def tell(drill: Drill, story: Story, *, seed: int, watch: Watch = lambda *_: None) -> str:
    """Run the drill; returns why it was called off, or nothing. Every fault is gone when this returns.

    Raises NotRun when the target or this world can't do it, HarnessError when a
    fault could not be set, CleanUpIncomplete when one could not be removed.
    """
    load = _Load(drill, story, seed)
    waiting = list(schedule(drill.faults, seed))
    before, end = drill.load.before, drill.seconds

    def reached(moment: float) -> bool:
        return moment - story.elapsed < TICK  # as ``until`` has it: it would not wait for that

    while not (story.history.called_off or reached(end)):
        watch(_now(drill, story), story)
        if waiting and reached(before + waiting[0].begin):
            _break(waiting.pop(0), story, load, before)
        if reached(load.due):
            load.turn()
        story.history.called_off = _stop(drill, story)
        following = before + waiting[0].begin if waiting else math.inf
        story.until(min(load.due, following, end))
    for on in story.faults_on:
        story.mend(on)
    story.settle()
    return story.history.called_off


def _break(event: Event, story: Story, load: _Load, before: float) -> None:
    if event.kind in _KILLS:
        load.burst()  # so that the server dies with calls under way
    # Its end is where the plan has it, also when it could not be set at once.
    seconds = None if event.end is None else max(0.0, before + event.end - story.elapsed)
    story.fault(event.kind, place=event.place, stream=event.stream, seconds=seconds, parameters=event.parameters)


def healthy(drill: Drill, story: Story) -> None:
    """The clean-up: a fresh licence, and every client is served. Raises CleanUpIncomplete."""
    story.settle()
    for _ in range(_ROUNDS):
        licence = story.fresh_licence(seats=drill.load.seats)
        before = len(story.history.operations)
        if not story.history.clean_up:
            story.history.clean_up = story.history.operations[-1].n  # the order: nothing else was under way
        for client in clients(drill):
            story.start(client, "validate", licence)
        story.settle()
        calls = story.history.operations[before:]
        if calls and all(each.accepted for each in calls):
            return
        story.advance(_PAUSE)
    message = "every fault was removed, and the target does not serve all clients again: look at it before you go on"
    raise CleanUpIncomplete(message)


class _Load:
    """Clients in turn, verbs by their weights; the same seed gives the same turns."""

    def __init__(self, drill: Drill, story: Story, seed: int) -> None:
        self._drill = drill
        self._story = story
        self._turns = 0
        self._bursts = 0
        self._clients = clients(drill)
        self._verbs = [verb for verb, weight in drill.load.verbs.items() for _ in range(weight)]
        self._draw = stream(seed, "drill", drill.title)
        self._seen = 0
        """How much of the history was looked at."""
        self._unanswered: set[str] = set()
        """Clients whose last call had no answer."""
        self._held: dict[str, str] = {}
        """Clients that wait for the end of the outage, and for what."""
        self._repeated: set[str] = set()
        self._revoked: set[str] = set()
        self._ordered = ""
        """The licence that takes the place of a revoked one, until it is acknowledged."""
        self._gone = ""
        """The licence that was revoked last; clients still ask for it, now and then."""
        self._licence = story.fresh_licence(seats=drill.load.seats)

    @property
    def due(self) -> float:
        """When the next turn is, in seconds of the story."""
        return self._turns / self._drill.load.rate

    def turn(self) -> None:
        """The next client's call, unless it still waits for another."""
        self._look()
        client = self._clients[self._turns % len(self._clients)]
        self._turns += 1
        verb = self._verbs[self._draw.randrange(len(self._verbs))]
        self._revoke()
        over = not self._outage and not self._story.faults_on
        if self._held and over:
            held, self._held = self._held, {}
            for each, what in held.items():
                self._begin(each, what)
        if self._drill.load.herd and not over and verb != "issue" and client in self._unanswered:
            self._held[client] = verb
        else:
            self._begin(client, verb)

    def burst(self) -> None:
        """A call of every client that has none under way, a change where there is one, and an order.

        In turn the last order is repeated, so that its key must mean the same to the server before and after, and a new
        one is made, whose commit is not yet over. Either is repeated once more later.
        """
        self._repeated.clear()
        if "issue" in self._verbs and self._story.idle(VENDOR):
            last = self._story.labels[-1]
            self._bursts += 1
            if self._bursts % 2 or not self._story.acknowledged(last):
                self._story.start(VENDOR, "issue", last)
            else:
                self._story.fresh_licence(seats=self._drill.load.seats, wait=False)
        own = [verb for verb in self._verbs if verb != "issue"]
        for client in self._clients if own else ():
            self._begin(client, next((verb for verb in own if is_mutation(verb)), own[0]))

    @property
    def _outage(self) -> bool:
        before = self._drill.load.before
        return before <= self._story.elapsed < before + self._drill.outage

    def _look(self) -> None:
        """What became of calls since the last turn."""
        operations = self._story.history.operations
        new, self._seen = operations[self._seen :], len(operations)
        for each in new:
            (self._unanswered.add if each.unknown else self._unanswered.discard)(each.client)
            if each.verb == "revoke" and (each.accepted or each.reason == Reason.REVOKED):
                self._revoked.add(each.licence)
        if self._ordered and self._story.acknowledged(self._ordered):
            self._gone, self._licence, self._ordered = self._licence, self._ordered, ""

    def _begin(self, client: str, verb: str) -> None:
        if verb == "issue":
            self._order()
        elif self._story.idle(client):
            gone = self._gone and self._draw.randrange(3) == 0
            self._story.start(client, verb, self._gone if gone else self._licence)

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
            story.fresh_licence(seats=self._drill.load.seats, wait=False)

    def _revoke(self) -> None:
        """The vendor revokes what the clients use, again until that is acknowledged; then they get a fresh licence."""
        at, story = self._drill.load.revoke_at, self._story
        if at is None or self._gone or story.elapsed < self._drill.load.before + at or not story.idle(VENDOR):
            return
        if self._ordered:
            story.start(VENDOR, "issue", self._ordered)
        elif self._licence in self._revoked:
            self._ordered = story.fresh_licence(seats=self._drill.load.seats, wait=False)
        else:
            story.start(VENDOR, "revoke", self._licence)


def _stop(drill: Drill, story: Story) -> str:
    if story.elapsed > drill.stop.seconds:
        return f"[stop] seconds: {drill.stop.seconds:g} s are over"
    most = drill.stop.unanswered
    last = story.history.operations[-most:] if most else []
    if most and not story.faults_on and len(last) == most and all(each.unknown for each in last):
        return f"[stop] unanswered: {most} calls in a row had no answer while no fault was on"
    return ""


def _now(drill: Drill, story: Story) -> str:
    if story.faults_on:
        return "during: " + ", ".join(str(on.wanted.kind) for on in story.faults_on)
    at = story.elapsed - drill.load.before
    return "before" if at < 0 else "during" if at < drill.outage else "after"
