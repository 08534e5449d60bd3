"""Findings in words."""

from __future__ import annotations

from conftest import Run  # type: ignore[import-not-found]

from licensing_harness.checkers.judge import judge_story
from licensing_harness.errors import PromiseBroken
from licensing_harness.report.text import MEANINGS, finding_text, grouped, meaning, promise_broken, ranges, table
from licensing_harness.verdict import Exit, RunResult
from licensing_harness.vocabulary import Contract


def test_first_line_is_the_promise(run: Run) -> None:
    """It is all that survives in pytest's summary; the rest follows in a fixed order."""
    (found,) = run.result.findings

    lines = run.masker.mask(finding_text(found)).splitlines()

    assert lines[:5] == [
        "SEA-001 never more holders than seats",
        "  expected  this activation refused: no free seat",
        "  observed  accepted; 2 devices hold 1 seat",
        "  evidence",
        "    #2  0.020s  laptop  activate  licence=L1 device=[masked:"
        + lines[4].partition("[masked:")[2][:6]
        + "]  accepted",
    ]
    assert lines[5].split() == ["#3", "0.030s", "phone", "activate", "licence=L1", "device=phone", "accepted"]
    assert lines[6] == "  control   the same call, one after the other"
    assert lines[8].endswith("refused (no-free-seat)")
    assert lines[-1] == f"  replay    licensing-harness replay {found.case}"


def test_broken_promise_is_an_assertion_error_with_that_text(run: Run, secret: str) -> None:
    """Masked, and printed by pytest without its module."""
    story = next(iter(run.tally.cases.values()))
    judgement = judge_story(story, Contract(lease=2.0), frozenset(run.header.capabilities))

    error = promise_broken(judgement, story, run.masker)

    assert isinstance(error, AssertionError)
    assert str(error).startswith("SEA-001 never more holders than seats\n")
    assert secret not in str(error)
    assert PromiseBroken.__module__ == "builtins"


def test_faults_and_long_evidence_have_their_lines() -> None:
    """A fault says whether traffic met it; what is too long is counted."""
    fault = {"n": 2, "at": 1.0, "until": 1.5, "fault": "crash", "where": "server", "met": 3}
    rows = [{**fault, "n": number} for number in range(1, 15)]
    del rows[0]["until"]

    lines = table(rows)

    assert lines[0].split() == ["#1", "1.000s", "fault", "crash", "server", "not", "removed,", "met", "3"]
    assert lines[1].endswith("until 1.500s, met 3")
    assert lines[-1] == "... and 2 more"
    assert table([]) == []


def test_ids_are_shortened_to_ranges() -> None:
    """Runs of a family, in order; what is no id stays as it is."""
    assert ranges(["SEA-003", "SEA-001", "SEA-002", "VAL-005", "SEA-005", "odd"]) == (
        "SEA-001..003, SEA-005, VAL-005, odd"
    )
    assert ranges([]) == ""
    assert grouped({"a": "x", "b": "y", "c": "x"}) == {"x": ["a", "c"], "y": ["b"]}


def test_every_exit_code_has_a_meaning() -> None:
    """Also one that nobody foresaw."""
    assert set(MEANINGS) == set(Exit)
    assert meaning(RunResult(exit_code=139)) == "the run ended in a way that nobody foresaw"
    assert meaning(RunResult(exit_code=1)) == "a test failed; it accuses no promise"
