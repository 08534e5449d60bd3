"""Many seeds of drawn stories in the simulated world, each judged: what one process does.

A seed is everything: it draws the plan (:mod:`licensing_harness.generate.draw`)
and decides all chance in the world. Every story is told in a world of its own,
so that it is the same whatever was told before it, and so that nothing piles up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from licensing_harness.checkers.judge import ALL_PROMISES, applicable, judge_story
from licensing_harness.errors import HarnessError, NotRun
from licensing_harness.generate.attacks import forge
from licensing_harness.generate.draw import STEPS, Family
from licensing_harness.generate.shrink import CALM, Plan, smallest
from licensing_harness.history import Header, HistoryWriter, StoryHistory
from licensing_harness.masking import Masker
from licensing_harness.target.adapter import Adapter
from licensing_harness.verdict import Promise, StoryJudgement, Violation
from licensing_harness.vocabulary import ADDED, Cap, FaultKind
from licensing_harness.worlds.simulated import SimulatedWorld
from licensing_harness.worlds.story import Setting

SCENARIO: Final = "explore"
"""What cases of explored stories are filed under."""

SAMPLE: Final = 50
"""One seed in so many is told twice, unless all are."""

ELSEWHERE: Final = 4
"""Of the seeds that are told twice, so many are told in another process as well: that hashes text differently."""

TRIES: Final = 300
"""Stories that shrinking may take."""

_CHANCE: Final = "explore"


class Unequal(HarnessError):
    """The same seed made two histories, so nothing that was found can be found again."""


@dataclass(kw_only=True, slots=True)
class Reached:
    """What some seeds came to. Plain data: processes send it to each other."""

    seeds: int = 0
    twice: int = 0
    """Seeds told twice, with equal histories."""
    digests: dict[int, str] = field(default_factory=dict)
    """Of some of these, for another process to compare with its own."""
    operations: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    """By verb."""
    refused: int = 0
    unknown: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """By kind, those that were set."""
    met: Counter[str] = field(default_factory=Counter)
    """By kind, those that something met."""
    races: int = 0
    """Pairs of calls of different clients that were under way at once."""
    occasions: Counter[str] = field(default_factory=Counter)
    """By promise."""
    broken: tuple[int, str] | None = None
    """The first seed that broke a promise, and which one."""

    def count(self, history: StoryHistory, judgement: StoryJudgement) -> None:
        """Add one story."""
        self.seeds += 1
        self.operations += len(history.operations)
        self.races += judgement.overlaps
        self.occasions.update(judgement.occasions)
        for each in history.operations:
            if each.accepted:
                self.accepted[each.verb] += 1
            elif each.refused:
                self.refused += 1
            else:
                self.unknown += 1
        for fault in history.faults:
            self.faults[fault.fault.value] += 1
            self.met[fault.fault.value] += fault.met > 0

    def add(self, other: Reached) -> None:
        """Add other seeds; of two that broke a promise the lower one is kept."""
        self.seeds += other.seeds
        self.twice += other.twice
        self.operations += other.operations
        self.refused += other.refused
        self.unknown += other.unknown
        self.races += other.races
        self.accepted.update(other.accepted)
        self.faults.update(other.faults)
        self.met.update(other.met)
        self.occasions.update(other.occasions)
        self.digests = dict(sorted({**self.digests, **other.digests}.items())[:ELSEWHERE])
        if other.broken is not None and (self.broken is None or other.broken < self.broken):
            self.broken = other.broken


@dataclass(slots=True)
class Finding:
    """A story that broke a promise, with its violation. ``masker`` knows its secrets."""

    violation: Violation
    history: StoryHistory
    masker: Masker
    told: int = 1
    """Stories that it took to make it this small."""


@dataclass(frozen=True)
class Explorer:
    """Tells stories of a simulated target. ``steps`` are decisions in a story.

    ``promises`` are those that stories are judged by. ``calm`` stories have no
    faults; others do ``without`` these kinds.
    """

    target: str
    adapter: type[Adapter]
    steps: int = STEPS
    calm: bool = False
    without: frozenset[FaultKind] = frozenset()
    promises: tuple[Promise, ...] = ALL_PROMISES
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The user's own, for the adapter."""

    @cached_property
    def capabilities(self) -> frozenset[Cap]:
        """What the adapter declares, and what the simulated world adds."""
        return frozenset(self.adapter.capabilities) | ADDED

    @cached_property
    def family(self) -> Family:
        """What stories are made of."""
        return Family(self.capabilities, self.adapter.contract, self.calm, self.without)

    def missing(self, reached: Reached) -> list[str]:
        """What was never tried.

        Kinds of operation that were never accepted, of fault that nothing met, promises without an occasion.
        """
        verbs = [f"no {verb} was ever accepted" for verb in self.family.verbs if not reached.accepted[verb]]
        faults = [_unmet(kind.value, reached) for kind in self.family.faults if not reached.met[kind.value]]
        promises = applicable(self.promises, self.adapter.contract, self.capabilities)
        return verbs + faults + [f"{each.id}: {each.control}" for each in promises if not reached.occasions[each.id]]

    # Telling --------------------------------------------------------------------------------

    def tell(self, plan: Plan, seed: str, masker: Masker | None = None) -> StoryHistory:
        """One story, told from its plan in a fresh world; ``seed`` decides all chance in it."""
        masker = masker or Masker()
        for secret in self.secrets.values():
            masker.register(secret)
        setting = Setting(
            adapter=self.adapter,
            writer=HistoryWriter(None, Header(), masker),
            masker=masker,
            seed=0,  # one key, and one first start, for all stories of a process
            tag="lh-explore",
            forge=forge,
            secrets=self.secrets,
        )
        with SimulatedWorld(self.target, setting).story(scenario=SCENARIO, seed=seed) as story:
            for step in plan:
                try:
                    story.perform(step)
                except NotRun:
                    if "attack" not in step:
                        raise
                    story.history.plan.pop()  # this target's tokens don't allow this forgery
        return story.history

    def told(self, seed: int) -> StoryHistory:
        """The story of a seed."""
        return self.tell(self.family.plan(seed, self.steps), f"{seed}/{_CHANCE}")

    def judge(self, history: StoryHistory) -> StoryJudgement:
        """Judge one story. Raises HarnessError when its record can't be trusted."""
        return judge_story(history, self.adapter.contract, self.capabilities, self.promises)

    def explore(self, seeds: Iterable[int], *, twice: AbstractSet[int] = frozenset()) -> Reached:
        """Tell and judge the stories of these seeds, up to the first that breaks a promise.

        Those of ``twice`` are told once more. Raises Unequal when that makes another history.
        """
        reached = Reached()
        for seed in seeds:
            try:
                self._explore(seed, reached, twice=seed in twice)
            except Unequal:
                raise
            except HarnessError as error:
                raise type(error)(f"{error} (in the story of seed {seed})") from error
            if reached.broken is not None:
                break
        return reached

    def _explore(self, seed: int, reached: Reached, *, twice: bool) -> None:
        history = self.told(seed)
        if twice:
            reached.digests[seed] = history.digest()
            self.check(seed, history.digest())
            reached.twice += 1
        judgement = self.judge(history)
        reached.count(history, judgement)
        if judgement.violations:
            reached.broken = seed, judgement.violations[0].promise

    def check(self, seed: int, digest: str) -> None:
        """Tell the story of a seed once more. Raises Unequal when its history has another digest."""
        if self.told(seed).digest() != digest:
            message = (
                f"seed {seed} made two different histories: the target or the adapter draws chance, time or order "
                "from somewhere else than from its arguments. Nothing that is found in it could be found again."
            )
            raise Unequal(message)

    # Shrinking ------------------------------------------------------------------------------

    def shrunk(self, seed: int, promise: str, tries: int = TRIES) -> Finding:
        """The smallest story found that breaks the promise which the story of ``seed`` breaks.

        Raises Unequal when that story does not break it this time.
        """
        plan = self.family.plan(seed, self.steps)
        best = self._broken(plan, f"{seed}/{_CHANCE}", promise)
        if best is None:
            message = f"seed {seed} broke {promise} once and did not do it again: its story does not repeat itself"
            raise Unequal(message)
        told = 1

        def breaks(shorter: Plan, chance: str) -> bool:
            nonlocal best, told
            told += 1
            try:
                found = self._broken(shorter, chance, promise)
            except (HarnessError, NotRun):
                return False  # a plan that can't be told is no smaller finding
            best = found or best
            return found is not None

        # The plainest chance is the same for all seeds: what was found by two of them gets one form.
        calmer = f"{CALM}/{CALM}", f"{seed}/{CALM}"
        smallest(
            best.history.plan,
            f"{seed}/{_CHANCE}",
            breaks,
            tries=tries,
            calmer=calmer,
            table=self.family.faults,
            contend=True,
        )
        best.told = told
        return best

    def _broken(self, plan: Plan, seed: str, promise: str) -> Finding | None:
        masker = Masker()
        history = self.tell(plan, seed, masker)
        for violation in self.judge(history).violations:
            if violation.promise == promise:
                return Finding(violation, history, masker)
        return None


def _unmet(kind: str, reached: Reached) -> str:
    count = reached.faults[kind]
    return f"{kind} was set {count:,} times and never met" if count else f"no {kind} was ever set"


def described(reached: Reached) -> dict[str, Any]:
    """What was reached, in the words of a progress line."""
    return {
        "accepted": sum(reached.accepted.values()),
        "refused": reached.refused,
        "unknown": reached.unknown,
        "races": reached.races,
        "faults met": sum(reached.met.values()),
    }


def reached_lines(reached: Reached) -> Iterator[tuple[str, str]]:
    """What was reached by kind: a heading and its line each."""
    yield "operations accepted", ", ".join(f"{verb} {count:,}" for verb, count in reached.accepted.most_common())
    met = [f"{kind} {reached.met[kind]:,} of {count:,}" for kind, count in reached.faults.most_common()]
    yield "faults met, of those set", ", ".join(met) or "none"
    yield "occasions", ", ".join(f"{each} {count:,}" for each, count in sorted(reached.occasions.items()))
