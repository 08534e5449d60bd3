"""Bugs of the audit trail: entries that are missing, surplus, late, anonymous, or not covered by the chain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from reference_server.errors import Refused
from reference_server.ledger import canonical
from reference_server.projection import Overlay
from reference_server.rules.commands import Activate, Command, Renew, Revoke, Suspend
from reference_server.rules.states import Outcome
from reference_server.writer import Answer, Writer

if TYPE_CHECKING:
    from reference_server.composition import Parts


class _Unlogged(Overlay):
    """An overlay that may hold changes without an event."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit, event or not."""
        return super().empty and not self.licences


def renewal_not_logged(parts: Parts) -> Parts:
    """One path writes the new state and forgets the trail."""

    class Forgetful(_Unlogged):
        """Has no entry for a renewal."""

        def record(self, command: Command, outcome: Outcome) -> None:
            if isinstance(command, Renew):
                self.change(outcome, 0)
            else:
                super().record(command, outcome)

    class ForgetfulWriter(Writer):
        """See Forgetful."""

        overlay = Forgetful

    return replace(parts, writer=ForgetfulWriter)


def refusals_logged(parts: Parts) -> Parts:
    """An activation is logged when it is asked for, and stays in the trail when it is refused."""

    class Hasty(Writer):
        """Logs before it decides."""

        def one(self, overlay: Overlay, command: Command, now: int) -> Answer:
            try:
                return super().one(overlay, command, now)
            except Refused:
                if isinstance(command, Activate):
                    data = {"device": command.device, "lease_until": now}
                    overlay.record(command, Outcome(action="activate", licence_id=command.licence_id, data=data))
                raise

    return replace(parts, writer=Hasty)


def trail_written_late(parts: Parts) -> Parts:
    """A suspension's entry goes through a queue of its own and lands behind what happened after it."""
    late: list[tuple[Command, Outcome]] = []

    class Queued(_Unlogged):
        """Holds the entry of a suspension back until after the next one."""

        def record(self, command: Command, outcome: Outcome) -> None:
            if isinstance(command, Suspend) and not late:
                self.change(outcome, 0)
                late.append((command, outcome))
                return
            super().record(command, outcome)
            while late:
                held, what = late.pop()
                super().record(held, msgspec.structs.replace(what, licence=None))

    class QueuedWriter(Writer):
        """See Queued."""

        overlay = Queued

    return replace(parts, writer=QueuedWriter)


def actor_missing(parts: Parts) -> Parts:
    """A revocation is entered without saying who ordered it."""

    class Anonymous(Overlay):
        """Leaves out the actor of a revocation."""

        def record(self, command: Command, outcome: Outcome) -> None:
            if isinstance(command, Revoke):
                command = msgspec.structs.replace(command, actor="")
            super().record(command, outcome)

    class AnonymousWriter(Writer):
        """See Anonymous."""

        overlay = Anonymous

    return replace(parts, writer=AnonymousWriter)


def chain_skips_actor(parts: Parts) -> Parts:
    """The hash covers every field of an event but its actor, which can be changed afterwards."""

    def seal(previous: bytes, body: bytes) -> bytes:
        event = msgspec.json.decode(body)
        del event["actor"]
        return parts.seal(previous, canonical(event))

    return replace(parts, seal=seal)
