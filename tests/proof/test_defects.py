"""Every defect is found by the scenarios that try its promise, and the sound server is accused of nothing."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from licensing_harness import suite
from licensing_harness.clock import RealClock
from licensing_harness.config import resolve
from licensing_harness.errors import NotRun, PromiseBroken, Undecided
from licensing_harness.run import Run, new_place
from licensing_harness.suite import Campaign, promises
from licensing_harness.verdict import Verdict
from reference_server.defects import DEFECTS

SEED = 20_261_125

Tell = Callable[[Campaign], None]


def cases() -> Iterator[tuple[str, dict[str, Any], Tell]]:
    """Every shipped scenario for the simulated world: its id, its marker, and how it is run."""
    for name in suite.__getattr__("__all__"):
        function = getattr(suite, name)
        marks = list(function.pytestmark)
        about = next(mark.kwargs for mark in marks if mark.name == "licensing")
        taken = inspect.signature(function).parameters
        if not {"licensing_story", "licensing_world"} & set(taken):
            continue
        if set(taken) & {"licensing_target", "licensing_outage", "licensing_world_name"}:
            continue  # live only
        choices: list[dict[str, Any]] = [{}]
        for mark in marks:
            if mark.name == "parametrize":
                parameter, values = mark.args
                choices = [
                    {**each, parameter: getattr(value, "values", [value])[0]} for each in choices for value in values
                ]
        for chosen in choices:
            yield f"{name}{list(chosen.values())}", about, _teller(function, chosen)


def _teller(function: Callable[..., None], chosen: dict[str, Any]) -> Tell:
    def tell(campaign: Campaign) -> None:
        if "licensing_world" in inspect.signature(function).parameters:
            function(licensing_world=campaign, **chosen)
        else:
            function(licensing_story=campaign.story(), **chosen)

    return tell


CASES = list(cases())


def opened(tmp_path: Path, **asked: Any) -> Run:
    """A run in the simulated world that writes below ``tmp_path``."""
    config = resolve(command_line={"world": "simulated", "depth": "smoke", "seed": SEED, **asked})
    return Run(config, new_place(config, invoked_in=tmp_path, clock=RealClock()))


def told(run: Run, name: str, about: dict[str, Any], tell: Tell) -> Campaign | None:
    """Run one scenario; None when this target can't be tried with it."""
    try:
        campaign = Campaign(run, "simulated", scenario=name, tries=about["tries"], needs=tuple(about.get("needs", ())))
    except NotRun:
        return None
    with contextlib.suppress(PromiseBroken, Undecided, NotRun):
        tell(campaign)
        campaign.conclude()
    campaign.close()
    return campaign


def broken(campaign: Campaign) -> set[str]:
    """The promises that some story of the campaign broke."""
    return {each.id for each in campaign.tally.result().promises if each.verdict is Verdict.BROKEN}


def test_every_promise_has_a_defect() -> None:
    """A check that never went red proves nothing."""
    assert set(promises()) == {defect.promise for defect in DEFECTS.values()}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_killed_by_its_own_promise(name: str, tmp_path: Path) -> None:
    """Some scenario that tries the promise breaks it."""
    promise = DEFECTS[name].promise
    run = opened(tmp_path, defect=name)
    try:
        for scenario, about, tell in CASES:
            if promise not in about["tries"]:
                continue
            campaign = told(run, scenario, about, tell)
            if campaign is not None and promise in broken(campaign):
                return
    finally:
        run.close()

    pytest.fail(f"{name} survived: {promise} was not broken")


def test_the_sound_server_is_not_accused(tmp_path: Path) -> None:
    """Every scenario holds on it: nothing is broken, and nothing that was claimed is undecided."""
    run = opened(tmp_path)
    verdicts = {}
    try:
        for scenario, about, tell in CASES:
            campaign = told(run, scenario, about, tell)
            if campaign is not None and campaign.result is not None:
                verdicts[scenario] = campaign.result.verdict.value
    finally:
        run.close()

    assert {name: verdict for name, verdict in verdicts.items() if verdict != "held"} == {}
    assert len(verdicts) > 80
