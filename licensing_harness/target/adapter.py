"""The contract between the harness and a licensing system: what a user writes.

An adapter states what its target can do (``capabilities``), the numbers the
target promises (``contract``), and has a method for each verb of these
capabilities. A method returns an answer (:class:`Grant`, :class:`Allowed`,
:class:`Denied`, ...) and raises or returns :class:`Indeterminate` where it can't
tell. Timeouts and transport errors need not be caught: the recorder reads them
as unknown.

Methods are ``def`` with any client library, or ``async def`` over
``target.http``; only the latter run in the simulated world. The harness makes
one adapter object for each client, so an adapter need not be thread-safe.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from licensing_harness.clock import RealClock
from licensing_harness.errors import UsageError
from licensing_harness.vocabulary import METHODS, Answer, Cap, Contract, Grant, LicenceSpec

Reply = Answer | Awaitable[Answer]
_KNOWN: frozenset[object] = frozenset(Cap)


class HttpResponse(Protocol):
    """What ``target.http`` answers: the part of httpx2's Response that both worlds have."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, looked up in any case."""
        ...

    @property
    def content(self) -> bytes:
        """The body as it came."""
        ...

    @property
    def text(self) -> str:
        """The body as text."""
        ...

    def json(self) -> Any:
        """The body as JSON; raises json.JSONDecodeError when it is none."""
        ...


class Http(Protocol):
    """``target.http``: an asynchronous client for the target's base URL.

    Raises an ``OSError`` or the client library's transport error when no answer came.
    """

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """Send one request; ``url`` is a path below the base URL."""
        ...


@dataclass(kw_only=True, slots=True)
class Target:
    """What the world gives an adapter in ``open``."""

    url: str
    timeout: float
    http: Http
    client: str
    """The name of the client that this adapter object speaks for."""
    tag: str
    """Unique to the run; put it into what you create, so that it can be told apart and removed."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, str] = field(default_factory=dict)
    """The URLs of the target's nodes by name, where the world knows several; ``url`` is the first one's."""
    clock: Callable[[], float] = field(default_factory=lambda: RealClock().wall)
    """Unix seconds on this client's own clock, which a fault may set wrong."""

    def secret(self, name: str) -> str:
        """A secret by name: LICENSING_SECRET_<NAME> of the environment, or the world's own.

        Raises UsageError, naming the variable to set, when it is missing.
        """
        try:
            return self.secrets[name.lower()]
        except KeyError:
            message = f"the adapter asks for the secret {name!r}: set LICENSING_SECRET_{name.upper()}"
            raise UsageError(message) from None


class Adapter:
    """Subclass this and add the methods of the capabilities you declare. None is required."""

    capabilities: ClassVar[frozenset[Cap] | set[Cap]] = frozenset()
    not_applicable: ClassVar[Mapping[Cap, str]] = {}
    contract: ClassVar[Contract] = Contract()

    def open(self, target: Target) -> None:
        """Get ready to speak to the target. Must not change the target's state."""

    def close(self) -> Awaitable[None] | None:
        """Let go of connections. Must not change the target's state."""
        return None

    def issue(self, spec: LicenceSpec) -> Reply:
        """Make a licence; answer ``Grant(id=, key=, expires=, server_time=)``.

        Repeats of one ``spec.idempotency_key`` answer the same licence.
        """
        raise NotImplementedError

    def validate(self, key: str, machine: str | None = None) -> Reply:
        """Whether this licence is good now: ``Allowed(features, expires=, server_time=)`` or ``Denied(reason)``."""
        raise NotImplementedError

    def renew(self, grant: Grant, duration: float) -> Reply:
        """A new term of ``duration`` seconds from now; ``Allowed(expires=, server_time=)``."""
        raise NotImplementedError

    def suspend(self, grant: Grant) -> Reply:
        """Stop it for now."""
        raise NotImplementedError

    def reinstate(self, grant: Grant) -> Reply:
        """End a suspension."""
        raise NotImplementedError

    def revoke(self, grant: Grant) -> Reply:
        """Stop it for good."""
        raise NotImplementedError

    def activate(self, key: str, machine: str) -> Reply:
        """Take a seat for ``machine``; ``Allowed(lease_until=)`` or ``Denied(Reason.NO_FREE_SEAT)``."""
        raise NotImplementedError

    def heartbeat(self, key: str, machine: str) -> Reply:
        """Keep the seat for another lease."""
        raise NotImplementedError

    def release(self, key: str, machine: str) -> Reply:
        """Give the seat back."""
        raise NotImplementedError

    def issue_token(self, key: str) -> Reply:
        """A short-lived access token; ``Allowed(token=, expires=)``."""
        raise NotImplementedError

    def validate_token(self, token: str) -> Reply:
        """Whether this access token is good now."""
        raise NotImplementedError

    def jwks(self) -> Reply:
        """The public keys as ``KeySet(keys)``."""
        raise NotImplementedError

    def audit_log(self, after: int, licences: frozenset[str]) -> Reply:
        """``AuditPage`` of all entries with a sequence number above ``after``.

        ``licences`` are the ids asked about, for trails that can only be read licence by licence.
        """
        raise NotImplementedError


class ControlAdapter:
    """What the harness may do to the target itself: for targets that it did not start."""

    def restart(self) -> None:
        """Kill the target and start it again, keeping its data; return when it answers."""
        raise NotImplementedError

    def set_clock(self, offset: float) -> None:
        """Put the target's clock ``offset`` seconds before the right time, behind it when negative; 0 sets it right.

        Return when the target goes by it. A restart keeps the offset.
        """
        raise NotImplementedError

    def sign(self, header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes) -> str:
        """A compact JWS over these, by the target's own current key (RFC 7515); bytes are signed as they are."""
        raise NotImplementedError


def has_method(adapter: type[Adapter], name: str) -> bool:
    """Whether the user's class has its own ``name``."""
    return getattr(adapter, name, None) is not getattr(Adapter, name, None)


def check_adapter(adapter: type[Adapter]) -> None:
    """Cross-check capabilities with methods, both ways.

    Raises UsageError that names the adapter, the capability and the method.
    """
    name = f"{adapter.__module__}:{adapter.__qualname__}"
    for cap in sorted(adapter.capabilities):
        if cap not in _KNOWN:
            message = f"licensing adapter {name}: {cap!r} is no capability; choose from {', '.join(Cap)}"
            raise UsageError(message)
        for method in METHODS.get(cap, ()):
            if not has_method(adapter, method):
                message = f"licensing adapter {name}: declares {cap.value} but has no {method}()"
                raise UsageError(message)
    for cap, methods in METHODS.items():
        if cap in adapter.capabilities:
            continue
        for method in methods:
            if has_method(adapter, method):
                message = (
                    f"licensing adapter {name}: has {method}() but does not declare {cap.value}. "
                    f"Add Cap.{cap.name} to capabilities, or remove the method."
                )
                raise UsageError(message)
    for cap in adapter.not_applicable:
        if cap in adapter.capabilities:
            message = f"licensing adapter {name}: {cap} is both declared and not applicable; keep one"
            raise UsageError(message)
    stated: object = adapter.contract
    if not isinstance(stated, Contract):
        message = f"licensing adapter {name}: contract must be a Contract(...), not {stated!r}"
        raise UsageError(message)


def blocking_verbs(adapter: type[Adapter]) -> list[str]:
    """The declared verbs that are plain ``def`` and so can't run in the simulated world."""
    return [
        method
        for cap in sorted(adapter.capabilities)
        for method in METHODS.get(cap, ())
        if not inspect.iscoroutinefunction(getattr(adapter, method))
    ]


AdapterFactory = Callable[[], Adapter]
