"""The keys of a drill file: what each means, and what it takes.

One table. The reader, the JSON Schema and the documentation derive from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from licensing_harness.faults.plan_file import Places

PHASES: Final = ("before", "during", "after", "clean-up")
STEADY: Final = ("before", "after", "clean-up")
"""The phases in which a steady state is expected."""

WORLDS: Final = ("live", "simulated")

PLACES: Final = Places(links=("clients->server",), nodes=("server",), stores=("store",))
"""Where faults are: the way of all clients to the target, the target, and its store."""

VERBS: Final = ("issue", "validate", "activate", "heartbeat", "release")
MEASURES: Final[Mapping[str, str]] = {
    "accepted-share": "",
    "unknown-share": "",
    "refused": "calls",
    "p50": "ms",
    "p95": "ms",
    "recovery": "s",
}
"""What can be measured, and its unit. ``recovery`` is of the slowest client, from the end of the last fault."""

LONGEST: Final = 3600.0
MOST_WEIGHT: Final = 1000

Takes = Literal["text", "number", "whole", "switch", "choice", "promises", "options", "weights"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key of a table. Without a ``default`` it may be left out, unless it is ``required``."""

    does: str
    takes: Takes
    required: bool = False
    default: Any = None
    least: float = 0.0
    most: float = LONGEST
    choices: tuple[str, ...] = ()
    example: str = ""


_LIMITS: Final = {
    "measure": Key(does="what is measured, see below", takes="choice", choices=tuple(MEASURES), required=True),
    "at_least": Key(does="the smallest value that is as expected", takes="number"),
    "at_most": Key(does="the largest", takes="number"),
}

TOP: Final[Mapping[str, Key]] = {
    "title": Key(
        does="what is rehearsed, in a few words",
        takes="text",
        required=True,
        example='title = "Answers lost during activation"',
    ),
    "tries": Key(
        does="ids of the promises that the drill claims to try; one that it did not try is undecided",
        takes="promises",
        default=(),
        example='tries = ["SEA-001"]',
    ),
    "world": Key(
        does="where it is told, unless the run's own options say: `live`, or `simulated` in virtual time",
        takes="choice",
        choices=WORLDS,
        default="live",
    ),
    "target": Key(
        does="options of the run, ranking with `licensing-harness.toml`: the command line and the environment win",
        takes="options",
        default={},
    ),
}
"""Keys at the top that are no table of their own."""

LOAD: Final[Mapping[str, Key]] = {
    "rate": Key(does="calls a second, all clients together", takes="number", default=20.0, least=0.1, most=2000.0),
    "clients": Key(does="how many clients call, in turn", takes="whole", default=3, least=1, most=500),
    "before": Key(does="seconds of load before the first fault", takes="number", default=3.0, least=0.5),
    "after": Key(does="seconds of load after the last fault", takes="number", default=5.0, least=0.5),
    "seats": Key(does="seats of each licence", takes="whole", default=3, least=1, most=10_000),
    "verbs": Key(
        does="what is called, each verb with its weight: " + ", ".join(f"`{verb}`" for verb in VERBS),
        takes="weights",
        default={"validate": 1},
    ),
    "revoke_at": Key(
        does="seconds from the first moment of the outage at which the vendor revokes what the clients use, again "
        "until that is acknowledged; a fresh licence follows, and every third call still asks for the revoked one",
        takes="number",
    ),
    "herd": Key(
        does="clients whose call got no answer wait for the end of the outage, and all call again at that moment",
        takes="switch",
        default=False,
    ),
}

STOP: Final[Mapping[str, Key]] = {
    "unanswered": Key(
        does="so many calls in a row had no answer while no fault was on; 0: never",
        takes="whole",
        default=0,
        most=1_000_000,
    ),
    "seconds": Key(does="it took so long in all", takes="number", default=300.0, least=1.0),
}

STEADY_STATE: Final[Mapping[str, Key]] = _LIMITS
EXPECT: Final[Mapping[str, Key]] = {
    "phase": Key(does="when", takes="choice", choices=PHASES, required=True),
    **_LIMITS,
}
