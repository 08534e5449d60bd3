"""Who certainly holds a seat, and who possibly does, at every moment of one licence.

A **definite** hold runs from the answer to an accepted activate or heartbeat
until the first thing that may have ended it: the sending of a release that was
not refused, the end of the lease counted from when the grant was asked for, the
sending of a revoke or suspend, the earliest end of the licence's term.

A **possible** hold runs from the sending of a grant that was not refused until
the first thing that certainly ended it: the answer to a release sent after the
grant was answered, or the end of the lease counted from the answer.

A release that is refused because there is no such seat says as much as one that
was acknowledged: what was granted before it was sent is over.

Lateness is on the side of the target. A release of unknown outcome may take
effect at any time after it was sent, even after a later activate: from then on
that device holds nothing for certain. An activate of unknown outcome may do so
too: from then on its device possibly holds a seat for good. A heartbeat of
unknown outcome may have prolonged any lease that was possibly running after it
was sent. Where such a call was settled (see ``index``), it is like one that was
acknowledged by then, as far as it makes things possible, and unlike one as far
as it makes them certain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from licensing_harness.checkers.clocks import FOREVER, Clocks
from licensing_harness.checkers.index import (
    Licence,
    began,
    device_of,
    ended,
    tolerance,
)
from licensing_harness.checkers.terms import Terms
from licensing_harness.history import Operation
from licensing_harness.vocabulary import Contract, Reason

_GRANTS = frozenset({"activate", "heartbeat"})
Interval = tuple[float, float]


@dataclass(slots=True, kw_only=True)
class Hold:
    """What one grant makes certain, and what it makes possible."""

    grant: Operation
    device: str
    until: float
    """The definite hold is [grant.ended, until); empty when that is no interval."""
    lease_over: float
    """The possible hold is over by then unless something prolonged it; infinity without a lease."""
    released: float
    """The possible hold is over by then, by an acknowledged release; infinity without one."""


class _Enders:
    """Calls that may end what a grant gave: the earliest that did not certainly come before it."""

    __slots__ = ("_begins", "_ends", "_unknown")

    def __init__(self, operations: Iterable[Operation]) -> None:
        accepted = []
        self._unknown = FOREVER
        for each in operations:
            if each.unknown and each.end is None:
                self._unknown = min(self._unknown, each.begin)
            elif not each.refused:
                accepted.append(each)
        accepted.sort(key=ended)
        self._ends = [ended(each) for each in accepted]
        self._begins = list(accumulate((each.begin for each in reversed(accepted)), min))[::-1]

    def earliest(self, grant: Operation) -> float:
        """The first moment at which one of them may have undone the grant."""
        after = bisect_right(self._ends, began(grant))
        return min(self._unknown, self._begins[after]) if after < len(self._ends) else self._unknown


class _Releases:
    """Acknowledged releases of one device, and those for which there was no seat: what was given before is over."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, operations: Iterable[Operation]) -> None:
        accepted = sorted(
            (each for each in operations if each.accepted or (each.refused and each.reason == Reason.NO_SUCH_SEAT)),
            key=began,
        )
        self._begins = [began(each) for each in accepted]
        self._ends = list(accumulate((each.ended for each in reversed(accepted)), min))[::-1]

    def freed(self, grant: Operation) -> float:
        after = bisect_left(self._begins, ended(grant))
        return self._ends[after] if after < len(self._begins) else FOREVER


@dataclass(slots=True)
class Device:
    """One device on one licence."""

    name: str
    holds: list[Hold] = field(default_factory=list)
    """In the order in which the grants began."""
    maybe: float = FOREVER
    """When the first activate of unknown outcome was sent."""

    def possible(self, *, leases: bool, releases: bool) -> list[Interval]:
        """The times at which it possibly holds a seat, apart and in order; both ends belong to them.

        Without ``leases`` no lease ever ends, without ``releases`` no release frees.
        """
        found = [
            (hold.grant.begin, min(hold.lease_over if leases else FOREVER, hold.released if releases else FOREVER))
            for hold in self.holds
        ]
        if self.maybe < FOREVER:
            found.append((self.maybe, FOREVER))
            found.sort()
        return united(found)


def united(intervals: Iterable[Interval]) -> list[Interval]:
    """Intervals sorted by their begin, with those that touch made one."""
    result: list[Interval] = []
    for begin, end in intervals:
        if result and begin <= result[-1][1]:
            if end > result[-1][1]:
                result[-1] = result[-1][0], end
        else:
            result.append((begin, end))
    return result


def _lease(grant: Operation, contract: Contract) -> tuple[float, float]:
    """The shortest and the longest lease that a grant may have given, in seconds.

    The target's stated number counts. A target that states none holds seats until
    they are released, unless the answer itself names an end.
    """
    if contract.lease is not None:
        return contract.lease, contract.lease
    until = grant.answer.get("lease_until")
    if until is None:
        return FOREVER, FOREVER
    said = grant.answer.get("server_time")
    return (0.0, FOREVER) if said is None else (until - said, until - said)


def devices_of(licence: Licence, contract: Contract, clocks: Clocks) -> dict[str, Device]:
    """Every device that ever asked for a seat of this licence. Leases run on the target's ``clocks``."""
    slack = tolerance(contract)
    calls: dict[str, list[Operation]] = {}
    for each in licence.of("activate", "heartbeat", "release"):
        calls.setdefault(device_of(each), []).append(each)
    stops = _Enders(licence.of("revoke", "suspend"))
    terms = Terms(licence, slack, clocks)
    devices = {}
    for name, operations in calls.items():
        device = devices[name] = Device(name)
        releases = [each for each in operations if each.verb == "release"]
        enders, freed = _Enders(releases), _Releases(releases)
        heartbeat = FOREVER
        for each in operations:
            if each.unknown and each.end is None:
                if each.verb == "activate":
                    device.maybe = min(device.maybe, each.begin)
                elif each.verb == "heartbeat":
                    heartbeat = min(heartbeat, each.begin)
        for each in operations:
            if each.verb not in _GRANTS or each.refused or each.end is None:
                continue
            shortest, longest = _lease(each, contract)
            over = clocks.latest(each.ended, longest) + slack
            device.holds.append(
                Hold(
                    grant=each,
                    device=name,
                    until=-FOREVER
                    if each.unknown
                    else min(
                        clocks.earliest(each.begin, each.ended, shortest) - slack,
                        enders.earliest(each),
                        stops.earliest(each),
                        terms.earliest_end(began(each)),
                    ),
                    lease_over=FOREVER if heartbeat <= over else over,
                    released=freed.freed(each),
                )
            )
    return devices


class Occupancy:
    """How many devices possibly hold a seat, as a step function of time."""

    __slots__ = ("_blocks", "_events", "_levels")
    _BLOCK = 64

    def __init__(self, intervals: Iterable[Interval]) -> None:
        events = []
        for begin, end in intervals:
            events.append((begin, 0))
            if end < FOREVER:
                events.append((end, 1))
        events.sort()
        self._events = events
        self._levels = list(accumulate(-1 if kind else 1 for _, kind in events))
        self._blocks: list[list[int]] = []

    def most(self, begin: float, end: float) -> int:
        """The highest number at any moment from ``begin`` to ``end``, both included."""
        return self._most(bisect_left(self._events, (begin, 0)), bisect_right(self._events, (end, 0)))

    def most_between(self, begin: float, end: float) -> int:
        """The highest number at any moment after ``begin`` and before ``end``."""
        return self._most(bisect_right(self._events, (begin, 1)), bisect_left(self._events, (end, 0)))

    def _most(self, start: int, stop: int) -> int:
        before = self._levels[start - 1] if start else 0
        if stop <= start:
            return before
        if stop - start <= self._BLOCK:
            return max(before, *self._levels[start:stop])
        return max(before, self._ranged(start, stop))

    def _ranged(self, start: int, stop: int) -> int:
        """The maximum of a long range, by a table of the maxima of ranges of 1, 2, 4, ... levels."""
        if not self._blocks:
            self._blocks.append(self._levels)
            width = 1
            while 2 * width <= len(self._levels):
                shorter = self._blocks[-1]
                self._blocks.append(
                    list(map(max, shorter[: len(shorter) - width], shorter[width:]))  # two halves make one range
                )
                width *= 2
        step = (stop - start).bit_length() - 1
        row = self._blocks[step]
        return max(row[start], row[stop - (1 << step)])


def most_others(occupancy: Occupancy, own: list[Interval], begin: float, end: float) -> int:
    """The most devices other than the one with the holds ``own``, at any moment from ``begin`` to ``end``."""
    at = bisect_right(own, (begin, FOREVER)) - 1
    if at >= 0 and own[at][1] < begin:
        at += 1
    at = max(at, 0)
    most, free_from, inclusive = 0, begin, True
    while at < len(own) and own[at][0] <= end:
        first, last = max(begin, own[at][0]), min(end, own[at][1])
        if free_from < first:
            before = occupancy.most_between(free_from, first)
            most = max(most, before)
            if inclusive:
                most = max(most, occupancy.most(free_from, free_from))
        most = max(most, occupancy.most(first, last) - 1)
        free_from, inclusive = last, False
        at += 1
    if inclusive:
        return max(most, occupancy.most(begin, end))
    if free_from < end:
        most = max(most, occupancy.most_between(free_from, end), occupancy.most(end, end))
    return most
