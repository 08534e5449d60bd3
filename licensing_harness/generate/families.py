"""The generated families: which verbs, terms, cuts and crashes each kind of promise is tried with."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from licensing_harness.generate.machine import WHICH, LicensingMachine
from licensing_harness.vocabulary import Cap
from licensing_harness.worlds.story import DEVICES, GAPS, VENDOR, Story


class SeatsMachine(LicensingMachine):
    """Devices take, keep and give back seats of licences that have fewer of them than there are devices."""

    device_verbs: ClassVar = {"activate": 4, "release": 2, "heartbeat": 2}
    contended: ClassVar = ("activate", "activate", "release", "heartbeat")
    leases: ClassVar = (0.5, 0.9, 1.1)

    @rule(device=st.sampled_from(DEVICES), which=WHICH)
    def outlive(self, device: str, which: int) -> None:
        """Every lease runs out, then a device asks for a seat: rarely met by chance alone."""
        if self.wait_leases(1.1):
            self.tell("start", device, "activate", self.label(which))


class RevocationMachine(LicensingMachine):
    """The vendor revokes, suspends, reinstates and renews while devices use the licence."""

    device_verbs: ClassVar = {"validate": 4, "activate": 2, "heartbeat": 1, "issue_token": 1, "validate_token": 1}
    vendor_verbs: ClassVar = {"revoke": 3, "suspend": 1, "reinstate": 1, "renew": 1}
    contended: ClassVar = ("validate", "activate", "validate_token")
    seats: ClassVar = (2, 3)
    durations: ClassVar = (None, 60.0)

    @rule(verb=st.sampled_from(("validate", "activate", "issue_token", "validate_token")), which=WHICH)
    def revoke_in_use(self, verb: str, which: int) -> None:
        """All devices use a licence, it is revoked, and they try again: a yes before, and a try after."""
        if self.able(verb) and self.able("revoke"):
            self.tell("contend", verb, self.label(which))
            self.tell("settle")
            self.tell("call", VENDOR, "revoke", self.label(which))
            self.tell("contend", verb, self.label(which))


class ValidityMachine(LicensingMachine):
    """Terms end, are renewed and suspended while devices ask; crashes and power losses in between."""

    device_verbs: ClassVar = {"validate": 1}
    vendor_verbs: ClassVar = {"renew": 2, "suspend": 1, "reinstate": 1}
    durations: ClassVar = (None, 1.0, 3.0)
    features: ClassVar = (("base",), ("base", "export"), ("export",))
    advances: ClassVar = (*GAPS, 0.5, 0.95, 1.05)

    @rule(term=st.sampled_from((0.3, 1.0)))
    def outlive(self, term: float) -> None:
        """A licence is used within its term and after it: rarely met by chance alone, for any renewal spoils it."""
        self.tell("fresh_licence", duration=term)
        self.tell("contend", "validate", self.label(0))
        self.tell("settle")
        if self._advance(term * 1.1):
            self.tell("contend", "validate", self.label(0))


class IdempotencyMachine(LicensingMachine):
    """Issues are cut, crashed upon and sent again with the same key, by one client or by all at once."""

    device_verbs: ClassVar = {"issue": 2, "validate": 1}
    vendor_verbs: ClassVar = {"issue": 1}
    contended: ClassVar = ("issue",)
    crashes: ClassVar = 3

    def finish(self, story: Story) -> None:
        """Every key is used once more, and the trail is read."""
        story.settle()
        for label in story.labels:
            story.call(VENDOR, "issue", label)
        _read_trail(story)


class AuditMachine(LicensingMachine):
    """A bit of everything that changes state; at the end the trail is read."""

    device_verbs: ClassVar = {"activate": 2, "heartbeat": 1, "release": 1}
    vendor_verbs: ClassVar = {"renew": 1, "suspend": 1, "reinstate": 1, "revoke": 1, "issue": 1, "audit_log": 1}
    contended: ClassVar = ("activate", "release")
    durations: ClassVar = (None, 60.0)

    def finish(self, story: Story) -> None:
        """The trail is read when nothing is under way any more."""
        story.settle()
        _read_trail(story)


def _read_trail(story: Story) -> None:
    if Cap.AUDIT in story.capabilities:
        story.call(VENDOR, "audit_log")
