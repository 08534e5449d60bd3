"""A story, sorted once for all checkers: operations by licence and verb.

What every checker may assume of an operation:

* answered (accepted or refused): it took effect, or was decided, once, at some
  instant between its begin and its end;
* unknown: it took effect at some instant after its begin, however late, or never.

What the harness did itself narrows that down. A request that it cut never
arrived: the call is left out. An answer that it cut had been given by the end of
the cut, and a kill with ``detail["settled"]`` ended whatever had been sent
before: such a call stays unknown, but has an ``end``, by which it took effect if
it ever does.

A request that the network delivered twice (``duplicate``) is a second call of
unknown outcome: the copy may take effect long after the answer to the first.

Two moments at the same time are ordered by record number: a story that sends a
call right after an answer came does so, in virtual time, at the same instant.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import nextafter
from typing import Any, Final, TypeVar

from msgspec import structs

from licensing_harness.checkers.clocks import FOREVER, Clocks
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.vocabulary import MUTATIONS, Contract, FaultKind, Outcome

_T = TypeVar("_T")
Moment = tuple[float, int]
"""A time and the number of the record that it belongs to."""

_CUTS: Final = frozenset({FaultKind.CUT_REQUEST, FaultKind.CUT_ANSWER})
_CRASHES: Final = frozenset({FaultKind.CRASH, FaultKind.POWER_LOSS})
_ENDS: Final = _CRASHES | {FaultKind.RESTART}
"""Faults that end a process, and with it what was under way in it."""


def began(operation: Operation) -> Moment:
    """When it was sent."""
    return operation.begin, operation.n


def ended(operation: Operation) -> Moment:
    """When its answer came, or by when it was settled without one; never, while that is not known."""
    return operation.ended, operation.n


def precedes(first: Operation, then: Operation) -> bool:
    """Whether ``first`` had certainly happened before ``then`` was even sent."""
    return ended(first) < began(then)


def beyond(since: Operation, bound: float, operation: Operation, clocks: Clocks) -> bool:
    """Whether ``operation`` was sent more than ``bound`` seconds of the target's clock after ``since`` was answered."""
    return (clocks.latest(since.ended, bound), since.n) < began(operation)


class Licence:
    """The operations of one licence, in the order in which they began."""

    __slots__ = ("_firsts", "issued", "label", "operations", "verbs")

    def __init__(self, label: str) -> None:
        self.label = label
        self._firsts: dict[str, Operation | None] = {}
        self.operations: list[Operation] = []
        self.verbs: dict[str, list[Operation]] = {}
        self.issued: Operation | None = None
        """The first issue that was acknowledged."""

    def add(self, operation: Operation) -> None:
        """Sort one more operation in."""
        self.operations.append(operation)
        self.verbs.setdefault(operation.verb, []).append(operation)
        if operation.verb == "issue" and operation.outcome is Outcome.ACCEPTED and self.issued is None:
            self.issued = operation

    def of(self, *verbs: str) -> list[Operation]:
        """The operations of these verbs, in the order in which they began."""
        if len(verbs) == 1:
            return self.verbs.get(verbs[0], [])
        present = [verb for verb in verbs if verb in self.verbs]
        if len(present) == 1:
            return self.verbs[present[0]]
        return sorted((each for verb in present for each in self.verbs[verb]), key=lambda each: each.n)

    def first_accepted(self, verb: str) -> Operation | None:
        """The acknowledgement of ``verb`` that came first."""
        if verb not in self._firsts:
            self._firsts[verb] = min((each for each in self.of(verb) if each.accepted), key=ended, default=None)
        return self._firsts[verb]

    def asked(self, name: str) -> Any:
        """What the acknowledged issue was asked for; None when it asked nothing of the kind."""
        return self.issued.asked.get(name) if self.issued is not None else None

    @property
    def seats(self) -> int | None:
        """How many devices may hold a seat at once, when the story knows."""
        seats = self.asked("seats")
        return seats if isinstance(seats, int) else None


class Index:
    """A story by licence; see the module."""

    __slots__ = ("clocks", "crashes", "kept", "licences", "story", "verbs")

    def __init__(self, story: StoryHistory) -> None:
        self.story = story
        self.licences: dict[str, Licence] = {}
        self.verbs: dict[str, list[Operation]] = {}
        self.kept: dict[Any, Any] = {}
        """What one family worked out of this story, for its other promises."""
        licences, verbs = self.licences, self.verbs
        self.clocks = Clocks(story.faults)
        """What faults did to the target's clocks."""
        operations: Iterable[Operation] = _known(story) if story.faults else story.operations
        for operation in operations:
            label = operation.licence
            if label:
                licence = licences.get(label)
                if licence is None:
                    licence = licences[label] = Licence(label)
                licence.add(operation)
            verbs.setdefault(operation.verb, []).append(operation)
        self.crashes: list[Fault] = sorted(
            (fault for fault in story.faults if fault.fault in _CRASHES), key=lambda fault: fault.n
        )

    def once(self, key: Hashable, make: Callable[[], Iterable[_T]]) -> list[_T]:
        """What ``make`` yields, made once for this key: a check and its occasions look at the same cases."""
        found: list[_T] | None = self.kept.get(key)
        if found is None:
            found = self.kept[key] = list(make())
        return found

    def evidence(self, *operations: Operation | None) -> tuple[int, ...]:
        """The record numbers of these, and of every crash between the first and the last."""
        given = [each for each in operations if each is not None]
        first = min(each.begin for each in given)
        last = max(each.begin for each in given)
        crashes = {fault.n for fault in self.crashes if first <= fault.begin <= last}
        return tuple(sorted({each.n for each in given} | crashes))


def _known(story: StoryHistory) -> Iterator[Operation]:
    """The calls as far as the faults of the story tell of them."""
    settle = _Settled(story)
    doubled = _doubled(story)
    for recorded in story.operations:
        operation = settle(recorded) if recorded.outcome is Outcome.UNKNOWN else recorded
        if operation is not None:
            yield operation
        for _ in range(doubled[recorded.n]):
            yield settle.killed(structs.replace(recorded, outcome=Outcome.UNKNOWN, end=None, reason="", answer={}))


def _doubled(story: StoryHistory) -> Counter[int]:
    """The changes that were sent once and may have arrived again, and how often: once by each fault."""
    found: Counter[int] = Counter()
    for fault in story.faults:
        if fault.fault is FaultKind.DUPLICATE and fault.met:
            touched = touched_by(fault, story)
            found.update(each.n for each in story.operations if each.n in touched and each.verb in MUTATIONS)
    return found


def touched_by(fault: Fault, story: StoryHistory) -> frozenset[int]:
    """The calls that a fault fell on, one by one: those that it names, else all that were under way while it was on."""
    named = fault.detail.get("calls")
    if isinstance(named, list | tuple):
        return frozenset(named)
    until = FOREVER if fault.end is None else fault.end
    return frozenset(each.n for each in story.operations if each.begin <= until and each.ended >= fault.begin)


class _Settled:
    """What the faults of a story say about its calls of unknown outcome."""

    __slots__ = ("_cuts", "_kills")

    def __init__(self, story: StoryHistory) -> None:
        # One that falls on some calls only (``first``, ``every``) does not say on which.
        met = [
            fault
            for fault in story.faults
            if fault.fault in _CUTS and fault.met and fault.end is not None and not fault.detail
        ]
        lanes: dict[str, list[Operation]] = {fault.where: [] for fault in met}
        for each in story.operations:
            if each.client in lanes:
                lanes[each.client].append(each)
        self._cuts: dict[int, Fault] = {}
        for lane in lanes.values():
            lane.sort(key=lambda each: each.n)
        for fault in met:
            # A cut is for the next call of its client; it waits for no other.
            lane = lanes[fault.where]
            at = bisect_right(lane, fault.n, key=lambda each: each.n)
            if at < len(lane) and lane[at].begin <= (fault.end or 0.0):
                self._cuts[lane[at].n] = fault
        self._kills = sorted(
            (fault.begin, fault.n, fault.end)
            for fault in story.faults
            if fault.fault in _ENDS and fault.end is not None and fault.detail.get("settled") is True
        )

    def __call__(self, operation: Operation) -> Operation | None:
        """The call as far as it is known; None when it certainly never arrived."""
        cut = self._cuts.get(operation.n)
        if cut is not None and cut.fault is FaultKind.CUT_REQUEST:
            return None
        by = FOREVER if cut is None or cut.end is None else cut.end
        return self.killed(operation, by)

    def killed(self, operation: Operation, by: float = FOREVER) -> Operation:
        """The call, over ``by`` then and when its process ended."""
        at = bisect_right(self._kills, (operation.begin, operation.n, FOREVER))
        if at < len(self._kills):
            by = min(by, self._kills[at][2])
        return operation if by == FOREVER else structs.replace(operation, end=max(by, operation.begin))


class _Memo:
    """The last story that was sorted: all promises of one story are checked in a row."""

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.latest: tuple[StoryHistory, int, int, Index] | None = None


_memo: Final = _Memo()


def index_of(story: StoryHistory) -> Index:
    """The story, sorted; sorted once as long as the same story is asked for."""
    latest = _memo.latest
    size, faults = len(story.operations), len(story.faults)
    if latest is not None and latest[0] is story and latest[1] == size and latest[2] == faults:
        return latest[3]
    index = Index(story)
    _memo.latest = (story, size, faults, index)
    return index


def forget() -> None:
    """Let go of the last story."""
    _memo.latest = None


def tolerance(contract: Contract) -> float:
    """How far the target's clock may be off, in seconds."""
    return contract.clock_tolerance or 0.0


def device_of(operation: Operation) -> str:
    """The device that a seat operation is about: the client itself unless it named another."""
    return str(operation.asked.get("device") or operation.client)


def overlapping(spans: Iterable[tuple[float, float]]) -> int:
    """The number of pairs of spans that have more than one instant in common. O(n log n)."""
    lasting = [(begin, end) for begin, end in spans if begin < end]
    begins = sorted(begin for begin, _ in lasting)
    ends = sorted(end for _, end in lasting)
    # Of the spans sent before this one, those that had not ended when it was sent overlap it.
    return sum(earlier - bisect_right(ends, begin) for earlier, begin in enumerate(begins))


def span(operation: Operation) -> tuple[float, float]:
    """When a call was certainly under way: of an unknown one only the moment it was sent is certain."""
    certain = operation.end is not None and operation.outcome is not Outcome.UNKNOWN
    return operation.begin, operation.ended if certain else nextafter(operation.begin, FOREVER)


def overlapping_pairs(operations: Sequence[Operation]) -> int:
    """How many pairs of calls were under way at the same time."""
    return overlapping(map(span, operations))
