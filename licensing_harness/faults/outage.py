"""An outage: a toxic on the wire, or the proxy down, set through Toxiproxy and seen to be gone after.

``outage`` is what the fixture ``licensing_outage`` calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final, Protocol

from licensing_harness.errors import CleanUpIncomplete, HarnessError, NotRun, UsageError
from licensing_harness.faults.plan import PlanError, numbers
from licensing_harness.faults.plan_kinds import STREAMS
from licensing_harness.faults.server import FaultServer
from licensing_harness.faults.toxiproxy import ToxiproxyClient, ToxiproxyDiffers
from licensing_harness.vocabulary import FaultKind

TOXICS: Final = {
    FaultKind.LATENCY: "latency",
    FaultKind.BANDWIDTH: "bandwidth",
    FaultKind.SLICER: "slicer",
    FaultKind.SLOW_CLOSE: "slow_close",
    FaultKind.RESET_PEER: "reset_peer",
    FaultKind.TIMEOUT: "timeout",
    FaultKind.LIMIT_DATA: "limit_data",
    FaultKind.LOSE_CONNECTIONS: "timeout",
}
"""Toxiproxy's type for each fault that is a toxic. ``proxy-down`` is none: the proxy is disabled."""

OUTAGES: Final = (*TOXICS, FaultKind.PROXY_DOWN)
"""The kinds of fault that are carried out through Toxiproxy."""

SLOWEST: Final = 1000
"""Bytes a second: Toxiproxy's ``rate`` is in thousands of them."""

_LOST: Final = {"timeout": 1}
"""What loses a connection: a timeout of 1 ms ends it whether or not anything is sent, open ones and new ones alike."""

_TRIES: Final = 3


def toxic_of(kind: FaultKind, parameters: Mapping[str, float]) -> tuple[dict[str, int], dict[str, float]]:
    """A toxic's attributes for a plan's parameters, and the parameters that these really are.

    The one place where a plan's units become Toxiproxy's: bytes a second are
    thousands of them, rounded, and the milliseconds between a slicer's pieces
    are microseconds. Raises NotRun for what no toxic can do.
    """
    given = {name: value for name, value in parameters.items() if name != "toxicity"}
    match kind:
        case FaultKind.LOSE_CONNECTIONS:
            return dict(_LOST), given
        case FaultKind.BANDWIDTH:
            if given["rate"] < SLOWEST:
                message = (
                    f"bandwidth: Toxiproxy can't pass {given['rate']:g} bytes a second; "
                    f"give a rate of {SLOWEST} or more, which it takes in thousands"
                )
                raise NotRun(message)
            thousands = round(given["rate"] / SLOWEST)
            return {"rate": thousands}, {"rate": thousands * SLOWEST}
        case FaultKind.SLICER:
            return {**_whole(given), "delay": round(given["delay"] * 1000)}, given
        case _:
            return _whole(given), given


def _whole(given: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in given.items()}


class Outage:
    """One fault on one proxy, in a plan's words and units. ``set`` and ``remove`` are verified by reading back.

    Raises UsageError for a kind, stream or parameter that does not exist, NotRun for what no toxic can do.
    """

    def __init__(
        self,
        server: FaultServer,
        client: ToxiproxyClient,
        proxy: str,
        kind: FaultKind | str,
        *,
        stream: str = "",
        parameters: Mapping[str, float] | None = None,
    ) -> None:
        self.kind = fault_kind(kind)
        try:
            values = numbers(self.kind.value, parameters or {})
        except PlanError as error:
            message = f"outage: {error.text}"
            raise UsageError(message) from None
        if stream and stream not in STREAMS:
            message = f"outage: stream must be 'upstream' or 'downstream', not {stream!r}"
            raise UsageError(message)
        # Both directions of a connection that is lost are; one of them is enough.
        self.stream = "upstream" if self.kind is FaultKind.LOSE_CONNECTIONS else stream or STREAMS[0]
        self.toxicity = values.get("toxicity", 1.0)
        self.attributes, self.parameters = ({}, values) if self.kind not in TOXICS else toxic_of(self.kind, values)
        self._server = server
        self._client = client
        self._proxy = proxy
        self._toxic = f"{self.kind}-{self.stream}"
        self._set = False

    def set(self) -> None:
        """Begin the fault. Raises HarnessError when it could not be set or does not show as set."""
        self._set = True
        if self.kind is FaultKind.PROXY_DOWN:
            self._client.disable(self._proxy)
        else:
            self._client.add_toxic(
                self._proxy,
                name=self._toxic,
                type=TOXICS[self.kind],
                stream=self.stream,
                toxicity=self.toxicity,
                attributes=self.attributes,
            )

    def hits(self) -> int | None:
        """How often it had an effect; None where that is not known."""
        return None if self.kind is FaultKind.PROXY_DOWN else self._server.hits(self._proxy, self._toxic)

    def remove(self) -> None:
        """End the fault, and see that it is gone; nothing when it was ended before.

        Raises HarnessError when it was gone before (then it was not there all
        the time), CleanUpIncomplete when it can't be removed.
        """
        if not self._set:
            return
        if not self._there():
            self._set = False
            message = f"the {self.kind} on {self._proxy} was gone before its outage was over: someone else removed it"
            raise HarnessError(message)
        reason: Exception | None = None
        for _ in range(_TRIES):
            try:
                if self.kind is FaultKind.PROXY_DOWN:
                    self._client.enable(self._proxy)
                else:
                    self._client.remove_toxic(self._proxy, self._toxic)
            except HarnessError as error:
                reason = error
            else:
                self._set = False
                return
        message = f"the {self.kind} on {self._proxy} could not be removed: {reason}"
        raise CleanUpIncomplete(message) from reason

    def undo(self) -> None:
        """After ``set`` failed or was interrupted: remove what is there of it. Raises CleanUpIncomplete."""
        if self._set and self._there():
            self.remove()
        self._set = False

    def _there(self) -> bool:
        try:
            if self.kind is FaultKind.PROXY_DOWN:
                return not self._client.proxy(self._proxy).enabled
            return self._toxic in self._client.toxics(self._proxy)
        except ToxiproxyDiffers:
            return False
        except HarnessError as error:
            message = f"whether the {self.kind} on {self._proxy} is gone can't be told: {error}"
            raise CleanUpIncomplete(message) from error


class Breakable(Protocol):
    """What ``outage`` needs of a story."""

    @property
    def history(self) -> object:
        """The story's record; its ``world`` says where the story takes place."""
        ...


def outage(
    story: Breakable,
    kind: FaultKind | str,
    stream: str = "",
    **parameters: float,
) -> AbstractContextManager[Outage]:
    """An outage of the target's wire while the context is open, recorded in the story's history.

    Kinds, parameters and their units are those of a fault plan: ``latency`` in
    milliseconds, ``rate`` in bytes a second. Raises NotRun in a world without a wire, and what :class:`Outage` raises.
    """
    wire = getattr(story, "outage", None)
    if wire is None:
        world = getattr(story.history, "world", "this")
        message = f"needs a wire to break: the {world} world has none; run it live (--licensing-world live)"
        raise NotRun(message)
    opened: AbstractContextManager[Outage] = wire(kind, stream, **parameters)
    return opened


def fault_kind(kind: FaultKind | str) -> FaultKind:
    """The kind of an outage by name, ``reset_peer`` and ``reset-peer`` alike. Raises UsageError."""
    found = next((each for each in OUTAGES if each == str(kind).replace("_", "-")), None)
    if found is None:
        message = f"outage: {str(kind)!r} is no kind of outage; choose from {', '.join(OUTAGES)}"
        raise UsageError(message)
    return found
