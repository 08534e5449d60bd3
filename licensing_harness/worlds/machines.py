"""The machines that a simulated target's nodes run on: a disk and a clock each, and one process at a time."""

from __future__ import annotations

from dataclasses import dataclass

from licensing_harness.worlds.disk import SimDisk
from licensing_harness.worlds.loop import Timeline
from licensing_harness.worlds.simulated_clock import MachineClock


@dataclass(slots=True, eq=False)
class Machine:
    """Where one node of the target runs. What is on it outlives the processes."""

    name: str
    disk: SimDisk
    clock: MachineClock
    held_down: int = 0
    """Faults by which no process may run on it now."""
    waits: bool = False
    """Its process could not start for what is wrong with the disk, and is started when that is over."""


def names(count: int) -> tuple[str, ...]:
    """The names of so many nodes: ``server``, or ``server-1``, ``server-2``, ..."""
    return ("server",) if count == 1 else tuple(f"server-{n}" for n in range(1, count + 1))


def stores(nodes: tuple[str, ...]) -> tuple[str, ...]:
    """The names of these nodes' stores: ``store``, or ``store-1``, ``store-2``, ..."""
    return ("store",) if len(nodes) == 1 else tuple(f"store-{n}" for n in range(1, len(nodes) + 1))


def machines(nodes: tuple[str, ...], timeline: Timeline, seed: str, image: bytes | None) -> dict[str, Machine]:
    """A machine for each node, by name; every disk begins as ``image``."""
    alone = len(nodes) == 1
    return {
        name: Machine(name, SimDisk(seed if alone else f"{seed}/{name}", image), MachineClock(timeline))
        for name in nodes
    }
