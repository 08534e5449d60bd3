"""One story in the live world: calls on their clients' threads, cuts on their links, crashes for real."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from licensing_harness.errors import HarnessError, NotRun
from licensing_harness.faults.outage import Outage
from licensing_harness.history import Begun, Fault, Operation, StoryHistory
from licensing_harness.target.adapter import Adapter
from licensing_harness.target.recorder import LicenceState, completed, failed, invoke
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.lane import Lane
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
        self._lock = threading.Lock()
        """Held by whoever touches the history: clients end their calls on their own threads."""
        self._issued: list[LicenceState] = []
        self._cuts: dict[str, tuple[int, Cut, float]] = {}
        self._start_together: threading.Barrier | None = None
        self._joined = 0
        self._trouble: HarnessError | None = None
        self._writer.flush()

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return round(self._live.clock.now(), 6)

    def idle(self, client: str) -> bool:
        """Whether the client has no call under way: ``start`` would not wait."""
        return self._live.client(client).lane.idle

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
        client = self._live.client(begun.client)
        together = self._start_together
        self._joined += 1
        with self._lock:
            self._writer.write(begun)
        self._writer.flush()
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
            self._finished(operation)
        self._writer.flush()

    def _wait(self, client: str) -> None:
        # Made here when it is new, so that opening its adapter is not part of its first call.
        self._live.wait_for(self._live.client(client))
        self._raise()

    def _settle(self) -> None:
        for client in self._live.clients:
            self._live.wait_for(client)
        self._raise()

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

    def _crash(self, *, power: bool) -> None:
        if power:
            message = "kill -9 can't show what an fsync lost; the simulated world does (--licensing-world simulated)"
            raise NotRun(message)
        self._live.require_restart()
        under_way = sum(not client.lane.idle for client in self._live.clients)
        n, begin = self._number(), self.now
        end: float | None = None
        try:
            self._live.restart()
            end = self.now
        finally:
            with self._lock:
                self._faulted(
                    Fault(
                        n=n,
                        story=self.history.story,
                        fault=FaultKind.CRASH,
                        begin=begin,
                        end=end,
                        where="target",
                        met=1,
                        detail={"calls": under_way},
                    )
                )
            self._writer.flush()

    @contextmanager
    def outage(
        self, kind: FaultKind | str, stream: str = "downstream", *, toxicity: float = 1.0, **attributes: int
    ) -> Iterator[Outage]:
        """A fault on every client's wire while the context is open: through Toxiproxy, verified, recorded.

        Kinds: ``latency`` (latency, jitter), ``timeout`` (timeout), ``reset-peer``
        (timeout) in milliseconds, and ``proxy-down``. Raises NotRun where there
        is no wire to break, UsageError for a fault that is none, HarnessError
        when it could not be set, CleanUpIncomplete when it could not be removed.
        """
        route = self._live.route
        if not route.open:
            self._settle()
            route.open_toxiproxy()
        outage = route.outage(str(kind), stream=stream, toxicity=toxicity, attributes=attributes)
        down = outage.kind is FaultKind.PROXY_DOWN

        def seen() -> int:
            return route.unreachable if down else route.requests

        n, begin, before = self._number(), self.now, seen()
        outage.set()
        if outage.kind is FaultKind.RESET_PEER:
            route.drop()  # a connection that is older than the toxic would get FIN, not RST
        end: float | None = None
        met = 0
        try:
            yield outage
        finally:
            try:
                hits = outage.hits()
                met = seen() - before if hits is None else hits
                outage.remove()
                end = self.now
            finally:
                detail: dict[str, Any] = {"stream": stream, "toxicity": toxicity, **attributes, "by": route.kind}
                with self._lock:
                    self._faulted(
                        Fault(
                            n=n,
                            story=self.history.story,
                            fault=outage.kind,
                            begin=begin,
                            end=end,
                            where="wire",
                            met=met,
                            detail=detail,
                        )
                    )
                self._writer.flush()

    def _advance(self, seconds: float) -> None:
        budget = self._live.advance_budget
        if seconds > budget:
            message = (
                f"would wait {seconds:g} s for real, more than the {budget:g} s that a live story may; "
                "the simulated world does it at once, and so does a target with a shorter lease or term"
            )
            raise NotRun(message)
        self._live.clock.sleep(seconds)
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
