"""Seats: never more holders than seats, and a free seat is given to whoever asks.

Over-booking is judged by *definite* holds, a wrong refusal by *possible* ones
(see ``holds``). Both are exact about what was not seen: no server that keeps
its promises is accused, whatever answers were lost.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate

from licensing_harness.checkers.clocks import FOREVER, Clocks
from licensing_harness.checkers.holds import Device, Hold, Interval, Occupancy, devices_of, most_others
from licensing_harness.checkers.index import (
    Index,
    Licence,
    began,
    device_of,
    ended,
    index_of,
    overlapping,
    precedes,
    span,
)
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.verdict import Promise, Violation
from licensing_harness.vocabulary import Cap, Contract, Reason

_BOTH, _LEASES, _RELEASES = (True, True), (True, False), (False, True)
"""What ends a possible hold: leases that are over, acknowledged releases."""

_WITHOUT = {"SEA-003": _RELEASES, "SEA-004": _LEASES}
"""A seat is free thanks to leases when it would not be free by releases alone, and the other way round."""


class _Seats:
    """One licence with seats: its devices, and who possibly holds a seat by which endings."""

    __slots__ = ("_occupancies", "answered", "devices", "licence", "seats")

    def __init__(self, licence: Licence, seats: int, contract: Contract, clocks: Clocks) -> None:
        self.licence = licence
        self.seats = seats
        self.devices = devices_of(licence, contract, clocks)
        self.answered = [
            each
            for each in licence.of("activate")
            if each.accepted or (each.refused and each.reason == Reason.NO_FREE_SEAT)
        ]
        self._occupancies: dict[tuple[bool, bool], tuple[Occupancy, dict[str, list[Interval]]]] = {}

    def others(self, asked: Operation, endings: tuple[bool, bool] = _BOTH) -> int:
        """The most devices, apart from the one that asked, that possibly held a seat while it was asked."""
        kept = self._occupancies.get(endings)
        if kept is None:
            leases, releases = endings
            own = {name: device.possible(leases=leases, releases=releases) for name, device in self.devices.items()}
            kept = Occupancy(each for intervals in own.values() for each in intervals), own
            self._occupancies[endings] = kept
        occupancy, own = kept
        return most_others(occupancy, own[device_of(asked)], asked.begin, asked.ended)


def _licences(story: StoryHistory, contract: Contract) -> list[_Seats]:
    index = index_of(story)
    key = ("seats", contract)
    if key not in index.kept:
        index.kept[key] = [
            _Seats(licence, licence.seats, contract, index.clocks)
            for licence in (index.licences.values() if index.verbs.keys() & {"activate", "heartbeat"} else ())
            if licence.seats is not None and licence.verbs.keys() & {"activate", "heartbeat"}
        ]
    seats: list[_Seats] = index.kept[key]
    return seats


# SEA-001 ------------------------------------------------------------------------------------


def _check_holders(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    index = index_of(story)
    for seats in _licences(story, contract):
        if len(seats.devices) <= seats.seats:
            continue
        holders = _too_many(seats)
        if holders:
            last = max((hold.grant for hold in holders), key=ended)
            noun = "seat" if seats.seats == 1 else "seats"
            yield Violation(
                promise="SEA-001",
                story=story.story,
                expected=f"this {'activation' if last.verb == 'activate' else last.verb} refused: no free seat",
                observed=f"accepted; {len(holders)} devices hold {seats.seats} {noun}",
                evidence=index.evidence(*(hold.grant for hold in holders)),
                control=_control(story, contract),
            )


def _too_many(seats: _Seats) -> list[Hold]:
    """One hold each of the devices that first were more than the seats; none when they never were."""
    moments: list[tuple[float, int, int, Hold]] = []
    for device in seats.devices.values():
        for hold in device.holds:
            start = hold.grant.ended
            if start < hold.until:
                moments.append((start, 1, hold.grant.n, hold))
                if hold.until < FOREVER:
                    moments.append((hold.until, 0, hold.grant.n, hold))
    # At one moment, what ends has ended before what begins.
    moments.sort(key=lambda each: each[:3])
    holding: dict[str, dict[int, Hold]] = {}
    for _, starts, n, hold in moments:
        if starts:
            holding.setdefault(hold.device, {})[n] = hold
            if len(holding) > seats.seats:
                return [next(iter(grants.values())) for grants in holding.values()]
        else:
            grants = holding[hold.device]
            del grants[n]
            if not grants:
                del holding[hold.device]
    return []


def _control(story: StoryHistory, contract: Contract) -> tuple[int, ...]:
    """The same target refusing the same call, one after the other: a full licence and no overlap."""
    for seats in _licences(story, contract):
        calls = seats.licence.of("activate", "heartbeat", "release")
        busy_until = list(accumulate((each.begin if each.end is None else each.end for each in calls), max))
        for at, each in enumerate(calls):
            if each.verb != "activate" or not each.refused or each.reason != Reason.NO_FREE_SEAT:
                continue
            alone = (at == 0 or busy_until[at - 1] <= each.begin) and (
                at + 1 == len(calls) or calls[at + 1].begin >= each.ended
            )
            holder = next(
                (other for other in reversed(calls[:at]) if other.accepted and other.verb == "activate"), None
            )
            if alone and holder is not None:
                return holder.n, each.n
    return ()


def _occasions_holders(story: StoryHistory, contract: Contract) -> int:
    """Pairs of activates of different devices under way at once, one of them accepted, for seats that are fewer."""
    pairs = 0
    right = index_of(story).clocks.right
    for seats in _licences(story, contract):
        if len(seats.devices) <= seats.seats:
            continue
        if not right and not any(
            hold.grant.ended < hold.until for device in seats.devices.values() for hold in device.holds
        ):
            continue  # with its clock so wrong, nobody can be said to hold a seat at any moment
        calls = seats.licence.of("activate")
        by_device: dict[str, list[Operation]] = {}
        for each in calls:
            by_device.setdefault(device_of(each), []).append(each)
        for some in (calls, *by_device.values()):
            sign = 1 if some is calls else -1
            pairs += sign * overlapping(map(span, some))
            pairs -= sign * overlapping(span(each) for each in some if not each.accepted)
    return pairs


# SEA-002, SEA-003, SEA-004 -------------------------------------------------------------------


def _free(story: StoryHistory, contract: Contract) -> Iterator[tuple[_Seats, Operation]]:
    for seats in _licences(story, contract):
        for each in seats.answered[1:]:
            if seats.others(each) < seats.seats:
                yield seats, each


def _asked_while_free(story: StoryHistory, contract: Contract, promise: str) -> list[tuple[_Seats, Operation]]:
    """Answered activates sent when a seat was certainly free, by this promise's kind of ending."""
    index = index_of(story)
    free = index.once(("free", contract), lambda: _free(story, contract))
    if promise not in _WITHOUT:
        return free
    return index.once(
        ("free", contract, promise),
        lambda: ((seats, each) for seats, each in free if seats.others(each, _WITHOUT[promise]) >= seats.seats),
    )


def _refused_while_free(story: StoryHistory, contract: Contract, promise: str, why: str) -> Iterator[Violation]:
    index = index_of(story)
    accused: set[str] = set()
    for seats, each in _asked_while_free(story, contract, promise):
        if each.accepted or seats.licence.label in accused:
            continue
        accused.add(seats.licence.label)
        others = seats.others(each)
        noun = "seat" if seats.seats == 1 else "seats"
        yield Violation(
            promise=promise,
            story=story.story,
            expected=f"this activation accepted: {why}",
            observed=f"refused, no free seat; at most {others} of {seats.seats} {noun} can be taken by other devices",
            evidence=index.evidence(*_background(seats, each, promise), each),
        )


def _background(seats: _Seats, refused: Operation, promise: str) -> list[Operation]:
    """What had filled the seats before, and what emptied them."""
    if promise == "SEA-002":
        return [seats.licence.issued] if seats.licence.issued is not None else []
    asking = device_of(refused)
    latest: list[tuple[Operation, Device]] = []
    for device in seats.devices.values():
        grants = [hold.grant for hold in device.holds if precedes(hold.grant, refused)]
        if device.name != asking and grants:
            latest.append((grants[-1], device))
    latest.sort(key=lambda each: ended(each[0]))
    shown: list[Operation] = []
    for grant, device in latest[-seats.seats :]:
        shown.append(grant)
        if promise == "SEA-004":
            release = next(
                (
                    each
                    for each in seats.licence.of("release")
                    if each.accepted and device_of(each) == device.name and precedes(grant, each)
                ),
                None,
            )
            shown.extend([release] if release is not None else [])
    return shown


def _check_free(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    return _refused_while_free(story, contract, "SEA-002", "a seat is certainly free")


def _occasions_free(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for _ in _asked_while_free(story, contract, "SEA-002"))


def _check_lapsed(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    return _refused_while_free(story, contract, "SEA-003", "the lease of a device that had the seat is over")


def _occasions_lapsed(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for _ in _asked_while_free(story, contract, "SEA-003"))


def _check_released(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    return _refused_while_free(story, contract, "SEA-004", "the device that had the seat gave it back")


def _occasions_released(story: StoryHistory, contract: Contract) -> int:
    return sum(1 for _ in _asked_while_free(story, contract, "SEA-004"))


# SEA-005 ------------------------------------------------------------------------------------


class _Kept:
    """One device's grants, to be asked: does it certainly hold now, can it possibly hold now."""

    __slots__ = ("_begins", "_ends", "_longest", "_maybe", "_over")

    def __init__(self, device: Device) -> None:
        by_end = sorted(device.holds, key=lambda hold: ended(hold.grant))
        self._ends = [ended(hold.grant) for hold in by_end]
        self._longest = list(accumulate(by_end, _longer))
        by_begin = sorted(device.holds, key=lambda hold: began(hold.grant))
        self._begins = [began(hold.grant) for hold in by_begin]
        self._over = list(accumulate((hold.lease_over for hold in by_begin), max))
        self._maybe = device.maybe

    def certainly(self, call: Operation) -> Operation | None:
        """The earlier grant by which the device holds a seat all through this call."""
        before = bisect_left(self._ends, began(call))
        if not before or self._longest[before - 1].until <= call.ended:
            return None
        return self._longest[before - 1].grant

    def over(self, call: Operation) -> bool:
        """Whether every lease that was granted before was certainly over when this call was sent."""
        before = bisect_left(self._begins, began(call))
        during = bisect_right(self._begins, (call.ended, call.n)) - before - call.accepted
        return before > 0 and during <= 0 and self._maybe > call.ended and self._over[before - 1] < call.begin


def _longer(one: Hold, two: Hold) -> Hold:
    return max(one, two, key=lambda hold: hold.until)


def _kept(index: Index, seats: _Seats) -> dict[str, _Kept]:
    key = ("kept", id(seats))
    if key not in index.kept:
        index.kept[key] = {name: _Kept(device) for name, device in seats.devices.items()}
    kept: dict[str, _Kept] = index.kept[key]
    return kept


def _check_heartbeat(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    index = index_of(story)
    for seats in _licences(story, contract):
        for each in seats.licence.of("heartbeat"):
            kept = _kept(index, seats)[device_of(each)]
            if each.refused and each.reason == Reason.NO_SUCH_SEAT:
                grant = kept.certainly(each)
                if grant is not None:
                    yield Violation(
                        promise="SEA-005",
                        story=story.story,
                        expected=f"accepted: the seat was granted by {grant.verb} #{grant.n}, and its lease is running",
                        observed=f"heartbeat refused: {each.reason}",
                        evidence=index.evidence(grant, each),
                    )
                    break
            elif each.accepted and kept.over(each):
                holds = seats.devices[device_of(each)].holds
                grant = max((hold.grant for hold in holds if began(hold.grant) < began(each)), key=ended)
                yield Violation(
                    promise="SEA-005",
                    story=story.story,
                    expected=f"refused: the lease of {device_of(each)} was over, {contract.lease:g}s after #{grant.n}",
                    observed=f"heartbeat accepted, sent {each.begin - grant.ended:.3f}s after it",
                    evidence=index.evidence(grant, each),
                )
                break


def _occasions_heartbeat(story: StoryHistory, contract: Contract) -> int:
    """Heartbeats that show it, and others' activates, answered while a heartbeat alone kept the seat or just not."""
    count = 0
    index = index_of(story)
    for seats in _licences(story, contract):
        heartbeats = [
            hold
            for device in seats.devices.values()
            for hold in device.holds
            if hold.grant.verb == "heartbeat" and hold.grant.ended < hold.until
        ]
        heartbeats.sort(key=lambda hold: ended(hold.grant))
        since = [ended(hold.grant) for hold in heartbeats]
        until = list(accumulate((hold.until for hold in heartbeats), max))
        for each in seats.answered:
            before = bisect_left(since, began(each))
            count += before > 0 and until[before - 1] > each.ended
        for each in seats.licence.of("heartbeat"):
            kept = _kept(index, seats)[device_of(each)]
            if each.accepted or (each.refused and each.reason == Reason.NO_SUCH_SEAT):
                count += kept.over(each) or (bisect_left(since, began(each)) > 0 and kept.certainly(each) is not None)
    return count


_NEEDS = frozenset({Cap.ISSUE, Cap.SEATS})

PROMISES: tuple[Promise, ...] = (
    Promise(
        id="SEA-001",
        sentence="never more holders than seats",
        needs=_NEEDS,
        check=_check_holders,
        occasions=_occasions_holders,
        control="no two activates of different devices overlapped on a licence with fewer seats than devices",
    ),
    Promise(
        id="SEA-002",
        sentence="no refusal for want of a seat while one is certainly free",
        needs=_NEEDS,
        check=_check_free,
        occasions=_occasions_free,
        control="no activate was answered while a seat was certainly free on a licence in use",
    ),
    Promise(
        id="SEA-003",
        sentence="a seat whose lease is over can be taken by another",
        needs=_NEEDS,
        check=_check_lapsed,
        occasions=_occasions_lapsed,
        control="no device asked for a seat that only the end of another's lease can have freed",
        numbers=("lease",),
    ),
    Promise(
        id="SEA-004",
        sentence="an acknowledged release frees the seat",
        needs=_NEEDS,
        check=_check_released,
        occasions=_occasions_released,
        control="no device asked for a seat that only another's acknowledged release can have freed",
    ),
    Promise(
        id="SEA-005",
        sentence=(
            "a heartbeat keeps the seat it was accepted for, and is not accepted after the lease is certainly over"
        ),
        needs=_NEEDS | {Cap.HEARTBEAT},
        check=_check_heartbeat,
        occasions=_occasions_heartbeat,
        control="no seat kept by a heartbeat was asked for again, and no heartbeat was sent after the end of a lease",
        numbers=("lease",),
    ),
)
