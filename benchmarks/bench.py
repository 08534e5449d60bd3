"""Rows, the bars they are held to, and what all measurements share.

A measurement is a module of this folder with ``measure() -> list[dict]``: rows
``{"name", "value", "unit", "baseline", "ratio"}``. ``ratio`` is value over
baseline, both measured in the same run, in turns; where there is nothing to
compare with, both are None. Absolute bars stand here and in no test.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

Row = dict[str, Any]

_DOORS: Final = ("plain", "latency")
"""A proxy without a toxic, and with the least that a toxic can do."""
_WIRE: Final[Mapping[str, tuple[Literal["<=", ">="], float]]] = {
    "p50": ("<=", 1.0),
    "bulk": (">=", 2.0),
    "requests": (">=", 1.0),
    "connections": (">=", 2.0),
}
"""What the fault proxy is held to, as a ratio to Toxiproxy's."""

ROWS: Final[Mapping[str, str]] = {
    "validate/echo": "validate",
    "commit/sqlite": "commit",
    "verify/ed25519": "verify",
    "steps": "steps",
    "explore": "explore",
    "simulated/reads": "simulated",
    "judge/million": "judge",
    "plugin-startup": "plugin_startup",
    "gate": "gate",
    **dict.fromkeys((f"proxy/{name}/{door}" for name in _WIRE for door in _DOORS), "proxy"),
    "proxy/idle": "proxy",
}
"""The rows that every bench has, first ones first, and the modules that measure them."""


class Skipped(Exception):
    """A measurement can't be taken here; the text says why."""


@dataclass(frozen=True, slots=True)
class Bar:
    """At least, or at most, so much of a row's value or ratio."""

    what: Literal["value", "ratio"]
    sense: Literal[">=", "<="]
    limit: float
    unit: str = ""

    def passed(self, row: Row) -> bool:
        """Whether the row clears the bar; a row without the figure does not."""
        figure = row[self.what]
        if figure is None:
            return False
        return bool(figure >= self.limit) if self.sense == ">=" else bool(figure <= self.limit)

    def __str__(self) -> str:
        return f"{self.what} {self.sense} {self.limit:g}{self.unit}"


BARS: Final[Mapping[str, Bar]] = {
    "validate/echo": Bar("ratio", ">=", 0.6),
    "commit/sqlite": Bar("ratio", ">=", 0.3),
    "verify/ed25519": Bar("ratio", "<=", 1.7),
    "steps": Bar("value", ">=", 2000, "/s"),
    "simulated/reads": Bar("ratio", ">=", 0.4),
    "simulated/writes": Bar("ratio", ">=", 0.16),
    "simulated/lease-story": Bar("value", "<=", 10, " ms"),
    "simulated/linear": Bar("ratio", "<=", 1.2),
    "plugin-startup": Bar("value", "<=", 15, " ms"),
    "gate": Bar("value", "<=", 60, " s"),
    **{f"proxy/{name}/{door}": Bar("ratio", *bar) for name, bar in _WIRE.items() for door in _DOORS},
    "proxy/idle": Bar("value", "<=", 100, " MiB"),
}


def row(name: str, value: float, unit: str, baseline: float | None = None, ratio: float | None = None) -> Row:
    """One row; the ratio is worked out unless it was measured pair by pair."""
    if ratio is None and baseline:
        ratio = value / baseline
    return {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio}


Figure = TypeVar("Figure")


def in_turns(rounds: int, contenders: Mapping[str, Callable[[], Figure]]) -> dict[str, list[Figure]]:
    """Each contender once a round, in an order that rotates, so that a noisy moment hits all alike."""
    figures: dict[str, list[Figure]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            figures[name].append(contenders[name]())
    return figures


def median_ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def two_cores() -> tuple[int, int]:
    """A core for the server and another for its load. Raises Skipped where there is only one."""
    if not hasattr(os, "sched_getaffinity"):
        raise Skipped("pinning to cores needs Linux")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:  # noqa: PLR2004 - two cores
        raise Skipped("needs two cores: one for the server, one for its load")
    return cores[0], cores[-1]
