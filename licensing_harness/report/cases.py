"""Case files: a finding with the story it was found in, and the plan that runs it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from licensing_harness.errors import UsageError
from licensing_harness.history import Header, Record, StoryHistory, lines_of
from licensing_harness.verdict import Finding

CASE_SCHEMA: Final = 1


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One finding, complete in itself."""

    schema: int = CASE_SCHEMA
    case: str
    promise: str
    sentence: str
    expected: str
    observed: str
    scenario: str
    world: str
    target: str
    settings: dict[str, str] = {}
    """How the target was named when the case was found; without ``target`` it was the reference server."""
    seed: str = ""
    run_seed: int = 0
    harness: str = ""
    capabilities: tuple[str, ...] = ()
    contract: dict[str, float] = {}
    evidence: list[int] = []
    control: list[int] = []
    plan: list[dict[str, Any]] = []
    history: list[Record] = []


def case_of(found: Finding, story: StoryHistory, header: Header) -> Case:
    """The case of a finding."""
    return Case(
        case=found.case,
        promise=found.promise,
        sentence=found.sentence,
        expected=found.expected,
        observed=found.observed,
        scenario=found.scenario,
        world=found.world,
        target=header.target,
        settings=header.settings,
        seed=story.seed,
        run_seed=header.seed,
        harness=header.harness,
        capabilities=header.capabilities,
        contract=header.contract,
        evidence=[int(row["n"]) for row in found.evidence],
        control=[int(row["n"]) for row in found.control],
        plan=story.plan,
        history=list(lines_of(story)),
    )


class _Version(msgspec.Struct):
    schema: int


def read_case(path: Path) -> Case:
    """Read a case file back.

    Raises UsageError when it is missing, no case, or of a later version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: can't be read ({error.strerror}). Give a case from the cases/ folder of a run."
        ) from error
    try:
        schema = msgspec.json.decode(content, type=_Version).schema
        if schema > CASE_SCHEMA:
            raise UsageError(
                f"{path}: a case in schema {schema}; this version reads up to {CASE_SCHEMA}. "
                "Upgrade licensing-harness to replay it."
            )
        return msgspec.json.decode(content, type=Case)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: not a case: {error}. Give a case from the cases/ folder of a run.") from error
