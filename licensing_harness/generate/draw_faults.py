"""What is drawn of each kind of fault: how often, for how long, how big.

One table, and no noise in it. A fault matters at few sizes: where it is of the
order of a lease, of a token's life, of an fsync, of the gaps between calls, of a
client's patience. Those are what is drawn; a fault of any other size is one of
these, or none. The first of several values is the plainest one: what is found
is told with it, where it can be.

What can't be done in the simulated world is not here, for the reason in
:mod:`licensing_harness.faults.plan_kinds`.
"""

from __future__ import annotations

import random  # noqa: TID251 - the type only
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.vocabulary import Cap, Contract, FaultKind

LASTING: Final = 3.0
"""Seconds: no drawn fault lasts longer, unless a lease does."""

_LEASE: Final = 2.0
_TOKEN: Final = 3.0
"""Seconds, where the target states none."""

_PROCESS: Final = frozenset({FaultKind.CRASH, FaultKind.POWER_LOSS, FaultKind.RESTART, FaultKind.PAUSE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """What is drawn of one kind."""

    weight: int = 2
    seconds: tuple[float | None, ...] = (0.3, 0.05, 1.0)
    """How long it lasts; None is over at once."""
    parameters: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Values of each; None leaves it out."""
    streams: tuple[str, ...] = ("",)


def drawn(contract: Contract) -> Mapping[FaultKind, Drawn]:
    """Every kind that the simulated world has, with what is drawn of it for a target with these numbers."""
    lease, token = contract.lease or _LEASE, contract.token_lifetime or _TOKEN
    outlived = round(lease * 1.1, 6)
    outlived_ms = round(outlived * 1000)
    long = (0.3, 0.05, 1.0, outlived)
    calls: dict[str, tuple[float | None, ...]] = {"first": (None, 1, 3), "every": (None, None, 2)}
    ways = ("", "upstream", "downstream")
    share: tuple[float | None, ...] = (None, 0.5)
    clock = (1.0, outlived, lease / 2, 0.1, token)
    both = (*clock, *(-each for each in clock))
    return {
        # The wire: against the fsync (up to 20 ms), the gaps (up to 50 ms), a client's patience (5 s).
        FaultKind.CUT_REQUEST: Drawn(parameters=calls),
        FaultKind.CUT_ANSWER: Drawn(weight=3, parameters=calls),
        FaultKind.LATENCY: Drawn(
            parameters={"latency": (20, 2, 300, outlived_ms), "jitter": (None, 20), "toxicity": share},
            streams=ways,
        ),
        FaultKind.BANDWIDTH: Drawn(parameters={"rate": (10_000, 500), "toxicity": share}, streams=ways),
        FaultKind.RESET_PEER: Drawn(parameters={"timeout": (None, 2, 20), "toxicity": share}, streams=ways),
        FaultKind.TIMEOUT: Drawn(parameters={"timeout": (None, 50, 500), "toxicity": share}, streams=ways),
        FaultKind.PROXY_DOWN: Drawn(seconds=long),
        FaultKind.STATUS: Drawn(parameters={"status": (503, 500, 502, 429), **calls}),
        FaultKind.TRUNCATE_BODY: Drawn(parameters={"keep": (0, 20), **calls}),
        FaultKind.CORRUPT_BODY: Drawn(parameters={"bytes": (1, 8), **calls}),
        FaultKind.STALE_ANSWER: Drawn(seconds=(1.0, outlived), parameters={"age": (0.001, 0.1, 0.5)}),
        FaultKind.DUPLICATE: Drawn(weight=3, parameters={"delay": (None, 2, 20, 300, outlived_ms), **calls}),
        FaultKind.REORDER: Drawn(parameters={"delay": (20, 2, 300), **calls}),
        # Clocks: against a lease and a token's life.
        FaultKind.CLOCK_OFFSET: Drawn(seconds=long, parameters={"offset": both}),
        FaultKind.CLOCK_DRIFT: Drawn(seconds=(1.0, outlived), parameters={"drift": (1.0, 0.1, -0.5, -0.1)}),
        FaultKind.CLOCK_JUMP: Drawn(seconds=(None,), parameters={"by": clock}),
        FaultKind.CLOCK_ROLLBACK: Drawn(seconds=(None,), parameters={"by": clock}),
        FaultKind.CLOCK_FREEZE: Drawn(seconds=(1.0, 0.05, outlived)),
        # Processes
        FaultKind.CRASH: Drawn(seconds=(None, 0.3, 1.0, outlived)),
        FaultKind.POWER_LOSS: Drawn(seconds=(None, 0.3, 1.0)),
        FaultKind.RESTART: Drawn(seconds=(None,)),
        FaultKind.PAUSE: Drawn(seconds=long),
        # Stores: against the fsync, a lease, a client's patience.
        FaultKind.STORE_READ_ONLY: Drawn(weight=3, seconds=long),
        FaultKind.STORE_FULL: Drawn(weight=3, seconds=long),
        FaultKind.STORE_SLOW: Drawn(
            weight=3, seconds=(1.0, outlived), parameters={"delay": (300, 20, 1000, outlived_ms)}
        ),
        FaultKind.STORE_GONE: Drawn(seconds=long),
    }


def kinds_for(capabilities: AbstractSet[Cap]) -> frozenset[FaultKind]:
    """The kinds that can be done to a target with these capabilities in the simulated world."""
    there = frozenset(kind.fault for kind in KINDS.values() if not kind.not_simulated)
    return there if Cap.RESTART in capabilities else there - _PROCESS


def fault_step(kind: FaultKind, of: Drawn, draw: random.Random) -> dict[str, Any]:
    """A step of a plan that sets a fault of this kind."""
    step: dict[str, Any] = {"do": "fault", "kind": kind.value}
    stream, seconds = draw.choice(of.streams), draw.choice(of.seconds)
    parameters = {name: value for name, values in of.parameters.items() if (value := draw.choice(values)) is not None}
    if "first" in parameters:
        parameters.pop("every", None)  # of the two the first N are what counts
    if stream:
        step["stream"] = stream
    if seconds is not None:
        step["seconds"] = seconds
    if parameters:
        step["parameters"] = parameters
    return step
