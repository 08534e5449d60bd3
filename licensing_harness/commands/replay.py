"""``replay``: a case told again, and judged again.

A simulated case repeats exactly, so it is told once. A live race does not: it is
told in every round, each on a fresh start where the harness starts the target, and
how often it showed is part of the answer.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from licensing_harness.checkers.tally import finding
from licensing_harness.clock import RealClock
from licensing_harness.commands.gate import configured
from licensing_harness.config import Config, Value
from licensing_harness.errors import CleanUpIncomplete, HarnessError, UsageError
from licensing_harness.options import BY_NAME
from licensing_harness.report.cases import Case, read_case
from licensing_harness.report.text import finding_text
from licensing_harness.run import Run, new_place
from licensing_harness.suite import Campaign
from licensing_harness.verdict import Exit, Verdict
from licensing_harness.worlds.story import Story


def run(name: str, given: Mapping[str, Any], *, rounds: int) -> int:
    """Replay a case; returns 1 when its promise broke again, 0 when it held, 10 when nothing was proved.

    Raises UsageError for a case that can't be read, and what worlds raise.
    """
    asked = configured(given)
    path = _find(name, Path.cwd() / asked.report)
    case = read_case(path)
    config = _settings(case, asked)
    rounds = 1 if case.world == "simulated" else rounds
    shown, vacant = 0, 0
    for number in range(1, rounds + 1):
        found = _once(case, config, path.parent.parent / "replays", number)
        if found and not shown:
            sys.stdout.write(f"{found}\n")
        shown += bool(found)
        vacant += found is None
        if rounds > 1:
            word = "nothing tried" if found is None else "broken" if found else "held"
            sys.stdout.write(f"round {number} of {rounds}: {word}\n")
            sys.stdout.flush()
    if rounds > 1:
        sys.stdout.write(f"{shown} of {rounds}\n")
    if shown:
        return _say(f"{case.promise} is broken again", Exit.BROKEN)
    if vacant == rounds:
        return _say(
            f"{case.case}: the promise could not be tried: its story gave no occasion to break it", Exit.UNDECIDED
        )
    return _say(f"{case.promise} held this time: it did not break again in {rounds} of {rounds} rounds", Exit.HELD)


def _find(name: str, report: Path) -> Path:
    """The file of a case: a path, or an id looked up in the runs under ``report``, newest first. Raises UsageError."""
    if Path(name).is_file():
        return Path(name)
    found = sorted(report.glob(f"runs/2*/cases/{name}*.json"), reverse=True)
    ids = sorted({path.stem for path in found})
    if len(ids) > 1:
        message = f"{name} is the beginning of several cases: {', '.join(ids)}"
        raise UsageError(message)
    if not found:
        message = f"no case {name!r} under {report / 'runs'}, and no file of that name"
        raise UsageError(message)
    return found[0]


def _settings(case: Case, asked: Config) -> Config:
    """The case's own target, unless another was asked for."""
    values = {option.name: value for option, value in asked if asked.given(option.name)}
    if "target" not in values:
        for name, stated in case.settings.items():
            if name in BY_NAME and name not in values:
                values[name] = Value(stated, f"case {case.case}")
    return Config(values, asked.secrets)


def _once(case: Case, config: Config, directory: Path, number: int) -> str | None:
    """The finding as text, empty when the promise held, None when there was no occasion."""
    place = new_place(config, invoked_in=Path.cwd(), clock=RealClock())
    place = dataclasses.replace(place, directory=str(directory / f"{place.run}-{number}"), seed=case.run_seed)
    it = Run(config, place)
    try:
        campaign = Campaign(it, case.world, scenario=case.scenario, tries=(case.promise,))
        story = campaign.story(seed=case.seed)
        try:
            for at, step in enumerate(case.plan, start=1):
                _perform(story, step, f"step {at} of the plan of case {case.case}")
        except BaseException:
            story.abandon()  # nothing stays broken, and no simulated process is left to the collector
            raise
        campaign.judge()
        if campaign.found is None:
            result = campaign.result
            return "" if result is not None and result.verdict is Verdict.HELD else None
        return it.masker.mask(finding_text(finding(*campaign.found)))
    finally:
        troubles = it.close()
        if troubles and not isinstance(sys.exc_info()[1], HarnessError):
            raise CleanUpIncomplete("; ".join(map(str, troubles)))


def _perform(story: Story, step: Mapping[str, Any], where: str) -> None:
    try:
        story.perform(step)
    except UsageError as error:
        message = f"{where}: {error}"
        raise UsageError(message) from error


def _say(text: str, code: int) -> int:
    sys.stdout.write(f"{text} (exit {int(code)})\n")
    return int(code)
