"""What a toxic does to one direction of one connection.

The semantics are those of Toxiproxy 2.12, as observed. A chunk walks through
the stages of its direction in the order in which the toxics were added. Each
stage passes it on, keeps it for a while, drops it, or shuts the direction:
what comes after a shut stage sees the end of the stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, Protocol

Direction = Literal["upstream", "downstream"]

MOST_HELD: Final = 1024
"""Chunks that one direction keeps before its source is no longer read."""


@dataclass(slots=True)
class Chunk:
    """Bytes and the time, on the way's clock, at which the next stage may count them as arrived."""

    data: bytes
    time: float


@dataclass(eq=False, kw_only=True, slots=True)
class Toxic:
    """One toxic of one proxy. Attributes are whole numbers; times are milliseconds, a slicer's microseconds."""

    name: str
    type: str
    stream: str = "downstream"
    """As it was typed; ``direction`` is what it means."""
    toxicity: float = 1.0
    attributes: dict[str, int] = field(default_factory=dict)
    hits: int = 0
    """How often it had an effect: on a chunk, or for some types on a whole connection."""

    @property
    def direction(self) -> Direction:
        """``upstream``: from the client to the target; ``downstream``: back."""
        return "upstream" if self.stream.lower() == "upstream" else "downstream"


class Timer(Protocol):
    """A call that may be taken back."""

    def cancel(self) -> None:
        """Never make the call."""
        ...


class Way(Protocol):
    """What a stage needs of the direction that it is part of."""

    def now(self) -> float:
        """The time in seconds."""
        ...

    def at(self, when: float, stage: Stage) -> Timer:
        """Call ``stage.ring()`` at ``when``."""
        ...

    def onward(self, stage: Stage, chunk: Chunk) -> None:
        """Pass a chunk to whatever comes after ``stage``."""
        ...

    def onward_end(self, stage: Stage) -> None:
        """Tell whatever comes after ``stage`` that the stream is over."""
        ...

    def held(self, change: int) -> None:
        """So many chunks more (or fewer) are kept back."""
        ...

    def jitter(self, stage: Stage, width: int) -> int:
        """A seeded whole number from ``-width`` up to, not including, ``width``."""
        ...


class Stage(ABC):
    """One toxic in one direction of one connection; passive when its toxicity did not fall on it."""

    falls_on_chunks: ClassVar[bool] = True
    """Every chunk feels it. Where that is not so, the stage says by ``met`` when it had an effect."""

    def __init__(self, toxic: Toxic, way: Way, *, active: bool) -> None:
        self.toxic = toxic
        self.active = active
        self.ended = False
        """The stream is over for what comes after; nothing passes any more."""
        self._way = way

    def data(self, chunk: Chunk) -> None:
        """Take a chunk from the stage before."""
        if self.ended:
            return
        if self.active:
            if self.falls_on_chunks:
                self.met()
            self._apply(chunk)
        else:
            self._way.onward(self, chunk)

    def met(self) -> None:
        """The toxic had an effect."""
        self.toxic.hits += 1

    def end(self) -> None:
        """Take the end of the stream from the stage before."""
        self.shut()

    def shut(self) -> None:
        """End the stream for what comes after, once."""
        if not self.ended:
            self.ended = True
            self._way.onward_end(self)

    def start(self) -> None:
        """The stage is in place, or its toxic's attributes changed."""

    def restart(self, *, active: bool) -> None:
        """The toxicity was rolled again."""
        self.active = active
        self.start()

    def remove(self) -> None:
        """The toxic goes; let go of everything that was kept back."""

    def ring(self) -> None:
        """The time that was asked for has come."""

    @abstractmethod
    def _apply(self, chunk: Chunk) -> None: ...


class Noop(Stage):
    """Passes everything on."""

    falls_on_chunks = False

    def _apply(self, chunk: Chunk) -> None:
        self._way.onward(self, chunk)


class Latency(Stage):
    """Delays every chunk by ``latency`` plus or minus ``jitter`` since it arrived; order is kept."""

    falls_on_chunks = False

    def __init__(self, toxic: Toxic, way: Way, *, active: bool) -> None:
        super().__init__(toxic, way, active=active)
        self._queue: deque[Chunk] = deque()
        self._timer: Timer | None = None
        self._last = 0.0
        self._ending = False

    def data(self, chunk: Chunk) -> None:
        """As every stage, but a passive one must not overtake what is still kept back."""
        if not self.active and self._queue:
            self._release()
        super().data(chunk)

    def _apply(self, chunk: Chunk) -> None:
        jitter = self.toxic.attributes.get("jitter", 0)
        delay = self.toxic.attributes.get("latency", 0) + (self._way.jitter(self, jitter) if jitter > 0 else 0)
        if delay > 0:
            self.met()
        self._last = chunk.time = max(chunk.time + delay / 1000, self._last)
        if delay <= 0 and not self._queue:  # its time has come, and nothing is before it
            self._way.onward(self, chunk)
            return
        self._queue.append(chunk)
        self._way.held(1)
        if len(self._queue) == 1:
            self._timer = self._way.at(chunk.time, self)

    def ring(self) -> None:
        """Pass on every chunk whose time has come."""
        self._timer = None
        now = self._way.now()
        while self._queue and self._queue[0].time <= now:
            self._way.held(-1)
            self._way.onward(self, self._queue.popleft())
        if self._queue:
            self._timer = self._way.at(self._queue[0].time, self)
        elif self._ending:
            self.shut()

    def end(self) -> None:
        """The end follows the last chunk, and is not delayed itself."""
        if self._queue:
            self._ending = True
        else:
            self.shut()

    def restart(self, *, active: bool) -> None:
        """What is kept back keeps its time, unless the toxic no longer applies."""
        super().restart(active=active)
        if not active:
            self._release()

    def remove(self) -> None:
        """Pass everything on at once."""
        self._release()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            self._way.held(-1)
            self._way.onward(self, self._queue.popleft())
        if self._ending:
            self.shut()


class Timeout(Stage):
    """Drops all data and shuts the direction after ``timeout`` idle milliseconds; 0 is a black hole."""

    def __init__(self, toxic: Toxic, way: Way, *, active: bool) -> None:
        super().__init__(toxic, way, active=active)
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to count idle time; every chunk begins anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        after = self.toxic.attributes.get("timeout", 0)
        if self.active and after > 0 and not self.ended:
            self._timer = self._way.at(self._way.now() + after / 1000, self)

    def _apply(self, _: Chunk) -> None:
        self.start()

    def ring(self) -> None:
        """It was idle for long enough."""
        self._timer = None
        self.shut()

    def remove(self) -> None:
        """Shut the direction, whether the toxic applied to it or not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.shut()


class ResetPeer(Stage):
    """At the first chunk or end, waits ``timeout`` milliseconds, then shuts the direction.

    The connection sends RST when it was opened with this toxic in place, FIN otherwise.
    """

    def __init__(self, toxic: Toxic, way: Way, *, active: bool) -> None:
        super().__init__(toxic, way, active=active)
        self._timer: Timer | None = None

    def _apply(self, _: Chunk) -> None:
        self._reset()

    def end(self) -> None:
        """An end is reset as data is."""
        if self.active and not self.ended:
            self._reset()
        else:
            self.shut()

    def _reset(self) -> None:
        if self._timer is None:
            after = self.toxic.attributes.get("timeout", 0)
            if after > 0:
                self._timer = self._way.at(self._way.now() + after / 1000, self)
            else:
                self.shut()

    def ring(self) -> None:
        """The time before the reset is over."""
        self.shut()

    def remove(self) -> None:
        """A reset that has begun is carried out."""
        if self._timer is not None:
            self._timer.cancel()
            self.shut()
