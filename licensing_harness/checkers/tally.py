"""A whole run from its judged stories: findings, verdicts, and the exit code.

Stories are added one at a time and let go; of each finding only the story with
the smallest evidence is kept. A live run and ``check`` of its stored history go
through the same tally and so come to the same verdict.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from licensing_harness.checkers.judge import ALL_PROMISES, judge_story, not_applicable
from licensing_harness.checkers.matrix import Matrix, met
from licensing_harness.errors import HarnessError
from licensing_harness.history import Fault, Header, History, HistoryReader, Operation, StoryHistory, stated
from licensing_harness.verdict import (
    Exit,
    Finding,
    Promise,
    PromiseResult,
    RunResult,
    ScenarioResult,
    StoryJudgement,
    Verdict,
    Violation,
    worst,
)

_Key = tuple[str, str]
"""A scenario and a world."""


def _row(record: Operation | Fault) -> dict[str, Any]:
    """A record as reports show it."""
    row: dict[str, Any] = {"n": record.n, "at": record.begin}
    if record.end is not None:
        row["until"] = record.end
    if isinstance(record, Fault):
        row |= {"fault": record.fault.value, "where": record.where, "met": record.met}
    else:
        row |= {"client": record.client, "verb": record.verb, "licence": record.licence}
        row |= {"asked": dict(record.asked), "outcome": record.outcome.value, "reason": record.reason}
    return row


def finding(violation: Violation, story: StoryHistory, promises: Sequence[Promise] = ALL_PROMISES) -> Finding:
    """The violation with its records spelled out, and the name of its case.

    The name is the promise and four hexadecimal digits that stay the same as
    long as the same kind of evidence is found in the same scenario and world.
    """
    records: dict[int, Operation | Fault] = {each.n: each for each in story.operations}
    records.update({each.n: each for each in story.faults})
    evidence = [records[n] for n in violation.evidence if n in records]
    subject = "\n".join([violation.promise, story.scenario, story.world, *_shape(evidence)])
    sentence = next((each.sentence for each in promises if each.id == violation.promise), "")
    return Finding(
        promise=violation.promise,
        sentence=sentence,
        scenario=story.scenario,
        world=story.world,
        story=story.story,
        expected=violation.expected,
        observed=violation.observed,
        evidence=[_row(each) for each in evidence],
        control=[_row(records[n]) for n in violation.control if n in records],
        case=f"{violation.promise}-{hashlib.sha256(subject.encode()).hexdigest()[:4]}",
    )


def _shape(evidence: Iterable[Operation | Fault]) -> list[str]:
    """What kind of evidence it is, whoever the clients were and however often it took place."""
    shapes = set()
    for each in evidence:
        if isinstance(each, Fault):
            shapes.add(each.fault.value)
        else:
            shapes.add(f"{each.verb} {each.outcome.value} {each.reason if each.refused else ''}")
    return sorted(shapes)


@dataclass(slots=True)
class _Tried:
    """One scenario in one world."""

    stories: int = 0
    operations: int = 0
    overlaps: int = 0
    seconds: float = 0.0
    broken: bool = False
    unjudged: int = 0
    claims: dict[str, None] = field(default_factory=dict)
    occasions: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    not_run: str = ""


class Tally:
    """What a run found so far. ``cases`` has the story of each finding, by the name of its case."""

    def __init__(self, header: Header, promises: Sequence[Promise] = ALL_PROMISES) -> None:
        self.header = header
        self.contract = stated(header)
        self.promises = promises
        self.cases: dict[str, StoryHistory] = {}
        self._capabilities = frozenset(header.capabilities)
        self._excluded = {
            each.id: reason
            for each in promises
            if (reason := not_applicable(each, self.contract, self._capabilities, header.not_applicable))
        }
        self._findings: dict[str, Finding] = {}
        self._tried: dict[_Key, _Tried] = {}
        self._stories: Counter[str] = Counter()
        self._worlds: dict[str, Counter[str]] = {}
        self._faults: dict[str, Counter[str]] = {}
        self._matrix = Matrix()
        self._errors: list[str] = []
        self._codes: list[int] = []
        self._notes: list[str] = []

    def judge(self, story: StoryHistory) -> StoryJudgement | None:
        """Judge a story and add it; None, and an error of the run, when its record can't be trusted."""
        try:
            judgement = judge_story(story, self.contract, self._capabilities, self.promises)
        except HarnessError as error:
            self.failed(str(error), error.exit_code)
            return None
        self.add(judgement, story)
        return judgement

    def add(self, judgement: StoryJudgement, story: StoryHistory) -> None:
        """Count a judged story, and keep what it found."""
        tried = self._tried.setdefault((story.scenario, story.world), _Tried())
        tried.stories += 1
        tried.operations += judgement.operations
        tried.overlaps += judgement.overlaps
        tried.seconds += _seconds(story)
        tried.unjudged += not story.judgeable
        if story.not_run:
            tried.not_run = story.not_run
        elif story.judgeable:
            tried.claims.update(dict.fromkeys(story.tries))
        for identity, count in judgement.occasions.items():
            tried.occasions[identity] += count
            self._stories[identity] += 1
        for violation in judgement.violations:
            tried.broken = True
            self._keep(finding(violation, story, self.promises), story)
        world = self._worlds.setdefault(story.world, Counter())
        world.update(stories=1, operations=judgement.operations, overlaps=judgement.overlaps)
        world.update(each.outcome.value for each in story.operations)
        kinds: dict[str, bool] = {}
        for fault in story.faults:
            kind, was_met = fault.fault.value, met(fault, story.operations)
            kinds[kind] = kinds.get(kind, False) or was_met
            tried.faults[kind] += 1
            tried.met[kind] += was_met
            self._faults.setdefault(kind, Counter()).update(set=1, met=int(was_met))
            self._matrix.count(kind, was_met=was_met)
        self._matrix.add(story, judgement, kinds)

    def _keep(self, found: Finding, story: StoryHistory) -> None:
        known = self._findings.get(found.case)
        if known is None:
            self._findings[found.case] = found
            self.cases[found.case] = story
            return
        found.times = known.times + 1
        if len(found.evidence) < len(known.evidence):
            self._findings[found.case] = found
            self.cases[found.case] = story
        else:
            known.times = found.times

    def not_run(self, scenario: str, world: str, reason: str) -> None:
        """A scenario could not be tried in this world at all."""
        self._tried.setdefault((scenario, world), _Tried()).not_run = reason

    def not_set(self, kind: str, reason: str) -> None:
        """A kind of fault that was planned could not be set."""
        self._matrix.not_set(kind, reason)

    def failed(self, text: str, exit_code: int = Exit.HARNESS_ERROR) -> None:
        """The run, or a part of it, can't be trusted."""
        self._errors.append(text)
        self._codes.append(int(exit_code))

    def note(self, text: str) -> None:
        """Something that readers of the report must know."""
        self._notes.append(text)

    def result(
        self, *, depth: str = "", started: str = "", seconds: float = 0.0, codes: Iterable[int] = ()
    ) -> RunResult:
        """The run so far. ``codes`` are exit codes of what else went wrong (pytest, clean-up, thresholds)."""
        scenarios = [self._scenario(key, tried) for key, tried in self._tried.items()]
        promises = [self._promise(each) for each in self.promises]
        verdicts = [each.verdict for each in promises]
        undecided = Verdict.UNDECIDED in verdicts or any(each.verdict is Verdict.UNDECIDED for each in scenarios)
        own, more = [], [*self._codes, *codes]
        nothing = not {Verdict.HELD, Verdict.BROKEN} & set(verdicts)
        if Verdict.BROKEN in verdicts:
            verdict = Verdict.BROKEN
            own.append(Exit.BROKEN)
        elif undecided or nothing or any(more):
            verdict = Verdict.UNDECIDED
        else:
            verdict = Verdict.HELD
            own.append(Exit.HELD)
        if undecided or (nothing and not self._codes):
            own.append(Exit.UNDECIDED)
        unjudged = sum(each.unjudged for each in self._tried.values())
        many = f"{unjudged} stories were cut short and are not judged"
        cut = ["1 story was cut short and is not judged"] if unjudged == 1 else [many] if unjudged else []
        return RunResult(
            run=self.header.run,
            harness=self.header.harness,
            target=self.header.target,
            capabilities=list(self.header.capabilities),
            contract=dict(self.header.contract),
            depth=depth,
            seed=self.header.seed,
            started=started,
            seconds=seconds,
            verdict=verdict,
            exit_code=int(worst([*own, *more])),
            promises=promises,
            scenarios=scenarios,
            findings=sorted(self._findings.values(), key=lambda each: (each.promise, each.case)),
            worlds={name: dict(counts) for name, counts in self._worlds.items()},
            faults={name: dict(counts) for name, counts in self._faults.items()},
            matrix=self._matrix.result(self.promises, self._excluded),
            errors=list(self._errors),
            notes=[*self._notes, *cut],
        )

    def scenario(self, scenario: str, world: str) -> ScenarioResult:
        """One scenario so far; undecided when no story of it was added."""
        key = scenario, world
        return self._scenario(key, self._tried.get(key, _Tried()))

    def _promise(self, promise: Promise) -> PromiseResult:
        claimed = [key for key, tried in self._tried.items() if promise.id in tried.claims]
        idle = [key for key in claimed if not self._tried[key].occasions[promise.id]]
        occasions = sum(tried.occasions[promise.id] for tried in self._tried.values())
        reason = ""
        if any(each.promise == promise.id for each in self._findings.values()):
            verdict = Verdict.BROKEN
        elif promise.id in self._excluded:
            verdict, reason = Verdict.NOT_RUN, self._excluded[promise.id]
        elif idle:
            scenario, world = idle[0]
            more = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
            verdict, reason = Verdict.UNDECIDED, f"{promise.control} (in {scenario} [{world}]{more})"
        elif occasions:
            verdict = Verdict.HELD
        else:
            verdict, reason = Verdict.NOT_RUN, "no scenario tried it"
        return PromiseResult(
            id=promise.id,
            sentence=promise.sentence,
            verdict=verdict,
            reason=reason,
            occasions=occasions,
            stories=self._stories[promise.id],
        )

    def _scenario(self, key: _Key, tried: _Tried) -> ScenarioResult:
        verdict, reason = self._decide(tried)
        scenario, world = key
        return ScenarioResult(
            id=scenario,
            world=world,
            verdict=verdict,
            reason=reason,
            stories=tried.stories,
            operations=tried.operations,
            overlaps=tried.overlaps,
            seconds=round(tried.seconds, 6),
        )

    def _decide(self, tried: _Tried) -> tuple[Verdict, str]:
        if tried.broken:
            return Verdict.BROKEN, ""
        if tried.not_run and not tried.claims:
            return Verdict.NOT_RUN, tried.not_run
        claims = [each for each in self.promises if each.id in tried.claims]
        judged = [each for each in claims if each.id not in self._excluded]
        if claims and not judged:
            return Verdict.NOT_RUN, f"{claims[0].id} {self._excluded[claims[0].id]}"
        idle = [each for each in judged if not tried.occasions[each.id]]
        if idle:
            return Verdict.UNDECIDED, f"{idle[0].id}: {idle[0].control}"
        unmet = sorted(kind for kind, count in tried.faults.items() if count and not tried.met[kind])
        if unmet:
            return Verdict.UNDECIDED, f"fault set but never met by traffic: {', '.join(unmet)}"
        if not tried.occasions:
            return Verdict.UNDECIDED, "nothing that a promise is about ever happened"
        return Verdict.HELD, ""


def _seconds(story: StoryHistory) -> float:
    if not story.operations:
        return 0.0
    last = max(each.begin if each.end is None else each.end for each in story.operations)
    return max(0.0, last - min(each.begin for each in story.operations))


def judge(history: History, promises: Sequence[Promise] = ALL_PROMISES) -> Tally:
    """Judge a history that was read back."""
    tally = Tally(history.header, promises)
    for story in history.stories.values():
        tally.judge(story)
    if history.torn:
        tally.note(history.torn)
    return tally


def judge_file(
    path: Path, promises: Sequence[Promise] = ALL_PROMISES, *, seen: Callable[[StoryHistory], None] = lambda _: None
) -> Tally:
    """Judge a stored history story by story, in the memory of one story; ``seen`` is shown each of them.

    Raises UsageError when the file is no history or is damaged.
    """
    reader = HistoryReader(path)
    tally = Tally(reader.header, promises)
    for story in reader:
        tally.judge(story)
        seen(story)
    if reader.torn:
        tally.note(reader.torn)
    return tally
