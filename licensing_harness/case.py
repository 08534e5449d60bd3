"""A broken promise as a file: the story's plan, and all that is needed to tell it again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from licensing_harness.config import Config
from licensing_harness.errors import UsageError
from licensing_harness.history import StoryHistory
from licensing_harness.verdict import Finding

SCHEMA: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What ``replay`` reads. ``target`` is None for the reference server, which is then started again."""

    id: str
    promise: str
    scenario: str
    world: str
    expected: str
    observed: str
    plan: list[dict[str, Any]] = field(default_factory=list)
    story_seed: str = ""
    seed: int = 0
    target: str | None = None
    adapter: str | None = None
    control: str | None = None
    defect: str | None = None
    harness: str = ""
    schema: int = SCHEMA

    def text(self) -> str:
        """As JSON, for people too."""
        return json.dumps(asdict(self), indent=1) + "\n"


def case_of(found: Finding, history: StoryHistory, *, config: Config, seed: int, harness: str) -> Case:
    """The case of a finding in a story of this run."""
    return Case(
        id=found.case,
        promise=found.promise,
        scenario=found.scenario,
        world=found.world,
        expected=found.expected,
        observed=found.observed,
        plan=history.plan,
        story_seed=history.seed,
        seed=seed,
        target=config.target,
        adapter=config.adapter,
        control=config.control,
        defect=config.defect,
        harness=harness,
    )


def read_case(path: Path) -> Case:
    """Read a case back. Raises UsageError for a file that is none, or of a later schema."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        schema = int(found["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: not a case ({error}); give an id, or a file of a run's cases/"
        raise UsageError(message) from error
    if schema > SCHEMA:
        message = f"{path}: a case of schema {schema}; this version reads up to {SCHEMA}. Upgrade licensing-harness."
        raise UsageError(message)
    try:
        return Case(**found)
    except TypeError as error:
        message = f"{path}: not a case that can be replayed: {error}"
        raise UsageError(message) from error


def find_case(name: str, report: Path) -> Path:
    """The file of a case: a path, or an id looked up in the runs under ``report``, newest first. Raises UsageError."""
    if Path(name).is_file():
        return Path(name)
    found = sorted(report.glob(f"runs/*/cases/{name}*.json"), reverse=True)
    ids = {path.stem for path in found}
    if len(ids) > 1:
        message = f"{name} is the beginning of several cases: {', '.join(sorted(ids))}"
        raise UsageError(message)
    if not found:
        message = f"no case {name} under {report / 'runs'}, and no file of that name"
        raise UsageError(message)
    return found[0]
