"""A tiny licensing server that is right, on a network that is not: where false accusations would show.

``play`` runs calls in one timeline. A call takes effect once, at some moment
after it was sent; its answer may be lost, its request may be lost or arrive long
after the client gave up. ``flaws`` make the server wrong, to show that what is
not accused would be.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

from histories import CONTRACT

from licensing_harness.checkers.chain import ORIGIN, chain_hash
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.vocabulary import FaultKind, Outcome

LEASE = CONTRACT.lease or 0.0
START = 1_000_000.0
DOWN = 0.3
ISSUE = {"plan": "standard", "features": ["base"]}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a client: how long after the last one, how long until it works and is answered."""

    client: str
    verb: str
    licence: str
    wait: float
    there: float
    back: float
    fate: str = "ok"
    """``ok``; ``answer cut`` and ``request cut`` by a fault that is in the history; ``answer lost``,
    ``request lost`` and ``late`` (works long after the client gave up) by nobody knows what."""
    late: float = 0.0
    duration: float = 1.0
    drift: float = 0.0
    """How far the server's clock is off for this call."""


@dataclass
class Server:
    """State by licence label. Answers are (accepted, reason, what is stated)."""

    seats: int
    term: float
    flaws: frozenset[str] = frozenset()
    licences: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    made: int = 0

    def record(self, verb: str, licence: dict[str, Any], device: str = "") -> None:
        previous = self.events[-1]["hash"] if self.events else ORIGIN
        event = {"seq": len(self.events) + 1, "actor": "vendor", "action": verb, "data": {"device": device}}
        if verb == "issue":
            event["data"] = {"idempotency_key": licence["key"]}
        event["licence"] = licence["id"]
        hashed = {**event, "actor": ""} if "hash without actor" in self.flaws else event
        entry = {**{name: event[name] for name in ("seq", "actor", "action", "licence")}, "event": event}
        self.events.append({**entry, "previous": previous, "hash": chain_hash(previous, hashed)})

    def answer(self, call: Call, key: str, after: int, now: float) -> tuple[bool, str, dict[str, Any]]:
        time = {"server_time": now}
        if call.verb == "audit_log":
            return True, "", {"entries": [each for each in self.events if each["seq"] > after]}
        licence = self.licences.get(call.licence)
        if call.verb == "issue":
            if licence is None or "key ignored" in self.flaws:
                self.made += 1
                licence = self.licences[call.licence] = {
                    "id": f"id-{self.made}", "key": key, "status": "active", "holders": {},
                    "expires": now + self.term,
                }  # fmt: skip
                self.record("issue", licence)
            return True, "", {"id": licence["id"], "expires": licence["expires"], **time}
        if licence is None:
            return False, "unknown-licence", time
        if call.verb == "release":
            if licence["holders"].get(call.client, 0.0) <= now:
                return False, "no-such-seat", time
            if "release does nothing" not in self.flaws:
                del licence["holders"][call.client]
            self.record("release", licence, call.client)
            return True, "", time
        if licence["status"] == "revoked":
            stale = call.verb == "validate" and "stale" in self.flaws
            return stale, "" if stale else "revoked", time
        if call.verb in ("renew", "suspend", "reinstate", "revoke"):
            return self.manage(call, licence, now)
        if licence["status"] == "suspended" and "suspension ignored" not in self.flaws:
            return False, "suspended", time
        if licence["expires"] <= now and "never expires" not in self.flaws:
            return False, "expired", time
        if call.verb == "validate":
            return True, "", {"features": ["base"], "expires": licence["expires"], **time}
        return self.seat(call, licence, now)

    def manage(self, call: Call, licence: dict[str, Any], now: float) -> tuple[bool, str, dict[str, Any]]:
        states = {"revoke": "revoked", "suspend": "suspended", "reinstate": "active"}
        needed = {"suspend": "active", "reinstate": "suspended"}.get(call.verb)
        if needed is not None and licence["status"] != needed:
            return False, licence["status"] if call.verb == "suspend" else "not-suspended", {"server_time": now}
        licence["status"] = states.get(call.verb, licence["status"])
        if call.verb == "renew":
            licence["expires"] = now + call.duration
        if not (call.verb == "suspend" and "suspend unrecorded" in self.flaws):
            self.record(call.verb, licence)
        return True, "", {"expires": licence["expires"], "server_time": now}

    def seat(self, call: Call, licence: dict[str, Any], now: float) -> tuple[bool, str, dict[str, Any]]:
        ends = "lease never ends" not in self.flaws
        holders = licence["holders"] = {
            device: until for device, until in licence["holders"].items() if until > now or not ends
        }
        held = call.client in holders
        if call.verb == "heartbeat" and not held and "heartbeat takes" not in self.flaws:
            return False, "no-such-seat", {"server_time": now}
        room = self.seats + ("one too many" in self.flaws) - ("one too few" in self.flaws)
        if not held and len(holders) >= room:
            return False, "no-free-seat" if call.verb == "activate" else "no-such-seat", {"server_time": now}
        holders[call.client] = now + LEASE
        self.record(call.verb, licence, call.client)
        return True, "", {"lease_until": now + LEASE, "server_time": now}


def play(
    calls: list[Call],
    *,
    seats: int,
    term: float = 5.0,
    flaws: frozenset[str] = frozenset(),
    kills: tuple[float, ...] = (),
) -> StoryHistory:
    """The history of these calls, as their clients saw it; at each of ``kills`` the server dies for DOWN seconds."""
    story = StoryHistory(story="s1", world="simulated", scenario="model", complete=True)
    server = Server(seats=seats, term=term, flaws=flaws)
    free: dict[str, float] = {}
    sent = []
    known: dict[str, float] = {}
    for order, call in enumerate(calls):
        begin = free.get(call.client, 0.0) + call.wait
        end = free[call.client] = begin + call.there + call.back
        sent.append((begin, order, call))
        if call.verb == "issue" and call.fate == "ok" and not any(begin <= at + DOWN and at < end for at in kills):
            known[call.licence] = min(end, known.get(call.licence, end))
    # A call for a licence that was not yet acknowledged is left out, as in any story.
    sent = sorted(
        (each for each in sent if each[2].verb in ("issue", "audit_log") or known.get(each[2].licence, 1e9) <= each[0]),
        key=lambda each: each[:2],
    )
    heap: list[tuple[float, int, Call]] = []
    answers: dict[int, tuple[bool, str, dict[str, Any]]] = {}
    for number, at in enumerate(kills):
        n = 10 * sum(1 for begin, *_ in sent if begin <= at) + 5 + number % 4
        settled = {"settled": True}
        story.faults.append(
            Fault(
                n=n, story="s1", fault=FaultKind.CRASH, begin=at, end=at + DOWN, where="target", met=1, detail=settled
            )
        )
    for number, (begin, _, call) in enumerate(sent, start=1):
        works = begin + call.there + (call.late if call.fate == "late" else 0.0)
        dead = any(begin <= at < works or at <= begin <= at + DOWN for at in kills)
        if call.fate not in ("request lost", "request cut") and not dead:
            heapq.heappush(heap, (works, 10 * number, call))
        if call.fate in ("request cut", "answer cut") and not any(begin <= at + DOWN for at in kills):
            kind = FaultKind.CUT_REQUEST if call.fate == "request cut" else FaultKind.CUT_ANSWER
            over = begin + call.there + call.back / 2
            fault = Fault(n=10 * number - 1, story="s1", fault=kind, begin=begin, end=over, where=call.client, met=1)
            story.faults.append(fault)
    while heap:
        time, n, call = heapq.heappop(heap)
        answers[n] = server.answer(call, f"key-{call.licence}", 0, START + time + call.drift)
    for number, (begin, _, call) in enumerate(sent, start=1):
        n = 10 * number
        accepted, reason, stated = answers.get(n, (False, "", {}))
        answered = begin + call.there + call.back
        killed = any(begin <= at < answered or at <= begin <= at + DOWN for at in kills)
        end = answered if call.fate == "ok" and not killed else None
        asked: dict[str, Any] = {}
        if call.verb == "issue":
            asked = {**ISSUE, "seats": seats, "duration": term, "idempotency_key": f"key-{call.licence}"}
        elif call.verb == "renew":
            asked = {"duration": call.duration}
        outcome = Outcome.UNKNOWN if end is None else Outcome.ACCEPTED if accepted else Outcome.REFUSED
        story.operations.append(
            Operation(
                n=n,
                story="s1",
                client=call.client,
                verb=call.verb,
                begin=begin,
                end=end,
                outcome=outcome,
                reason=reason if outcome is Outcome.REFUSED else "",
                licence="" if call.verb == "audit_log" else call.licence,
                asked=asked,
                answer=stated if outcome is Outcome.ACCEPTED else {},
            )
        )
    return story
