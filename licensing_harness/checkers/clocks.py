"""What the faults of a story did to the target's clocks, and what can still be said about how long something lasts.

A lease, a term, a token's life and a stated bound are times on a clock of the
target. Where a clock was wrong, so many seconds on it were more, or fewer, in
truth. This module says by when they were over at the earliest, and by when for
certain.

What is assumed of a target whose clock is set wrong:

* it measures a duration on its wall clock, as the fault set it, or on a clock
  that is right (a monotonic one), from beginning to end;
* a wall clock that goes back may be read as it is, or held where it was until
  it has caught up;
* nodes may measure from one node's clock to another's, unless the fault says
  that the target is one node (``detail["alone"]``).

A client's clock (``detail["of"]`` is ``client``) is none of the target's. A fault
whose size is not in the record makes nothing certain.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from licensing_harness.history import Fault
from licensing_harness.vocabulary import FaultKind

FOREVER: Final = float("inf")

_SIZE: Final = {
    FaultKind.CLOCK_OFFSET: "offset",
    FaultKind.CLOCK_DRIFT: "drift",
    FaultKind.CLOCK_JUMP: "by",
    FaultKind.CLOCK_ROLLBACK: "by",
    FaultKind.CLOCK_FREEZE: "",
}
_STEPS: Final = frozenset({FaultKind.CLOCK_JUMP, FaultKind.CLOCK_ROLLBACK})


@dataclass(frozen=True, slots=True)
class _Wrong:
    """One fault: from ``begin`` to ``end`` the clock is off by ``step``, and by ``slope`` for each second since."""

    begin: float
    end: float
    step: float
    slope: float


def _wrong(fault: Fault) -> _Wrong | None:
    """What the fault did to its clock; None when the record does not say how much."""
    name = _SIZE[fault.fault]
    size = fault.detail.get(name) if name else 0.0
    if isinstance(size, bool) or not isinstance(size, int | float):
        return None
    end = FOREVER if fault.end is None else fault.end
    if fault.fault in _STEPS and fault.detail.get("taken_back") is not True:
        end = FOREVER  # it was set once, and nobody set it right
    match fault.fault:
        case FaultKind.CLOCK_DRIFT:
            return _Wrong(fault.begin, end, 0.0, float(size))
        case FaultKind.CLOCK_FREEZE:
            return _Wrong(fault.begin, end, 0.0, -1.0)
        case FaultKind.CLOCK_ROLLBACK:
            return _Wrong(fault.begin, end, -float(size), 0.0)
        case _:
            return _Wrong(fault.begin, end, float(size), 0.0)


class _Clock:
    """One clock's reading as a function of true time: pieces of straight lines."""

    __slots__ = ("_edges", "_highest", "_lines")

    def __init__(self, faults: Sequence[_Wrong]) -> None:
        edges = {-FOREVER}
        for each in faults:
            edges |= {each.begin, each.end}
        self._edges = sorted(edges - {FOREVER})
        self._lines: list[tuple[float, float]] = []
        """Of each piece, the reading at time 0 if it went on so, and the slope."""
        for edge in self._edges:
            on = [each for each in faults if each.begin <= edge < each.end]
            self._lines.append(
                (
                    sum(each.step - each.slope * each.begin for each in on),
                    1.0 + sum(each.slope for each in on),
                )
            )
        self._highest: list[float] = []
        """Up to the end of each piece, the highest reading so far."""
        highest = -FOREVER
        for piece in range(len(self._edges)):
            begin, end = self._span(piece)
            highest = max(highest, self._at(piece, begin), self._at(piece, end))
            self._highest.append(highest)

    def _span(self, piece: int) -> tuple[float, float]:
        return self._edges[piece], self._edges[piece + 1] if piece + 1 < len(self._edges) else FOREVER

    def _at(self, piece: int, when: float) -> float:
        at_zero, slope = self._lines[piece]
        return at_zero + (slope * when if slope else 0.0)

    def _piece(self, when: float) -> int:
        return bisect_right(self._edges, when) - 1

    def lowest(self, begin: float, end: float) -> float:
        """The lowest reading from ``begin`` to ``end``, both included."""
        first, last = self._piece(begin), self._piece(end)
        found = [self._at(first, begin), self._at(last, end)]
        for piece in range(first, last + 1):
            since, until = self._span(piece)
            found += [self._at(piece, max(since, begin)), self._at(piece, min(until, end))]
        return min(found)

    def highest(self, until: float) -> float:
        """The highest reading that there was by then."""
        piece = self._piece(until)
        before = self._highest[piece - 1] if piece else -FOREVER
        return max(before, self._at(piece, max(self._edges[piece], -FOREVER)), self._at(piece, until))

    def first(self, since: float, reading: float) -> float:
        """The first moment from ``since`` at which it shows ``reading`` or more."""
        for piece in range(self._piece(since), len(self._edges)):
            begin, end = self._span(piece)
            begin = max(begin, since)
            if self._at(piece, begin) >= reading:
                return begin
            at_zero, slope = self._lines[piece]
            if slope > 0:
                when = (reading - at_zero) / slope
                if when <= end:
                    return max(when, begin)
        return FOREVER

    def last(self, reading: float) -> float:
        """The moment from which on it shows ``reading`` or more, for good."""
        for piece in reversed(range(len(self._edges))):
            begin, end = self._span(piece)
            at_zero, slope = self._lines[piece]
            if slope <= 0 and end == FOREVER:
                if self._at(piece, begin) < reading:
                    return FOREVER
            elif self._at(piece, end) < reading:
                return end
            if slope > 0:
                when = (reading - at_zero) / slope
                if when > begin:
                    return when
            elif self._at(piece, begin) < reading:
                return end
        return -FOREVER

    def errors(self) -> tuple[float, float]:
        """By how much it was behind at most, as it is, and ahead at most, held where it was: both against the truth."""
        low = high = 0.0
        for piece in range(len(self._edges)):
            begin, end = self._span(piece)
            at_zero, slope = self._lines[piece]
            for when in (begin, end):
                if when in (-FOREVER, FOREVER):
                    error = at_zero if slope == 1.0 else (slope - 1.0) * FOREVER
                else:
                    error = self._at(piece, when) - when
                low, high = min(low, error), max(high, error)
        return low, high


_RIGHT: Final = _Clock(())


class Clocks:
    """The clocks of a story's target. ``right`` when no fault touched any of them."""

    __slots__ = ("_clocks", "_unknown", "alone", "right", "spread")

    def __init__(self, faults: Iterable[Fault]) -> None:
        touched = [each for each in faults if each.fault in _SIZE and each.detail.get("of") != "client"]
        self.right = not touched
        self.alone = all(each.detail.get("alone") is True for each in touched)
        by_node: dict[str, list[_Wrong]] = {}
        self._unknown = False
        for fault in touched:
            wrong = _wrong(fault)
            if wrong is None:
                self._unknown = True
            else:
                by_node.setdefault(fault.where, []).append(wrong)
        self._clocks = [_RIGHT, *map(_Clock, by_node.values())] if touched else []
        low = min((each.errors()[0] for each in self._clocks), default=0.0)
        high = max((each.errors()[1] for each in self._clocks), default=0.0)
        self.spread = FOREVER if self._unknown else high - low
        """Seconds between the readings of any two clocks of the target, at any two moments, beyond the true ones."""

    def earliest(self, begin: float, end: float, seconds: float) -> float:
        """When ``seconds`` that began between ``begin`` and ``end`` may be over."""
        if self.right or seconds == FOREVER:
            return begin + seconds
        if self._unknown:
            return begin
        if end == FOREVER:
            return begin + seconds - self.spread
        if self.alone:
            return min(each.first(begin, each.lowest(begin, end) + seconds) for each in self._clocks)
        reading = min(each.lowest(begin, end) for each in self._clocks) + seconds
        if any(each.highest(begin) >= reading for each in self._clocks):
            return begin
        return min(each.first(begin, reading) for each in self._clocks)

    def latest(self, end: float, seconds: float) -> float:
        """When ``seconds`` that began by ``end`` are certainly over. None (0) need no clock."""
        if self.right or seconds in (0.0, FOREVER):
            return end + seconds
        if self._unknown or end == FOREVER:
            return FOREVER
        if self.alone:
            return max(end, *(each.last(each.highest(end) + seconds) for each in self._clocks))
        reading = max(each.highest(end) for each in self._clocks) + seconds
        return max(end, *(each.last(reading) for each in self._clocks))
