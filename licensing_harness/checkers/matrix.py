"""Which promise was tried under which fault: counted story by story. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.verdict import CellResult, FaultResult, Promise, StoryJudgement
from licensing_harness.vocabulary import FaultKind

_CRASHES = frozenset({FaultKind.CRASH, FaultKind.POWER_LOSS})


def met(fault: Fault, operations: Sequence[Operation]) -> bool:
    """Whether traffic met it. A crash that nobody was waiting through is met by whoever calls after it."""
    return fault.met > 0 or (fault.fault in _CRASHES and any(each.begin >= fault.begin for each in operations))


class Matrix:
    """Faults by promises, over all stories that were added."""

    def __init__(self) -> None:
        self._set: Counter[str] = Counter()
        self._met: Counter[str] = Counter()
        self._not_set: dict[str, str] = {}
        self._tried: dict[str, Counter[str]] = {}
        self._stories: dict[str, Counter[str]] = {}
        self._undecided: dict[str, Counter[str]] = {}
        self._broken: dict[str, Counter[str]] = {}

    def add(self, story: StoryHistory, judgement: StoryJudgement, kinds_met: Mapping[str, bool]) -> None:
        """Count a judged story; ``kinds_met`` are the kinds set in it, and whether traffic met them."""
        if not kinds_met:
            return
        occasions = {identity: count for identity, count in judgement.occasions.items() if count}
        claimed = [] if story.not_run else [each for each in story.tries if each not in occasions]
        accused = {each.promise for each in judgement.violations}
        for kind, was_met in kinds_met.items():
            undecided = self._undecided.setdefault(kind, Counter())
            undecided.update(claimed)
            if not was_met:
                undecided.update(occasions)
                continue
            self._tried.setdefault(kind, Counter()).update(occasions)
            self._stories.setdefault(kind, Counter()).update(occasions.keys())
            self._broken.setdefault(kind, Counter()).update(accused)

    def count(self, kind: str, *, was_met: bool) -> None:
        """One fault that was set."""
        self._set[kind] += 1
        self._met[kind] += was_met

    def not_set(self, kind: str, reason: str) -> None:
        """A kind that was asked for and could not be set."""
        self._not_set.setdefault(kind, reason)

    def result(self, promises: Sequence[Promise], excluded: Mapping[str, str]) -> list[FaultResult]:
        """Every kind of fault there is, those that were set first; ``excluded`` are promises that can't be tried."""
        kinds = [*self._set, *(each for each in self._not_set if each not in self._set)]
        kinds += [each.value for each in FaultKind if each.value not in kinds]
        return [self._row(kind, promises, excluded) for kind in kinds]

    def _row(self, kind: str, promises: Sequence[Promise], excluded: Mapping[str, str]) -> FaultResult:
        if not self._set[kind]:
            return FaultResult(fault=kind, reason=self._not_set.get(kind, "no story set it"))
        return FaultResult(
            fault=kind,
            set=self._set[kind],
            met=self._met[kind],
            reason=self._not_set.get(kind, ""),
            promises=[self._cell(kind, each.id, excluded) for each in promises],
        )

    def _cell(self, kind: str, promise: str, excluded: Mapping[str, str]) -> CellResult:
        def of(counts: Mapping[str, Counter[str]]) -> int:
            return counts[kind][promise] if kind in counts else 0

        tried, undecided = of(self._tried), 0 if promise in excluded else of(self._undecided)
        reason = ""
        if not tried:
            reason = excluded.get(promise, "no story with this fault tried it")
            if undecided:
                met_by_nobody = "the fault was never met by traffic"
                reason = "there was no occasion to break it" if self._met[kind] else met_by_nobody
        return CellResult(
            promise=promise,
            tried=tried,
            stories=of(self._stories),
            undecided=undecided,
            broken=of(self._broken),
            reason=reason,
        )


def tried_under(matrix: Collection[FaultResult]) -> list[FaultResult]:
    """The rows of faults that were set."""
    return [each for each in matrix if each.set]
