"""The simulated world: recorded operations a second, a month in milliseconds, and whether cost is linear.

CPU seconds of this process, on one core. Reads are validations and writes are
heartbeats, by three devices at once against the reference server, from a new
world to the digest of the history. Beside both stand the reads of
``benchmarks/prototype.py``, the least that such a world and server can be, as a
yardstick for the machine: 20,000 reads and 8,000 writes a second were asked for
where a prototype of that size made 50,000 reads, so the bars are 0.4 and 0.16.
Run as ``python benchmarks/simulated.py``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS = 7
OPERATIONS = 1500
POLLS = 120
MONTH = 30 * 86_400.0
TIMES = 10
"""How much longer the long story of the row ``simulated/linear`` is."""


def measure() -> list[dict[str, Any]]:
    """Reads, writes, the lease story, and cost by length."""
    from benchmarks.bench import in_turns, median_ratio, row
    from benchmarks.prototype import tell

    rates: dict[str, Callable[[], float]] = {
        "reads": lambda: _rate(lambda: _shared("validate", OPERATIONS)),
        "writes": lambda: _rate(lambda: _shared("heartbeat", OPERATIONS)),
        "toy reads": lambda: _rate(lambda: (tell("read", OPERATIONS), OPERATIONS)[1]),
        "toy writes": lambda: _rate(lambda: (tell("write", OPERATIONS), OPERATIONS)[1]),
        "lease-story": lambda: 1000 * _seconds(_month),
        "lease-kept": lambda: 1000 * _seconds(_kept),
        "short": lambda: _rate(lambda: _mixed(30)),
        "long": lambda: _rate(lambda: _mixed(30 * TIMES)),
    }
    for each in rates.values():
        each()
    figures = in_turns(ROUNDS, rates)
    middle = {name: statistics.median(some) for name, some in figures.items()}
    rows = [
        row(label, round(middle[name]), "1/s", round(middle[toy]), median_ratio(figures[name], figures[toy]))
        for label, name, toy in (
            ("simulated/reads", "reads", "toy reads"),
            ("simulated/writes", "writes", "toy reads"),
            ("simulated/writes-toy", "writes", "toy writes"),
        )
    ]
    rows += [row(f"simulated/{name}", round(middle[name], 1), "ms") for name in ("lease-story", "lease-kept")]
    # Microseconds an operation, in the long story beside the short one: the ratio is that of the rates, turned over.
    rows.append(
        row(
            "simulated/linear",
            round(1e6 / middle["long"], 1),
            "us",
            round(1e6 / middle["short"], 1),
            median_ratio(figures["short"], figures["long"]),
        )
    )
    return rows


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _rate(work: Callable[[], int]) -> float:
    began = time.process_time()
    done = work()
    return done / (time.process_time() - began)


def _story(lease: float = 2) -> Any:
    """A story in a new world; nobody keeps it."""
    from licensing_harness.history import Header, HistoryWriter
    from licensing_harness.masking import Masker
    from licensing_harness.target.reference import ReferenceAdapter
    from licensing_harness.worlds.simulated import SimulatedWorld
    from licensing_harness.worlds.story import Setting

    masker = Masker()
    setting = Setting(
        adapter=ReferenceAdapter, writer=HistoryWriter(None, Header(), masker), masker=masker, seed=1, tag="bench"
    )
    target = f"asgi:reference_server.composition:simulated?lease={lease:.0f}&token_lifetime=3"
    return SimulatedWorld(target, setting).story(scenario="bench", seed="bench/story")


def _told(story: Any, accepted: int) -> int:
    """The operations of a story that is over, all of them recorded. Raises RuntimeError when too few were accepted."""
    operations = story.history.operations
    yes = sum(each.accepted for each in operations)
    if yes < accepted or not story.history.digest():
        message = f"{yes} of {len(operations)} operations were accepted, fewer than {accepted}"
        raise RuntimeError(message)
    return len(operations)


def _shared(verb: str, operations: int) -> int:
    """Every device does the same thing to one licence, over and over."""
    with _story(lease=60) as story:
        licence = story.fresh_licence(seats=len(story.devices))
        story.contend("activate", licence)
        for _ in range(operations // len(story.devices)):
            story.contend(verb, licence)
    return _told(story, operations)


def _month() -> int:
    """A seat leased for thirty days and checked every six hours; another device wants it, too early and in time."""
    with _story(lease=MONTH) as story:
        licence = story.fresh_licence(seats=1)
        story.call("laptop", "activate", licence)
        story.call("phone", "activate", licence)
        for _ in range(POLLS):
            story.advance(MONTH / POLLS)
            story.call("laptop", "validate", licence)
        story.call("phone", "activate", licence)
    return _told(story, POLLS + 3)


def _kept() -> int:
    """As long, under leases of seven hours: each check is a heartbeat, a durable write."""
    with _story(lease=7 * 3600) as story:
        licence = story.fresh_licence(seats=1)
        story.call("laptop", "activate", licence)
        for _ in range(POLLS):
            story.advance(MONTH / POLLS)
            story.call("laptop", "heartbeat", licence)
    return _told(story, POLLS + 2)


def _mixed(rounds: int) -> int:
    """A bit of everything, judged: licences, races, requests and answers that are lost, time, the trail.

    No crash: a server that starts reads all that is stored, so what a start costs grows with the story, as in life.
    """
    from licensing_harness.checkers.judge import judge_story

    with _story() as story:
        for number in range(rounds):
            licence = story.fresh_licence(seats=2)
            story.contend("activate", licence)
            story.cut_next("laptop", "answer" if number % 2 else "request")
            story.contend("heartbeat", licence)
            story.contend("validate", licence)
            story.call("vendor", "suspend", licence)
            story.contend("validate", licence)
            story.call("vendor", "reinstate", licence)
            story.call("phone", "release", licence)
            story.advance(1.0)
            story.call("vendor", "audit_log")
    judgement = judge_story(story.history, story.contract, story.capabilities)
    if judgement.violations:
        message = f"the sound server is accused: {judgement.violations[0].promise}"
        raise RuntimeError(message)
    return _told(story, 10 * rounds)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    for each in measure():
        beside = "" if each["ratio"] is None else f", beside {each['baseline']:,}: {each['ratio']:.2f}"
        print(f"{each['name']:22} {each['value']:>9,} {each['unit']}{beside}")
