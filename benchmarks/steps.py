"""Recorded operations a second: generated stories on the reference server, simulated and judged.

What a user waits for in a simulated run: Hypothesis chooses the steps, the
server answers real requests of its ASGI application, every story is recorded
and judged against all promises. One core; CPU seconds of this process, so that
a busy machine distorts it less. Run as ``python benchmarks/steps.py``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

EXAMPLES = 60
STEPS = 30
TARGET = 2_000
"""What the design asks for."""


def machines() -> list[Any]:
    """The generated families that scenarios run."""
    from licensing_harness.generate import families

    return [
        families.SeatsMachine,
        families.RevocationMachine,
        families.ValidityMachine,
        families.IdempotencyMachine,
        families.AuditMachine,
    ]


def measure() -> list[dict[str, Any]]:
    """One row for all generated families together, one for each of them."""
    rates = {machine.__name__: rate(machine) for machine in machines()}
    operations = sum(each[0] for each in rates.values())
    seconds = sum(each[1] for each in rates.values())
    rows = [_row("steps", operations / seconds)]
    rows += [_row(f"steps: {name}", count / took) for name, (count, took) in rates.items()]
    return rows


def rate(machine: Any, examples: int = EXAMPLES) -> tuple[int, float]:
    """Operations and CPU seconds of one family."""
    from licensing_harness.checkers.judge import judge_story
    from licensing_harness.errors import PromiseBroken
    from licensing_harness.generate.machine import run_machine
    from licensing_harness.history import Header, HistoryWriter, StoryHistory
    from licensing_harness.masking import Masker
    from licensing_harness.target.reference import ReferenceAdapter, simulated
    from licensing_harness.worlds.simulated import SimulatedWorld
    from licensing_harness.worlds.story import Setting

    setting = Setting(
        adapter=ReferenceAdapter, writer=HistoryWriter(None, Header()), masker=Masker(), seed=1, tag="bench"
    )
    world = SimulatedWorld(simulated(), setting)

    def judge(history: StoryHistory) -> None:
        violations = judge_story(history, world.contract, world.capabilities).violations
        if violations:
            raise PromiseBroken(violations[0].promise)

    def run(examples: int) -> int:
        return run_machine(
            lambda chance: world.story(scenario="bench", seed=chance),
            machine,
            examples=examples,
            steps=STEPS,
            seed=1,
            judge=judge,
        ).operations

    run(5)
    began = time.process_time()
    operations = run(examples)
    return operations, time.process_time() - began


def _row(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "value": round(value), "unit": "1/s", "baseline": None, "ratio": None}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    for row in measure():
        print(f"{row['name']:28} {row['value']:>7,} {row['unit']}")
