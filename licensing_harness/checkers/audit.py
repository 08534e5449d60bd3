"""Audit: every change is in the trail, once, in order, signed by an actor and chained.

A reading of the trail is complete up to the moment it was asked for. So a change
that was acknowledged before the last reading began must be in it; a change of
unknown outcome may be in it, once; a refused one may not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from licensing_harness.checkers.chain import ORIGIN, canonical, linked
from licensing_harness.checkers.clocks import FOREVER
from licensing_harness.checkers.index import (
    Index,
    Licence,
    Moment,
    began,
    device_of,
    ended,
    index_of,
    precedes,
)
from licensing_harness.checkers.trail import Entry, Trail, licences_by_id, trail_of
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.verdict import Promise, Violation
from licensing_harness.vocabulary import MUTATIONS, Cap, Contract

_SEAT_VERBS = frozenset({"activate", "heartbeat", "release"})
_SHOWN = 6
"""How many operations of one kind an accusation quotes at most."""


@dataclass(slots=True, kw_only=True)
class _Kind:
    """Changes of one verb, licence id and device, beside the entries about them."""

    verb: str
    label: str
    device: str
    accepted: list[Operation] = field(default_factory=list)
    unknown: list[Operation] = field(default_factory=list)
    refused: list[Operation] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    least: int = 0

    @property
    def most(self) -> int:
        """Retries of an issue are one change; of everything else, each call may be one."""
        return min(1, self._sent) if self.verb == "issue" else self._sent

    @property
    def _sent(self) -> int:
        return len(self.accepted) + len(self.unknown)

    def __str__(self) -> str:
        return f"{self.verb} of {self.label}" + (f" for {self.device}" if self.device else "")


def _kinds(story: StoryHistory, contract: Contract) -> list[_Kind]:
    index = index_of(story)
    key = ("kinds", contract.lease)
    if key not in index.kept:
        trail = trail_of(index)
        index.kept[key] = [] if trail.last is None else _sort_out(index, trail, trail.last, contract)
    kinds: list[_Kind] = index.kept[key]
    return kinds


def _sort_out(index: Index, trail: Trail, last: Operation, contract: Contract) -> list[_Kind]:
    by_id = licences_by_id(index)
    about: dict[str, list[Entry]] = {}
    for entry in trail.entries:
        if entry.licence in by_id and entry.action in MUTATIONS:
            about.setdefault(entry.licence, []).append(entry)
    kinds: list[_Kind] = []
    for identity, licence in by_id.items():
        entries = about.get(identity, ())
        # Devices tell changes apart only when every seat event of this licence names one.
        named = all(entry.device is not None for entry in entries if entry.action in _SEAT_VERBS)
        own: dict[tuple[str, str], _Kind] = {}
        for entry in entries:
            device = (entry.device or "") if named and entry.action in _SEAT_VERBS else ""
            _kind(own, entry.action, licence, device).entries.append(entry)
        first = licence.issued is not None and str(licence.issued.answer.get("id")) == identity
        for each in licence.operations:
            if each.verb not in MUTATIONS or each.begin > trail.until:
                continue
            if each.verb == "issue":
                if each.accepted and str(each.answer.get("id")) != identity:
                    continue
            elif not first:
                continue
            mine = _kind(own, each.verb, licence, device_of(each) if named and each.verb in _SEAT_VERBS else "")
            (mine.accepted if each.accepted else mine.unknown if each.unknown else mine.refused).append(each)
        _require(licence, own, last, contract)
        kinds.extend(own.values())
    return kinds


def _kind(own: dict[tuple[str, str], _Kind], verb: str, licence: Licence, device: str) -> _Kind:
    found = own.get((verb, device))
    if found is None:
        found = own[verb, device] = _Kind(verb=verb, label=licence.label, device=device)
    return found


def _require(licence: Licence, own: dict[tuple[str, str], _Kind], last: Operation, contract: Contract) -> None:
    """How many entries there must be at least of each kind.

    A target may accept a call that changes nothing (a second suspend, a second
    release) and need not record it. What must be there is what certainly changed
    something: whatever undoes the effect of an earlier change, or takes a new lease.
    """
    done = [each for each in licence.operations if each.accepted and precedes(each, last)]
    by_device: dict[str, list[Operation]] = {}
    for each in done:
        if each.verb in _SEAT_VERBS:
            by_device.setdefault(device_of(each), []).append(each)
    for (verb, device), mine in own.items():
        of_device = by_device.get(device, []) if device else done
        count = sum(1 for each in mine.accepted if precedes(each, last))
        match verb:
            case "issue" | "revoke":
                mine.least = min(1, count)
            case "suspend":
                mine.least = _alternations(of_device, {"reinstate"}, verb, ready=True)
            case "reinstate":
                mine.least = _alternations(of_device, {"suspend"}, verb, ready=False)
            case "release" if device:
                mine.least = _alternations(of_device, {"activate", "heartbeat"}, verb, ready=False)
            case "activate" if device and contract.lease is None:
                mine.least = _alternations(of_device, {"release"}, verb, ready=True)
            case "release":
                mine.least = min(1, count)
            case "activate" if contract.lease is None:
                mine.least = min(1, count)
            case _:
                mine.least = count


def _alternations(done: Iterable[Operation], before: set[str], verb: str, *, ready: bool) -> int:
    """How often ``verb`` certainly followed one of ``before`` (or, when ``ready``, came first)."""
    count = 0
    latest: Operation | None = None
    for each in done:
        if each.verb != verb and each.verb not in before:
            continue
        if latest is not None and not precedes(latest, each):
            ready = False
        elif each.verb == verb:
            count += ready
            ready = False
        else:
            ready = True
        if latest is None or ended(latest) < ended(each):
            latest = each
    return count


# AUD-001, AUD-002 ---------------------------------------------------------------------------


def _cite(index: Index, operations: Sequence[Operation], reading: Operation) -> tuple[int, ...]:
    return tuple(sorted(index.evidence(*operations[:_SHOWN], reading)))


def _check_complete(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    index = index_of(story)
    last = trail_of(index).last
    for kind in _kinds(story, contract):
        found = len(kind.entries)
        missing = found < kind.least
        # More entries than changes: a duplicate, unless a refused or unknown call could be what was written.
        doubled = found > kind.most and kind.accepted and not kind.unknown and not kind.refused
        if last is not None and (missing or doubled):
            yield Violation(
                promise="AUD-001",
                story=story.story,
                expected=f"{_times(kind.least if missing else kind.most)} in the trail: {kind}",
                observed=f"{_times(found)} in the trail",
                evidence=_cite(index, [each for each in kind.accepted if precedes(each, last)] or kind.accepted, last),
            )
            return


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _occasions_complete(story: StoryHistory, contract: Contract) -> int:
    return sum(kind.least for kind in _kinds(story, contract))


def _check_explained(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    index = index_of(story)
    last = trail_of(index).last
    for kind in _kinds(story, contract):
        found = len(kind.entries)
        if last is None or found <= kind.most or (kind.accepted and not kind.unknown and not kind.refused):
            continue
        yield Violation(
            promise="AUD-002",
            story=story.story,
            expected=f"{_times(kind.most)} in the trail at most: {kind}",
            observed=f"{_times(found)} in the trail, with {len(kind.refused)} refused",
            evidence=_cite(index, [*kind.unknown, *kind.refused, *kind.accepted], last),
        )
        return


def _occasions_explained(story: StoryHistory, contract: Contract) -> int:
    return sum(len(kind.entries) for kind in _kinds(story, contract))


# AUD-003 ------------------------------------------------------------------------------------


def _check_chain(story: StoryHistory, _: Contract) -> Iterator[Violation]:
    trail = trail_of(index_of(story))
    broken: tuple[Entry, str, str] | None = None
    for before, entry in trail.rewritten:
        broken = entry, f"entry {entry.seq} as it was read in #{before.read_by.n}", "another content"
        break
    before_it: Entry | None = None
    for entry in trail.entries:
        if broken is not None:
            break
        broken = _break_of(entry, before_it)
        before_it = entry
    if broken is not None:
        entry, expected, observed = broken
        yield Violation(
            promise="AUD-003",
            story=story.story,
            expected=expected,
            observed=f"entry {entry.seq} ({entry.action}): {observed}",
            evidence=(entry.read_by.n,),
        )


def _break_of(entry: Entry, before: Entry | None) -> tuple[Entry, str, str] | None:
    expected = before.hash.lower() if before is not None else ORIGIN if entry.seq == 1 else None
    if expected is not None and entry.previous.lower() != expected:
        gap = before is not None and entry.seq != before.seq + 1
        what = "an entry is missing before it" if gap else f"it is {entry.previous[:12]}..."
        return entry, f"previous is the hash of the entry before, {expected[:12]}...", what
    try:
        event = canonical(entry.event)
        own = linked(entry.previous, event)
    except ValueError as error:
        return entry, "previous and event that can be hashed", str(error)
    # A stored history has secrets masked: what was masked can't be hashed again.
    if own != entry.hash.lower() and b"[masked" not in event:
        return entry, f"hash {own[:12]}..., SHA-256 over previous and the event", f"hash is {entry.hash[:12]}..."
    return None


def _occasions_chain(story: StoryHistory, _: Contract) -> int:
    # A single entry has nothing to be chained to.
    return max(0, len(trail_of(index_of(story)).entries) - 1)


# AUD-004 ------------------------------------------------------------------------------------


def _placed(story: StoryHistory, contract: Contract) -> list[tuple[Entry, Moment, Moment, Operation]]:
    """Entries whose change is certain, by sequence number: not before the first moment, not after the second."""
    placed: list[tuple[Entry, Moment, Moment, Operation]] = []
    for kind in _kinds(story, contract):
        if kind.verb == "issue":
            if len(kind.entries) == 1 and kind.accepted:
                made = min([*kind.accepted, *kind.unknown], key=began)
                placed.append((kind.entries[0], began(made), min(map(ended, kind.accepted)), kind.accepted[0]))
        elif len(kind.entries) == len(kind.accepted) == kind.least:
            # As many entries as there must be: none is of a call of unknown outcome. Which belongs to which call of
            # the same verb, licence and device is clear while these don't overlap.
            calls = sorted(kind.accepted, key=began)
            if all(precedes(one, two) for one, two in pairwise(calls)):
                placed.extend(
                    (entry, began(call), ended(call), call) for entry, call in zip(kind.entries, calls, strict=True)
                )
    placed.sort(key=lambda each: each[0].seq)
    return placed


def _check_order(story: StoryHistory, contract: Contract) -> Iterator[Violation]:
    latest: tuple[Entry, Moment, Moment, Operation] | None = None
    for each in _placed(story, contract):
        entry, begin, end, call = each
        if latest is not None and end < latest[1]:
            yield Violation(
                promise="AUD-004",
                story=story.story,
                expected=f"{call.verb} (#{call.n}) stands before {latest[3].verb} (#{latest[3].n}), sent after its end",
                observed=f"entry {latest[0].seq} is the {latest[3].verb}, entry {entry.seq} the {call.verb}",
                evidence=_cite(index_of(story), [call, latest[3]], entry.read_by),
            )
            return
        if latest is None or latest[1] < begin:
            latest = each


def _occasions_order(story: StoryHistory, contract: Contract) -> int:
    placed = _placed(story, contract)
    first = min((end for _, _, end, _ in placed), default=(FOREVER, 0))
    return sum(1 for _, begin, _, _ in placed if first < begin)


# AUD-005 ------------------------------------------------------------------------------------


def _check_actor(story: StoryHistory, _: Contract) -> Iterator[Violation]:
    for entry in trail_of(index_of(story)).entries:
        if not entry.actor.strip():
            yield Violation(
                promise="AUD-005",
                story=story.story,
                expected="an actor in every entry",
                observed=f"entry {entry.seq} ({entry.action}) names none",
                evidence=(entry.read_by.n,),
            )
            return


def _occasions_actor(story: StoryHistory, _: Contract) -> int:
    return len(trail_of(index_of(story)).entries)


_NEEDS = frozenset({Cap.ISSUE, Cap.AUDIT})

PROMISES: tuple[Promise, ...] = (
    Promise(
        id="AUD-001",
        sentence="every acknowledged change is in the trail exactly once",
        needs=_NEEDS,
        check=_check_complete,
        occasions=_occasions_complete,
        control="no change was acknowledged before the trail was read",
    ),
    Promise(
        id="AUD-002",
        sentence="an unknown change is in the trail at most once, and nothing unexplained",
        needs=_NEEDS,
        check=_check_explained,
        occasions=_occasions_explained,
        control="no trail was read that has an entry about a licence of this story",
    ),
    Promise(
        id="AUD-003",
        sentence="the hash chain verifies",
        needs=_NEEDS | {Cap.AUDIT_CHAIN},
        check=_check_chain,
        occasions=_occasions_chain,
        control="no trail of two entries or more was read",
    ),
    Promise(
        id="AUD-004",
        sentence="trail order respects real time",
        needs=_NEEDS,
        check=_check_order,
        occasions=_occasions_order,
        control="no two changes, one sent after the other was acknowledged, could be found in the trail",
    ),
    Promise(
        id="AUD-005",
        sentence="every entry names an actor",
        needs=_NEEDS,
        check=_check_actor,
        occasions=_occasions_actor,
        control="no entry was read",
    ),
)
