"""What is broken between clients and nodes of a simulated target: the network's way while a fault is on it.

What each kind does is in :mod:`~licensing_harness.worlds.simulated_links`. A
:class:`Wire` stands in the network only while there is a fault; then every
message goes through it, and each fault that is on the message's link looks at
it in the order in which the faults were set. The network has whole messages and
no connections: what a fault does to a connection it does here to one request
and its answer.

Chance is keyed by the fault and by the call that meets it, so that leaving out
a step changes nothing for the calls that remain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from licensing_harness.entropy import stream
from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.asgi import Exchange, Lane, SimResponse
from licensing_harness.worlds.breaking import Wanted
from licensing_harness.worlds.loop import NodeLoop, Timeline
from licensing_harness.worlds.network import HOP, Network

CLIENTS: Final = "clients"
"""In the name of a link: whichever client."""

MS: Final = 1000.0


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way. ``delay`` is how long it takes."""

    exchange: Exchange
    delay: float
    lost: tuple[float, Exception] | None = None
    """It never arrives; the client learns so after some seconds."""
    swallowed: LinkFault | None = None
    """It never arrives, and nobody says so as long as this fault is on."""
    answer: SimResponse | None = None
    """It never arrives, and is answered all the same."""
    held: LinkFault | None = None
    """It waits with this fault."""
    copies: list[tuple[LinkFault, float]] = field(default_factory=list)
    """It arrives once more for each of these, so many seconds later."""

    @property
    def over(self) -> bool:
        """Whether it goes no further."""
        return self.lost is not None or self.swallowed is not None or self.answer is not None


@dataclass(slots=True, eq=False)
class Reply:
    """An answer on its way back."""

    exchange: Exchange
    response: SimResponse
    delay: float
    lost: tuple[float, Exception] | None = None
    swallowed: LinkFault | None = None


class LinkFault:
    """One fault on a link, while it is on. Subclasses say what it does to requests and answers."""

    def __init__(self, wire: Wire, wanted: Wanted, where: str, *, seed: str) -> None:
        self.wire = wire
        self.kind = wanted.kind
        self.where = where
        self.stream = wanted.stream or ("downstream" if _stream(wanted.kind) else "")
        self.given = dict(wanted.parameters)
        self.met = 0
        self.detail: dict[str, Any] = dict(self.given)
        if self.stream:
            self.detail["stream"] = self.stream
        self.waiting: Callable[[], None] | None = None
        """Lets the request that waits for a later one go on, while one waits."""
        self._source, _, self._to = where.partition("->")
        self._seed = seed
        self._turns = 0
        wire.add(self)

    def on_link(self, lane: Lane, to: str) -> bool:
        """Whether the messages between these two meet it."""
        source = self._source == lane.name or (self._source == CLIENTS and not lane.serves)
        return source and self._to in (to, "*")

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""

    def answer(self, reply: Reply) -> None:
        """Do to an answer what the fault does."""

    def copied(self, exchange: Exchange) -> None:
        """A request that this fault doubles goes its way, twice."""

    def mend(self) -> int:
        """Take it off."""
        self.wire.remove(self)
        return self.met

    def release(self) -> None:
        """Let the one that waits go on, if one does."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting()

    # For subclasses -------------------------------------------------------------------------

    def number(self, name: str) -> float:
        """A parameter, or its default."""
        value = self.given.get(name)
        if value is None:
            value = next((each.parameters[name].default for each in KINDS.values() if each.fault is self.kind), None)
        return float(value or 0.0)

    def turn(self) -> bool:
        """Whether it is this call's turn: the first N, every Nth, or all of them."""
        self._turns += 1
        first, every = self.given.get("first"), self.given.get("every")
        if first is not None:
            return self._turns <= first
        return every is None or self._turns % int(every) == 0

    def chance(self, exchange: Exchange, *about: object) -> Any:
        """A random stream for what this fault does to this request or its answer."""
        return stream(self._seed, "wire", self.kind, self.where, self.stream, *self.wire.about(exchange), *about)

    def falls_on(self, exchange: Exchange) -> bool:
        """Whether this request and its answer belong to the share that the fault falls on."""
        toxicity = self.given.get("toxicity", 1.0)
        return toxicity >= 1.0 or self.chance(exchange, "toxicity").random() < toxicity

    def note(self, exchange: Exchange) -> None:
        """Write into the history which call it was, by its record number."""
        calls = self.detail.setdefault("calls", [])
        number = exchange.call[0]
        if number and number not in calls:  # what nodes ask of each other is nobody's call
            calls.append(number)


class Wire:
    """The network's way as long as something is broken on it."""

    def __init__(self, network: Network, timeline: Timeline) -> None:
        self.timeline = timeline
        self.pending: dict[object, None] = {}
        """Requests that the network itself holds: they outlive the process that they were sent to."""
        self._network = network
        self._node = NodeLoop(timeline, "network")
        self._faults: list[LinkFault] = []
        self._swallowed: dict[Exchange, LinkFault] = {}
        self._abouts: dict[Exchange, tuple[object, ...]] = {}
        self._attempts: dict[str, tuple[object, int]] = {}

    def add(self, fault: LinkFault) -> None:
        """A fault is on from now."""
        self._faults.append(fault)
        self._network.wire = self

    def remove(self, fault: LinkFault) -> None:
        """A fault is over. What it left without an end is closed."""
        self._faults.remove(fault)
        for exchange in [each for each, by in self._swallowed.items() if by is fault]:
            del self._swallowed[exchange]
            error = ConnectionAbortedError("the connection was closed without an answer")
            self._network.lose(exchange, HOP, error)
        if not self._faults:
            self._network.wire = None
            self._abouts.clear()

    def about(self, exchange: Exchange) -> tuple[object, ...]:
        """What a request is about: its call, and the how many-th request of that call it is."""
        known = self._abouts.get(exchange)
        if known is None:
            lane = exchange.lane
            last, count = self._attempts.get(lane.name, (None, 0))
            count = count + 1 if last == exchange.call else 1
            self._attempts[lane.name] = exchange.call, count
            known = self._abouts[exchange] = (*exchange.call[1:], count)
        return known

    def open_on(self, fault: LinkFault) -> list[Exchange]:
        """Requests that are under way where this fault is."""
        return [each for each in self._network.under_way if fault.on_link(each.lane, each.to)]

    def hang_up(self, exchange: Exchange) -> None:
        """The connection is closed in the middle: the client is told, and so is the target."""
        self._network.hang_up(exchange)
        self._network.lose(exchange, HOP, ConnectionResetError("the connection was closed"))

    def send(self, exchange: Exchange, there: float) -> None:
        """Send a request past the faults on its way."""
        request = Request(exchange, there)
        self.about(exchange)
        for fault in tuple(self._faults):
            if fault.on_link(exchange.lane, exchange.to):
                fault.request(request)
                if request.over:
                    break
        for fault, later in request.copies if not request.over else ():
            fault.copied(exchange)
            self._later(_copy(exchange), request.delay + later)
        if request.swallowed is not None:
            self._swallowed[exchange] = request.swallowed
        if request.lost is not None:
            self._network.lose(exchange, *request.lost)
        elif request.answer is not None:
            self.timeline.after(request.delay + exchange.back, exchange.lane.node, exchange.arrive, request.answer)
        elif request.swallowed is None:
            self._go(request)

    def _go(self, request: Request) -> None:
        exchange = request.exchange
        if request.held is not None:
            holder = request.held
            holder.waiting = self._later(exchange, request.delay + holder.number("delay") / MS, holder)
            return
        self._network.dispatch(exchange, request.delay)
        for fault in self._faults:
            if fault.waiting is not None and fault.on_link(exchange.lane, exchange.to):
                # One event after the delivery, at the same moment.
                self.timeline.after(request.delay, self._node, self._release, fault, fault.waiting)

    def _release(self, fault: LinkFault, waiting: Callable[[], None]) -> None:
        if fault.waiting is waiting:
            fault.release()

    def _later(self, exchange: Exchange, delay: float, fault: LinkFault | None = None) -> Callable[[], None]:
        """Deliver a request in a while, to whichever process listens by then; returns how to do it at once."""
        token = object()
        self.pending[token] = None

        def deliver() -> None:
            if token in self.pending:
                del self.pending[token]
                if fault is not None and fault.waiting is deliver:
                    fault.waiting = None
                self._network.dispatch(exchange, 0.0)

        self.timeline.after(delay, self._node, deliver)
        return deliver

    def answer(self, exchange: Exchange, response: SimResponse) -> None:
        """Send an answer past the faults on its way."""
        reply = Reply(exchange, response, exchange.back)
        for fault in tuple(self._faults):
            if fault.on_link(exchange.lane, exchange.to):
                fault.answer(reply)
                if reply.lost is not None or reply.swallowed is not None:
                    break
        self._abouts.pop(exchange, None)
        if reply.swallowed is not None:
            self._swallowed[exchange] = reply.swallowed
        if reply.lost is not None:
            self._network.lose(exchange, *reply.lost)
        elif reply.swallowed is None:
            self.timeline.after(reply.delay, exchange.lane.node, exchange.arrive, reply.response)


def _copy(exchange: Exchange) -> Exchange:
    """The same request once more; nobody waits for its answer."""
    nobody = exchange.lane.node.create_future()
    nobody.set_result(None)
    scope = {**exchange.scope, "headers": list(exchange.scope["headers"])}
    return Exchange(exchange.lane, scope, exchange.body, nobody, exchange.back, None, exchange.to, exchange.call)


def _stream(kind: FaultKind) -> bool:
    """Whether the kind works in one direction of its link."""
    return any(each.stream for each in KINDS.values() if each.fault is kind)
