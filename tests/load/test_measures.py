"""Percentiles and thresholds: what was measured, and when too little was."""

from __future__ import annotations

from array import array

import pytest

from licensing_harness.errors import UsageError
from licensing_harness.generate.quantiles import quantile
from licensing_harness.load.measures import Samples, Threshold, exit_code, judged, parse_threshold
from licensing_harness.verdict import Verdict
from licensing_harness.vocabulary import Outcome


def _samples(count: int, *, unknown: int = 0) -> Samples:
    """``count`` calls of 1, 2, 3, ... ms, the last ``unknown`` of them without an answer."""
    samples = Samples()
    for number in range(1, count + 1):
        samples.add(Outcome.UNKNOWN if number > count - unknown else Outcome.ACCEPTED, float(number))
    return samples


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("unknown<=0.01", Threshold("unknown", "", 0.01)),
        ("p95<=200", Threshold("p95", "", 200)),
        (" p99:validate <= 2.5", Threshold("p99", "validate", 2.5)),
    ],
)
def test_thresholds_are_read(text: str, threshold: Threshold) -> None:
    """A measure, a verb if need be, and a limit."""
    assert threshold == parse_threshold(text)


@pytest.mark.parametrize("text", ["", "p95", "p95<200", "p97<=1", "unknown>=0", "unknown<=-1", "p95:<=3"])
def test_any_other_form_is_refused(text: str) -> None:
    """What can't be read is an error that shows how it is written."""
    with pytest.raises(UsageError, match=r"unknown<=0\.01"):
        parse_threshold(text)


def test_quantiles_are_samples() -> None:
    """Nearest rank: the smallest sample that so many don't exceed."""
    ordered = array("d", range(1, 101))

    assert tuple(quantile(ordered, share) for share in (0.5, 0.95, 0.99, 1.0)) == (50, 95, 99, 100)
    assert quantile(array("d", [3.0]), 0.95) == 3.0


def test_a_share_above_its_limit_is_missed() -> None:
    """One unknown in ten is above one in a hundred, and the run exits 11."""
    (result,) = judged([parse_threshold("unknown<=0.01")], {"validate": _samples(10, unknown=1)})

    assert (result.verdict, result.value, result.samples) == (Verdict.BROKEN, 0.1, 10)
    assert exit_code([result]) == 11


def test_a_share_below_its_limit_is_held() -> None:
    """No unknown at all, and the run exits 0."""
    (result,) = judged([parse_threshold("unknown<=0")], {"validate": _samples(10)})

    assert result.verdict is Verdict.HELD
    assert exit_code([result]) == 0


def test_no_samples_are_undecided() -> None:
    """A threshold on nothing is never met: exit 10."""
    results = judged([parse_threshold("unknown<=1"), parse_threshold("p95<=9999")], {})

    assert [each.verdict for each in results] == [Verdict.UNDECIDED] * 2
    assert exit_code(results) == 10


def test_a_percentile_needs_enough_samples() -> None:
    """Of 19 samples the p95 is just the longest, so nothing is said; of 20 it is not."""
    threshold = [parse_threshold("p95<=1000")]

    assert judged(threshold, {"issue": _samples(19)})[0].verdict is Verdict.UNDECIDED
    assert judged(threshold, {"issue": _samples(20)})[0].verdict is Verdict.HELD
    assert _samples(19).result("issue").p95 is None
    assert _samples(20).result("issue").p95 == 19.0


def test_a_threshold_of_one_verb_reads_that_verb_alone() -> None:
    """Another verb's slowness does not count."""
    samples = {"validate": _samples(20), "issue": _samples(2000)}

    assert judged([parse_threshold("p95:validate<=50")], samples)[0].verdict is Verdict.HELD
    assert judged([parse_threshold("p95<=50")], samples)[0].verdict is Verdict.BROKEN


def test_undecided_is_worse_than_missed() -> None:
    """Exit 10 is worse than 11: a run that could not say all is not a run with a known miss only."""
    results = judged([parse_threshold("unknown<=0"), parse_threshold("p99<=1")], {"validate": _samples(10, unknown=5)})

    assert exit_code(results) == 10
