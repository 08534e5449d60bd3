"""How each kind of fault is carried out in a simulated story, and mended.

Faults on links are in :mod:`~licensing_harness.worlds.simulated_links`, those of
clocks in :mod:`~licensing_harness.worlds.simulated_clock`; here are those of
processes and stores, and the names of places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from licensing_harness.errors import NotRun, UsageError
from licensing_harness.faults.plan_file import Places
from licensing_harness.faults.plan_kinds import KINDS, Kind, unknown
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.asgi import Server
from licensing_harness.worlds.breaking import Broken, Wanted
from licensing_harness.worlds.disk import Hindrance
from licensing_harness.worlds.loop import Timeline
from licensing_harness.worlds.machines import Machine, stores
from licensing_harness.worlds.network import Network
from licensing_harness.worlds.simulated_clock import ClockFault
from licensing_harness.worlds.simulated_links import LINK_FAULTS, PauseWatch
from licensing_harness.worlds.simulated_wire import CLIENTS, Wire

if TYPE_CHECKING:
    from licensing_harness.worlds.simulated import SimulatedStory

_CLOCKS: Final = frozenset(
    {
        FaultKind.CLOCK_OFFSET,
        FaultKind.CLOCK_DRIFT,
        FaultKind.CLOCK_JUMP,
        FaultKind.CLOCK_ROLLBACK,
        FaultKind.CLOCK_FREEZE,
    }
)
DOWN: Final = 0.02
"""Seconds from the end of a process to the next start, unless it was told when that shall be."""

_READ_ONLY: Final = "attempt to write a readonly database"
_FULL: Final = "database or disk is full"
_GONE: Final = "unable to open database file"


class SimulatedFaults:
    """Breaks things in one story."""

    def __init__(
        self, story: SimulatedStory, network: Network, machines: Mapping[str, Machine], timeline: Timeline
    ) -> None:
        self.story = story
        self._network = network
        self._machines = machines
        self._timeline = timeline
        self._stores = dict(zip(stores(tuple(machines)), machines.values(), strict=True))
        self._wire: Wire | None = None

    @property
    def wire(self) -> Wire:
        """The network's way past what is broken on links."""
        if self._wire is None:
            self._wire = Wire(self._network, self._timeline)
        return self._wire

    @property
    def holds_requests(self) -> bool:
        """Whether the network itself holds requests that may still arrive, whatever process is there by then."""
        return self._wire is not None and bool(self._wire.pending)

    def process(self, machine: Machine) -> Server | None:
        """What runs on this machine now, if anything does."""
        return self._network.servers[machine.name]

    def places(self) -> Places:
        """Where faults may be."""
        nodes, clients = tuple(self._machines), self.story.client_names
        sources = (CLIENTS, *clients, *nodes)
        links = [f"{source}->{to}" for source in sources for to in nodes if source != to]
        return Places(links=links, nodes=(*nodes, *clients), stores=tuple(self._stores))

    def break_it(self, wanted: Wanted) -> Broken:
        """Break what is wanted, now. Raises NotRun, UsageError or HarnessError."""
        kind = _known(wanted)
        if kind.where == "link":
            return LINK_FAULTS[wanted.kind](self.wire, wanted, self._link(wanted.place), seed=self.story.history.seed)
        if wanted.kind in _CLOCKS:
            return self._clock(wanted)
        if kind.where == "store":
            return StoreBroken(self, self._one(wanted.place, self._stores, "store"), wanted)
        machine = self._one(wanted.place, self._machines, "node")
        match wanted.kind:
            case FaultKind.PAUSE:
                return Paused(self, machine, wanted)
            case FaultKind.RESTART:
                return Ended(self, machine, wanted)
            case _:
                return Killed(self, machine, wanted)

    def _link(self, place: str) -> str:
        if not place:
            nodes = tuple(self._machines)
            return f"{CLIENTS}->{nodes[0] if len(nodes) == 1 else '*'}"
        links = self.places().links
        if place not in links:
            message = unknown("link", place, links)
            raise UsageError(message)
        return place

    def _one(self, place: str, known: Mapping[str, Machine], what: str) -> Machine:
        if not place and len(known) == 1:
            return next(iter(known.values()))
        if place not in known:
            message = (
                unknown(what, place, tuple(known)) if place else f"which {what}? place = one of {', '.join(known)}"
            )
            raise UsageError(message)
        return known[place]

    def _clock(self, wanted: Wanted) -> ClockFault:
        place = wanted.place
        if place in self.story.client_names:
            return ClockFault(self.story.machine_clock(place), wanted, place, client=True, alone=False)
        if place not in self._machines and place:
            message = unknown("node", place, self.places().nodes)
            raise UsageError(message)
        machine = self._one(place, self._machines, "node")
        return ClockFault(machine.clock, wanted, machine.name, client=False, alone=len(self._machines) == 1)


def _known(wanted: Wanted) -> Kind:
    """The kind in the table of kinds. Raises NotRun for one that this world can't do."""
    kind = KINDS[wanted.kind.value]
    if kind.not_simulated:
        message = f"the simulated world can't do {wanted.kind}: {kind.not_simulated}"
        raise NotRun(message)
    return kind


class Killed:
    """A process that was killed, until another is started."""

    def __init__(self, faults: SimulatedFaults, machine: Machine, wanted: Wanted) -> None:
        self.where = wanted.place or "target"
        self._story = faults.story
        self._machine = machine
        self._down = 0.0 if wanted.lasting else DOWN
        self.detail: dict[str, Any] = self._end(wanted)
        machine.held_down += 1

    def _end(self, wanted: Wanted) -> dict[str, Any]:
        return self._story.kill(self._machine, power=wanted.kind is FaultKind.POWER_LOSS)

    def mend(self) -> int:
        """Start another, unless something else still keeps the node down: then that one's end does."""
        self._machine.held_down -= 1
        if not self._machine.held_down:
            self._story.boot(self._machine, self._down)
        return 1


class Ended(Killed):
    """A process that was asked to end, until another is started."""

    def _end(self, _: Wanted) -> dict[str, Any]:
        return self._story.end(self._machine)


class Paused:
    """A process that is stopped, until it goes on."""

    def __init__(self, faults: SimulatedFaults, machine: Machine, wanted: Wanted) -> None:
        self.where = machine.name
        self.detail: dict[str, Any] = {}
        self._watch = PauseWatch(faults.wire, wanted, machine.name, seed="")
        server = faults.process(machine)
        self._node = server.node if server is not None else None
        if self._node is not None:
            self._node.pause()

    def mend(self) -> int:
        """Let it go on."""
        if self._node is not None:
            self._node.resume()
        return self._watch.mend()


class StoreBroken:
    """A store that does not take what it is given, or takes its time."""

    def __init__(self, faults: SimulatedFaults, machine: Machine, wanted: Wanted) -> None:
        self.where = wanted.place or "store"
        self.detail: dict[str, Any] = dict(wanted.parameters)
        self._story = faults.story
        self._machine = machine
        match wanted.kind:
            case FaultKind.STORE_READ_ONLY:
                self._hindrance = Hindrance(refuses=_READ_ONLY)
            case FaultKind.STORE_FULL:
                self._hindrance = Hindrance(refuses=_FULL)
            case FaultKind.STORE_GONE:
                self._hindrance = Hindrance(hides=_GONE)
            case _:
                self._hindrance = Hindrance(delay=wanted.parameters["delay"] / 1000)
        machine.disk.hindrances.append(self._hindrance)

    def mend(self) -> int:
        """Make it good again; a process that could not start without it is started now."""
        self._machine.disk.hindrances.remove(self._hindrance)
        if self._machine.waits:
            self._story.boot(self._machine)
        return self._hindrance.met
