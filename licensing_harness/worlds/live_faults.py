"""How each kind of fault is carried out on a live target, and mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from licensing_harness.errors import NotRun
from licensing_harness.faults.outage import TOXICS, Outage
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.breaking import Broken, Wanted
from licensing_harness.worlds.live_calls import CALLS, CallsBroken

if TYPE_CHECKING:
    from licensing_harness.worlds.live import LiveWorld
    from licensing_harness.worlds.live_story import LiveStory


def break_live(world: LiveWorld, story: LiveStory, wanted: Wanted) -> Broken:
    """Break what is wanted, now. Raises NotRun, UsageError or HarnessError."""
    match wanted.kind:
        case FaultKind.POWER_LOSS:
            message = "kill -9 can't show what an fsync lost; the simulated world does (--licensing-world simulated)"
            raise NotRun(message)
        case kind if kind in CALLS:
            return CallsBroken(world.route, wanted)
        case FaultKind.CRASH:
            return Killed(world, wanted)
        case kind if kind in TOXICS or kind is FaultKind.PROXY_DOWN:
            if not world.route.open:
                story.let_finish()
                world.route.open_toxiproxy()
            return WireBroken(world, wanted)
        case kind:
            message = f"the live world does not have {kind} yet"
            raise NotRun(message)


class WireBroken:
    """A toxic on every client's wire, or the proxy down."""

    where = "wire"

    def __init__(self, world: LiveWorld, wanted: Wanted) -> None:
        self._route = world.route
        stream = wanted.stream or "downstream"
        # A plan's numbers may be floats that are whole; what is not whole is for the outage to refuse.
        attributes: dict[str, Any] = {
            name: int(value) if value == int(value) else value
            for name, value in wanted.parameters.items()
            if name != "toxicity"
        }
        toxicity = wanted.parameters.get("toxicity", 1.0)
        self.outage: Outage = self._route.outage(
            str(wanted.kind), stream=stream, toxicity=toxicity, attributes=attributes
        )
        self.detail: dict[str, Any] = {
            "stream": stream,
            "toxicity": toxicity,
            **attributes,
            "by": self._route.kind,
        }
        self._before = self._seen()
        self.outage.set()
        if self.outage.kind is FaultKind.RESET_PEER:
            self._route.drop()  # a connection that is older than the toxic would get FIN, not RST

    def _seen(self) -> int:
        return self._route.unreachable if self.outage.kind is FaultKind.PROXY_DOWN else self._route.requests

    def mend(self) -> int:
        """Remove it, verified."""
        hits = self.outage.hits()
        met = self._seen() - self._before if hits is None else hits
        self.outage.remove()
        return met


class Killed:
    """A target that was killed (SIGKILL), until it is started again."""

    where = "target"

    def __init__(self, world: LiveWorld, wanted: Wanted) -> None:
        self._world = world
        self.detail = {"calls": sum(not client.lane.idle for client in world.clients)}
        if not world.kill() and wanted.lasting:
            message = "a control adapter kills and starts the target at once: this crash can't have an end"
            raise NotRun(message)

    def mend(self) -> int:
        """Start it; returns when it answers."""
        self._world.restart()
        return 1
