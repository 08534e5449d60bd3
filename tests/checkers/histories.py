"""Histories written by hand: one line a call."""

from __future__ import annotations

from typing import Any

from licensing_harness.checkers.chain import ORIGIN, chain_hash
from licensing_harness.checkers.judge import judge_story, promise
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.verdict import Violation
from licensing_harness.vocabulary import Cap, Contract, FaultKind, Outcome

CONTRACT = Contract(revocation_bound=0, lease=2, token_lifetime=3, clock_tolerance=0.05)
EVERYTHING = frozenset(Cap)


class Tape:
    """A story under a pencil. Calls are numbered as they are written down."""

    def __init__(self, *, seats: int = 1, issued: bool = True, world: str = "simulated", **issue: Any) -> None:
        self.story = StoryHistory(story="s1", world=world, scenario="hand::written", complete=True)
        self._n = 0
        if issued:
            self.issue(0.0, 0.1, seats=seats, **issue)

    def issue(self, begin: float, end: float | None, *, licence: str = "L1", key: str = "k1", **asked: Any) -> int:
        """An acknowledged issue (or, without an end, an unknown one)."""
        identity = asked.pop("id", f"id-{licence}")
        wanted = {"plan": "standard", "seats": 1, "features": ["base"], "idempotency_key": key, **asked}
        return self.call("issue", "vendor", begin, end, licence=licence, asked=wanted, answer={"id": identity})

    def call(
        self,
        verb: str,
        client: str,
        begin: float,
        end: float | None,
        *,
        no: str = "",
        licence: str = "L1",
        asked: dict[str, Any] | None = None,
        answer: dict[str, Any] | None = None,
    ) -> int:
        """Accepted; with ``no`` refused for that reason; without an ``end`` unknown."""
        self._n += 1
        outcome = Outcome.UNKNOWN if end is None else Outcome.REFUSED if no else Outcome.ACCEPTED
        self.story.operations.append(
            Operation(
                n=self._n,
                story="s1",
                client=client,
                verb=verb,
                begin=begin,
                end=end,
                outcome=outcome,
                reason=no,
                licence=licence,
                asked=asked or {},
                answer=(answer or {}) if outcome is Outcome.ACCEPTED else {},
            )
        )
        return self._n

    def crash(self, begin: float, end: float | None, *, kind: FaultKind = FaultKind.CRASH, met: int = 1) -> int:
        """A fault."""
        self._n += 1
        self.story.faults.append(Fault(n=self._n, story="s1", fault=kind, begin=begin, end=end, met=met))
        return self._n

    def fault(self, kind: FaultKind, begin: float, end: float | None, *, where: str = "server", **detail: Any) -> int:
        """A fault that was met; ``detail`` is what else the history says of it."""
        self._n += 1
        self.story.faults.append(
            Fault(n=self._n, story="s1", fault=kind, begin=begin, end=end, where=where, met=1, detail=detail)
        )
        return self._n

    def broken(self, contract: Contract = CONTRACT) -> list[str]:
        """The promises that are broken, each once."""
        judgement = judge_story(self.story, contract, EVERYTHING)
        return sorted({each.promise for each in judgement.violations})

    def judged(self, identity: str, contract: Contract = CONTRACT) -> int:
        """How often the judge found that promise tried, with what faults say of answers."""
        return judge_story(self.story, contract, EVERYTHING).occasions.get(identity, 0)

    def violations(self, identity: str, contract: Contract = CONTRACT) -> list[Violation]:
        """What the checker of one promise says."""
        return list(promise(identity).check(self.story, contract))

    def occasions(self, identity: str, contract: Contract = CONTRACT) -> int:
        """How often that promise was really tried."""
        return promise(identity).occasions(self.story, contract)


class Ledger:
    """A trail under a pencil."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, action: str, device: str = "", *, licence: str = "id-L1", actor: str = "vendor") -> None:
        """One more entry."""
        seq = len(self.entries) + 1
        previous = self.entries[-1]["hash"] if self.entries else ORIGIN
        event = {"seq": seq, "actor": actor, "action": action, "licence": licence, "data": {}}
        if device:
            event["data"] = {"device": device}
        self.entries.append(
            {
                "seq": seq,
                "actor": actor,
                "action": action,
                "licence": licence,
                "event": event,
                "previous": previous,
                "hash": chain_hash(previous, event),
            }
        )


def read(tape: Tape, ledger: Ledger, begin: float = 90.0) -> int:
    """Read the whole trail; returns the reading's number."""
    return tape.call("audit_log", "vendor", begin, begin + 0.1, licence="", answer={"entries": list(ledger.entries)})
