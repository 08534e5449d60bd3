"""What scenarios are written with, and the one line with which users run the shipped ones.

A scenario is a pytest test that takes ``licensing_story`` (one story, told by
the test's body) or ``licensing_world`` (a :class:`Campaign`: as many stories as
it likes, also generated ones). It says what it tries, and what it needs::

    @pytest.mark.licensing(tries=("SEA-001",), needs=(Cap.SEATS,))
    def test_seats_are_never_overbooked(licensing_world: Campaign) -> None:
        licensing_world.machine(SeatsMachine)

``from licensing_harness.suite import *`` in a test file of your own runs every
shipped scenario from there; a test of the same name below that line replaces one.
"""

# ruff: noqa: PLC0414 - scenarios import these words from here; an alias to itself says so to type checkers

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from licensing_harness.checkers.judge import ALL_PROMISES, judge_story, not_applicable
from licensing_harness.checkers.tally import Tally
from licensing_harness.errors import HarnessError as HarnessError
from licensing_harness.errors import NotRun as NotRun
from licensing_harness.errors import PromiseBroken as PromiseBroken
from licensing_harness.errors import Undecided as Undecided
from licensing_harness.generate.troubles import Trouble as Trouble
from licensing_harness.generate.troubles import arm as arm
from licensing_harness.generate.troubles import insist as insist
from licensing_harness.generate.troubles import troubled as troubled
from licensing_harness.history import StoryHistory
from licensing_harness.run import Run
from licensing_harness.verdict import Promise, ScenarioResult, Verdict, Violation
from licensing_harness.vocabulary import ADDED
from licensing_harness.vocabulary import Cap as Cap
from licensing_harness.vocabulary import Contract as Contract
from licensing_harness.vocabulary import FaultKind as FaultKind
from licensing_harness.vocabulary import LicenceSpec as LicenceSpec
from licensing_harness.vocabulary import Outcome as Outcome
from licensing_harness.vocabulary import Reason as Reason
from licensing_harness.worlds.story import DEVICES as DEVICES
from licensing_harness.worlds.story import VENDOR as VENDOR
from licensing_harness.worlds.story import Story as Story
from licensing_harness.worlds.story import World

if TYPE_CHECKING:
    from licensing_harness.generate.attacks import ATTACKS as ATTACKS
    from licensing_harness.generate.families import AuditMachine as AuditMachine
    from licensing_harness.generate.families import IdempotencyMachine as IdempotencyMachine
    from licensing_harness.generate.families import RevocationMachine as RevocationMachine
    from licensing_harness.generate.families import SeatsMachine as SeatsMachine
    from licensing_harness.generate.families import ValidityMachine as ValidityMachine
    from licensing_harness.generate.machine import LicensingMachine as LicensingMachine

EFFORT: Final[Mapping[str, Mapping[str, tuple[int, int]]]] = {
    "simulated": {"smoke": (40, 25), "ci": (80, 30), "nightly": (4000, 40)},
    "live": {"smoke": (1, 12), "ci": (4, 14), "nightly": (100, 25)},
}
"""Generated stories and the most steps in each, by world and depth."""

PATIENCE: Final[Mapping[str, float]] = {"smoke": 5.0, "ci": 20.0, "nightly": 600.0}
"""Seconds in which a live target gets more generated stories, until one tried what the scenario claims to try."""

_FEW: Final = 5
"""Generated stories for each seed when a scenario runs under many seeds; more when these did not try all it claims."""

_LATE: Final = {
    "ATTACKS": "licensing_harness.generate.attacks",
    "AuditMachine": "licensing_harness.generate.families",
    "IdempotencyMachine": "licensing_harness.generate.families",
    "LicensingMachine": "licensing_harness.generate.machine",
    "RevocationMachine": "licensing_harness.generate.families",
    "SeatsMachine": "licensing_harness.generate.families",
    "ValidityMachine": "licensing_harness.generate.families",
}
"""Words whose modules are slow to import."""

_SHIPPED: Final = "licensing_harness.scenarios"


def scenarios() -> Path:
    """The directory of the shipped scenarios: inside the package in a wheel, beside it in a checkout."""
    here = Path(__file__).parent
    inside = here / "scenarios"
    return inside if inside.is_dir() else here.parent / "scenarios"


class Campaign:
    """One scenario in one world: opens stories, judges each, and says at the end what they prove.

    Raises NotRun when the target can't do what the scenario needs, naming the
    capability or the number that is missing.
    """

    def __init__(
        self,
        run: Run,
        world: str,
        *,
        scenario: str,
        tries: tuple[str, ...] = (),
        needs: tuple[Cap, ...] = (),
        round_: int = 0,
    ) -> None:
        self.run = run
        self.scenario = scenario
        self.tries = tries
        self.needs = needs
        self.histories: list[StoryHistory] = []
        self.thresholds: list[dict[str, Any]] = []
        self.tally = Tally(run.header)
        self.found: tuple[Violation, StoryHistory] | None = None
        """The violation to report: of the smallest story that broke the promise found first."""
        self._round = round_
        self._told = 0
        self._open: list[Story] = []
        self._before_close: list[tuple[Story, Callable[[], None]]] = []
        self._world_name = world
        self._require()

    @property
    def world(self) -> World:
        """The world that stories are told in."""
        return self.run.world(self._world_name)

    # Before anything is sent ----------------------------------------------------------------

    def _require(self) -> None:
        impossible = self.run.impossible(self._world_name)
        if impossible:
            raise NotRun(impossible)
        for cap in self.needs:
            self._need(cap)
        blocked = [why for promise in self._tried() if (why := self._not_judged(promise))]
        if blocked and len(blocked) == len(self.tries):
            raise NotRun(blocked[0])

    def _need(self, cap: Cap) -> None:
        if cap in self.run.capabilities:
            return
        name = self.run.adapter.__qualname__
        why = self.run.adapter.not_applicable.get(cap)
        if why is not None:
            message = f"needs {cap.value!r}: not applicable: {why}"
        elif cap in ADDED:
            message = f"needs {cap.value!r}: the harness did not start this target; give it --licensing-control"
        else:
            message = f"needs {cap.value!r}: not declared by {name}"
        raise NotRun(message)

    def _tried(self) -> Iterator[Promise]:
        known = promises()
        for identity in self.tries:
            if identity not in known:
                message = f"{self.scenario} tries {identity}, which is no promise; known: {', '.join(known)}"
                raise HarnessError(message)
            yield known[identity]

    def _not_judged(self, promise: Promise) -> str:
        """Why this target can't be held to the promise; empty when it can."""
        run = self.run
        reasons = {str(cap): why for cap, why in run.adapter.not_applicable.items()}
        why = not_applicable(promise, run.adapter.contract, run.capabilities, reasons)
        return f"{promise.id}: {why}" if why else ""

    # Stories --------------------------------------------------------------------------------

    def story(self, *, seed: str = "") -> Story:
        """A fresh story of this scenario. It is closed and judged after the test's body."""
        self._told += 1
        if not seed and self._round:
            seed = f"{self.run.place.seed + self._round}/{self.scenario}/{self._told}"
        story = self.world.story(scenario=self.scenario, tries=self.tries, seed=seed)
        self._open.append(story)
        self.histories.append(story.history)
        return story

    def licence_factory(self, story: Story) -> Callable[..., str]:
        """Licences of ``story`` that are revoked before it is closed, where the target can."""
        made: list[str] = []

        def fresh_licence(**spec: Any) -> str:
            made.append(story.fresh_licence(**spec))
            return made[-1]

        def clean_up() -> None:
            if Cap.REVOKE in self.run.capabilities:
                for label in made:
                    story.call(VENDOR, "revoke", label)

        self._before_close.append((story, clean_up))
        return fresh_licence

    # Generated stories ----------------------------------------------------------------------

    def machine(self, machine: type[LicensingMachine], *, examples: int = 0, steps: int = 0) -> None:
        """Run a Hypothesis state machine; each story is judged at its end, and shrunk when it breaks a promise.

        ``examples`` and ``steps`` default to :data:`EFFORT` for the depth. Raises
        PromiseBroken for the smallest story that was found.
        """
        config = self.run.config
        live = self._world_name == "live"
        if live and config.depth != "nightly" and self.run.told_in("simulated"):
            message = "generated stories are told in the simulated world; live too at --licensing-depth nightly"
            raise NotRun(message)
        most, length = EFFORT[self._world_name][config.depth]
        stories = examples or (most if config.seeds == 1 else min(most, _FEW))
        until = self.run.clock.now() + PATIENCE[config.depth]
        batch = 0
        while True:
            self._generate(machine, stories, steps or length, batch)
            if self.found is not None:
                raise self._broken()
            batch += 1
            result = self.result
            enough = result is not None and result.verdict is Verdict.HELD
            if enough or (self.run.clock.now() >= until if live else batch * stories >= most):
                return

    def _generate(self, machine: type[LicensingMachine], examples: int, steps: int, batch: int) -> None:
        from licensing_harness.generate.machine import run_machine

        about = f"{self.run.place.seed + self._round}/{self.scenario}" + (f"/{batch}" if batch else "")
        seed = int.from_bytes(hashlib.sha256(about.encode()).digest()[:8])
        try:
            run_machine(
                lambda chance: self.story(seed=f"{seed}/{chance}"),
                machine,
                examples=examples,
                steps=steps,
                seed=seed,
                judge=self._judge_generated,
                shrink=self._world_name == "simulated",  # elsewhere chance does not repeat
            )
        except (HarnessError, NotRun):
            raise
        except Exception:
            # Also when it did not show again: a race that was recorded is broken, whatever Hypothesis calls it.
            if self.found is None:
                raise

    def _judge_generated(self, history: StoryHistory) -> None:
        self._open = [story for story in self._open if story.history is not history]
        self.histories[:] = [history]
        violations = self._judge(history)
        wanted = None if self.found is None else self.found[0].promise
        found = next((each for each in violations if wanted in {None, each.promise}), None)
        if found is not None:
            raise PromiseBroken(f"{found.promise} in {history.story}")

    # The end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Close what is still open, and let go of what was told; called when the test is over, whatever happened.

        pytest keeps every test to the end of its run, and this campaign with it.
        """
        self._close()
        self.histories.clear()
        self._before_close.clear()

    def _close(self) -> None:
        while self._open:
            self._open.pop().close()

    def judge(self) -> None:
        """Close and judge the stories that were opened; raises only what can't be trusted (HarnessError)."""
        for story, clean_up in self._before_close:
            if not story.closed:
                clean_up()
        self._before_close.clear()
        while self._open:
            story = self._open.pop(0)
            story.close()
            self._judge(story.history)

    def not_run(self, reason: str) -> None:
        """The test's body found out that it can't be run: its stories prove nothing, and say why."""
        for story in self._open:
            story.history.not_run = reason
        self._close()

    @property
    def result(self) -> ScenarioResult | None:
        """What this scenario came to so far; None before its first story was judged."""
        return next(iter(self.tally.result().scenarios), None)

    def abandon(self) -> None:
        """The run was interrupted: what is open has no end."""
        while self._open:
            self._open.pop().abandon()

    def conclude(self) -> None:
        """Judge, and raise PromiseBroken, Undecided or NotRun unless what was tried was held."""
        self.judge()
        if self.found is not None:
            raise self._broken()
        result = self.result
        if result is None:
            message = "the scenario told no story: nothing was tried"
            raise Undecided(message)
        if result.verdict is Verdict.NOT_RUN:
            raise NotRun(result.reason)
        if result.verdict is not Verdict.HELD:
            raise Undecided(result.reason)

    def adopt(self, stories: Iterable[StoryHistory], *, thresholds: Iterable[Mapping[str, Any]] = ()) -> None:
        """Judge stories that another process recorded on this target, and keep them in the run's history.

        ``thresholds`` are results, as plain data, with ``name``, ``limit``, ``unit``,
        ``value``, ``samples`` and ``verdict``: a missed one makes the run exit 11,
        one without enough samples 10.
        """
        self.thresholds += map(dict, thresholds)
        for history in stories:
            self.run.keep_story(history)
            self.histories.append(history)
            self._judge(history)

    def _judge(self, history: StoryHistory) -> tuple[Violation, ...]:
        judgement = judge_story(history, self.run.adapter.contract, self.run.capabilities)
        self.tally.add(judgement, history)
        for violation in judgement.violations:
            if self.found is None:
                self.found = violation, history
            found, where = self.found
            if violation.promise == found.promise and _size(history) < _size(where):
                self.found = violation, history
        return judgement.violations

    def _broken(self) -> PromiseBroken:
        """The failure for what was found; reports spell the evidence out."""
        if self.found is None:
            return PromiseBroken("a promise of this target is broken")
        violation, _ = self.found
        return PromiseBroken(f"{violation.promise} {promises()[violation.promise].sentence}: {violation.observed}")


def _size(history: StoryHistory) -> tuple[int, int]:
    return len(history.operations) + len(history.faults), len(history.plan)


def promises() -> Mapping[str, Promise]:
    """Every promise by its id."""
    return {promise.id: promise for promise in ALL_PROMISES}


# The shipped scenarios, by name ------------------------------------------------------------------


def _shipped() -> dict[str, Any]:
    """The shipped tests by name. Raises HarnessError when two have the same name."""
    root = scenarios()
    if _SHIPPED not in sys.modules and root.parent != Path(__file__).parent:
        # A checkout: the scenarios are beside the package; in a wheel they are in it.
        package = ModuleType(_SHIPPED)
        package.__path__ = [str(root)]
        sys.modules[_SHIPPED] = package
    found: dict[str, Any] = {}
    for path in sorted(root.glob("*/test_*.py")):
        module = importlib.import_module(f"{_SHIPPED}.{path.parent.name}.{path.stem}")
        for name, thing in vars(module).items():
            if not name.startswith(("test_", "Test")) or getattr(thing, "__module__", "") != module.__name__:
                continue
            if name in found:
                message = f"two shipped scenarios are called {name}: the second is in {path}"
                raise HarnessError(message)
            found[name] = thing
    return found


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    if name == "__all__":  # asked for by `import *` only
        return sorted(_shipped())
    if name.startswith(("test_", "Test")) and name in (shipped := _shipped()):
        return shipped[name]
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
