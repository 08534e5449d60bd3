"""One client's connection through the embedded proxy, and the one to the upstream that belongs to it.

Two pipes, one a direction, carry bytes from one socket through the stages of
that direction's toxics into the other socket. As in Toxiproxy there is no
half-close: when one direction ends, its destination is closed, which ends the
other direction too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol, cast

from licensing_harness.clock import Clock, RealClock
from licensing_harness.entropy import stream
from licensing_harness.faults.calls import Calls
from licensing_harness.faults.kinds import STAGES
from licensing_harness.faults.messages import begins_request
from licensing_harness.faults.toxics import MOST_HELD, Chunk, Direction, Stage, Timer, Toxic

if TYPE_CHECKING:
    from licensing_harness.faults.wire import Proxy

_CHUNK: Final = 32 * 1024
_DIAL: Final = 10.0
_TICK: Final = 0.001
_CLOCK: Final = RealClock()
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Alarm:
    """A timer that is never early, as uvloop's is by up to a millisecond."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, when: float, stage: Stage) -> None:
        self._loop = loop
        self._clock = clock
        self._when = when
        self._stage = stage
        self._handle = loop.call_later(when - clock.now(), self._ring)

    def _ring(self) -> None:
        left = self._when - self._clock.now()
        if left > 0:
            self._handle = self._loop.call_later(max(left, _TICK), self._ring)
        else:
            self._stage.ring()

    def cancel(self) -> None:
        """Never ring."""
        self._handle.cancel()


class Sink(Protocol):
    """Where a pipe ends: a transport, or what reads along before it."""

    def write(self, data: bytes) -> None:
        """Pass bytes on."""
        ...

    def close(self) -> None:
        """End, once what was written is sent."""
        ...

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        ...


class Pipe:
    """One direction of one connection: its stages, and where they end."""

    def __init__(self, connection: Connection, direction: Direction, out: Sink) -> None:
        self._connection = connection
        self._loop = connection.proxy.loop
        self.out = out
        self._held = 0
        self.direction = direction
        self.stages: list[Stage] = []
        self.over = False

    def feed(self, data: bytes) -> None:
        """Bytes that came from the source."""
        if not self.stages:
            if not self.over and not self.out.is_closing():
                self.out.write(data)
            return
        now = self.now()
        for begin in range(0, len(data), _CHUNK):
            self._into(0, Chunk(data[begin : begin + _CHUNK], now))

    def feed_end(self) -> None:
        """The source sends no more."""
        self._end_into(0)

    def _into(self, position: int, chunk: Chunk) -> None:
        if position < len(self.stages):
            self.stages[position].data(chunk)
        elif not self.over and not self.out.is_closing():
            self.out.write(chunk.data)

    def _end_into(self, position: int) -> None:
        if position < len(self.stages):
            self.stages[position].end()
        elif not self.over:
            self.over = True
            # Toxiproxy has no half-close: the end of one direction closes the destination.
            self.out.close()

    # What stages ask for (toxics.Way)

    def now(self) -> float:
        """A time in seconds, finer than that of uvloop."""
        return _CLOCK.now()

    def at(self, when: float, stage: Stage) -> Timer:
        """Call ``stage.ring()`` at ``when``, and not sooner."""
        return Alarm(self._loop, _CLOCK, when, stage)

    def onward(self, stage: Stage, chunk: Chunk) -> None:
        """Pass a chunk to what comes after ``stage``."""
        self._into(self.stages.index(stage) + 1, chunk)

    def onward_end(self, stage: Stage) -> None:
        """End the stream for what comes after ``stage``."""
        self._end_into(self.stages.index(stage) + 1)

    def held(self, change: int) -> None:
        """Read no more from the source while too many chunks are kept back."""
        before, self._held = self._held, self._held + change
        if before <= MOST_HELD < self._held:
            self._connection.hold(self.direction, "held")
        elif self._held <= MOST_HELD < before:
            self._connection.release(self.direction, "held")

    def jitter(self, stage: Stage, width: int) -> int:
        """A seeded whole number from ``-width`` up to, not including, ``width``."""
        return self._connection.jitter(stage.toxic, width)

    # What the proxy does to the chain

    def add(self, toxic: Toxic) -> None:
        """A toxic joins the end of the chain."""
        if self.stages:  # Toxiproxy rolls the one before again
            before = self.stages[-1]
            before.restart(active=self._connection.falls_on(before.toxic))
        stage = STAGES[toxic.type](toxic, self, active=self._connection.falls_on(toxic))
        self.stages.append(stage)
        if self.over:
            stage.ended = True
        stage.start()

    def update(self, toxic: Toxic) -> None:
        """A toxic's attributes or toxicity were changed."""
        for stage in self.stages:
            if stage.toxic is toxic:
                stage.restart(active=self._connection.falls_on(toxic))

    def remove(self, toxic: Toxic) -> None:
        """A toxic leaves the chain."""
        for position, stage in enumerate(self.stages):
            if stage.toxic is toxic:
                stage.remove()
                self.stages.remove(stage)
                if position:
                    before = self.stages[position - 1]
                    before.restart(active=self._connection.falls_on(before.toxic))
                return

    def stop(self) -> None:
        """Nothing passes any more."""
        for stage in self.stages:
            stage.ended = True
        self.over = True


class _Side(asyncio.Protocol):
    """One socket of a connection."""

    def __init__(self, connection: Connection, feeds: Direction) -> None:
        self.connection = connection
        self.feeds: Direction = feeds
        self.transport: asyncio.Transport | None = None
        self.paused: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connection.made(self)

    def data_received(self, data: bytes) -> None:
        self.connection.received(self.feeds, data)

    def eof_received(self) -> bool:
        self.connection.ended(self.feeds)
        return True  # our pipes close it

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        self.connection.lost(self.feeds)

    def pause_writing(self) -> None:
        self.connection.hold("upstream" if self.feeds == "downstream" else "downstream", "full")

    def resume_writing(self) -> None:
        self.connection.release("upstream" if self.feeds == "downstream" else "downstream", "full")


class Connection:
    """A client's connection and the one to the upstream that belongs to it."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self.proxy = proxy
        self._number = number
        self._rolls = 0
        self._sides: dict[Direction, _Side] = {
            "upstream": _Side(self, "upstream"),
            "downstream": _Side(self, "downstream"),
        }
        self._pipes: dict[Direction, Pipe] = {}
        self._swallow = False
        self._asking = False
        self._dial: asyncio.Task[None] | None = None
        self._over = False
        self._calls: Calls | None = None
        """What reads HTTP along, once somebody wants to know."""
        self._early: list[tuple[Direction, bytes]] = []
        """What came before both sockets were there, in order; no bytes: an end."""
        self._fallen: dict[Toxic, tuple[float, bool]] = {}

    @property
    def client(self) -> _Side:
        """The client's socket."""
        return self._sides["upstream"]

    def falls_on(self, toxic: Toxic) -> bool:
        """Roll whether a toxic applies to this connection."""
        self._rolls += 1
        if toxic.toxicity >= 1:  # random() is below 1, and a stream costs more than the rest of a new connection
            return True
        rolled = stream(self.proxy.seed, self.proxy.name, self._number, toxic.name, self._rolls).random()
        return rolled < toxic.toxicity

    def falls_on_calls(self, toxic: Toxic) -> bool:
        """Whether an extension toxic applies to this connection: rolled once for each toxicity that it has."""
        known = self._fallen.get(toxic)
        if known is None or known[0] != toxic.toxicity:
            known = self._fallen[toxic] = toxic.toxicity, self.falls_on(toxic)
        return known[1]

    def jitter(self, toxic: Toxic, width: int) -> int:
        """A whole number from ``-width`` up to, not including, ``width``."""
        self._rolls += 1
        drawn = stream(self.proxy.seed, self.proxy.name, self._number, toxic.name, "jitter", self._rolls)
        return drawn.randrange(-width, width)

    def made(self, side: _Side) -> None:
        """One of the two sockets is connected; after the client, the upstream is dialled."""
        if side is self.client and side.transport is not None:
            self.hold("upstream", "dial")
            self._dial = self.proxy.loop.create_task(self._connect())

    async def _connect(self) -> None:
        client, target = self._sides["upstream"], self._sides["downstream"]
        late = self.proxy.loop.call_later(_DIAL, self._too_late)
        try:
            await self.proxy.loop.create_connection(lambda: target, *self.proxy.upstream)
        except OSError:
            self._unreachable()
            return
        finally:
            late.cancel()
        if client.transport is None or target.transport is None:
            self.abort()
            return
        self._pipes = {
            "upstream": Pipe(self, "upstream", target.transport),
            "downstream": Pipe(self, "downstream", client.transport),
        }
        if any(toxic.type == "reset_peer" for toxic in self.proxy.toxics):
            for side in (client, target):
                reset_on_close(side.transport)
        for toxic in (each for each in self.proxy.toxics if each.type in STAGES):
            self._pipes[toxic.direction].add(toxic)
        self.release("upstream", "dial")
        early, self._early = self._early, []
        for direction, data in early:
            if data:
                self.received(direction, data)
            else:
                self.ended(direction)

    def _too_late(self) -> None:
        """The upstream does not answer the dial."""
        if self._dial is not None:
            self._dial.cancel()
        self._unreachable()

    def _unreachable(self) -> None:
        self.proxy.unreachable += 1
        self._over = True
        if self.client.transport is not None:
            self.client.transport.close()

    def received(self, direction: Direction, data: bytes) -> None:
        """Bytes came in; an armed cut meets them here."""
        if not self._pipes:  # a target that speaks first, or a client: uvloop reads before it can be told not to
            self._early.append((direction, data))
            return
        if direction == "upstream":
            if not self._asking:
                self._asking = True
                self.proxy.requests += 1
                if self.proxy.armed == "request":
                    self.proxy.cut()
                    self.abort(reset=True)
                    return
                if self.proxy.armed == "answer":
                    self.proxy.armed = None
                    self._swallow = True
                if self._calls is None and self.proxy.reads_calls and begins_request(data):
                    self._read_calls()
        elif self._swallow and not _interim(data):
            self._swallow = False
            self.proxy.cut()
            self.abort(reset=True)
            return
        else:
            self._asking = False
        if self._calls is not None and direction == "upstream":
            self._calls.request(data)
            return
        pipe = self._pipes.get(direction)
        if pipe is not None:
            pipe.feed(data)

    def _read_calls(self) -> None:
        """Read HTTP along from here, where a request begins: at once, or in the middle of a connection."""
        client, pipe = self.client.transport, self._pipes.get("downstream")
        if client is not None and pipe is not None:
            self._calls = pipe.out = Calls(self, client)

    def forward(self, data: bytes) -> None:
        """Bytes from the client, on to the target."""
        pipe = self._pipes.get("upstream")
        if pipe is not None:
            pipe.feed(data)

    def answered(self) -> None:
        """A request was answered here: what the client sends now is another one."""
        self._asking = False

    def ended(self, direction: Direction) -> None:
        """The socket that feeds ``direction`` sends no more."""
        if not self._pipes:
            self._early.append((direction, b""))
            return
        if not self._over:
            self._over = True
            self.proxy.ended[direction] += 1
        if self._calls is not None and direction == "upstream":
            self._calls.request_end()
        pipe = self._pipes.get(direction)
        if pipe is not None:
            pipe.feed_end()

    def lost(self, direction: Direction) -> None:
        """The socket that feeds ``direction`` is closed."""
        self.ended(direction)
        if all(side.transport is None for side in self._sides.values()):
            for pipe in self._pipes.values():
                pipe.stop()
            if self._calls is not None:
                self._calls.lost()
            self.proxy.left(self)

    def hold(self, direction: Direction, reason: str) -> None:
        """Read no more from the side that feeds ``direction``."""
        side = self._sides[direction]
        if not side.paused and side.transport is not None:
            side.transport.pause_reading()
        side.paused.add(reason)

    def release(self, direction: Direction, reason: str) -> None:
        """Read again, unless another reason holds."""
        side = self._sides[direction]
        if reason not in side.paused:
            return
        side.paused.discard(reason)
        if not side.paused and side.transport is not None:
            side.transport.resume_reading()

    def pipe(self, direction: Direction) -> Pipe | None:
        """One direction; None until the upstream is connected."""
        return self._pipes.get(direction)

    def abort(self, *, reset: bool = False) -> None:
        """Close both sockets at once; with ``reset`` the client sees RST."""
        self._over = True
        if self._dial is not None:
            self._dial.cancel()
        for pipe in self._pipes.values():
            pipe.stop()
        if reset:
            reset_on_close(self.client.transport)
        for side in self._sides.values():
            if side.transport is not None:
                side.transport.abort()


def reset_on_close(transport: asyncio.Transport | None) -> None:
    """From now on closing this socket discards what is unsent and sends RST."""
    own = None if transport is None else transport.get_extra_info("socket")
    if own is not None:
        with contextlib.suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def _interim(data: bytes) -> bool:
    """Whether this is nothing but an interim answer (RFC 9110, 15.2), after which the real one follows."""
    return data.startswith(b"HTTP/1.1 1") and data.find(b"\r\n\r\n") == len(data) - 4
