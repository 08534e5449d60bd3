"""Stories drawn from a seed alone: a plan of steps in the words of stories, made before anything is sent.

No step depends on an answer, so a plan is plain data. Every decision draws from
a stream keyed by the seed and the step it is about: step 7 is the same whatever
steps 1 to 6 were, but for the licences that there are to speak of.

A seed first draws what its story is made of: most of the verbs, some of the
kinds of step, and its *mood*: how much goes wrong in it, and what
(:mod:`~licensing_harness.generate.draw_faults`). A story that leaves out
something gets further with the rest.
"""

from __future__ import annotations

import random  # noqa: TID251 - the type only
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Final

from licensing_harness.entropy import stream
from licensing_harness.generate.attacks import ATTACKS
from licensing_harness.generate.draw_faults import LASTING, Drawn, drawn, fault_step, kinds_for
from licensing_harness.generate.mix import EVERYTHING, SHORT_TERMS, TERMS
from licensing_harness.generate.shrink import Plan
from licensing_harness.vocabulary import CAP_OF, Cap, Contract, FaultKind
from licensing_harness.worlds.story import DEVICES, GAPS, VENDOR

STEPS: Final = 40
"""Decisions in a story; some of them are several steps of its plan."""

_PAUSES: Final = EVERYTHING.advances
_LEASES: Final = EVERYTHING.leases
_NEARLY: Final = (0.9, 0.9, 1.1)
_SEATS: Final = EVERYTHING.seats
_DURATIONS: Final = EVERYTHING.durations
_FEATURES: Final = EVERYTHING.features
_DEVICE_VERBS: Final = EVERYTHING.device_verbs
_VENDOR_VERBS: Final = EVERYTHING.vendor_verbs

_MOODS: Final[Mapping[str, int]] = {"calm": 2, "cuts": 4, "single": 3, "few": 4, "many": 3}
"""Of so many stories, how many have nothing go wrong in them, only cuts and crashes, a single fault, a few kinds
of fault, many of them."""

_FEW: Final = 3
_BUSY: Final[Mapping[str, int]] = {"few": 6, "many": 9}
"""Three times the weight of each kind of step with faults."""

_SINGLE: Final = STEPS // 2
"""The single fault of a story comes before this decision."""

_STALLS: Final = frozenset(
    {FaultKind.STORE_SLOW, FaultKind.PAUSE, FaultKind.LATENCY, FaultKind.REORDER, FaultKind.DUPLICATE}
)
"""Faults that let a call take effect later than it was sent."""

_KEPT: Final = 0.8
"""How likely a verb, or a kind of step, takes part in a story at all."""

_Draws = Iterator[dict[str, Any]]


@dataclass(slots=True)
class _Book:
    """What the plan so far came to, as far as later steps must know."""

    licences: int = 0
    faults: int = 0
    cut: set[str] = field(default_factory=set)
    """Clients with a cut that no call has met yet; a second one could never be met."""

    def label(self, draw: random.Random) -> str:
        """The newest licence, or one of the two before it: races live on fresh ones."""
        return f"L{max(1, self.licences - draw.choice((0, 0, 1, 2)))}"


@dataclass(frozen=True)
class Family:
    """What stories are made of, for a target with these capabilities and numbers.

    ``calm`` stories have no fault, no cut and no crash. Kinds of fault that
    stories shall do ``without`` are not drawn.
    """

    capabilities: AbstractSet[Cap]
    contract: Contract
    calm: bool = False
    without: frozenset[FaultKind] = frozenset()

    def able(self, verb: str) -> bool:
        """Whether the target can do this."""
        return verb == "issue" or CAP_OF.get(verb) in self.capabilities

    @cached_property
    def verbs(self) -> tuple[str, ...]:
        """Every kind of operation that stories try."""
        tried = dict.fromkeys((*_VENDOR_VERBS, *_DEVICE_VERBS, "jwks"))
        return tuple(verb for verb in tried if self.able(verb))

    @cached_property
    def faults(self) -> Mapping[FaultKind, Drawn]:
        """Every kind of fault that stories try, with what is drawn of it."""
        if self.calm:
            return {}
        possible = kinds_for(self.capabilities) - self.without
        return {kind: of for kind, of in drawn(self.contract).items() if kind in possible}

    def plan(self, seed: int, steps: int = STEPS, *, left_out: AbstractSet[int] = frozenset()) -> Plan:
        """The plan of ``seed``. ``left_out`` are decisions that are not taken; the others stay as they are."""
        return list(self._plan(seed, steps, left_out))

    def _plan(self, seed: int, steps: int, left_out: AbstractSet[int]) -> _Draws:
        hand = _Hand(self, stream(seed, "family"))
        book = _Book()
        yield from hand.fresh_licence(stream(seed, "first"), book)
        for index in range(steps):
            if index not in left_out:
                draw = stream(seed, "step", index)
                (kind,) = draw.choices(hand.kinds, cum_weights=hand.weights)
                if index == hand.single:
                    kind = draw.choice(hand.faulty)
                yield from kind(draw, book)
        yield {"do": "settle"}
        if book.faults:  # what is asked at the end shall be answered
            yield {"do": "advance", "seconds": max(LASTING, (self.contract.lease or 0.0) * _LEASES[-1])}
        for number in range(book.licences):
            yield {"do": "call", "client": VENDOR, "verb": "issue", "licence": f"L{number + 1}"}
        if self.able("jwks"):
            yield {"do": "call", "client": DEVICES[0], "verb": "jwks", "licence": "L1"}
        if self.able("audit_log"):
            yield {"do": "call", "client": VENDOR, "verb": "audit_log"}


class _Hand:
    """The kinds of step of one story, each with its weight."""

    def __init__(self, family: Family, draw: random.Random) -> None:
        self._family = family
        (mood,) = draw.choices(list(_MOODS), list(_MOODS.values()))
        self.single = draw.randrange(_SINGLE)
        """The decision that is a fault, whatever was drawn for it; none is below 0."""
        self._faults = self._kinds(mood, draw)
        if mood != "single" or not self._faults:
            self.single = -1
        self._device = self._some(_DEVICE_VERBS, draw)
        self._vendor = self._some(_VENDOR_VERBS, draw)
        optional: list[tuple[Callable[[random.Random, _Book], _Draws], int]] = [
            (self.cross, 3),
            (self.contend, 3),
            (self.advance, 3),
            (self.outlive_term, 1),
        ]
        if mood not in {"calm", "single"} and not family.calm:
            optional += [(self.cut_next, 2)]
            if Cap.RESTART in family.capabilities:
                optional += [(self.crash, 1)]
        if family.contract.lease and family.able("activate"):
            optional += [(self.leases, 1), (self.outlive_lease, 1)]
        if family.able("revoke"):
            optional += [(self.revoke_in_use, 1)]
        if family.able("suspend") and family.able("validate"):
            optional += [(self.suspend_in_use, 1)]
        if family.able("validate_token"):
            optional += [(self.forge, 2)]
        kept = [(self.start, 8), (self.vendor, 3), (self.fresh_licence, 2), (self.settle, 2)]
        kept += [each for each in optional if draw.random() < _KEPT]
        self.faulty = [self.fault, self.fault, self.fault_in_use]
        if family.contract.lease and family.able("heartbeat") and family.able("activate"):
            self.faulty += [self.stall]
        if self._faults and mood in _BUSY:
            kept += [(kind, _BUSY[mood] // 3) for kind in self.faulty]
        self.kinds = [kind for kind, _ in kept]
        self.weights = list(accumulate(weight for _, weight in kept))

    def _some(self, verbs: Mapping[str, int], draw: random.Random) -> Sequence[str]:
        able = {verb: weight for verb, weight in verbs.items() if self._family.able(verb)}
        # A draw for each verb, whether it is possible or not: they don't shift each other.
        kept = {verb for verb in verbs if draw.random() < _KEPT}
        some = {verb: weight for verb, weight in able.items() if verb in kept} or able
        return [verb for verb, weight in some.items() for _ in range(weight)]

    def _kinds(self, mood: str, draw: random.Random) -> Sequence[FaultKind]:
        """The kinds of fault that this story has, each as often as its weight."""
        there = self._family.faults
        some = [kind for kind in there if draw.random() < _KEPT]
        few = draw.sample(list(there), min(_FEW, len(there)))
        picked = {"single": few[:1], "few": few, "many": some}.get(mood, [])
        return [kind for kind in picked for _ in range(there[kind].weight)]

    # Kinds of step --------------------------------------------------------------------------

    def fresh_licence(self, draw: random.Random, book: _Book) -> _Draws:
        duration = draw.choice(_DURATIONS)
        yield from self._issued(book, draw.choice(_SEATS), duration, draw.choice(_FEATURES))

    def start(self, draw: random.Random, book: _Book) -> _Draws:
        yield from self._start(draw.choice(DEVICES), draw.choice(self._device), draw, book)

    def vendor(self, draw: random.Random, book: _Book) -> _Draws:
        yield from self._start(VENDOR, draw.choice(self._vendor), draw, book)

    def cross(self, draw: random.Random, book: _Book) -> _Draws:
        """Two clients do two things to one licence at once."""
        label = book.label(draw)
        first, second = draw.sample(DEVICES, 2)
        calls = [(first, draw.choice(self._device)), (second, draw.choice(self._device))]
        if draw.random() < 0.5:  # noqa: PLR2004 - as often as not
            calls[draw.randrange(2)] = VENDOR, draw.choice(self._vendor)
        for client, verb in calls:
            yield from self._start(client, verb, draw, book, label)

    def contend(self, draw: random.Random, book: _Book) -> _Draws:
        book.cut.difference_update(DEVICES)
        yield {"do": "contend", "verb": draw.choice(self._device), "licence": book.label(draw)}

    def settle(self, _draw: random.Random, _book: _Book) -> _Draws:
        yield {"do": "settle"}

    def advance(self, draw: random.Random, _book: _Book) -> _Draws:
        yield {"do": "advance", "seconds": draw.choice(_PAUSES)}

    def leases(self, draw: random.Random, _book: _Book) -> _Draws:
        yield {"do": "advance", "seconds": self._lease * draw.choice(_LEASES)}

    def cut_next(self, draw: random.Random, book: _Book) -> _Draws:
        client, what = draw.choice((VENDOR, *DEVICES)), draw.choice(("request", "answer"))
        if client not in book.cut:
            book.cut.add(client)
            yield {"do": "cut_next", "client": client, "what": what}

    def crash(self, draw: random.Random, _book: _Book) -> _Draws:
        yield {"do": "crash", "power": draw.random() < 0.5}  # noqa: PLR2004 - as often as not

    def fault(self, draw: random.Random, book: _Book) -> _Draws:
        """Something breaks while calls are under way, or before they are sent."""
        label, amid = book.label(draw), draw.random() < 0.5  # noqa: PLR2004 - as often as not
        calls = [(draw.choice(DEVICES), draw.choice(self._device)), (VENDOR, draw.choice(self._vendor))]
        if not amid:
            yield self._broken(draw, book)
        for client, verb in draw.choice((calls, calls[:1], calls[1:])):
            yield from self._start(client, verb, draw, book, label)
        if amid:
            yield self._broken(draw, book)
            yield from self._start(calls[0][0], calls[0][1], draw, book, label)

    def fault_in_use(self, draw: random.Random, book: _Book) -> _Draws:
        """Something breaks; the vendor or a device changes something meanwhile; all devices go on, then or later."""
        label, verb = book.label(draw), draw.choice(self._device)
        yield self._broken(draw, book)
        client = draw.choice((VENDOR, *DEVICES))
        yield from self._start(
            client, draw.choice(self._vendor if client == VENDOR else self._device), draw, book, label
        )
        match draw.choice(("settle", "advance", "again", "crash", "on")):
            case "settle":
                yield {"do": "settle"}
            case "advance":
                yield {"do": "advance", "seconds": draw.choice(_PAUSES)}
            case "again":
                yield self._broken(draw, book)
            case "crash" if len(set(self._faults)) > 1 and Cap.RESTART in self._family.capabilities:
                yield from self.crash(draw, book)
            case _:
                pass
        book.cut.difference_update(DEVICES)
        yield {"do": "contend", "verb": verb, "licence": label}

    def stall(self, draw: random.Random, book: _Book) -> _Draws:
        """Seats are taken; when their leases are nearly over, something breaks, and all ask for them in its shadow."""
        if draw.random() < 0.5:  # noqa: PLR2004 - as often as not
            yield from self._issued(book, 1, None, ("base",))
        label = book.label(draw)
        book.cut.clear()
        yield {"do": "contend", "verb": "activate", "licence": label}
        yield {"do": "settle"}
        yield {"do": "advance", "seconds": self._lease * draw.choice(_NEARLY)}
        yield self._broken(draw, book, [kind for kind in self._faults if kind in _STALLS])
        yield from self._start(VENDOR, draw.choice(self._vendor), draw, book, label)
        yield {"do": "advance", "seconds": draw.choice(GAPS)}
        devices = draw.sample(DEVICES, len(DEVICES))
        for device, verb in zip(devices, ("activate", "heartbeat", "heartbeat"), strict=True):
            yield from self._start(device, verb, draw, book, label)

    def outlive_lease(self, draw: random.Random, book: _Book) -> _Draws:
        """Every lease runs out, then a device asks for a seat."""
        yield {"do": "advance", "seconds": self._lease * _LEASES[-1]}
        yield from self._start(draw.choice(DEVICES), "activate", draw, book)

    def outlive_term(self, draw: random.Random, book: _Book) -> _Draws:
        """A licence is used within its term and after it."""
        term = draw.choice(SHORT_TERMS)
        yield from self._issued(book, 1, term, ("base",))
        label = f"L{book.licences}"
        book.cut.difference_update(DEVICES)
        for step in self._in_use("validate", label):
            yield step
            if step["do"] == "settle":
                yield {"do": "advance", "seconds": term * 1.1}

    def revoke_in_use(self, draw: random.Random, book: _Book) -> _Draws:
        """All devices use a licence, it is revoked, and they try again."""
        verbs = ("validate", "activate", "issue_token", "validate_token")
        verb = draw.choice([each for each in verbs if self._family.able(each)] or ["issue"])
        label = book.label(draw)
        book.cut.clear()
        for step in self._in_use(verb, label):
            yield step
            if step["do"] == "settle":
                yield {"do": "call", "client": VENDOR, "verb": "revoke", "licence": label}

    def suspend_in_use(self, draw: random.Random, book: _Book) -> _Draws:
        """All devices ask for a licence before it is suspended, while it is, and after."""
        label = book.label(draw)
        book.cut.clear()
        for step in self._in_use("validate", label):
            yield step
            if step["do"] == "settle":
                yield {"do": "call", "client": VENDOR, "verb": "suspend", "licence": label}
        yield {"do": "settle"}
        yield {"do": "call", "client": VENDOR, "verb": "reinstate", "licence": label}
        yield {"do": "contend", "verb": "validate", "licence": label}

    def forge(self, draw: random.Random, book: _Book) -> _Draws:
        """An honest token and the published keys, a forged one, and the honest one again."""
        call = {"do": "call", "client": draw.choice(DEVICES), "licence": book.label(draw)}
        book.cut.discard(call["client"])
        yield {**call, "verb": "issue_token"}
        yield {**call, "verb": "jwks"}
        signed = Cap.TEST_SIGNER in self._family.capabilities
        attack = draw.choice([each for each in ATTACKS.values() if signed or not each.needs_signer])
        for asked in ({}, attack.asked, {}):
            yield {**call, "verb": "validate_token", **asked}

    # What they are made of ------------------------------------------------------------------

    @property
    def _lease(self) -> float:
        return self._family.contract.lease or 0.0

    def _broken(self, draw: random.Random, book: _Book, some: Sequence[FaultKind] = ()) -> dict[str, Any]:
        kind = draw.choice(some or self._faults)
        book.faults += 1
        return fault_step(kind, self._family.faults[kind], draw)

    def _issued(self, book: _Book, seats: int, duration: float | None, features: tuple[str, ...]) -> _Draws:
        book.licences += 1
        book.cut.discard(VENDOR)
        step = {"do": "fresh_licence", "seats": seats, "features": list(features), "plan": "standard"}
        yield step if duration is None else {**step, "duration": duration}

    def _start(self, client: str, verb: str, draw: random.Random, book: _Book, label: str = "") -> _Draws:
        step: dict[str, Any] = {"do": "start", "client": client, "verb": verb}
        term = draw.choice(TERMS)
        if verb != "audit_log":
            step["licence"] = label or book.label(draw)
        if verb == "renew":
            step["duration"] = term
        book.cut.discard(client)
        yield step

    @staticmethod
    def _in_use(verb: str, label: str) -> Iterator[dict[str, Any]]:
        """All devices do something, once before and once after whatever the caller puts behind the settling."""
        yield {"do": "contend", "verb": verb, "licence": label}
        yield {"do": "settle"}
        yield {"do": "contend", "verb": verb, "licence": label}
