"""Exit codes: the worst wins, and nothing is green by default."""

from __future__ import annotations

import itertools

import pytest

from licensing_harness.checkers.judge import ALL_PROMISES
from licensing_harness.errors import CleanUpIncomplete, GuardRefused, HarnessError, TargetNotReady, UsageError
from licensing_harness.verdict import Exit, worst

ORDER = [14, 13, 12, 3, 4, 1, 2, 6, 10, 11, 5, 0]


def test_worst_code_wins_in_the_stated_order() -> None:
    """14 > 13 > 12 > 3, 4 > 1 > 2 > 6 > 10 > 11 > 5 > 0, whatever the order they came in."""
    for one, two in itertools.combinations(ORDER, 2):
        assert worst([one, two]) == one
        assert worst([two, one]) == one
    assert worst(ORDER) == 14


def test_no_codes_at_all_are_undecided() -> None:
    """Nothing happened, so nothing was proved."""
    assert worst([]) == Exit.UNDECIDED


@pytest.mark.parametrize("code", [7, -9, 139])
def test_code_that_nobody_knows_is_never_green(code: int) -> None:
    """A process that died of a signal outweighs a promise that held, and a broken one too."""
    assert worst([0, code]) == code
    assert worst([10, code]) == code


def test_errors_carry_their_exit_codes() -> None:
    """Blame decides the code."""
    errors = (HarnessError, UsageError, TargetNotReady, GuardRefused, CleanUpIncomplete)

    assert [each.exit_code for each in errors] == [3, 4, 12, 13, 14]


def test_promises_have_stable_ids_and_one_sentence_each() -> None:
    """FAM-NNN, each once, in families; sentences that fit into one line of a report."""
    ids = [each.id for each in ALL_PROMISES]

    assert len(set(ids)) == len(ids)
    for each in ALL_PROMISES:
        family, _, number = each.id.partition("-")
        assert each.family == family
        assert len(family) == 3
        assert number.isdigit()
        assert each.sentence[0].islower()
        assert not each.sentence.endswith(".")
        assert len(each.sentence) <= 110
        assert each.control
