"""Every defect is found by the scenarios that try its promise, and the sound server is accused of nothing."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from licensing_harness import suite
from licensing_harness.checkers.judge import ALL_PROMISES, promise
from licensing_harness.clock import RealClock
from licensing_harness.config import resolve
from licensing_harness.errors import NotRun, PromiseBroken, Undecided
from licensing_harness.generate.explore import Explorer
from licensing_harness.run import Run, new_place
from licensing_harness.suite import Campaign, promises
from licensing_harness.target.reference import ReferenceAdapter, simulated
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


@pytest.mark.parametrize("name", [name for name, defect in DEFECTS.items() if not defect.explored])
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


EXPLORED = {
    "revoked-behind": 121,
    "slow-commit-answered": 136,
    "heartbeat-checked-early": 1575,
    "lease-by-two-clocks": 26,
}
"""The seed at which ``explore --only PROMISE --seed 1`` finds each of them; docs/how-to/explore.md has them too."""


def test_every_explored_defect_has_its_seed() -> None:
    """Here and in the documentation."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "explore.md").read_text()
    rows = {name: f"| `{name}` | `{DEFECTS[name].promise}` | {seed} |" for name, seed in EXPLORED.items()}

    assert set(EXPLORED) == {name for name, defect in DEFECTS.items() if defect.explored}
    assert [row for row in rows.values() if row not in page] == []


@pytest.mark.parametrize("name", EXPLORED)
def test_an_explored_defect_is_found_at_its_seed_and_not_without_its_faults(name: str) -> None:
    """The story of that seed breaks the defect's own promise; the same server in calm stories breaks nothing."""
    own = promise(DEFECTS[name].promise)
    explorer = Explorer(simulated(name), ReferenceAdapter, promises=(own,))

    assert explorer.explore([EXPLORED[name]]).broken == (EXPLORED[name], own.id)
    assert replace(explorer, calm=True, promises=ALL_PROMISES).explore(range(1, 61)).broken is None


@pytest.mark.parametrize("name", EXPLORED)
def test_no_scenario_finds_an_explored_defect(name: str, tmp_path: Path) -> None:
    """That is why it is explored: once a scenario finds it, it belongs among the others."""
    own = DEFECTS[name].promise
    run = opened(tmp_path, defect=name)
    try:
        campaigns = [told(run, scenario, about, tell) for scenario, about, tell in CASES if own in about["tries"]]
        assert [campaign for campaign in campaigns if campaign is not None and broken(campaign)] == []
    finally:
        run.close()


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
