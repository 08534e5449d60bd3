"""The toxics that shape a stream: bandwidth, slicer, limit_data and slow_close.

The semantics are those of Toxiproxy 2.12, as read in its source and observed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator

from licensing_harness.faults.toxics import MOST_HELD, Chunk, Stage, Timer, Toxic, Way


class _Piecemeal(Stage):
    """Passes one chunk after another on in pieces; nothing more is read while two wait."""

    def __init__(self, toxic: Toxic, way: Way, *, active: bool) -> None:
        super().__init__(toxic, way, active=active)
        self._queue: deque[Chunk] = deque()
        self._walk: Iterator[float] | None = None
        self._passed = 0
        self._timer: Timer | None = None
        self._ending = False

    @abstractmethod
    def _pieces(self, chunk: Chunk) -> Iterator[float]:
        """Pass a chunk on by ``_pass``; what is yielded are the seconds to wait."""

    def _pass(self, size: int) -> None:
        first = self._queue[0]
        begin, self._passed = self._passed, min(self._passed + size, len(first.data))
        if self._passed > begin:
            self._way.onward(self, Chunk(first.data[begin : self._passed], first.time))

    def _apply(self, chunk: Chunk) -> None:
        self._queue.append(chunk)
        self._way.held(MOST_HELD)
        if len(self._queue) == 1:
            self._go()

    def _go(self) -> None:
        while self._queue and not self.ended:
            if self._walk is None:
                self._passed = 0
                self._walk = self._pieces(self._queue[0])
            for wait in self._walk:
                if wait > 0:
                    if wait < math.inf:
                        self._timer = self._way.at(self._way.now() + wait, self)
                    return
            self._walk = None
            self._queue.popleft()
            self._way.held(-MOST_HELD)
        if self._ending:
            self.shut()

    def ring(self) -> None:
        """Pass the next piece on."""
        self._timer = None
        self._go()

    def end(self) -> None:
        """The end follows the last piece."""
        if self._queue:
            self._ending = True
        else:
            self.shut()

    def restart(self, *, active: bool) -> None:
        """The chunk that was begun goes whole; the others go as the toxic now says."""
        if self._queue:
            self._finish()
        super().restart(active=active)
        while self._queue and not active:
            self._finish()
        self._go()

    def remove(self) -> None:
        """Pass everything on at once."""
        while self._queue:
            self._finish()
        if self._ending:
            self.shut()

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._walk is None:
            self._passed = 0
        self._walk = None
        if not self.ended:
            self._pass(len(self._queue[0].data))
        self._passed = 0
        self._queue.popleft()
        self._way.held(-MOST_HELD)


class Bandwidth(_Piecemeal):
    """Passes ``rate`` thousand bytes a second, at most those of 100 ms at a time; 0 passes nothing."""

    def __init__(self, toxic: Toxic, way: Way, *, active: bool) -> None:
        super().__init__(toxic, way, active=active)
        self._owed = 0.0

    def restart(self, *, active: bool) -> None:
        """Nothing is owed any more."""
        self._owed = 0.0
        super().restart(active=active)

    def _pieces(self, chunk: Chunk) -> Iterator[float]:
        rate = self.toxic.attributes.get("rate", 0)
        left = len(chunk.data)
        if rate <= 0:
            yield math.inf
        self._owed += left / rate / 1000
        while left > rate * 100:
            yield 0.1
            self._pass(rate * 100)
            left -= rate * 100
            self._owed -= 0.1
        begin = self._way.now()
        yield self._owed
        self._owed -= self._way.now() - begin
        self._pass(left)


class Slicer(_Piecemeal):
    """Halves a chunk until its pieces are about ``average_size``, and waits ``delay`` µs after each."""

    falls_on_chunks = False

    def _pieces(self, chunk: Chunk) -> Iterator[float]:
        average = self.toxic.attributes.get("average_size", 0)
        variation = self.toxic.attributes.get("size_variation", 0)
        delay = self.toxic.attributes.get("delay", 0) / 1_000_000
        for size in halved(len(chunk.data), average, variation, lambda: self._way.jitter(self, variation)):
            if self._passed == 0 and (delay > 0 or size < len(chunk.data)):
                self.met()
            self._pass(size)
            yield delay


def halved(size: int, average: int, variation: int, jitter: Callable[[], int]) -> Iterator[int]:
    """The sizes, in order, of the pieces that ``size`` bytes are cut into; their sum is ``size``.

    Needs an average of 1 and more and a variation of 0 up to the average.
    """
    spans = [size]
    while spans:
        span = spans.pop()
        if span - average <= variation:
            yield span
        else:
            left = span // 2 + (jitter() if variation > 0 else 0)
            spans += (span - left, left)


class LimitData(Stage):
    """Passes exactly ``bytes`` bytes of a connection, then shuts the direction."""

    falls_on_chunks = False

    def __init__(self, toxic: Toxic, way: Way, *, active: bool) -> None:
        super().__init__(toxic, way, active=active)
        self._passed = 0

    def _apply(self, chunk: Chunk) -> None:
        left = max(self.toxic.attributes.get("bytes", 0) - self._passed, 0)
        data = chunk.data[:left]
        if data:
            self._passed += len(data)
            self._way.onward(self, Chunk(data, chunk.time))
        if len(data) == left:
            self.met()
            self.shut()


class SlowClose(Stage):
    """Delays the end of the stream, and nothing else, by ``delay`` milliseconds."""

    falls_on_chunks = False

    def __init__(self, toxic: Toxic, way: Way, *, active: bool) -> None:
        super().__init__(toxic, way, active=active)
        self._timer: Timer | None = None
        self._ending = False

    def _apply(self, chunk: Chunk) -> None:
        self._way.onward(self, chunk)

    def end(self) -> None:
        """Begin to wait; a second end changes nothing."""
        if not self._ending:
            self._ending = True
            if self.active and not self.ended and self.toxic.attributes.get("delay", 0) > 0:
                self.met()
            self.start()

    def start(self) -> None:
        """A change of the toxic begins the wait anew."""
        self._cancel()
        if self._ending and not self.ended:
            after = self.toxic.attributes.get("delay", 0)
            if self.active and after > 0:
                self._timer = self._way.at(self._way.now() + after / 1000, self)
            else:
                self.shut()

    def ring(self) -> None:
        """The wait is over."""
        self._timer = None
        self.shut()

    def remove(self) -> None:
        """An end that waited goes on at once."""
        self._cancel()
        if self._ending:
            self.shut()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
