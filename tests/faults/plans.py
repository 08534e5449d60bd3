"""Plans to test with: one example of each kind, and generated ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from licensing_harness.faults.plan import Plan, PlanError, PlannedFault

LINK = {"link": "laptop->server", "start": 1, "end": 5}
NODE = {"node": "server", "start": 1, "end": 5}
STORE = {"store": "main", "start": 1, "end": 5}

EXAMPLES: list[dict[str, Any]] = [
    {"kind": "cut-request", **LINK, "first": 1},
    {"kind": "cut-answer", **LINK, "every": 3},
    {"kind": "latency", **LINK, "latency": 200, "jitter": 50, "stream": "upstream"},
    {"kind": "bandwidth", **LINK, "rate": 1024},
    {"kind": "slicer", **LINK, "average_size": 64, "size_variation": 32, "delay": 1},
    {"kind": "slow-close", **LINK, "delay": 500},
    {"kind": "reset-peer", **LINK, "timeout": 10, "toxicity": 0.5},
    {"kind": "timeout", **LINK},
    {"kind": "limit-data", **LINK, "bytes": 100},
    {"kind": "lose-connections", **LINK, "toxicity": 0.25},
    {"kind": "proxy-down", **LINK},
    {"kind": "flapping", **LINK, "period": 1.5, "up": 0.75, "spread": 0.5},
    {"kind": "status", **LINK, "status": 429, "retry_after": 2},
    {"kind": "truncate-body", **LINK, "keep": 10},
    {"kind": "corrupt-body", **LINK},
    {"kind": "stale-answer", **LINK, "age": 60},
    {"kind": "duplicate", **LINK, "delay": 5},
    {"kind": "reorder", **LINK, "delay": 100, "every": 2},
    {"kind": "clock-offset", **NODE, "offset": -30},
    {"kind": "clock-drift", **NODE, "drift": 0.01},
    {"kind": "clock-jump", "node": "server", "at": 3, "by": 3600},
    {"kind": "clock-rollback", "node": "server", "at": 3, "by": 86400.5},
    {"kind": "clock-freeze", **NODE},
    {"kind": "crash", "node": "server", "at": 3, "spread": 2},
    {"kind": "pause", **NODE, "spread": 3.5},
    {"kind": "restart", "node": "server", "at": 3},
    {"kind": "rolling-restart", "nodes": ["one", "two"], "at": 3, "gap": 10, "spread": 1},
    {"kind": "power-loss", **NODE},
    {"kind": "store-locked", **STORE},
    {"kind": "store-read-only", **STORE},
    {"kind": "store-full", **STORE},
    {"kind": "store-slow", **STORE, "delay": 50},
    {"kind": "store-gone", **STORE},
    {"kind": "terminated-backends", "store": "main", "at": 3},
]


@st.composite
def plans(draw: st.DrawFn, least: int = 1) -> Plan:
    """Examples, moved and stretched; a fault that overlaps one before it is left out."""
    faults: list[PlannedFault] = []
    numbers = st.floats(0, 1000).map(lambda number: round(number, 3))
    for nth, table in enumerate(draw(st.lists(st.sampled_from(EXAMPLES), min_size=least, max_size=8))):
        late, longer = draw(numbers), draw(numbers)
        moved = {**table}
        for name in ("at", "start", "end"):
            if name in table:
                moved[name] = table[name] + late + (longer if name == "end" else 0)
        if len(faults) < least:
            moved |= {name: f"{nth}{table[name]}" for name in ("link", "node", "store") if name in table}
            moved |= {name: [f"{nth}{each}" for each in table[name]] for name in ("nodes",) if name in table}
        fault = PlannedFault.of(moved)
        try:
            Plan((*faults, fault))
        except PlanError:
            continue
        faults.append(fault)
    return Plan(tuple(faults))
