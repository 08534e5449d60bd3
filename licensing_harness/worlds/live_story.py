"""One story in the live world: calls on their clients' threads, cuts on their links, crashes for real."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from licensing_harness.errors import HarnessError, NotRun
from licensing_harness.faults.outage import Outage, fault_kind
from licensing_harness.faults.plan_file import Places
from licensing_harness.history import Begun, Fault, Operation, StoryHistory
from licensing_harness.target.adapter import Adapter
from licensing_harness.target.recorder import LicenceState, completed, failed, invoke
from licensing_harness.vocabulary import MUTATIONS, FaultKind
from licensing_harness.worlds.breaking import Broken, Wanted
from licensing_harness.worlds.lane import Lane
from licensing_harness.worlds.live_faults import PLACES, WireBroken, break_live
from licensing_harness.worlds.story import Cut, Sign, Story, cut_kind

if TYPE_CHECKING:
    from licensing_harness.worlds.live import LiveWorld


class LiveStory(Story):
    """One story in the live world."""

    world: ClassVar[str] = "live"

    def __init__(self, world: LiveWorld, history: StoryHistory) -> None:
        setting = world.setting
        super().__init__(
            history=history,
            writer=setting.writer,
            masker=setting.masker,
            contract=world.contract,
            capabilities=world.capabilities,
            tag=setting.tag,
            audit_head=world.audit_head,
            forge=setting.forge,
            closed=setting.closed,
        )
        self._live = world
        self._lock = threading.RLock()
        """Held by whoever touches the history: clients end their calls on their own threads."""
        self._issued: list[LicenceState] = []
        self._cuts: dict[str, tuple[int, Cut, float]] = {}
        self._start_together: threading.Barrier | None = None
        self._joined = 0
        self._trouble: HarnessError | None = None
        self.begun = 0
        """Calls that were begun, those under way and those that are over."""
        self._changing: dict[str, Begun] = {}
        """Calls under way that change the target's state, by client."""
        self._writer.flush()

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return round(self._live.clock.now(), 6)

    def idle(self, client: str) -> bool:
        """Whether the client has no call under way: ``start`` would not wait."""
        return self._live.client(client).lane.idle

    @property
    def over(self) -> int:
        """How many calls are over."""
        with self._lock:
            return len(self.history.operations)

    def unacknowledged(self, after: int) -> int:
        """How many changes, of the calls that ended after the first so many, got no answer; or wait for one now."""
        with self._lock:
            late = self.history.operations[after:]
            return len(self._changing) + sum(each.unknown and each.verb in MUTATIONS for each in late)

    # Calls ------------------------------------------------------------------------------------

    def contend(self, verb: str, licence: str, **asked: Any) -> None:
        """Every device sends ``verb`` for ``licence``; the threads wait for each other, then all start."""
        together = self._start_together = threading.Barrier(len(self.devices))
        self._joined = 0
        try:
            super().contend(verb, licence, **asked)
        finally:
            self._start_together = None
            if self._joined < len(self.devices):
                together.abort()  # not every device had a call to make: the others shall not wait for it

    def _send(self, begun: Begun, licence: LicenceState | None, asked: Mapping[str, Any]) -> None:
        self._live.spend()
        self.begun += 1
        client = self._live.client(begun.client)
        together = self._start_together
        self._joined += 1
        with self._lock:
            self._writer.write(begun)
        self._writer.flush()
        if begun.verb in MUTATIONS:
            with self._lock:
                self._changing[begun.client] = begun
        if begun.verb == "issue" and licence is not None and licence not in self._issued:
            self._issued.append(licence)
        client.lane.submit(lambda lane: self._speak(lane, begun, licence, asked, together))

    def _speak(
        self,
        lane: Lane,
        begun: Begun,
        licence: LicenceState | None,
        asked: Mapping[str, Any],
        together: threading.Barrier | None,
    ) -> None:
        """One call, on the client's thread."""
        if together is not None:
            with suppress(threading.BrokenBarrierError):
                together.wait(self._live.setting.timeout)
        adapter: Adapter = lane.adapter
        try:
            try:
                reply = invoke(adapter, begun.verb, licence, begun.client, asked)
                answer = lane.result(reply, self._live.call_limit)
            except HarnessError:
                raise
            except Exception as error:  # noqa: BLE001 - the recorder tells whose fault it is
                end = self.now
                self._ended(failed(begun, end, error))
            else:
                end = self.now
                self._ended(completed(begun, end, answer, licence, self._masker))
        except HarnessError as error:
            with self._lock:
                self._trouble = self._trouble or error

    def _ended(self, operation: Operation) -> None:
        with self._lock:
            self._cut_over(operation.client)
            self._changing.pop(operation.client, None)
            self._finished(operation)
        self._writer.flush()

    def _faulted(self, fault: Fault) -> None:
        with self._lock:
            super()._faulted(fault)
        self._writer.flush()

    def _wait(self, client: str) -> None:
        # Made here when it is new, so that opening its adapter is not part of its first call.
        self._live.wait_for(self._live.client(client))
        self._raise()

    def _settle(self) -> None:
        for client in self._live.clients:
            self._live.wait_for(client)
        self._raise()

    def let_finish(self) -> None:
        """Wait until no call is under way; no step of the plan."""
        self._settle()

    def _raise(self) -> None:
        with self._lock:
            trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    # Faults and time --------------------------------------------------------------------------

    def _cut(self, client: str, what: Cut) -> None:
        with self._lock:
            armed = self._cuts.get(client)
            if armed is not None and armed[1] == what:
                return
            self._cut_over(client)
        self._live.client(client).link.arm(what)
        with self._lock:
            self._cuts[client] = (self._number(), what, self.now)

    def _cut_over(self, client: str) -> None:
        """A cut ends with its client's next call, met or not. The lock is held."""
        if client not in self._cuts:
            return
        n, what, begin = self._cuts.pop(client)
        self._faulted(
            Fault(
                n=n,
                story=self.history.story,
                fault=cut_kind(what),
                begin=begin,
                end=self.now,
                where=client,
                met=self._live.client(client).link.disarm(),
            )
        )

    def _places(self) -> Places:
        return Places(links=PLACES["link"], nodes=PLACES["node"], stores=PLACES["store"])

    def _break(self, wanted: Wanted) -> Broken:
        return break_live(self._live, self, wanted)

    @contextmanager
    def outage(self, kind: FaultKind | str, stream: str = "", **parameters: float) -> Iterator[Outage]:
        """A fault on every client's wire while the context is open: through Toxiproxy, verified, recorded.

        Kinds and parameters are those of a fault plan, as
        :data:`~licensing_harness.faults.outage.OUTAGES` has them. Raises NotRun
        where there is no wire to break, UsageError for a fault that is none,
        HarnessError when it could not be set, CleanUpIncomplete when it could
        not be removed.
        """
        on = self.fault(fault_kind(kind), stream=stream, parameters=parameters)
        broken = on.broken
        assert isinstance(broken, WireBroken)  # noqa: S101 - what every kind of outage is
        try:
            yield broken.outage
        finally:
            self.mend(on)

    def _advance(self, seconds: float) -> None:
        budget = self._live.advance_budget
        if seconds > budget:
            message = (
                f"would wait {seconds:g} s for real, more than the {budget:g} s that a live story may; "
                "the simulated world does it at once, and so does a target with a shorter lease or term"
            )
            raise NotRun(message)
        self._let_pass(seconds)

    def _let_pass(self, seconds: float) -> None:
        self._live.clock.sleep(seconds)
        self.mend_due()
        self._raise()

    def _signer(self) -> Sign | None:
        return self._live.signer()

    def _close(self) -> None:
        with self._lock:
            for client in tuple(self._cuts):
                self._cut_over(client)
        self._live.left(self, self._issued)

    def close(self) -> None:
        """As every story, and on disk."""
        super().close()
        self._writer.flush()
