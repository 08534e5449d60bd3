"""The live world: real HTTP, real processes, real time, a thread for each client.

A client speaks to the target through its own loopback port of the embedded
fault proxy, so that its next request or answer can be cut, whatever HTTP
library its adapter uses. Every operation's beginning is on disk before the
call is made: a run that is killed still reports.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import httpx2

from licensing_harness.clock import Clock, RealClock
from licensing_harness.errors import CleanUpIncomplete, GuardRefused, HarnessError, NotRun, TargetNotReady
from licensing_harness.history import StoryHistory
from licensing_harness.target.adapter import ControlAdapter, Target, check_adapter
from licensing_harness.target.guard import Endpoint, check_target
from licensing_harness.target.recorder import LicenceState
from licensing_harness.vocabulary import ADDED, Cap, Contract
from licensing_harness.worlds.breaking import Wanted
from licensing_harness.worlds.clean_up import CleanUp
from licensing_harness.worlds.lane import Lane, blame, verification
from licensing_harness.worlds.live_postgresql import Database, check_store
from licensing_harness.worlds.live_stores import StoreBroken, TargetStore
from licensing_harness.worlds.live_story import LiveStory
from licensing_harness.worlds.process import ReferenceProcess, TargetProcess
from licensing_harness.worlds.route import Link, Route
from licensing_harness.worlds.story import VENDOR, Setting, Sign

_POLL: Final = 0.02
_PROBE: Final = 2.0
_NOT_UP: Final = frozenset({502, 503, 504})
"""What a gateway answers while the target behind it does not."""

_CALL: Final = 4
"""A call of an adapter may take so many times the timeout of one request."""


@dataclass(slots=True)
class Client:
    """One client: its thread with its adapter, and its way to the target."""

    lane: Lane
    link: Link


class LiveWorld:
    """Drives ``target``: a base URL, or a process that this world starts and stops.

    ``faults`` is the ``--licensing-faults`` option, and ``store`` the PostgreSQL
    URL of ``--licensing-store`` for a target that is not ours; ``allow_hosts`` are globs of
    hosts beside loopback; ``advance_budget`` and ``patience`` are seconds.
    Raises UsageError, GuardRefused and TargetNotReady before anything is sent.
    """

    name = "live"

    def __init__(
        self,
        target: str | TargetProcess,
        setting: Setting,
        *,
        control: ControlAdapter | None = None,
        store: str | None = None,
        faults: str = "embedded",
        allow_hosts: tuple[str, ...] = (),
        advance_budget: float = 4.0,
        patience: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        check_adapter(setting.adapter)
        self.setting = setting
        self.clock = clock or RealClock()
        self.advance_budget = advance_budget
        self.audit_head = 0
        self.clock_offset = 0.0
        """Seconds by which the target's clock is wrong: the sum of what stories did to it."""
        self.notes: list[str] = []
        """What a reader of the report must know: licences that stay on the target, for one."""
        self._process = target if isinstance(target, TargetProcess) else None
        self._control = control
        self._patience = patience
        self._requests = 0
        self._numbers = itertools.count(1)
        self._clients: dict[str, Client] = {}
        self._created: list[LicenceState] = []
        with ExitStack() as undo:
            if self._process is not None:
                undo.callback(self._process.close)
                self._process.start()
            url = target if isinstance(target, str) else target.url
            self.endpoint: Endpoint = check_target(url, allow=allow_hosts)
            self._store = None if store is None else Database(check_store(store, allow_hosts))
            self.wait_ready()
            self.route = Route(
                self.endpoint,
                faults=faults,
                allow=allow_hosts,
                seed=setting.seed,
                tag=setting.prefix + setting.tag,
                clock=self.clock,
            )
            undo.pop_all()

    @property
    def contract(self) -> Contract:
        """The numbers that the adapter states."""
        return self.setting.adapter.contract

    @property
    def capabilities(self) -> frozenset[Cap]:
        """What the adapter declares; restart and signing where the target is ours or its control can."""
        added = set()
        if self._process is not None or self._overrides("restart"):
            added.add(Cap.RESTART)
        if self.signer() is not None:
            added.add(Cap.TEST_SIGNER)
        return (frozenset(self.setting.adapter.capabilities) - ADDED) | added

    @property
    def secrets(self) -> dict[str, str]:
        """What adapters may ask for; what a target of ours told at its start goes first."""
        told = {} if self._process is None else self._process.secrets
        return {**self.setting.secrets, **told}

    def story(
        self,
        *,
        scenario: str,
        tries: tuple[str, ...] = (),
        seed: str = "",
        drill: Mapping[str, Any] | None = None,
    ) -> LiveStory:
        """A new story on the same target."""
        number = next(self._numbers)
        history = StoryHistory(
            story=f"{self.setting.prefix}live-{number}",
            world=self.name,
            scenario=scenario,
            tries=tries,
            seed=seed or f"{self.setting.seed}/{scenario}/{number}",
            drill=dict(drill or {}),
        )
        return LiveStory(self, history)

    # For stories ------------------------------------------------------------------------------

    def client(self, name: str) -> Client:
        """The client's thread and link, made at its first use."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self._make(name)
        return client

    @property
    def clients(self) -> list[Client]:
        """All clients so far."""
        return list(self._clients.values())

    def _make(self, name: str) -> Client:
        link = self.route.link(name)

        def target(http: httpx2.AsyncClient) -> Target:
            return Target(
                url=link.url,
                timeout=self.setting.timeout,
                http=http,
                client=name,
                tag=self.setting.tag,
                secrets=self.secrets,
            )

        lane = Lane(
            name,
            self.setting.adapter,
            base_url=link.url,
            host=self.endpoint.authority,
            timeout=self.setting.timeout,
            target=target,
        )
        return Client(lane, link)

    def spend(self) -> None:
        """Count one call; raises GuardRefused above the run's limit."""
        self._requests += 1
        if self._requests > self.setting.max_requests:
            limit = f"{self.setting.max_requests:,}"
            message = f"the run sent {limit} requests, its limit; raise it with --licensing-max-requests"
            raise GuardRefused(message)

    def wait_for(self, client: Client) -> None:
        """Return when the client is idle. A call that hangs loses its connection.

        Raises HarnessError when the adapter then still does not return.
        """
        if client.lane.wait(self.call_limit + 1):
            return
        client.link.drop()
        if not client.lane.wait(self.setting.timeout + 1):
            message = (
                f"the adapter did not return for client {client.lane.name} within {self.call_limit:g} s; "
                "give its HTTP library target.timeout"
            )
            raise HarnessError(message)

    @property
    def call_limit(self) -> float:
        """Seconds that one call of the adapter may take."""
        return self.setting.timeout * _CALL

    def break_store(self, story: LiveStory, wanted: Wanted) -> StoreBroken:
        """Break the target's store. Raises NotRun, HarnessError."""
        own = self._process
        store: TargetStore | None = own.store if isinstance(own, ReferenceProcess) else self._store
        return StoreBroken(story, wanted, store, own)

    @property
    def under_way(self) -> int:
        """How many clients have a call under way."""
        return sum(not client.lane.idle for client in self.clients)

    @property
    def one_process(self) -> bool:
        """Whether the target is known to be one process, with one clock."""
        return isinstance(self._process, ReferenceProcess)

    def own_process(self, otherwise: str) -> TargetProcess:
        """The process that this world started. Raises NotRun, with what can't be done otherwise."""
        if self._process is None:
            message = f"needs a target that the harness started: {otherwise}"
            raise NotRun(message)
        return self._process

    def require_restart(self) -> None:
        """Raise NotRun unless the harness can kill the target and start it again."""
        if self._process is None and not self._overrides("restart"):
            message = "needs 'restart': the harness did not start this target; give it --licensing-control"
            raise NotRun(message)

    def kill(self) -> bool:
        """Kill the target if it is ours to start; says whether it is.

        Raises NotRun unless ``restart`` can bring it back.
        """
        self.require_restart()
        if self._process is not None:
            self._process.kill()
        return self._process is not None

    def stop(self) -> bool | None:
        """Ask the target to end (SIGTERM) if it is ours to start.

        Returns whether it did so in time and was not killed; None when it is
        not ours. Raises NotRun unless ``restart`` can bring it back.
        """
        self.require_restart()
        return None if self._process is None else self._process.stop()

    def restart(self) -> None:
        """Bring back the target that ended, or have its control kill and start it; returns when it answers.

        Raises HarnessError when it does not come back.
        """
        if self._process is not None:
            self._process.start()
        elif self._control is not None:
            self._controlled("restart", self._control.restart)
        self.wait_ready()
        if self.clock_offset and isinstance(self._process, ReferenceProcess):
            self.set_clock(self.clock_offset)  # a new process begins with the right time

    def set_clock(self, offset: float) -> None:
        """Put the target's clock so many seconds off the right time.

        Raises NotRun where nobody can, HarnessError when it was not done.
        """
        if isinstance(self._process, ReferenceProcess):
            shown = self._process.set_clock(offset)
            if shown != offset:
                message = f"the server's clock was to be {offset:g} s off, and it says {shown:g}"
                raise HarnessError(message)
        elif self._control is not None and self._overrides("set_clock"):
            self._controlled("set_clock", partial(self._control.set_clock, offset))
        else:
            message = (
                "needs a clock that can be set: that of a reference server which the harness started, or of a target "
                "whose control adapter has set_clock() (--licensing-control)"
            )
            raise NotRun(message)
        self.clock_offset = offset

    def _controlled(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except HarnessError:
            raise
        except Exception as error:
            message = f"the control adapter failed in {name}(): {blame(error)}"
            raise HarnessError(message) from error

    def signer(self) -> Sign | None:
        """The target's own key as a function, where the harness has it."""
        if isinstance(self._process, ReferenceProcess):
            return self._process.signer()
        return self._control.sign if self._control is not None and self._overrides("sign") else None

    def _overrides(self, method: str) -> bool:
        return self._control is not None and getattr(type(self._control), method) is not getattr(ControlAdapter, method)

    def wait_ready(self) -> None:
        """Return when the target answers HTTP; any answer but 502, 503 and 504 will do.

        Raises TargetNotReady with the URL and the reason.
        """
        deadline = self.clock.now() + self._patience
        with httpx2.Client(trust_env=False, timeout=_PROBE, verify=verification(self.endpoint.url)) as http:
            while True:
                try:
                    status = http.get(self.endpoint.url + "/").status_code
                except httpx2.HTTPError as error:
                    reason = f"{type(error).__name__}: {error}"
                else:
                    if status not in _NOT_UP:
                        return
                    reason = f"HTTP {status}"
                if self._process is not None and not self._process.alive:
                    message = f"{self.endpoint.url}: the target process ended{self._process.last_words()}"
                    raise TargetNotReady(message)
                if self.clock.now() > deadline:
                    message = (
                        f"{self.endpoint.url} does not answer ({reason}, tried for {self._patience:g} s). "
                        "Start the target, or give the right URL with --licensing-target"
                    )
                    raise TargetNotReady(message)
                self.clock.sleep(_POLL)

    # The end ----------------------------------------------------------------------------------

    def left(self, story: LiveStory, licences: list[LicenceState]) -> None:
        """A story is over; remember what it made, and how far it read the audit trail."""
        self.audit_head = max(self.audit_head, story.audit_head)
        if self._process is None:
            self._created += licences

    def close(self) -> None:
        """Revoke what was made on a target that is not ours, end all clients, stop what we started.

        Raises CleanUpIncomplete when something was left behind.
        """
        troubles: list[HarnessError] = []

        def attempt(step: Callable[[], object]) -> None:
            try:
                step()
            except HarnessError as error:
                troubles.append(error)

        attempt(self._clean_up)
        for client in self.clients:
            attempt(client.link.drop)
            attempt(partial(client.lane.close, self.setting.timeout + 1))
        self._clients.clear()
        attempt(self.route.close)
        if self._process is not None:
            attempt(self._process.close)
        troubles.sort(key=lambda trouble: not isinstance(trouble, CleanUpIncomplete))
        if troubles:
            raise troubles[0]

    def _clean_up(self) -> None:
        created, self._created = self._created, []
        if created:
            clean_up = CleanUp(self.setting, self.clock, self.call_limit)
            self.notes += clean_up.run(self.client(VENDOR).lane, created)
