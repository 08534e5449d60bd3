"""Judging a stored history of a million operations: seconds, memory, and whether it stays linear.

Run it alone (``python benchmarks/judge.py [operations]``), or through ``make bench``.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from licensing_harness.checkers.chain import ORIGIN, chain_hash
from licensing_harness.checkers.tally import judge_file
from licensing_harness.clock import RealClock
from licensing_harness.entropy import stream
from licensing_harness.history import Header, HistoryWriter, Operation, Record, StoryEnded, StoryOpened
from licensing_harness.verdict import Verdict
from licensing_harness.vocabulary import Cap, Outcome

MILLION = 1_000_000
A_STORY = 125
"""Operations of one story: three devices that race, beat and let go, a vendor, and a trail that is read twice."""

LOST, RELEASED = 0.01, 0.5
"""How many answers are lost, and how often the seat is given back."""

DEVICES = ("laptop", "phone", "tablet")


class _Play:
    """One story of a target that keeps its promises, made up without any target."""

    def __init__(self, story: str) -> None:
        self.story = story
        self.draw = stream(1, story)
        self.now = 0.0
        self.n = 0
        self.holder = ""
        self.trail: list[dict[str, Any]] = []
        self.read = 0

    def call(self, verb: str, client: str, *, no: str = "", lost: bool = False, **more: Any) -> Operation:
        self.n += 1
        outcome = Outcome.UNKNOWN if lost else Outcome.REFUSED if no else Outcome.ACCEPTED
        begin = self.now
        self.now = begin + 0.004 + self.draw.random() / 500
        answer = {"server_time": 1.8e9 + self.now, **more.pop("answer", {})} if outcome is Outcome.ACCEPTED else {}
        if outcome is Outcome.ACCEPTED and verb in ("issue", "activate", "heartbeat", "release", "revoke"):
            self.record(verb, client)
        return Operation(
            n=self.n,
            story=self.story,
            client=client,
            verb=verb,
            begin=begin,
            end=None if lost else self.now,
            outcome=outcome,
            reason=no,
            licence="" if verb == "audit_log" else "L1",
            asked=more,
            answer=answer,
        )

    def record(self, verb: str, client: str) -> None:
        previous = self.trail[-1]["hash"] if self.trail else ORIGIN
        data = {"device": client} if verb in ("activate", "heartbeat", "release") else {}
        row = {"seq": len(self.trail) + 1, "actor": "vendor", "action": verb, "licence": f"id-{self.story}"}
        event = {**row, "time": 1_800_000_000_000 + self.n, "data": data}
        self.trail.append({**row, "event": event, "previous": previous, "hash": chain_hash(previous, event)})

    def race(self) -> Iterator[Operation]:
        """All devices ask for the one seat at the same moment; the first gets it."""
        begin = latest = self.now
        for device in DEVICES:
            self.now = begin
            wins = self.holder in ("", device)
            if wins:
                self.holder = device
            yield self.call(
                "activate",
                device,
                no="" if wins else "no-free-seat",
                device=device,
                answer={"lease_until": 1.8e9 + begin + 2},
            )
            latest = self.now = max(latest, self.now)

    def audit(self) -> Operation:
        entries = self.trail[self.read :]
        after, self.read = self.read, len(self.trail)
        return self.call("audit_log", "vendor", after=after, answer={"entries": entries})

    def operations(self, count: int) -> Iterator[Operation]:
        spec = {"plan": "standard", "seats": 1, "features": ["base"], "idempotency_key": f"key-{self.story}"}
        for _ in range(2):
            yield self.call("issue", "vendor", **spec, answer={"id": f"id-{self.story}"})
        self.trail = self.trail[:1]
        while self.n < count - 8:
            yield from self.race()
            for device in DEVICES:
                lost = self.draw.random() < LOST
                yield self.call("validate", device, lost=lost, answer={"features": ["base"]})
            yield self.call("heartbeat", self.holder, device=self.holder, answer={"lease_until": 1.8e9 + self.now + 2})
            if self.draw.random() < RELEASED:
                yield self.call("release", self.holder, device=self.holder)
                self.holder = ""
            if self.read == 0 and self.n > count / 2:
                yield self.audit()
        yield self.call("revoke", "vendor")
        for device in DEVICES:
            yield self.call("validate", device, no="revoked")
        yield self.audit()


def write(path: Path, operations: int) -> int:
    """A history of at least so many operations; returns how many there are."""
    header = Header(
        run="bench",
        target="made up",
        capabilities=tuple(sorted(Cap)),
        contract={"lease": 2.0, "revocation_bound": 0.0, "token_lifetime": 3.0, "clock_tolerance": 0.05},
    )
    written = 0
    with HistoryWriter(path, header) as writer:
        for number in range(-(-operations // A_STORY)):
            story = f"simulated-{number}"
            opened = StoryOpened(story=story, world="simulated", scenario="bench", tries=("SEA-001", "REV-001"))
            play: list[Record] = list(_Play(story).operations(A_STORY))
            writer.write(opened, *play, StoryEnded(story=story))
            written += len(play)
    return written


def judged(path: Path) -> tuple[float, int]:
    """Seconds to read and judge a history, and its operations. Fails when the made-up target is accused."""
    clock = RealClock()
    begin = clock.now()
    result = judge_file(path).result()
    seconds = clock.now() - begin
    if result.errors or result.verdict is Verdict.BROKEN:
        message = f"the made-up history is off: {result.errors[:1]} {[each.promise for each in result.findings]}"
        raise RuntimeError(message)
    return seconds, sum(each["operations"] for each in result.worlds.values())


def _in_a_process(path: Path) -> tuple[float, int, float]:
    """Judge in a fresh process: its peak memory, in MiB, is the judge's own."""
    done = subprocess.run([sys.executable, __file__, "--judge", str(path)], check=True, capture_output=True, text=True)
    seconds, operations, memory = done.stdout.split()
    return float(seconds), int(operations), float(memory)


def measure(operations: int = MILLION) -> list[dict[str, Any]]:
    """Rows for the bench table: seconds for so many operations, peak memory, and cost per operation against a tenth."""
    with tempfile.TemporaryDirectory(prefix="judge-") as folder:
        small, large = Path(folder, "small.jsonl"), Path(folder, "large.jsonl")
        write(small, operations // 10)
        write(large, operations)
        few = _in_a_process(small)
        many = _in_a_process(large)
    growth = (many[0] / many[1]) / (few[0] / few[1])
    print(
        f"judge: {many[1]:,} operations in {many[0]:.1f}s ({many[1] / many[0]:,.0f}/s), {many[2]:.0f} MiB; "
        f"{few[1]:,} in {few[0]:.1f}s, {few[2]:.0f} MiB; cost per operation x{growth:.2f}"
    )

    def row(name: str, value: float, unit: str) -> dict[str, Any]:
        return {"name": name, "value": round(value, 3), "unit": unit, "baseline": None, "ratio": None}

    return [
        row("judge/million", many[0], "s"),
        row("judge/million-memory", many[2], "MiB"),
        row("judge/linearity", growth, "cost per operation, 1M against 100k"),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--judge"]:
        took, count = judged(Path(sys.argv[2]))
        print(took, count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        for each in measure(int(sys.argv[1]) if sys.argv[1:] else MILLION):
            print(each)
