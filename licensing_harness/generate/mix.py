"""What generated stories are made of: which verbs, how often, with which terms, seats and pauses. One table.

The stories that Hypothesis draws (:mod:`~licensing_harness.generate.families`)
each aim at one kind of promise; those of a seed
(:mod:`~licensing_harness.generate.draw`) try all of it at once. Both read their
row here, so that a verb or a size that one of them tries is seen beside what the
others do of it.

A row is also an order: draws come from it, so moving a verb changes every story
that is drawn after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from licensing_harness.worlds.story import GAPS

TERMS: Final = (0.3, 1.0, 3.0, 60.0)
"""Seconds of a term: over within a story, or not."""

SHORT_TERMS: Final = TERMS[:2]
"""Terms that a story can wait for."""

AROUND_TERMS: Final = (*GAPS, 0.5, 0.95, 1.05)
"""Pauses between steps, seconds: gaps, and right before and after a term of a second."""

LEASES: Final = (0.5, 0.9, 1.1)
"""Pauses as parts of a lease: within it, right before its end, after it."""

FEATURES: Final = (("base",), ("base", "export"), ("export",))


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """A row of the table. Weights are per verb; of other values each is as likely as it is often there."""

    device_verbs: Mapping[str, int] = field(default_factory=lambda: {"validate": 1})
    vendor_verbs: Mapping[str, int] = field(default_factory=dict)
    contended: tuple[str, ...] = ("validate",)
    """What every device may do at once; those of a seed contend for any of their verbs."""
    seats: tuple[int, ...] = (1, 2)
    durations: tuple[float | None, ...] = (None,)
    """Terms of new licences, seconds; None never ends."""
    features: tuple[tuple[str, ...], ...] = (("base",),)
    advances: tuple[float, ...] = GAPS
    leases: tuple[float, ...] = ()
    crashes: int = 2
    """At most so many in a story that Hypothesis draws; those of a seed have no such bound."""


SEATS: Final = Mix(
    device_verbs={"activate": 4, "release": 2, "heartbeat": 2},
    contended=("activate", "activate", "release", "heartbeat"),
    leases=LEASES,
)
REVOCATION: Final = Mix(
    device_verbs={"validate": 4, "activate": 2, "heartbeat": 1, "issue_token": 1, "validate_token": 1},
    vendor_verbs={"revoke": 3, "suspend": 1, "reinstate": 1, "renew": 1},
    contended=("validate", "activate", "validate_token"),
    seats=(2, 3),
    durations=(None, 60.0),
)
VALIDITY: Final = Mix(
    device_verbs={"validate": 1},
    vendor_verbs={"renew": 2, "suspend": 1, "reinstate": 1},
    durations=(None, 1.0, 3.0),
    features=FEATURES,
    advances=AROUND_TERMS,
)
IDEMPOTENCY: Final = Mix(
    device_verbs={"issue": 2, "validate": 1},
    vendor_verbs={"issue": 1},
    contended=("issue",),
    crashes=3,
)
AUDIT: Final = Mix(
    device_verbs={"activate": 2, "heartbeat": 1, "release": 1},
    vendor_verbs={"renew": 1, "suspend": 1, "reinstate": 1, "revoke": 1, "issue": 1, "audit_log": 1},
    contended=("activate", "release"),
    durations=(None, 60.0),
)
EVERYTHING: Final = Mix(
    device_verbs={
        "validate": 4,
        "activate": 6,
        "heartbeat": 3,
        "release": 3,
        "issue_token": 2,
        "validate_token": 2,
        "issue": 1,
    },
    vendor_verbs={"revoke": 1, "suspend": 2, "reinstate": 2, "renew": 2, "issue": 2, "audit_log": 1},
    seats=(1, 1, 2, 2, 3),
    durations=(None, None, None, 60.0, 3.0, 1.0),
    features=FEATURES,
    advances=AROUND_TERMS,
    leases=LEASES,
)
"""The row of ``explore``."""

MIXES: Final[Mapping[str, Mix]] = {
    "seats": SEATS,
    "revocation": REVOCATION,
    "validity": VALIDITY,
    "idempotency": IDEMPOTENCY,
    "audit": AUDIT,
    "explore": EVERYTHING,
}
