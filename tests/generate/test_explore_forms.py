"""One defect comes out in one form, whatever seed found it, with and without faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from licensing_harness.generate.explore import Explorer, Finding
from licensing_harness.target.reference import ReferenceAdapter, simulated

_SOUND: Final = Explorer(simulated(), ReferenceAdapter)
_FOUND: Final = 3
"""Seeds whose stories break the promise."""


def _findings(defect: str, promise: str) -> list[Finding]:
    explorer = replace(
        _SOUND,
        target=simulated(defect),
        promises=tuple(each for each in _SOUND.promises if each.id == promise),
    )
    found: list[Finding] = []
    first = 1
    while len(found) < _FOUND:
        broken = explorer.explore(range(first, first + 300)).broken
        assert broken is not None, f"no seed from {first} on breaks {promise}"
        found.append(explorer.shrunk(*broken))
        first = broken[0] + 1
    return found


@pytest.mark.parametrize(
    ("defect", "promise", "words"),
    [
        ("seats-race", "SEA-001", ["fresh_licence", "contend"]),
        ("clock-read-twice", "VAL-002", ["fresh_licence", "start", "advance", "start"]),
        ("idempotency-in-memory", "IDM-001", ["fresh_licence", "crash", "start"]),
    ],
)
def test_one_defect_has_one_form(defect: str, promise: str, words: list[str]) -> None:
    """Stories of several seeds shrink to the very same plan, and that is told in the same chance."""
    found = _findings(defect, promise)

    assert {each.violation.promise for each in found} == {promise}
    forms: list[list[dict[str, Any]]] = [each.history.plan for each in found]
    assert [step["do"] for step in forms[0]] == words
    assert forms == [forms[0]] * _FOUND
    assert len({each.history.digest() for each in found}) == 1
