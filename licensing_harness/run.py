"""One run, as one process sees it: the adapter, the worlds, the history file and the judge.

The plugin, ``replay`` and the load run make one of these; nobody else starts a
world.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from licensing_harness import __version__
from licensing_harness.clock import Clock, RealClock, stamp
from licensing_harness.config import ASGI, Config
from licensing_harness.entropy import fresh_seed, fresh_token
from licensing_harness.errors import CleanUpIncomplete, HarnessError, NotRun, UsageError
from licensing_harness.history import Header, HistoryWriter, StoryHistory, lines_of
from licensing_harness.masking import Masker
from licensing_harness.target.adapter import Adapter, ControlAdapter, Target, blocking_verbs, check_adapter
from licensing_harness.vocabulary import ADDED, Cap
from licensing_harness.worlds.story import Setting, World

if TYPE_CHECKING:
    from types import ModuleType

    from licensing_harness.worlds.live import LiveWorld
    from licensing_harness.worlds.route import Route

REFERENCE_ADAPTER: Final = "licensing_harness.target.reference:ReferenceAdapter"
HISTORY: Final = "history.jsonl"
_Thing = TypeVar("_Thing")

ADVANCE_BUDGET: Final[Mapping[str, float]] = {"smoke": 1.5, "ci": 4.0, "nightly": 60.0}
"""Seconds that one live story may wait for time to pass, by depth."""

_SERVER_MODULES: Final = ("starlette", "uvicorn", "sqlalchemy", "alembic")


def need_server_extra() -> None:
    """Raises UsageError, with the pip line, when the reference server can't be started here."""
    missing = [name for name in _SERVER_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        message = (
            f"the reference server needs {', '.join(missing)}: pip install 'licensing-harness[server]'. "
            "Or judge your own: --target URL --adapter module:Class"
        )
        raise UsageError(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Which run this is, as plain data: a controller of pytest-xdist hands it to its workers."""

    run: str
    directory: str
    seed: int
    tag: str
    """In everything that the run creates in the target."""
    started: str = ""
    """When, in UTC."""
    worker: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``Place(**...)`` in another process."""
        return asdict(self)

    def for_worker(self, worker: str) -> Place:
        """The same run, seen by one worker."""
        return replace(self, worker=worker)


def new_place(config: Config, *, invoked_in: Path, clock: Clock) -> Place:
    """Name a new run; nothing is created."""
    token = fresh_token()
    started = stamp(clock.wall())
    run = f"{started}-{token[:6]}"
    return Place(
        run=run,
        directory=str(invoked_in / config.report / "runs" / run),
        seed=fresh_seed() if config.seed is None else config.seed,
        tag=f"lh-{token[6:14]}",
        started=started,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveTarget:
    """The live target, for tests that speak to it themselves."""

    url: str
    kind: str
    """``reference`` or ``url``."""
    openapi_url: str | None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def secret(self, name: str) -> str:
        """A secret by name. Raises UsageError, naming the variable to set, when it is missing."""
        try:
            return self.secrets[name.lower()]
        except KeyError:
            message = f"the secret {name!r} is not known: set LICENSING_SECRET_{name.upper()}"
            raise UsageError(message) from None


class Run:
    """Makes worlds on demand, writes one history, judges stories, and cleans up once.

    Raises UsageError when the adapter can't be used. A world that failed to
    start fails again, at once and with the same words, when asked for again.
    """

    def __init__(self, config: Config, place: Place, *, clock: Clock | None = None) -> None:
        self.config = config
        self.place = place
        self.clock = clock or RealClock()
        self.masker = Masker()
        for secret in config.secrets.values():
            self.masker.register(secret)
        self.notes: list[str] = []
        """What readers of the report must know: licences that stay on the target, for one."""
        self._worlds: dict[str, World | HarnessError | NotRun] = {}
        self._writer: HistoryWriter | None = None

    # What is judged ---------------------------------------------------------------------------

    @cached_property
    def adapter(self) -> type[Adapter]:
        """The adapter class, checked. Raises UsageError."""
        if self.config.target is None:
            need_server_extra()
        adapter = load_class(self.config.adapter or REFERENCE_ADAPTER, Adapter, "adapter")
        check_adapter(adapter)
        return adapter

    @cached_property
    def control(self) -> ControlAdapter | None:
        """The user's control over a target that the harness did not start. Raises UsageError."""
        return None if self.config.control is None else load_class(self.config.control, ControlAdapter, "control")()

    @property
    def target_name(self) -> str:
        """How reports call the target."""
        if self.config.target is not None:
            return self.masker.mask(self.config.target)
        return "reference server" + (f", defect planted: {self.config.defect}" if self.config.defect else "")

    @cached_property
    def capabilities(self) -> frozenset[Cap]:
        """What the adapter declares, and what this kind of target adds."""
        added: set[Cap] = set()
        if self.config.target is None or self.config.in_process:
            added = set(ADDED)
        elif self.control is not None:
            overridden = {Cap.RESTART: "restart", Cap.TEST_SIGNER: "sign"}
            added = {
                cap
                for cap, method in overridden.items()
                if getattr(type(self.control), method) is not getattr(ControlAdapter, method)
            }
        return frozenset(self.adapter.capabilities) | added

    @cached_property
    def header(self) -> Header:
        """The first line of the history."""
        return Header(
            run=self.place.run,
            harness=__version__,
            target=self.target_name,
            capabilities=tuple(sorted(self.capabilities)),
            not_applicable={str(cap): why for cap, why in self.adapter.not_applicable.items()},
            contract=self.adapter.contract.as_dict(),
            seed=self.place.seed,
            settings=self.config.naming(),
        )

    @property
    def history_path(self) -> Path:
        """The history that this process writes: ``history.jsonl``, or ``history-gw0.jsonl`` in a worker."""
        name = f"history-{self.place.worker}.jsonl" if self.place.worker else HISTORY
        return Path(self.place.directory) / name

    # Worlds -----------------------------------------------------------------------------------

    def world(self, name: str) -> World:
        """The ``simulated`` or the ``live`` world, made when first asked for.

        Raises NotRun when the target can't run in it, TargetNotReady, GuardRefused or UsageError.
        """
        if name not in self._worlds:
            try:
                self._worlds[name] = self._make(name)
            except (HarnessError, NotRun) as error:
                self._worlds[name] = error
        world = self._worlds[name]
        if isinstance(world, HarnessError | NotRun):
            raise world.with_traceback(None)
        return world

    def impossible(self, name: str) -> str | None:
        """Why the target or the adapter can't run in this world, or None."""
        blocking = blocking_verbs(self.adapter) if name == "simulated" else []
        if blocking and self.config.impossible(name) is None:
            return (
                f"the simulated world needs async verbs over target.http; {self.adapter.__qualname__} has plain "
                f"def {', '.join(blocking)}"
            )
        return self.config.impossible(name)

    def told_in(self, name: str) -> bool:
        """Whether this run's scenarios are told in the world called ``name`` as well."""
        return name in self.config.worlds() and self.impossible(name) is None

    def _make(self, name: str) -> World:
        impossible = self.impossible(name)
        if impossible:
            raise NotRun(impossible)
        if self._writer is None:
            self._writer = HistoryWriter(self.history_path, self.header, self.masker)
        setting = Setting(
            adapter=self.adapter,
            writer=self._writer,
            masker=self.masker,
            seed=self.place.seed,
            tag=self.place.tag,
            prefix=f"{self.place.worker}-" if self.place.worker else "",
            forge=_forge(),
            closed=self._story_closed,
            max_requests=self.config.max_requests,
            secrets=self.config.secrets,
        )
        return self._simulated(setting) if name == "simulated" else self._live(setting)

    def simulated_target(self) -> str:
        """The target's name in the simulated world. Raises NotRun when it can't run in it, UsageError."""
        impossible = self.impossible("simulated")
        if impossible:
            raise NotRun(impossible)
        target = self.config.target
        if target is None:
            from licensing_harness.target.reference import simulated

            target = simulated(self.config.defect or "")
        elif target.startswith(ASGI):
            _importable_here()
        return target

    def _simulated(self, setting: Setting) -> World:
        from licensing_harness.worlds.simulated import SimulatedWorld

        return SimulatedWorld(self.simulated_target(), setting)

    def _live(self, setting: Setting) -> LiveWorld:
        from licensing_harness.worlds.live import LiveWorld
        from licensing_harness.worlds.process import ReferenceProcess

        config = self.config
        return LiveWorld(
            config.target
            or ReferenceProcess(
                defect=config.defect,
                store=config.store,
                allow_hosts=config.allow_host,
                keep=config.keep,
                masker=self.masker,
                clock=self.clock,
            ),
            setting,
            control=self.control,
            store=None if config.target is None else config.store,
            faults=config.faults,
            allow_hosts=config.allow_host,
            advance_budget=ADVANCE_BUDGET[config.depth],
            clock=self.clock,
        )

    def _story_closed(self, _story: StoryHistory) -> None:
        if self._writer is not None:
            self._writer.flush()

    def keep_story(self, story: StoryHistory) -> None:
        """Write a story that another process recorded into the history of this run."""
        if self._writer is not None:
            self._writer.write(*lines_of(story))
            self._writer.flush()

    # The live target, for tests that speak to it themselves --------------------------------------

    def live_target(self) -> LiveTarget:
        """Where the live target is. Raises as :meth:`world` does."""
        world = self._live_world()
        own = self.config.target is None
        described = f"{world.endpoint.url}/openapi.json" if own else getattr(self.adapter, "openapi_url", None)
        return LiveTarget(
            url=world.endpoint.url,
            kind="reference" if own else "url",
            openapi_url=described,
            secrets=world.secrets,
        )

    @contextmanager
    def opened_adapter(self) -> Iterator[Adapter]:
        """An adapter, opened on the live target; nothing that it does is recorded. Raises as :meth:`world` does."""
        import asyncio

        import httpx2

        world = self._live_world()
        http = httpx2.AsyncClient(base_url=world.endpoint.url, timeout=world.setting.timeout, trust_env=False)
        adapter = self.adapter()
        adapter.open(
            Target(
                url=world.endpoint.url,
                timeout=world.setting.timeout,
                http=http,
                client="test",
                tag=self.place.tag,
                secrets=world.secrets,
            )
        )

        async def close() -> None:
            closing = adapter.close()
            if closing is not None:
                await closing
            await http.aclose()

        try:
            yield adapter
        finally:
            asyncio.run(close())

    def faults(self) -> Route:
        """The way to the live target, with Toxiproxy in it.

        Raises as :meth:`world` does, NotRun where faults are off or the target is not plain HTTP.
        """
        route = self._live_world().route
        route.open_toxiproxy()
        return route

    def _live_world(self) -> LiveWorld:
        self.world("live")
        return cast("LiveWorld", self._worlds["live"])

    # The end ----------------------------------------------------------------------------------

    def close(self) -> list[HarnessError]:
        """Stop every world and close the history; returns what could not be cleaned up."""
        troubles: list[HarnessError] = []
        for world in list(self._worlds.values()):
            if isinstance(world, HarnessError | NotRun):
                continue
            try:
                world.close()
            except HarnessError as error:
                troubles.append(error)
            except Exception as error:  # noqa: BLE001 - whatever it was, something may be left behind
                troubles.append(CleanUpIncomplete(f"the {world.name} world did not close: {error!r}"))
            self.notes += getattr(world, "notes", [])
        self._worlds.clear()
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except HarnessError as error:  # what was buffered found no room
                troubles.append(error)
        return troubles


# What users name by text -------------------------------------------------------------------------


def load_class(name: str, kind: type[_Thing], what: str) -> type[_Thing]:
    """The class ``module:Class``. Raises UsageError that says what is wrong with the name."""
    module_name, colon, class_name = name.partition(":")
    if not (module_name and colon and class_name):
        message = f"{what} {name!r}: write it as module:Class"
        raise UsageError(message)
    found = getattr(import_module(module_name, what), class_name, None)
    if found is None:
        message = f"{what} {name!r}: the module {module_name} has no {class_name}"
        raise UsageError(message)
    if not (isinstance(found, type) and issubclass(found, kind)):
        message = f"{what} {name!r}: not a subclass of licensing_harness.{kind.__name__}"
        raise UsageError(message)
    return found


def import_module(name: str, what: str) -> ModuleType:
    """Import a user's module, looking in the current directory too. Raises UsageError."""
    _importable_here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            message = f"{what}: no module {name!r} here or on the Python path ({Path.cwd()})"
        else:
            message = f"{what}: {name} can't be imported: {error}"
        raise UsageError(message) from error
    except Exception as error:
        message = f"{what}: {name} can't be imported: {type(error).__name__}: {error}"
        raise UsageError(message) from error


def _importable_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def _forge() -> Any:
    from licensing_harness.generate.attacks import forge

    return forge
