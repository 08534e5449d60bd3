"""Generated stories: Hypothesis state machines that only record; the history is judged at the end.

A machine's rules are a story's words: ``start``, ``contend``, ``fresh_licence``,
``cut_next``, ``crash``, and a pause that is ``settle`` or ``advance``. They mean
the same in both worlds. No rule depends on an answer, so that the same choices are always
possible, whatever the target does.

A family is a subclass with its verbs and numbers as class attributes;
:func:`run_machine` runs one. Overlap is designed: few seats, small gaps, fresh
licences in mid-run, and a rule that lets every device do the same thing now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import permutations, product
from typing import Any, ClassVar, Final

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from licensing_harness.errors import HarnessError, NotRun, PromiseBroken
from licensing_harness.generate.mix import Mix
from licensing_harness.generate.shrink import Plan, smallest
from licensing_harness.history import StoryHistory
from licensing_harness.vocabulary import CAP_OF, Cap
from licensing_harness.worlds.story import DEVICES, GAPS, VENDOR, Cut, Story

_CHANCES: Final = 2**16
_RECENT: Final = range(3)
WHICH: Final = st.sampled_from(_RECENT)
"""Which licence a rule speaks of: the newest, or one of the two before it. Races live on fresh ones."""

_ALWAYS: Final = frozenset({"issue"})

MakeStory = Callable[[str], Story]
"""``make_story(seed)``: the same seed must give the same chance, or nothing shrinks."""

_Licence = tuple[int, float | None, tuple[str, ...]]

Judge = Callable[[StoryHistory], object]
"""Judges a closed story; raises PromiseBroken."""


@dataclass(slots=True)
class MachineOutcome:
    """What a machine did. Filled while it runs: complete also when ``run_machine`` raised."""

    examples: int = 0
    """Stories asked for."""
    stories: int = 0
    """Stories told, those of shrinking included."""
    operations: int = 0
    overlaps: int = 0
    """Pairs of calls of different clients that were under way at once."""
    failed: StoryHistory | None = None
    """The last story that broke a promise: after shrinking, the smallest."""
    broken: PromiseBroken | None = None
    """What was broken in it."""
    chance: str = ""
    """What ``make_story`` was called with for it."""
    blame: HarnessError | NotRun | None = None
    """Why the machine stopped without judging."""

    def add(self, history: StoryHistory, chance: str, judge: Judge, on_story: Judge) -> None:
        """Count a closed story and judge it; raises PromiseBroken."""
        self.stories += 1
        self.operations += len(history.operations)
        self.overlaps += overlaps(history)
        on_story(history)
        try:
            judge(history)
        except PromiseBroken as error:
            self.failed, self.broken, self.chance = history, error, chance
            raise


class LicensingMachine(RuleBasedStateMachine):
    """One generated story. Subclass it, and say what is tried; see :class:`SeatsMachine`.

    Besides single calls, ``contend`` lets every device do the same, and ``cross``
    two clients do two things, to one licence at once.

    Verbs are weighted: ``{"activate": 4, "release": 1}``; those that the target
    can't do are left out. All times are seconds. ``class SeatsMachine(LicensingMachine,
    mix=SEATS)`` has them from a row of :mod:`licensing_harness.generate.mix`. A
    family may add rules of its own with Hypothesis' ``@rule``; they go through ``tell``.
    """

    device_verbs: ClassVar[Mapping[str, int]] = {"validate": 1}
    vendor_verbs: ClassVar[Mapping[str, int]] = {}
    contended: ClassVar[tuple[str, ...]] = ("validate",)
    """What every device may do at once."""
    seats: ClassVar[tuple[int, ...]] = (1, 2)
    durations: ClassVar[tuple[float | None, ...]] = (None,)
    """Terms of new licences, and of renewals; None never expires."""
    features: ClassVar[tuple[tuple[str, ...], ...]] = (("base",),)
    crashes: ClassVar[int] = 2
    """At most so many in a story, where the target can be restarted."""
    cuts: ClassVar[bool] = True
    advances: ClassVar[tuple[float, ...]] = GAPS
    leases: ClassVar[tuple[float, ...]] = ()
    """More advances, as multiples of the contract's lease."""
    patience: ClassVar[Mapping[str, float]] = {"live": 6.0}
    """By world: so many seconds of advances at most in one story."""

    def __init_subclass__(cls, *, mix: Mix | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        for each in () if mix is None else fields(mix):
            setattr(cls, each.name, getattr(mix, each.name))

    make_story: ClassVar[MakeStory]
    judge: ClassVar[Judge]
    outcome: ClassVar[MachineOutcome]
    on_story: ClassVar[Judge]

    def __init__(self) -> None:
        super().__init__()
        self.story: Story | None = None
        self._chance = ""
        self._spoiled = False
        self._crashes = 0
        self._waited = 0.0
        self._cut: set[str] = set()
        if self.outcome.blame is not None:
            raise self.outcome.blame  # nothing gets better by trying again

    # For families ---------------------------------------------------------------------------

    def finish(self, story: Story) -> None:
        """Closing steps, before the story is closed and judged. By default none."""

    def tell(self, word: str, *args: Any, **asked: Any) -> None:
        """Do one of the story's words. What makes the run untrustworthy ends the machine."""
        if self.story is None:
            return
        with self._blaming():
            getattr(self.story, word)(*args, **asked)

    def label(self, which: int) -> str:
        """The licence that is ``which`` before the newest."""
        labels = () if self.story is None else self.story.labels
        return labels[-1 - min(which, len(labels) - 1)] if labels else ""

    def wait_leases(self, part: float) -> bool:
        """Let this part of a lease pass; False where no lease is stated or the story has waited enough."""
        lease = None if self.story is None else self.story.contract.lease
        return lease is not None and self._advance(part * lease)

    def able(self, verb: str) -> bool:
        """Whether the target can do this."""
        return verb in _ALWAYS or (self.story is not None and CAP_OF.get(verb) in self.story.capabilities)

    # Rules ----------------------------------------------------------------------------------

    def _begin(self, chance: int, licence: _Licence) -> None:
        self._chance = str(chance)
        with self._blaming():
            self.story = type(self).make_story(self._chance)
        self._fresh_licence(licence)

    def _fresh_licence(self, licence: _Licence) -> None:
        self._cut.discard(VENDOR)
        seats, duration, features = licence
        self.tell("fresh_licence", seats=seats, duration=duration, features=features)

    def _start(self, call: tuple[str, str, int]) -> None:
        client, verb, which = call
        if self.able(verb):
            self._cut.discard(client)
            asked = {"duration": self._terms[which % len(self._terms)]} if verb == "renew" else {}
            self.tell("start", client, verb, self.label(which), **asked)

    def _vendor(self, call: tuple[str, int]) -> None:
        self._start((VENDOR, *call))

    def _cross(self, calls: tuple[tuple[str, str], tuple[str, str]], which: int) -> None:
        for client, verb in calls:
            self._start((client, verb, which))

    def _contend(self, call: tuple[str, int]) -> None:
        verb, which = call
        if self.able(verb):
            self._cut.difference_update(DEVICES)
            self.tell("contend", verb, self.label(which))

    def _cut_next(self, cut: tuple[str, Cut]) -> None:
        client, what = cut
        if client not in self._cut:  # a second one could never be met
            self._cut.add(client)
            self.tell("cut_next", client, what)

    def _crash(self, *, power: bool) -> None:
        self._crashes += 1
        self.tell("crash", power=power and self.story is not None and self.story.world == "simulated")

    def _pause(self, what: tuple[str, float]) -> None:
        word, amount = what
        if word == "settle":
            self.tell("settle")
        elif word == "leases":
            self.wait_leases(amount)
        else:
            self._advance(amount)

    def _advance(self, seconds: float) -> bool:
        limit = float("inf") if self.story is None else self.patience.get(self.story.world, float("inf"))
        if self._waited + seconds > limit:
            return False
        self._waited += seconds
        self.tell("advance", seconds)
        return True

    def _may_crash(self) -> bool:
        return self._crashes < self.crashes and self.story is not None and Cap.RESTART in self.story.capabilities

    @property
    def _terms(self) -> list[float]:
        return [term for term in self.durations if term is not None] or [60.0]

    @classmethod
    def _pairs(cls) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
        """Two calls of two clients."""
        for (first, second), verbs in product(permutations(DEVICES, 2), product(cls.device_verbs, repeat=2)):
            yield (first, verbs[0]), (second, verbs[1])
        for device, verb, change in product(DEVICES, cls.device_verbs, cls.vendor_verbs):
            yield (VENDOR, change), (device, verb)
            yield (device, verb), (VENDOR, change)

    @classmethod
    def _rules(cls) -> dict[str, Any]:
        """Make the rules from the class attributes. One draw a rule: drawing is what a step costs."""
        licence = st.sampled_from(list(product(cls.seats, cls.durations, cls.features)))
        clients = (VENDOR, *DEVICES) if cls.vendor_verbs else DEVICES
        rules: dict[str, Any] = {
            "begin": initialize(chance=st.integers(0, _CHANCES - 1), licence=licence)(_named("begin", cls._begin)),
            "fresh_licence": rule(licence=licence)(_named("fresh_licence", cls._fresh_licence)),
        }
        pauses = [("settle", 0.0)] * 2
        pauses += [("seconds", each) for each in cls.advances] + [("leases", each) for each in cls.leases]
        rules["pause"] = rule(what=st.sampled_from(pauses))(_named("pause", cls._pause))
        if cls.device_verbs:
            call = st.sampled_from(list(product(DEVICES, _weighted(cls.device_verbs), _RECENT)))
            rules["start"] = rule(call=call)(_named("start", cls._start))
        if cls.vendor_verbs:
            both = st.sampled_from(list(product(_weighted(cls.vendor_verbs), _RECENT)))
            rules["vendor"] = rule(call=both)(_named("vendor", cls._vendor))
        pairs = list(cls._pairs())
        if pairs:
            rules["cross"] = rule(calls=st.sampled_from(pairs), which=WHICH)(_named("cross", cls._cross))
        if cls.contended:
            both = st.sampled_from(list(product(cls.contended, _RECENT)))
            rules["contend"] = rule(call=both)(_named("contend", cls._contend))
        if cls.cuts:
            cut = st.sampled_from(list(product(clients, ("request", "answer"))))
            rules["cut_next"] = rule(cut=cut)(_named("cut_next", cls._cut_next))
        if cls.crashes:
            crash = rule(power=st.booleans())(_named("crash", cls._crash))
            rules["crash"] = precondition(lambda machine: machine._may_crash())(crash)  # noqa: SLF001
        return rules

    @classmethod
    def _ready(
        cls, make_story: MakeStory, judge: Judge, on_story: Judge, outcome: MachineOutcome
    ) -> type[LicensingMachine]:
        """A subclass of the family with its rules, bound to what it needs."""
        bound = {
            "__module__": cls.__module__,
            "__doc__": cls.__doc__,
            "make_story": staticmethod(make_story),
            "judge": staticmethod(judge),
            "on_story": staticmethod(on_story),
            "outcome": outcome,
        }
        return type(cls.__name__, (cls,), {**cls._rules(), **bound})

    # The end --------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Close the story and judge it. Called by Hypothesis after every example."""
        story, self.story = self.story, None
        if story is None:
            return
        if self._spoiled:
            with contextlib.suppress(HarnessError, NotRun):
                story.close()
            return
        with self._blaming():
            self.finish(story)
            story.close()
        self.outcome.add(story.history, self._chance, type(self).judge, type(self).on_story)

    @contextlib.contextmanager
    def _blaming(self) -> Any:
        try:
            yield
        except BaseException as error:
            self._spoiled = True
            if isinstance(error, HarnessError | NotRun) and self.outcome.blame is None:
                self.outcome.blame = error
            raise


def run_machine(
    make_story: MakeStory,
    machine: type[LicensingMachine],
    *,
    examples: int,
    steps: int,
    seed: int,
    judge: Judge,
    on_story: Judge = lambda _: None,
    shrink: bool | None = None,
    outcome: MachineOutcome | None = None,
) -> MachineOutcome:
    """Tell up to ``examples`` stories of up to ``steps`` steps, and judge each.

    ``make_story(seed)`` opens a story; ``judge(history)`` raises PromiseBroken.
    The first broken promise is shrunk and raised, as the PromiseBroken of the
    smallest story; ``outcome.failed`` is that story. Shrinking needs chance that
    repeats, so by default only simulated stories are shrunk. Two violations are of one
    promise when their texts begin with the same word. Pass an ``outcome`` to
    have it in that case. ``on_story`` sees every story before it is judged.

    Raises PromiseBroken; HarnessError or NotRun as the story raised them.
    """
    outcome = MachineOutcome() if outcome is None else outcome
    outcome.examples += examples
    ready = machine._ready(make_story, judge, on_story, outcome)  # noqa: SLF001
    try:
        run_state_machine_as_test(
            hypothesis.seed(seed)(ready),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                phases=(Phase.generate,),
                database=None,
                derandomize=False,
                deadline=None,
                report_multiple_bugs=False,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except (PromiseBroken, Flaky, ExceptionGroup, HarnessError, NotRun) as error:
        # A violation once recorded stays broken, also if it did not come again.
        if outcome.broken is None:
            raise (outcome.blame or error) from None
        if shrink or (shrink is None and outcome.failed is not None and outcome.failed.world == "simulated"):
            _shrink(make_story, judge, on_story, outcome)
        raise outcome.broken from None
    return outcome


def _shrink(make_story: MakeStory, judge: Judge, on_story: Judge, outcome: MachineOutcome) -> None:
    """Leave the smallest story in ``outcome`` that breaks the same promise."""
    if outcome.failed is None:
        return
    promise = _promise(outcome.broken)

    def breaks(plan: Plan, chance: str) -> bool:
        kept = outcome.failed, outcome.broken, outcome.chance
        try:
            with make_story(chance) as story:
                for step in plan:
                    story.perform(step)
            outcome.add(story.history, chance, judge, on_story)
        except PromiseBroken as error:
            if _promise(error) == promise:
                return True
            outcome.failed, outcome.broken, outcome.chance = kept
        except (HarnessError, NotRun):
            pass  # a plan that can't be told is no smaller finding
        return False

    smallest(outcome.failed.plan, outcome.chance, breaks)


def _promise(error: PromiseBroken | None) -> str:
    """The id that the text begins with."""
    return str(error).partition(" ")[0]


def overlaps(history: StoryHistory) -> int:
    """Pairs of calls of different clients that were under way at once, as far as both ends are known."""
    ended = [each for each in history.operations if each.end is not None]
    count = 0
    for index, first in enumerate(ended):
        for second in ended[index + 1 :]:
            if second.begin >= first.ended:
                break
            count += second.client != first.client
    return count


def _weighted(verbs: Mapping[str, int]) -> list[str]:
    return [verb for verb, weight in verbs.items() for _ in range(weight)]


def _named(name: str, method: Callable[..., None]) -> Callable[..., None]:
    """A function of this name for Hypothesis to print and to mark."""

    def word(self: Any, **drawn: Any) -> None:
        method(self, **drawn)

    word.__name__ = word.__qualname__ = name
    return word
