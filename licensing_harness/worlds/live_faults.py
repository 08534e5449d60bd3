"""How each kind of fault is carried out on a live target, and mended: the wire and the process.

What befalls its store and its clock is in ``live_stores`` and ``live_clocks``.
What *met* means is said at each class: a fault that was set and changed nothing
was not met.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from licensing_harness.errors import HarnessError, NotRun, UsageError, way_out
from licensing_harness.faults.outage import OUTAGES, Outage
from licensing_harness.faults.plan_kinds import KINDS, why_not
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.breaking import Broken, Wanted
from licensing_harness.worlds.live_calls import CALLS, CallsBroken
from licensing_harness.worlds.live_clocks import ClockSet
from licensing_harness.worlds.route import ALL_CLIENTS
from licensing_harness.worlds.story import DEVICES, VENDOR

if TYPE_CHECKING:
    from licensing_harness.worlds.live import LiveWorld
    from licensing_harness.worlds.live_story import LiveStory

LINK: Final = f"{ALL_CLIENTS}->server"
"""The wire of all clients together."""

PLACES: Final = {
    "link": (LINK, *(f"{client}->server" for client in (*DEVICES, VENDOR))),
    "node": ("server",),
    "nodes": ("server",),
    "store": ("store",),
}
"""The places that a fault plan may name in the live world, by what they are."""

_CLOSING: Final = frozenset({FaultKind.RESET_PEER, FaultKind.LIMIT_DATA, FaultKind.LOSE_CONNECTIONS})
"""Outages whose effect is that a connection ends."""


def break_live(world: LiveWorld, story: LiveStory, wanted: Wanted) -> Broken:
    """Break what is wanted, now. Raises NotRun, UsageError or HarnessError."""
    reason = why_not(wanted.kind.value, "live")
    if reason:
        message = f"{reason}; the simulated world does it (--licensing-world simulated)"
        raise NotRun(message)
    _check_place(wanted)
    if wanted.kind in CALLS:
        return CallsBroken(world.route, wanted)
    if wanted.lasting and KINDS[wanted.kind.value].when == "at":
        message = f"fault: {wanted.kind} happens at one moment; leave out the seconds"
        raise UsageError(message)
    match wanted.kind:
        case FaultKind.CRASH:
            return Killed(world, wanted)
        case FaultKind.PAUSE:
            return Paused(world, story, wanted)
        case FaultKind.RESTART:
            return Restarted(world, wanted)
        case kind if kind in OUTAGES:
            if not world.route.open:
                story.let_finish()
                world.route.open_toxiproxy()
            return WireBroken(world, wanted)
        case FaultKind.CLOCK_OFFSET | FaultKind.CLOCK_JUMP | FaultKind.CLOCK_ROLLBACK:
            return ClockSet(world, story, wanted)
        case kind if KINDS[kind.value].where == "store":
            return world.break_store(story, wanted)
        case kind:
            message = f"the live world does not have {kind} yet"
            raise NotRun(message)


def _check_place(wanted: Wanted) -> None:
    """Raise UsageError for a place that there is none of, NotRun for one client's link where only all have one wire."""
    where = KINDS[wanted.kind.value].where
    known = PLACES[where]
    if wanted.place and wanted.place not in known:
        message = (
            f"fault: the live world has no {where.removesuffix('s')} {wanted.place!r} for {wanted.kind}; "
            f"{way_out(wanted.place, known)}"
        )
        raise UsageError(message)
    if wanted.kind in OUTAGES and wanted.place not in {"", LINK}:
        message = f"{wanted.kind} falls on the wire of all clients in the live world; give {LINK!r} as its link"
        raise NotRun(message)


class WireBroken:
    """A toxic on every client's wire, or the proxy down.

    Met: as often as the embedded proxy saw it have an effect. The real Toxiproxy
    does not tell; there, by what the clients' own links saw: connections that
    ended, for the kinds that end them or delay their end, and requests that were
    begun for the others. Nobody to connect to is how a proxy that is down is met.
    """

    where = "wire"

    def __init__(self, world: LiveWorld, wanted: Wanted) -> None:
        self._route = world.route
        self.outage: Outage = self._route.outage(str(wanted.kind), stream=wanted.stream, parameters=wanted.parameters)
        self.detail: dict[str, Any] = {**self.outage.parameters, "by": self._route.kind}
        if wanted.stream:
            self.detail["stream"] = wanted.stream
        if KINDS[wanted.kind.value].parameters.get("toxicity"):
            self.detail["toxicity"] = self.outage.toxicity
        self._before = self._seen()
        try:
            self.outage.set()
        except BaseException:
            with suppress(HarnessError):  # what can't be removed now is the route's to remove
                self.outage.undo()
            raise
        if self.outage.kind is FaultKind.RESET_PEER:
            self._route.drop()  # a connection that is older than the toxic would get FIN, not RST

    def _seen(self) -> int:
        match self.outage.kind:
            case FaultKind.PROXY_DOWN:
                return self._route.unreachable
            case FaultKind.SLOW_CLOSE:
                return self._route.ended("upstream" if self.outage.stream == "upstream" else "downstream")
            case kind if kind in _CLOSING:
                return self._route.ended("downstream")
            case _:
                return self._route.requests

    def mend(self) -> int:
        """Remove it, verified."""
        # What ends connections by a timeout is counted by connections: the toxic can't tell an idle one.
        lost = self.outage.kind is FaultKind.LOSE_CONNECTIONS
        hits = None if lost else self.outage.hits()
        met = self._seen() - self._before if hits is None else hits
        self.outage.remove()
        return met


class Killed:
    """A target that was killed (SIGKILL), until it is started again. Met: the process was there, and it is gone."""

    def __init__(self, world: LiveWorld, wanted: Wanted) -> None:
        self.where = wanted.place or "target"
        self._world = world
        self.detail = {"calls": world.under_way}
        if not world.kill() and wanted.lasting:
            message = "a control adapter kills and starts the target at once: this crash can't have an end"
            raise NotRun(message)

    def mend(self) -> int:
        """Start it; returns when it answers."""
        self._world.restart()
        return 1


class Restarted:
    """A target that was asked to end (SIGTERM), until it is started again. Met: it ended."""

    def __init__(self, world: LiveWorld, wanted: Wanted) -> None:
        self.where = wanted.place or "target"
        self._world = world
        self.detail: dict[str, Any] = {"calls": world.under_way}
        graceful = world.stop()
        if graceful is not None:
            self.detail["graceful"] = graceful

    def mend(self) -> int:
        """Start it; returns when it answers."""
        self._world.restart()
        return 1


class Paused:
    """A target that was stopped (SIGSTOP), until SIGCONT. Met: by each call that was under way or begun meanwhile."""

    def __init__(self, world: LiveWorld, story: LiveStory, wanted: Wanted) -> None:
        self.where = wanted.place or "target"
        self.detail: dict[str, Any] = {}
        self._world = world
        self._process = world.own_process("it can't stop a process that it did not start")
        if sys.platform == "win32":
            message = "needs SIGSTOP, which Windows does not have"
            raise NotRun(message)
        self._begun = story.begun - world.under_way
        self._story = story
        self._process.pause()

    def mend(self) -> int:
        """Let it go on, and see that it does and answers."""
        met = self._story.begun - self._begun
        self._process.resume()
        self._world.wait_ready()
        return met
