"""Recorded operations a second of explored stories, beside those that Hypothesis generates.

Both drive the same reference server in the simulated world and judge every story
against all promises; they differ in who chooses the steps. One core; CPU seconds
of this process. Run as ``python benchmarks/explore.py``.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

ROUNDS = 3
SEEDS = 100
EXAMPLES = 20
"""Stories of each generated family in a round."""


def measure() -> list[dict[str, Any]]:
    """One row: explored operations a second, beside generated ones."""
    from benchmarks.bench import in_turns, median_ratio, row
    from benchmarks.steps import machines, rate
    from licensing_harness.generate.explore import Explorer
    from licensing_harness.generate.workers import collect_seldom
    from licensing_harness.target.reference import ReferenceAdapter, simulated

    explorer = Explorer(simulated(), ReferenceAdapter)
    rounds = count()

    def explored() -> float:
        first = next(rounds) * SEEDS
        began = time.process_time()
        reached = explorer.explore(range(first, first + SEEDS))
        seconds = time.process_time() - began
        if reached.broken is not None:
            message = f"the sound server is accused: {reached.broken}"
            raise RuntimeError(message)
        return reached.operations / seconds

    def generated() -> float:
        rates = [rate(machine, EXAMPLES) for machine in machines()]
        return sum(each[0] for each in rates) / sum(each[1] for each in rates)

    explorer.explore(range(10**6, 10**6 + 3))
    rate(machines()[0], 2)
    collect_seldom()  # as in the command's own processes; both contenders have it here
    figures = in_turns(ROUNDS, {"explore": explored, "steps": generated})
    ours, theirs = figures["explore"], figures["steps"]
    value, baseline = round(statistics.median(ours)), round(statistics.median(theirs))
    return [row("explore", value, "1/s", baseline, median_ratio(ours, theirs))]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    for each in measure():
        print(f"{each['name']:12} {each['value']:>7,} {each['unit']}, beside {each['baseline']:,}: {each['ratio']:.2f}")
