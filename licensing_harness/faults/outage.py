"""An outage: a toxic on the wire, or the proxy down, set through Toxiproxy and seen to be gone after.

``outage`` is what the fixture ``licensing_outage`` calls.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final, Protocol

from licensing_harness.errors import CleanUpIncomplete, HarnessError, NotRun, UsageError
from licensing_harness.faults.kinds import ATTRIBUTES
from licensing_harness.faults.server import FaultServer
from licensing_harness.faults.toxiproxy import ToxiproxyClient, ToxiproxyDiffers
from licensing_harness.vocabulary import FaultKind

TOXICS: Final = {
    FaultKind.LATENCY: "latency",
    FaultKind.TIMEOUT: "timeout",
    FaultKind.RESET_PEER: "reset_peer",
}
"""Toxiproxy's name for each fault that is a toxic. ``proxy-down`` is none: the proxy is disabled."""

_TRIES: Final = 3


class Outage:
    """One fault on one proxy. ``set`` and ``remove`` are verified by reading the state back.

    Raises UsageError for a kind, stream, toxicity or attribute that does not exist.
    """

    def __init__(
        self,
        server: FaultServer,
        client: ToxiproxyClient,
        proxy: str,
        kind: FaultKind | str,
        *,
        stream: str = "downstream",
        toxicity: float = 1.0,
        attributes: dict[str, int] | None = None,
    ) -> None:
        self.kind = fault_kind(kind)
        self.stream = stream
        self.toxicity = toxicity
        self.attributes = dict(attributes or {})
        self._server = server
        self._client = client
        self._proxy = proxy
        self._toxic = f"{self.kind}-{stream}"
        if stream not in {"upstream", "downstream"}:
            message = f"outage: stream must be 'upstream' or 'downstream', not {stream!r}"
            raise UsageError(message)
        if not 0 < toxicity <= 1:
            message = f"outage: toxicity must be above 0 and at most 1, not {toxicity!r}"
            raise UsageError(message)
        known = ATTRIBUTES[TOXICS[self.kind]] if self.kind in TOXICS else ()
        for name, value in self.attributes.items():
            if name not in known:
                message = f"outage: {self.kind} has no attribute {name!r}; it has {', '.join(known) or 'none'}"
                raise UsageError(message)
            if type(value) is not int or value < 0:
                message = f"outage: {name} must be whole milliseconds, zero or more, not {value!r}"
                raise UsageError(message)

    def set(self) -> None:
        """Begin the fault. Raises HarnessError when it could not be set or does not show as set."""
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
        """How many chunks it was applied to; None when this server does not tell."""
        return None if self.kind is FaultKind.PROXY_DOWN else self._server.hits(self._proxy, self._toxic)

    def remove(self) -> None:
        """End the fault, and see that it is gone.

        Raises HarnessError when it was gone before (then it was not there all
        the time), CleanUpIncomplete when it can't be removed.
        """
        if not self._there():
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
                return
        message = f"the {self.kind} on {self._proxy} could not be removed: {reason}"
        raise CleanUpIncomplete(message) from reason

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
    stream: str = "downstream",
    *,
    toxicity: float = 1.0,
    **attributes: int,
) -> AbstractContextManager[Outage]:
    """An outage of the target's wire while the context is open, recorded in the story's history.

    Raises NotRun in a world without a wire, and what :class:`Outage` raises.
    """
    wire = getattr(story, "outage", None)
    if wire is None:
        world = getattr(story.history, "world", "this")
        message = f"needs a wire to break: the {world} world has none; run it live (--licensing-world live)"
        raise NotRun(message)
    opened: AbstractContextManager[Outage] = wire(kind, stream, toxicity=toxicity, **attributes)
    return opened


def fault_kind(kind: FaultKind | str) -> FaultKind:
    """The kind of an outage by name, ``reset_peer`` and ``reset-peer`` alike. Raises UsageError."""
    outages = (*TOXICS, FaultKind.PROXY_DOWN)
    found = next((each for each in outages if each == str(kind).replace("_", "-")), None)
    if found is None:
        message = f"outage: {str(kind)!r} is no kind of outage; choose from {', '.join(outages)}"
        raise UsageError(message)
    return found
