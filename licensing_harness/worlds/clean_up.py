"""What a run made on a target that is not ours is revoked at its end, and seen to be."""

from __future__ import annotations

from typing import Any, Final

from licensing_harness.clock import Clock
from licensing_harness.errors import CleanUpIncomplete, HarnessError
from licensing_harness.target.adapter import Adapter
from licensing_harness.target.recorder import LicenceState, no_answer
from licensing_harness.vocabulary import Allowed, Cap, Denied, Grant, Reason
from licensing_harness.worlds.lane import Lane, blame
from licensing_harness.worlds.story import Setting

_TRIES: Final = 4
_PAUSE: Final = 0.2
_GONE: Final = frozenset({Reason.REVOKED, Reason.UNKNOWN_LICENCE})


class CleanUp:
    """Revokes licences through the vendor's adapter. Nothing of it is in the history."""

    def __init__(self, setting: Setting, clock: Clock, limit: float) -> None:
        self._setting = setting
        self._clock = clock
        self._limit = limit
        self._caps = setting.adapter.capabilities

    def run(self, lane: Lane, licences: list[LicenceState]) -> list[str]:
        """Revoke all of them; returns notes on what stays although nothing went wrong.

        Raises CleanUpIncomplete, with the count and the tag, when licences remain.
        """
        if Cap.REVOKE not in self._caps:
            made = sum(len(licence.grants) for licence in licences)
            return [f"{made} licences stay on the target, tagged {self._setting.tag}: its adapter can't revoke"]
        left: list[str] = []
        unsure = 0
        for licence in licences:
            if licence.grant is None:
                reason = self._find(lane, licence)
                unsure += bool(reason)
            left += [reason for grant in licence.grants if (reason := self._revoke(lane, grant))]
        if left:
            message = (
                f"{len(left)} licences of this run, tagged {self._setting.tag}, are still on the target: "
                f"{self._setting.masker.mask(left[0])}"
            )
            raise CleanUpIncomplete(message)
        if unsure:
            return [f"{unsure} issues without an answer may have left licences, tagged {self._setting.tag}"]
        return []

    def _find(self, lane: Lane, licence: LicenceState) -> str:
        """An issue whose answer was lost may have made a licence: ask again under its key to get at it."""
        if Cap.IDEMPOTENCY not in self._caps:
            return "the issue's outcome is unknown"
        answer = self._ask(lane, lambda adapter: adapter.issue(licence.spec))
        if isinstance(answer, Grant):
            self._setting.masker.register(answer.key)
            licence.grants.append(answer)
            return ""
        return "" if isinstance(answer, Denied) else str(answer)

    def _revoke(self, lane: Lane, grant: Grant) -> str:
        """Why the licence may still be good; empty when it is not."""
        answer = self._ask(lane, lambda adapter: adapter.revoke(grant))
        match answer:
            case Allowed():
                return ""
            case Denied() if answer.reason in _GONE:
                return ""
            case Denied() if Cap.VALIDATE in self._caps:
                seen = self._ask(lane, lambda adapter: adapter.validate(grant.key))
                return "" if isinstance(seen, Denied) else f"revoke was refused: {answer.reason}"
            case Denied():
                return f"revoke was refused: {answer.reason}"
            case _:
                return str(answer)

    def _ask(self, lane: Lane, call: Any) -> Any:
        """The answer, or why there is none after some tries."""
        told: list[Any] = []

        def work(on: Lane) -> None:
            adapter: Adapter = on.adapter
            try:
                told.append(on.result(call(adapter), self._limit))
            except HarnessError as error:
                told.append(error)  # of the adapter's use: asking again changes nothing
            except Exception as error:  # noqa: BLE001 - every way of not answering is told alike
                told.append(no_answer(error) or blame(error))

        for attempt in range(_TRIES):
            if attempt:
                self._clock.sleep(_PAUSE * attempt)
            lane.submit(work)
            if not lane.wait(self._limit + 1):
                return "the adapter does not return"
            if isinstance(told[-1], Allowed | Denied | Grant | HarnessError):
                break
        return told[-1]
