"""The kinds of fault that a plan may have: where each takes place, when, with what parameters, in which worlds.

One table. The reader of plans, the JSON Schema and the documentation derive
from it. It states what is possible in principle; what a world has implemented
is for the world to say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from licensing_harness.errors import UsageError, way_out
from licensing_harness.faults.pages import MOST_CORRUPTED, STATUSES
from licensing_harness.vocabulary import FaultKind

Where = Literal["link", "node", "nodes", "store"]
When = Literal["at", "during", "either"]
"""At one moment (``at``), for a while (``start`` and ``end``), or as the plan likes."""

WORLDS: Final = ("simulated", "live")
STREAMS: Final = ("downstream", "upstream")
MOST: Final = 1_000_000_000
"""The largest number that any key takes."""
SMALLEST: Final = 0.001
"""The smallest number that a key takes which must not be zero: a millisecond, or a thousandth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One number that a kind of fault takes. Neither ``required`` nor with a ``default``: it may be left out."""

    unit: str
    whole: bool = True
    least: float = 0
    most: float = MOST
    not_zero: bool = False
    choices: tuple[int, ...] = ()
    required: bool = False
    default: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of fault, as a plan may ask for it."""

    fault: FaultKind
    """What is done, and what stands in the history."""
    does: str
    """What happens, in a sentence; parameters in backquotes."""
    where: Where
    when: When = "during"
    stream: bool = False
    """Whether it works in one direction of the link."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    not_simulated: str = ""
    """Why the simulated world can't do it."""
    not_live: str = ""
    """Why the live world can't do it."""

    @property
    def times(self) -> tuple[str, ...]:
        """The keys that say when; all of them at once only where ``when`` is not ``either``."""
        return {"at": ("at",), "during": ("start", "end"), "either": ("at", "start", "end")}[self.when]

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that a table of this kind takes beside ``kind``, but its parameters."""
        return (*self.times, "spread", self.where, *(("stream",) if self.stream else ()))


def _milliseconds(*, required: bool = False) -> Parameter:
    return Parameter(unit="milliseconds", required=required, default=None if required else 0)


def _seconds(**limits: float) -> Parameter:
    return Parameter(unit="seconds", whole=False, required=True, **limits)  # type: ignore[arg-type]


_SHARE: Final = Parameter(unit="share of connections", whole=False, least=SMALLEST, most=1, default=1.0)
_CALLS: Final = {"first": Parameter(unit="calls", least=1), "every": Parameter(unit="calls", least=1)}
_STREAM: Final = "the simulated network carries whole messages; it has no stream of bytes"
_CONNECTIONS: Final = "the simulated network carries whole messages; it has no connections"
_SPEED: Final = "the clock of a live node can be set at most, not run at another speed"


def _toxic(fault: FaultKind, *, does: str, not_simulated: str = "", **parameters: Parameter) -> Kind:
    return Kind(
        fault=fault,
        does=does,
        where="link",
        stream=True,
        parameters={**parameters, "toxicity": _SHARE},
        not_simulated=not_simulated,
    )


def _call(fault: FaultKind, *, does: str, **parameters: Parameter) -> Kind:
    return Kind(fault=fault, does=does, where="link", parameters={**parameters, **_CALLS})


KINDS: Final[Mapping[str, Kind]] = {
    # The wire
    "cut-request": _call(
        FaultKind.CUT_REQUEST, does="A request is lost: it never arrives, and the client's connection is reset."
    ),
    "cut-answer": _call(
        FaultKind.CUT_ANSWER,
        does="An answer is lost: the request was carried out, and the client's connection is reset.",
    ),
    "latency": _toxic(
        FaultKind.LATENCY,
        does="What is sent arrives `latency` later, give or take `jitter`.",
        latency=_milliseconds(required=True),
        jitter=_milliseconds(),
    ),
    "bandwidth": _toxic(
        FaultKind.BANDWIDTH,
        does="No more than `rate` passes.",
        rate=Parameter(unit="bytes a second", least=1, required=True),
    ),
    "slicer": _toxic(
        FaultKind.SLICER,
        does="What is sent arrives in pieces of `average_size`, give or take `size_variation`, `delay` apart.",
        not_simulated=_STREAM,
        average_size=Parameter(unit="bytes", least=1, required=True),
        size_variation=Parameter(unit="bytes", default=0),
        delay=_milliseconds(),
    ),
    "slow-close": _toxic(
        FaultKind.SLOW_CLOSE,
        does="A connection that is closed stays open for `delay`.",
        not_simulated=_CONNECTIONS,
        delay=_milliseconds(required=True),
    ),
    "reset-peer": _toxic(
        FaultKind.RESET_PEER, does="A connection is reset, `timeout` after its first bytes.", timeout=_milliseconds()
    ),
    "timeout": _toxic(
        FaultKind.TIMEOUT,
        does="Nothing passes, and the connection is closed after `timeout`; 0 never closes it: a black hole.",
        timeout=_milliseconds(),
    ),
    "limit-data": _toxic(
        FaultKind.LIMIT_DATA,
        does="A connection is closed when so many `bytes` have passed.",
        not_simulated=_CONNECTIONS,
        bytes=Parameter(unit="bytes", required=True),
    ),
    "lose-connections": Kind(
        fault=FaultKind.LOSE_CONNECTIONS,
        does="Connections are closed, those that are open and those that are being opened.",
        where="link",
        parameters={"toxicity": _SHARE},
        not_simulated=_CONNECTIONS,
    ),
    "proxy-down": Kind(
        fault=FaultKind.PROXY_DOWN,
        does="Nobody listens: connections are closed, and new ones are refused.",
        where="link",
    ),
    "flapping": Kind(
        fault=FaultKind.PROXY_DOWN,
        does="The link is down and up in turn, from one `period` to the next; each begins with the link down.",
        where="link",
        parameters={
            "period": _seconds(least=SMALLEST),
            "up": Parameter(unit="share of the period", whole=False, least=SMALLEST, most=0.999, default=0.5),
        },
    ),
    # HTTP
    "status": _call(
        FaultKind.STATUS,
        does="A call is answered with `status` and never reaches the target. "
        "502 comes with a gateway's HTML page, and 200 with the sign-in page of a captive portal.",
        status=Parameter(unit="an HTTP status", choices=STATUSES, required=True),
        retry_after=Parameter(unit="seconds"),
    ),
    "truncate-body": _call(
        FaultKind.TRUNCATE_BODY,
        does="An answer's body ends after `keep`, before the length that was announced.",
        keep=Parameter(unit="bytes", required=True),
    ),
    "corrupt-body": _call(
        FaultKind.CORRUPT_BODY,
        does="So many `bytes` of an answer's body are changed.",
        bytes=Parameter(unit="bytes", least=1, most=MOST_CORRUPTED, default=1),
    ),
    "stale-answer": _call(
        FaultKind.STALE_ANSWER,
        does="A call is answered with what the same call was answered at least `age` ago.",
        age=_seconds(least=SMALLEST),
    ),
    "duplicate": _call(FaultKind.DUPLICATE, does="A request arrives twice, `delay` apart.", delay=_milliseconds()),
    "reorder": _call(
        FaultKind.REORDER,
        does="A request is held back until a later one has passed it, for `delay` at most.",
        delay=Parameter(unit="milliseconds", least=1, required=True),
    ),
    # Clocks
    "clock-offset": Kind(
        fault=FaultKind.CLOCK_OFFSET,
        does="The clock is off by `offset`, which may be negative; it is right again after.",
        where="node",
        parameters={"offset": Parameter(unit="seconds", whole=False, least=-MOST, not_zero=True, required=True)},
    ),
    "clock-drift": Kind(
        fault=FaultKind.CLOCK_DRIFT,
        does="The clock gains `drift`, or loses it where it is negative; it is right again after.",
        where="node",
        parameters={
            "drift": Parameter(unit="seconds a second", whole=False, least=-0.999, not_zero=True, required=True)
        },
        not_live=_SPEED,
    ),
    "clock-jump": Kind(
        fault=FaultKind.CLOCK_JUMP,
        does="The clock goes forward by `by`, and stays there.",
        where="node",
        when="at",
        parameters={"by": _seconds(least=SMALLEST)},
    ),
    "clock-rollback": Kind(
        fault=FaultKind.CLOCK_ROLLBACK,
        does="The clock goes back by `by`, and stays there.",
        where="node",
        when="at",
        parameters={"by": _seconds(least=SMALLEST)},
    ),
    "clock-freeze": Kind(
        fault=FaultKind.CLOCK_FREEZE,
        does="The clock stands still; it is right again after.",
        where="node",
        not_live=_SPEED,
    ),
    # Processes
    "crash": Kind(
        fault=FaultKind.CRASH,
        does="The process is killed (SIGKILL) and started again, at once or at the end.",
        where="node",
        when="either",
    ),
    "pause": Kind(
        fault=FaultKind.PAUSE, does="The process is stopped (SIGSTOP) and goes on at the end (SIGCONT).", where="node"
    ),
    "restart": Kind(
        fault=FaultKind.RESTART,
        does="The process is asked to end (SIGTERM) and started again.",
        where="node",
        when="at",
    ),
    "rolling-restart": Kind(
        fault=FaultKind.RESTART,
        does="The nodes are restarted one after the other, `gap` apart.",
        where="nodes",
        when="at",
        parameters={"gap": _seconds(least=SMALLEST)},
    ),
    "power-loss": Kind(
        fault=FaultKind.POWER_LOSS,
        does="As a crash, and what was not fsynced is gone.",
        where="node",
        when="either",
        not_live="a live process can be killed, but its machine keeps what was written and not yet fsynced",
    ),
    # Stores
    "store-locked": Kind(
        fault=FaultKind.STORE_LOCKED,
        does="Somebody else holds the lock for writing.",
        where="store",
        not_simulated="the simulated disk has one user; a lock is held by another one",
    ),
    "store-read-only": Kind(
        fault=FaultKind.STORE_READ_ONLY, does="Reads succeed, and writes are refused.", where="store"
    ),
    "store-full": Kind(fault=FaultKind.STORE_FULL, does="No room is left: writes fail.", where="store"),
    "store-slow": Kind(
        fault=FaultKind.STORE_SLOW,
        does="Every access takes `delay` more.",
        where="store",
        parameters={"delay": _milliseconds(required=True)},
    ),
    "store-gone": Kind(fault=FaultKind.STORE_GONE, does="The store can't be reached.", where="store"),
    "terminated-backends": Kind(
        fault=FaultKind.TERMINATED_BACKENDS,
        does="The database ends all sessions that are open.",
        where="store",
        when="at",
        not_simulated="the simulated disk is no database server; it has no sessions that could be ended",
    ),
}


def why_not(kind: str, world: str) -> str:
    """Why ``world`` can't do ``kind``, whatever is implemented; empty when it is possible.

    Raises UsageError for a kind or a world that there is none of.
    """
    if kind not in KINDS:
        message = unknown("kind", kind, KINDS)
        raise UsageError(message)
    if world not in WORLDS:
        message = unknown("world", world, WORLDS)
        raise UsageError(message)
    return KINDS[kind].not_simulated if world == "simulated" else KINDS[kind].not_live


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """Names what is not known and the way out."""
    return f"unknown {what} {name!r}; {way_out(name, known)}"
