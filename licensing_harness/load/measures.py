"""Samples of a load run, their percentiles, and the thresholds that gate it.

A threshold is written ``unknown<=0.01`` (share of calls without an answer),
``p95<=200`` or ``p95:validate<=50`` (milliseconds). A percentile needs enough
samples to differ from the longest: 20 for p95, 100 for p99. Fewer is undecided.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from licensing_harness.errors import UsageError
from licensing_harness.generate.loadrun import ThresholdResult, VerbResult
from licensing_harness.generate.quantiles import enough, quantile
from licensing_harness.verdict import Verdict, threshold_code, worst
from licensing_harness.vocabulary import Outcome

DEFAULT_THRESHOLDS: Final = ("unknown<=0.01",)
_QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_FORM: Final = re.compile(r"(?P<name>unknown|p50|p95|p99)(?::(?P<verb>[a-z_]+))?\s*<=\s*(?P<limit>\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit on one measure, of one verb or (empty) of all of them together."""

    name: str
    verb: str
    limit: float


def parse_threshold(text: str) -> Threshold:
    """The threshold that ``text`` states. Raises UsageError for any other form."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        message = f"{text!r} is no threshold; write unknown<=0.01, p95<=200 or p95:validate<=50 (ms)"
        raise UsageError(message)
    return Threshold(found["name"], found["verb"] or "", float(found["limit"]))


@dataclass(slots=True)
class Samples:
    """Outcomes and milliseconds of every call of one verb."""

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    milliseconds: array[float] = field(default_factory=lambda: array("d"))

    def add(self, outcome: Outcome, milliseconds: float) -> None:
        """Count one call."""
        self.outcomes[outcome] += 1
        self.milliseconds.append(milliseconds)

    def result(self, verb: str) -> VerbResult:
        """The verb's line of the report."""
        if not self.milliseconds:
            return VerbResult(verb=verb)
        ordered = array("d", sorted(self.milliseconds))
        p50, p95, p99 = (
            round(quantile(ordered, share), 3) if len(ordered) >= enough(share) else None
            for share in _QUANTILES.values()
        )
        return VerbResult(
            verb=verb,
            accepted=self.outcomes[Outcome.ACCEPTED],
            refused=self.outcomes[Outcome.REFUSED],
            unknown=self.outcomes[Outcome.UNKNOWN],
            p50=p50,
            p95=p95,
            p99=p99,
            longest=round(ordered[-1], 3),
        )


def judged(thresholds: Iterable[Threshold], samples: Mapping[str, Samples]) -> list[ThresholdResult]:
    """Each threshold against the samples."""
    return [_judged(each, samples) for each in thresholds]


def _judged(threshold: Threshold, samples: Mapping[str, Samples]) -> ThresholdResult:
    chosen = [each for verb, each in samples.items() if threshold.verb in ("", verb)]
    count = sum(len(each.milliseconds) for each in chosen)
    share = _QUANTILES.get(threshold.name)
    needed = 1 if share is None else enough(share)
    value: float | None = None
    if count and share is None:
        value = sum(each.outcomes[Outcome.UNKNOWN] for each in chosen) / count
    elif count and share is not None:
        value = quantile(array("d", sorted(ms for each in chosen for ms in each.milliseconds)), share)
    if value is None or count < needed:
        verdict, reason = Verdict.UNDECIDED, f"{count} of at least {needed} samples"
    elif value <= threshold.limit:
        verdict, reason = Verdict.HELD, ""
    else:
        verdict, reason = Verdict.BROKEN, f"above {threshold.limit:g}"
    return ThresholdResult(
        name=f"{threshold.name}:{threshold.verb}" if threshold.verb else threshold.name,
        limit=threshold.limit,
        unit="share" if share is None else "ms",
        value=value,
        samples=count,
        verdict=verdict,
        reason=reason,
    )


def exit_code(results: Iterable[ThresholdResult]) -> int:
    """0 when all held, 11 when one was missed, 10 when nothing could be said."""
    return worst(threshold_code(each.verdict) for each in results)
