"""The generated families, one for each kind of promise: what they try is in :mod:`~licensing_harness.generate.mix`."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from licensing_harness.generate.machine import WHICH, LicensingMachine
from licensing_harness.generate.mix import AUDIT, IDEMPOTENCY, REVOCATION, SEATS, SHORT_TERMS, VALIDITY
from licensing_harness.vocabulary import Cap
from licensing_harness.worlds.story import DEVICES, VENDOR, Story


class SeatsMachine(LicensingMachine, mix=SEATS):
    """Devices take, keep and give back seats of licences that have fewer of them than there are devices."""

    @rule(device=st.sampled_from(DEVICES), which=WHICH)
    def outlive(self, device: str, which: int) -> None:
        """Every lease runs out, then a device asks for a seat: rarely met by chance alone."""
        if self.wait_leases(1.1):
            self.tell("start", device, "activate", self.label(which))


class RevocationMachine(LicensingMachine, mix=REVOCATION):
    """The vendor revokes, suspends, reinstates and renews while devices use the licence."""

    @rule(verb=st.sampled_from(("validate", "activate", "issue_token", "validate_token")), which=WHICH)
    def revoke_in_use(self, verb: str, which: int) -> None:
        """All devices use a licence, it is revoked, and they try again: a yes before, and a try after."""
        if self.able(verb) and self.able("revoke"):
            self.tell("contend", verb, self.label(which))
            self.tell("settle")
            self.tell("call", VENDOR, "revoke", self.label(which))
            self.tell("contend", verb, self.label(which))


class ValidityMachine(LicensingMachine, mix=VALIDITY):
    """Terms end, are renewed and suspended while devices ask; crashes and power losses in between."""

    @rule(term=st.sampled_from(SHORT_TERMS))
    def outlive(self, term: float) -> None:
        """A licence is used within its term and after it: rarely met by chance alone, for any renewal spoils it."""
        self.tell("fresh_licence", duration=term)
        self.tell("contend", "validate", self.label(0))
        self.tell("settle")
        if self._advance(term * 1.1):
            self.tell("contend", "validate", self.label(0))


class IdempotencyMachine(LicensingMachine, mix=IDEMPOTENCY):
    """Issues are cut, crashed upon and sent again with the same key, by one client or by all at once."""

    def finish(self, story: Story) -> None:
        """Every key is used once more, and the trail is read."""
        story.settle()
        for label in story.labels:
            story.call(VENDOR, "issue", label)
        _read_trail(story)


class AuditMachine(LicensingMachine, mix=AUDIT):
    """A bit of everything that changes state; at the end the trail is read."""

    def finish(self, story: Story) -> None:
        """The trail is read when nothing is under way any more."""
        story.settle()
        _read_trail(story)


def _read_trail(story: Story) -> None:
    if Cap.AUDIT in story.capabilities:
        story.call(VENDOR, "audit_log")
