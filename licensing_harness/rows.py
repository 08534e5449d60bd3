"""What the tests of a run came to, and the exit code that it means. Plain data: rows ride on test reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from licensing_harness.verdict import Exit, RunResult, ScenarioResult, Verdict, threshold_code, worst

_PYTEST_FAILED = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One test in one world.

    ``code`` is an exit code where the row says nothing about the target: the
    run can't be trusted. ``counts`` is false for tests that use our fixtures
    but are no scenarios: pytest's own verdict on them stands.
    """

    scenario: str
    world: str
    verdict: Verdict
    reason: str = ""
    code: int = 0
    stories: int = 0
    operations: int = 0
    overlaps: int = 0
    seconds: float = 0.0
    counts: bool = True
    own: bool = False
    """An assertion of the test's own failed: its traceback says more than we can."""
    deviation: str = ""
    """Why a broken promise is excused: a known deviation."""
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    """Results of thresholds, with their ``verdict``."""

    def as_dict(self) -> dict[str, Any]:
        """Builtin types only, as pytest-xdist can carry them."""
        return {**asdict(self), "verdict": str(self.verdict.value)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Row:
        """The other way round."""
        return cls(**{**row, "verdict": Verdict(row["verdict"])})

    def excused(self, why: str) -> Row:
        """The same row as a known deviation."""
        return replace(self, deviation=why or "known deviation")

    def as_result(self) -> ScenarioResult:
        """For reports."""
        reason = f"known deviation: {self.deviation}" if self.deviation else self.reason
        return ScenarioResult(
            id=self.scenario,
            world=self.world,
            verdict=Verdict.UNDECIDED if self.deviation else self.verdict,
            reason=reason,
            stories=self.stories,
            operations=self.operations,
            overlaps=self.overlaps,
            seconds=self.seconds,
        )


@dataclass(kw_only=True, slots=True)
class Rows:
    """All rows of a run, and what no test stands for."""

    rows: list[Row] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """What could not be cleaned up."""
    codes: list[int] = field(default_factory=list)
    """The exit codes of these troubles."""
    not_broken: int = 0
    """Reports that pytest counts as failures, and that accuse nobody: undecided, or the run's own error."""

    def add(self, row: Row, *, failed: bool) -> None:
        """Count one report; ``failed`` as pytest sees it."""
        self.rows.append(row)
        if failed and row.verdict is Verdict.UNDECIDED:
            self.not_broken += 1

    def exit_code(self, pytest_code: int, failures: int) -> int:
        """The code that the run exits with.

        ``pytest_code`` is what pytest would say, ``failures`` how many failed
        reports it counted. A failure that is none (undecided) is taken out of
        pytest's 1; everything else of pytest's stays, and the worst wins.
        """
        codes = [Exit.HELD if pytest_code == _PYTEST_FAILED and failures == self.not_broken else pytest_code]
        codes += self.codes
        counted = [row for row in self.rows if row.counts]
        codes += [row.code for row in self.rows if row.code]
        codes += [Exit.BROKEN for row in counted if row.verdict is Verdict.BROKEN and not row.deviation]
        codes += [Exit.UNDECIDED for row in counted if row.verdict is Verdict.UNDECIDED and not row.code]
        if counted and not any(row.verdict in {Verdict.HELD, Verdict.BROKEN} for row in counted):
            codes.append(Exit.UNDECIDED)  # nothing held and nothing broken: nothing was proved
        codes += [threshold_code(Verdict(each["verdict"])) for each in self.thresholds()]
        return worst(codes)

    def thresholds(self) -> list[dict[str, Any]]:
        """Of all rows."""
        return [each for row in self.rows for each in row.thresholds]

    def complete(self, result: RunResult, *, exit_code: int) -> RunResult:
        """Add to what the history tells what only the tests know.

        These are scenarios that told no story, assertions of a scenario's own,
        known deviations, and how long each took for real.
        """
        found = {(each.id, each.world): each for each in result.scenarios}
        seconds: dict[tuple[str, str], float] = {}
        for row in self.rows:
            if not row.counts:
                continue
            key, told = (row.scenario, row.world), row.as_result()
            seconds[key] = seconds.get(key, 0.0) + row.seconds
            known = found.setdefault(key, told)
            if row.deviation or _RANK.index(told.verdict) < _RANK.index(known.verdict):
                known.verdict, known.reason = told.verdict, told.reason
        for key, spent in seconds.items():
            found[key].seconds = round(spent, 3)
        result.scenarios = list(found.values())
        result.errors = list(dict.fromkeys([*result.errors, *self.errors()]))
        result.thresholds = [*result.thresholds, *self.thresholds()]
        result.exit_code = exit_code
        broken = any(each.verdict is Verdict.BROKEN for each in result.scenarios)
        if exit_code == Exit.HELD:
            result.verdict = Verdict.HELD
        else:
            result.verdict = Verdict.BROKEN if broken else Verdict.UNDECIDED
        return result

    def errors(self) -> list[str]:
        """Why the run can't be trusted, each once."""
        texts = [*self.troubles, *(row.reason for row in self.rows if row.code)]
        return list(dict.fromkeys(texts))


_RANK = (Verdict.BROKEN, Verdict.UNDECIDED, Verdict.HELD, Verdict.NOT_RUN)
