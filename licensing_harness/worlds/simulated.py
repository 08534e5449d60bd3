"""The simulated world: the target in this process, without sockets, in virtual time.

Same target, same seed, same words: the same history, always. What a process
committed survives a crash; what it did not fsync is gone after a power loss.

A target is named ``asgi:module:factory?name=value&...``. At every start the
factory is called as ``factory(clock, entropy, keys, store, **options)``:

``clock() -> float``
    Unix seconds, virtual.
``entropy(n) -> bytes``
    ``n`` seeded bytes.
``keys: bytes``
    An Ed25519 private key, PEM (PKCS#8).
``store``
    ``.connection`` and ``async commit(write, rows)``; see :class:`~licensing_harness.worlds.disk.Store`.

The option ``nodes=N`` is not the factory's: it makes so many nodes, each with a
process, a clock and a disk of its own. A factory whose signature names one of
these keywords gets it as well:

``node: str``
    The name of the node: ``server``, or ``server-1``, ``server-2``, ...
``peers: Mapping[str, str]``
    The URLs of the other nodes, by name.
``http``
    ``async request(method, url, *, json=, content=, params=, headers=)``, to speak to them.

It returns an ASGI application that does its start-up in its lifespan. What it
puts into ``app.state.secrets`` (a mapping) is given to the adapter.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any, ClassVar, Final

from licensing_harness.entropy import draws, stream
from licensing_harness.errors import GuardRefused, HarnessError, NotRun, TargetNotReady
from licensing_harness.faults.plan_file import Places
from licensing_harness.history import Begun, Fault, StoryHistory
from licensing_harness.target.adapter import Adapter, Target, blocking_verbs, check_adapter
from licensing_harness.target.recorder import LicenceState, completed, failed, invoke
from licensing_harness.vocabulary import ADDED, Cap, Contract, FaultKind
from licensing_harness.worlds.asgi import PATIENCE, ArmedCut, Lane, Server
from licensing_harness.worlds.boot import Template, key_pem, signer, start, template
from licensing_harness.worlds.breaking import Broken, Wanted
from licensing_harness.worlds.factory import SimulatedTarget
from licensing_harness.worlds.loop import NodeLoop, Timeline
from licensing_harness.worlds.machines import Machine, machines, names
from licensing_harness.worlds.network import URL, Network, SimHttp, url_of
from licensing_harness.worlds.simulated_clock import MachineClock
from licensing_harness.worlds.simulated_faults import SimulatedFaults
from licensing_harness.worlds.story import VENDOR, Cut, Setting, Sign, Story, cut_kind

BEFORE_CRASH: Final = (0.0, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.020)
"""Seconds that calls under way may still get on before the target is killed."""

_KILLS: Final = frozenset({FaultKind.CRASH, FaultKind.POWER_LOSS})


class SimulatedWorld:
    """Makes stories in which ``target`` runs in this process. See the module for what a target is.

    Raises UsageError when the target string or the adapter is not usable.
    """

    name = "simulated"

    def __init__(self, target: str, setting: Setting) -> None:
        self._blocking = _checked_once(setting.adapter)
        self._setting = setting
        self._target = SimulatedTarget.parse(target)
        self._stories: Counter[str] = Counter()
        self._count = 0
        self._requests = 0
        self.troubles: Counter[str] = Counter()
        """Exceptions that the target did not catch, and how often: clients saw a 500."""

    @property
    def contract(self) -> Contract:
        """The numbers that the adapter states."""
        return self._setting.adapter.contract

    @property
    def capabilities(self) -> frozenset[Cap]:
        """What the adapter declares; and this world can restart the target and sign with its key."""
        return frozenset(self._setting.adapter.capabilities) | ADDED

    def story(
        self,
        *,
        scenario: str,
        tries: tuple[str, ...] = (),
        seed: str = "",
        drill: Mapping[str, Any] | None = None,
    ) -> SimulatedStory:
        """A new story on a fresh target. ``seed`` decides all chance in it; by default it derives from the run's.

        A seed whose last part (after ``/``) is ``0`` makes a calm network, without gaps.
        Raises NotRun when the adapter has ``def`` verbs or the target is a plain ASGI application.
        """
        setting = self._setting
        if self._blocking:
            message = (
                f"the simulated world drives async verbs only; {setting.adapter.__qualname__} has plain def: "
                f"{', '.join(self._blocking)}. Make them async over target.http, or run in the live world."
            )
            raise NotRun(message)
        self._stories[scenario] += 1
        self._count += 1
        seed = seed or f"{setting.seed}/{scenario}/{self._stories[scenario]}"
        history = StoryHistory(
            story=f"{setting.prefix}sim-{self._count}",
            world=self.name,
            scenario=scenario,
            tries=tries,
            seed=seed,
            drill=dict(drill or {}),
        )
        keys = key_pem(setting.seed)
        return SimulatedStory(
            world=self,
            setting=setting,
            history=history,
            capabilities=self.capabilities,
            target=self._target,
            keys=keys,
            template=template(self._target, setting.seed, keys),
        )

    def spend(self) -> None:
        """Count one request; raises GuardRefused above the setting's limit."""
        self._requests += 1
        if self._requests > self._setting.max_requests:
            limit = f"{self._setting.max_requests:,}"
            message = f"the run sent {limit} requests, its limit; raise it with --licensing-max-requests"
            raise GuardRefused(message)

    def close(self) -> None:
        """Nothing: every story cleans up after itself."""


def _checked(adapter: type[Adapter]) -> tuple[str, ...]:
    """The verbs that are plain ``def``, of an adapter that is usable."""
    check_adapter(adapter)
    return tuple(blocking_verbs(adapter))


_checked_once: Final[Callable[[Any], tuple[str, ...]]] = lru_cache(maxsize=16)(_checked)
"""Exploring makes a world for every story."""


@dataclass(slots=True)
class _Client:
    lane: Lane
    adapter: Adapter
    clock: MachineClock
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)


class SimulatedStory(Story):
    """One story in the simulated world. ``troubles`` are exceptions that the target did not catch."""

    world: ClassVar[str] = "simulated"

    def __init__(
        self,
        *,
        world: SimulatedWorld,
        setting: Setting,
        history: StoryHistory,
        capabilities: frozenset[Cap],
        target: SimulatedTarget,
        keys: bytes,
        template: Template,
    ) -> None:
        super().__init__(
            history=history,
            writer=setting.writer,
            masker=setting.masker,
            contract=setting.adapter.contract,
            capabilities=capabilities,
            tag=setting.tag,
            forge=setting.forge,
            closed=setting.closed,
        )
        self.troubles: list[BaseException] = []
        self._world = world
        self._setting = setting
        self._target = target
        self._keys = keys
        self._seed = history.seed
        self._secrets = {**setting.secrets, **template.secrets}
        for secret in template.secrets.values():
            setting.masker.register(secret)
        self._timeline = Timeline()
        calm = self._seed.rpartition("/")[2] == "0"
        nodes = names(target.nodes)
        self._network = Network(self._timeline, timeout=setting.timeout, calm=calm, spend=world.spend, nodes=nodes)
        self._clients: dict[str, _Client] = {}
        self._armed: dict[int, tuple[str, Cut, float]] = {}
        self._crashes = 0
        self._error: HarnessError | None = None
        self._untrusted = False
        self._dues: list[float] = []
        """When a fault begins or ends by itself."""
        self._machines = machines(nodes, self._timeline, self._seed, template.image)
        self._faults = SimulatedFaults(self, self._network, self._machines, self._timeline)
        try:
            for machine in self._machines.values():
                self._boot(machine)
        except BaseException:
            self._close()
            raise

    # The target -----------------------------------------------------------------------------

    def _boot(self, machine: Machine) -> None:
        try:
            server = start(self._network, self._target, machine, self._keys, seed=self._seed, run=self._run)
        except TargetNotReady:
            # Whoever looks after servers in life tries again; the disk's end of trouble is when that helps.
            machine.waits = bool(machine.disk.hindrances)
            if not machine.waits:
                raise
        else:
            machine.waits = False
            self._network.servers[machine.name] = server

    def _bury(self, server: Server | None) -> None:
        """End a process and keep what it left uncaught."""
        if server is not None:
            server.node.kill()
            self.troubles += server.node.troubles
            for error in server.node.troubles:
                self._world.troubles[f"{type(error).__name__}: {error}"] += 1

    def _before(self, wanted: Wanted) -> None:
        """Calls under way may still get on, a little, before the target is killed."""
        if wanted.kind in _KILLS:
            self._crashes += 1
            with self._trusting():
                self._pass(stream(self._seed, "crash", self._crashes).choice(BEFORE_CRASH))

    def _break(self, wanted: Wanted) -> Broken:
        return self._faults.break_it(wanted)

    def _places(self) -> Places:
        return self._faults.places()

    def kill(self, machine: Machine, *, power: bool) -> dict[str, Any]:
        """End the machine's process; says what was lost with it."""
        with self._trusting():
            lost = machine.disk.crash(power=power)
            server, self._network.servers[machine.name] = self._network.servers[machine.name], None
            machine.waits = False
            self._bury(server)
            # Connections died with the process: what was sent before can't take effect any more, unless the network
            # itself holds it, or another node has it.
            dropped = self._network.cut_off(machine.name)
            settled = len(self._machines) == 1 and not self._faults.holds_requests
        return {"requests": dropped, "settled": settled, **({"batches_lost": lost} if power else {})}

    def end(self, machine: Machine) -> dict[str, Any]:
        """Ask the machine's process to end: it takes no more calls, answers those it has, and goes."""
        with self._trusting():
            network = self._network
            server, network.servers[machine.name] = network.servers[machine.name], None
            if server is not None and not server.node.dead:
                self._run(until=self._timeline.now + PATIENCE, stop=lambda: not network.under_way_to(machine.name))
                server.stop(self._run)
            self._bury(server)
        return self.kill(machine, power=False)

    def boot(self, machine: Machine, after: float = 0.0) -> None:
        """Start a new process on this machine, after a while."""
        with self._trusting():
            self._pass(after)
            self._boot(machine)
            self._timeline.tick()
            self._raise()

    def machine_clock(self, name: str) -> MachineClock:
        """The wall clock of a client, by its name."""
        return self._client(name).clock

    @property
    def client_names(self) -> tuple[str, ...]:
        """The clients that there are, or that every story has."""
        return tuple(dict.fromkeys((VENDOR, *self.devices, *self._clients)))

    def _signer(self) -> Sign | None:
        return signer(self._setting.seed)

    # The clients ----------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the story began."""
        return round(self._timeline.now, 6)

    def idle(self, client: str) -> bool:
        """Whether the client has no call under way: ``start`` would not wait."""
        there = self._clients.get(client)
        return there is None or not there.lane.busy

    def _client(self, name: str) -> _Client:
        client = self._clients.get(name)
        if client is None:
            node = NodeLoop(self._timeline, name)
            lane = Lane(name, node, draws(self._seed, name), 50_000 + len(self._clients))
            adapter = self._setting.adapter()
            http = SimHttp(self._network, lane)
            client = self._clients[name] = _Client(lane, adapter, MachineClock(self._timeline))
            adapter.open(
                Target(
                    url=URL,
                    timeout=self._setting.timeout,
                    http=http,
                    client=name,
                    tag=self._tag,
                    secrets=self._secrets,
                    nodes={node: url_of(node) for node in self._machines},
                    clock=client.clock.read,
                )
            )
        return client

    def _send(self, begun: Begun, licence: LicenceState | None, asked: Mapping[str, Any]) -> None:
        client = self._client(begun.client)
        what = (begun.verb, begun.licence)
        client.calls[what] += 1
        # Keyed by what the call is, not by its number: leaving out another call changes nothing here.
        client.lane.chance = draws(self._seed, begun.client, *what, client.calls[what])
        client.lane.call = (begun.n, begun.client, *what, client.calls[what])
        client.lane.busy = True
        client.lane.node.create_task(self._speak(client, begun, licence, asked))

    async def _speak(
        self, client: _Client, begun: Begun, licence: LicenceState | None, asked: Mapping[str, Any]
    ) -> None:
        try:
            try:
                reply = invoke(client.adapter, begun.verb, licence, begun.client, asked)
                answer = await reply if inspect.isawaitable(reply) else reply
            except HarnessError:
                raise
            except Exception as error:  # noqa: BLE001 - the recorder tells whose fault it is
                operation = failed(begun, self.now, error)
            else:
                operation = completed(begun, self.now, answer, licence, self._masker)
            self._finished(operation)
        except HarnessError as error:
            self._error = self._error or error
        finally:
            client.lane.busy = False

    def _wait(self, client: str) -> None:
        there = self._clients.get(client)
        if there is not None and there.lane.busy:
            lane = there.lane
            self._until(lambda: not lane.busy)
        self._timeline.tick()

    def _settle(self) -> None:
        if self._untrusted:
            return  # whoever waits now waits in vain, and it was said
        lanes = [client.lane for client in self._clients.values()]
        self._until(lambda: not any(lane.busy for lane in lanes))
        self._timeline.tick()

    def _until(self, reached: Callable[[], bool]) -> None:
        try:  # as _trusting, without what a context manager costs each call
            reached_it = self._run(stop=reached)
            if not reached_it or self._error is not None:
                self._raise(None if reached_it else HarnessError(self._network.hanging()))
        except HarnessError:
            self._untrusted = True
            raise

    def _pass(self, seconds: float) -> None:
        when = self._timeline.now + seconds
        self._run(until=when)
        self._timeline.now = max(self._timeline.now, when)

    def _run(self, *, until: float = math.inf, stop: Callable[[], bool] | None = None) -> bool:
        """As the timeline's ``run``; faults begin and end on the way, each at its very time."""
        timeline, dues = self._timeline, self._dues
        while dues and dues[0] <= until:
            due = dues[0]
            if timeline.run(until=due, stop=stop):
                return True
            timeline.now = max(timeline.now, due)
            while dues and dues[0] <= due:
                heappop(dues)
            self.mend_due()
            if stop is not None and stop():
                return True
        return timeline.run(until=until, stop=stop)

    def _due(self, when: float) -> None:
        heappush(self._dues, when)

    def _raise(self, error: HarnessError | None = None) -> None:
        error = self._error or error
        self._error = None
        if error is not None:
            raise error

    @contextmanager
    def _trusting(self) -> Iterator[None]:
        """After a HarnessError nothing of this story is waited for any more."""
        try:
            yield
        except HarnessError:
            self._untrusted = True
            raise

    # Faults and time ------------------------------------------------------------------------

    def _cut(self, client: str, what: Cut) -> None:
        lane = self._client(client).lane
        if lane.cut is not None and lane.cut.what == what:
            return
        n = self._number()
        self._armed[n] = (client, what, self.now)
        lane.cut = ArmedCut(what, lambda: self._cut_over(n, met=1))

    def _cut_over(self, n: int, *, met: int) -> None:
        client, what, begin = self._armed.pop(n)
        fault = cut_kind(what)
        self._faulted(
            Fault(n=n, story=self.history.story, fault=fault, begin=begin, end=self.now, where=client, met=met)
        )

    def _advance(self, seconds: float) -> None:
        with self._trusting():
            self._pass(seconds)
            self._raise()

    # The end --------------------------------------------------------------------------------

    def _close(self) -> None:
        for n in tuple(self._armed):
            self._cut_over(n, met=0)
        for client in self._clients.values():
            self._part_with(client)
        self._dues.clear()
        for server in self._network.servers.values():
            if server is not None:
                server.stop()
        for name, server in self._network.servers.items():
            self._bury(server)
            self._network.servers[name] = None
        for machine in self._machines.values():
            machine.disk.close()

    def _part_with(self, client: _Client) -> None:
        node = client.lane.node
        with node.running():
            closing = client.adapter.close()
        if inspect.isawaitable(closing):

            async def finish() -> None:
                await closing

            task = node.create_task(finish())
            self._timeline.run(until=self._timeline.now + self._setting.timeout, stop=task.done)
        node.kill()
