"""The words that adapters, worlds, checkers and reports share.

Seconds are ``float``. A time that a target states (``expires``, ``lease_until``,
``server_time``) is Unix time on the target's own clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final


class Cap(StrEnum):
    """A capability: something a target says it can do."""

    ISSUE = "issue"
    VALIDATE = "validate"
    RENEW = "renew"
    SUSPEND = "suspend"
    REVOKE = "revoke"
    IDEMPOTENCY = "idempotency"
    """``issue`` honours ``spec.idempotency_key``: one key makes one licence."""
    SEATS = "seats"
    HEARTBEAT = "heartbeat"
    TOKENS = "tokens"
    AUDIT = "audit"
    AUDIT_CHAIN = "audit-chain"
    """Audit entries carry the published SHA-256 chain; see ``AuditEntry``."""
    RESTART = "restart"
    """The harness may kill and start the target (a target it started, or a ControlAdapter)."""
    TEST_SIGNER = "test-signer"
    """The harness may sign with the target's own key what no honest server would."""
    ROLLOUT = "rollout"
    USAGE = "usage"
    OFFLINE = "offline-grace"


METHODS: Final[Mapping[Cap, tuple[str, ...]]] = {
    Cap.ISSUE: ("issue",),
    Cap.VALIDATE: ("validate",),
    Cap.RENEW: ("renew",),
    Cap.SUSPEND: ("suspend", "reinstate"),
    Cap.REVOKE: ("revoke",),
    Cap.SEATS: ("activate", "release"),
    Cap.HEARTBEAT: ("heartbeat",),
    Cap.TOKENS: ("issue_token", "validate_token", "jwks"),
    Cap.AUDIT: ("audit_log",),
}
"""The adapter methods that a capability is made of. Capabilities not listed add a quality, not a method."""

CAP_OF: Final[Mapping[str, Cap]] = {method: cap for cap, methods in METHODS.items() for method in methods}
"""The capability that each verb belongs to."""

ADDED: Final = frozenset({Cap.RESTART, Cap.TEST_SIGNER})
"""Capabilities that no adapter states: the harness adds them where it started the target, or has a control."""

MUTATIONS: Final = frozenset({"issue", "renew", "suspend", "reinstate", "revoke", "activate", "heartbeat", "release"})
"""Verbs that change the target's state: each is tried with its request lost and with its answer lost."""


class Outcome(StrEnum):
    """How one call ended, as its client saw it."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """It may have taken effect or not, now or later. Never read as refused."""


class Reason(StrEnum):
    """Reasons that checkers understand. An adapter may give any other text as well."""

    REVOKED = "revoked"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    NO_FREE_SEAT = "no-free-seat"
    NO_SUCH_SEAT = "no-such-seat"
    UNKNOWN_LICENCE = "unknown-licence"
    IDEMPOTENCY_CONFLICT = "idempotency-conflict"
    INVALID_TOKEN = "invalid-token"  # noqa: S105 - a reason code
    NOT_AUTHORISED = "not-authorised"


class FaultKind(StrEnum):
    """What can be done to the wire, a process, the clock or a store."""

    CUT_REQUEST = "cut-request"
    """The request never arrived."""
    CUT_ANSWER = "cut-answer"
    """It was applied and the answer was lost."""
    CRASH = "crash"
    """The process was killed (SIGKILL) and started again; what was committed stays."""
    POWER_LOSS = "power-loss"
    """As a crash, and what was not fsynced is gone."""
    LATENCY = "latency"
    TIMEOUT = "timeout"
    RESET_PEER = "reset-peer"
    PROXY_DOWN = "proxy-down"
    BANDWIDTH = "bandwidth"
    SLICER = "slicer"
    SLOW_CLOSE = "slow-close"
    LIMIT_DATA = "limit-data"
    LOSE_CONNECTIONS = "lose-connections"
    STATUS = "status"
    """The call was answered on the wire, with an error or a page of somebody else, and never reached the target."""
    TRUNCATE_BODY = "truncate-body"
    CORRUPT_BODY = "corrupt-body"
    STALE_ANSWER = "stale-answer"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    CLOCK_OFFSET = "clock-offset"
    CLOCK_DRIFT = "clock-drift"
    CLOCK_JUMP = "clock-jump"
    CLOCK_ROLLBACK = "clock-rollback"
    CLOCK_FREEZE = "clock-freeze"
    PAUSE = "pause"
    """The process was stopped (SIGSTOP) and let go on (SIGCONT)."""
    RESTART = "restart"
    """The process was asked to end (SIGTERM) and started again."""
    STORE_LOCKED = "store-locked"
    STORE_READ_ONLY = "store-read-only"
    STORE_FULL = "store-full"
    STORE_SLOW = "store-slow"
    STORE_GONE = "store-gone"
    TERMINATED_BACKENDS = "terminated-backends"
    """The database ended the sessions that were open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """The numbers a target states of itself, all in seconds.

    A number that is not stated (``None``) makes the promises that need it
    *not run*, naming the field.
    """

    revocation_bound: float | None = None
    """After an acknowledged revoke, how long a yes may still be given."""
    lease: float | None = None
    """How long a seat is held without a heartbeat."""
    token_lifetime: float | None = None
    grace: float | None = None
    clock_tolerance: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
                message = f"Contract({each.name}={value!r}): give seconds, zero or more"
                raise ValueError(message)

    def as_dict(self) -> dict[str, float]:
        """The stated numbers only."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class LicenceSpec:
    """What ``issue`` is asked for. ``duration`` is seconds until it expires, None for never."""

    plan: str = "standard"
    seats: int = 1
    features: tuple[str, ...] = ("base",)
    duration: float | None = None
    customer: str = ""
    idempotency_key: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """An issued licence. ``id`` may be shown; ``key`` is a secret and is masked in every output."""

    id: str
    key: str
    features: frozenset[str] = frozenset()
    expires: float | None = None
    server_time: float | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """Yes. State what the target states; leave the rest out."""

    features: frozenset[str] = frozenset()
    expires: float | None = field(default=None, kw_only=True)
    lease_until: float | None = field(default=None, kw_only=True)
    token: str | None = field(default=None, kw_only=True)
    server_time: float | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Denied:
    """No, and why: one of :class:`Reason` where it fits, else the target's own code."""

    reason: str
    server_time: float | None = field(default=None, kw_only=True)


class Indeterminate(Exception):
    """Neither yes nor no: a 5xx, a proxy's page, a rate limit. Recorded as unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One line of the target's audit trail.

    ``action`` is the harness's verb (``issue``, ``revoke``, ...) where one fits,
    else the target's own word. With ``Cap.AUDIT_CHAIN``: ``hash`` is SHA-256, in
    hexadecimal, over the 32 bytes of ``previous`` followed by the RFC 8785 form
    of ``event``; ``previous`` of the first entry is 64 zeros.
    """

    seq: int
    actor: str
    action: str
    licence: str
    event: Mapping[str, Any] = field(default_factory=dict)
    previous: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries after the sequence number asked for, oldest first, complete up to now."""

    entries: Sequence[AuditEntry]


@dataclass(frozen=True, slots=True)
class KeySet:
    """A JSON Web Key Set (RFC 7517): the value of its ``keys`` member."""

    keys: Sequence[Mapping[str, Any]]


Answer = Grant | Allowed | Denied | Indeterminate | AuditPage | KeySet
